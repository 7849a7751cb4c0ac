"""Small forecasters for tests, of weights that are not those of the start."""

import functools
from typing import Any

import keras
import numpy as np

from apps.timeseries import model, windows
from apps.timeseries.config import TimeSeriesConfig
from apps.timeseries.panel import cut
from apps.timeseries.shape import DAY, Shape
from tests.timeseries_panels import waves

SHAPE = Shape(history=24, horizon=8, patch=4, season=12, lags=(12, 24), cycles=(DAY,))
PANEL = waves(14)
CUTS = cut(PANEL, (0.7, 0.1, 0.2))
FORCED = {"decoder": "autoregressive", "teacher_forcing": 1.0}


def forecaster(member: int = 0, **settings: Any) -> model.Forecaster:
    """For windows of ``PANEL``. Every weight is random, so that every input moves every answer;
    in another precision, or of another loss, they are the same."""
    return _forecaster(member, keras.config.dtype_policy().name, tuple(settings.items()))


@functools.cache
def _forecaster(member: int, policy: str, settings: tuple[tuple[str, Any], ...]) -> Any:
    config = TimeSeriesConfig(**{"units": 5, "dropout": 0.0, **dict(settings)})
    network = model.build(config, SHAPE, PANEL.roles, windows.statistics(PANEL, CUTS), member)
    rng = np.random.default_rng(member)
    for variable in network.trainable_variables:
        scale = 0.05 if "linear" in variable.path else 0.4  # a linear layer adds a whole history
        variable.assign(rng.normal(scale=scale, size=variable.shape))
    return network


def inputs(count: int = 4, history: int = SHAPE.history, first: int = 60) -> windows.Arrays:
    """Windows of both series of ``PANEL``, all ending before row `first` plus `count`."""
    at = np.array([[number % 2, first + number] for number in range(count)])
    shape = Shape(history, SHAPE.horizon, SHAPE.patch, SHAPE.season, SHAPE.lags, SHAPE.cycles)
    return windows.inputs_at(PANEL, at, shape)


def rows(given: windows.Arrays, begin: int, end: int) -> windows.Arrays:
    """Rows `begin` to `end` of the history, and what is known of the horizon after them."""
    ahead = end + SHAPE.horizon
    ends = {"target": end, "past": end, "seconds": ahead, "future": ahead}
    return {name: array[:, begin : ends[name]] for name, array in given.items()}


def with_gaps(given: windows.Arrays, share: float = 0.2) -> windows.Arrays:
    """NaN here and there in all that is not time, never in the first row."""
    rng = np.random.default_rng(8)
    found = {}
    for name, array in given.items():
        missing = rng.random(array.shape) < share
        missing[:, 0] = False
        found[name] = array if name == "seconds" else np.where(missing, np.float32(np.nan), array)
    return found
