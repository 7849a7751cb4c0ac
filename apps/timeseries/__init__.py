"""Probabilistic forecasts: many-to-many, over a horizon."""
