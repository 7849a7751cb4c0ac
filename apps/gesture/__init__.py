"""Gesture: a label for every frame of a sensor stream, live."""
