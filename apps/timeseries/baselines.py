"""What a sceptic would use instead: naive forecasts, and ridge regression on the same inputs.
Imports no TensorFlow."""

from collections.abc import Callable

import numpy as np

from apps.timeseries.calibration import residual_quantiles, widen, window_scale
from apps.timeseries.panel import Cuts, Forecast, Panel, gather, origins, scored
from apps.timeseries.ridge import Point, ridge
from apps.timeseries.shape import Shape
from apps.timeseries.standardise import before, carried, moments


def forecasts(
    panel: Panel, cuts: Cuts, shape: Shape, test_origins: np.ndarray, *, seed: int
) -> dict[str, Forecast]:
    """Every baseline's forecasts, each made from what is known before its origin, and from
    future covariates.

    ``last_value``, ``seasonal_naive`` (of ``shape.season``), ``drift`` and ``ridge``. All have
    the conformal intervals of their errors on the validation part, over the deviation of each
    window's history: large series and small ones share them, and so do calm days and wild.

    Args:
        test_origins: ``[windows, 2]``, as ``panel.origins`` gives them.
        seed: of the windows that the ridge is fitted to, where there are too many.

    Returns:
        Name -> forecast, in the targets' units.
    """
    mean, _ = moments([series.target for series in before(panel, cuts.train)])
    methods = {name: (point, point) for name, point in naive(panel, shape, mean).items()}
    methods["ridge"] = ridge(panel, cuts, shape, seed)
    spread = intervals(panel, cuts, shape)
    return {name: spread(*points)(test_origins) for name, points in methods.items()}


def intervals(
    panel: Panel, cuts: Cuts, shape: Shape, back: int = 0
) -> Callable[[Point, Point], Callable[[np.ndarray], Forecast]]:
    """What makes a forecaster of points one of quantiles: by the conformal intervals of its errors
    on the validation part.

    Args:
        back: rows before an origin that it reads, where these are more than the network's.

    Returns:
        (``early``, fitted to the training part alone, whose errors those are; ``final``, which
        forecasts) -> what forecasts at origins ``[windows, 2]``, in the targets' units.
    """
    _, deviation = moments([series.target for series in before(panel, cuts.train)])

    def scale(windows: np.ndarray) -> np.ndarray:
        history = gather(panel, windows, -shape.history, 0, "target")
        return window_scale(history, deviation[windows[:, 0], np.newaxis])

    validation = origins(panel, cuts, "validation", max(shape.history, back), shape.horizon)
    validation = scored(validation, shape.horizon, len(panel.roles.targets))
    truth = gather(panel, validation, 0, shape.horizon, "target")
    expected = scale(validation)

    def spread(early: Point, final: Point) -> Callable[[np.ndarray], Forecast]:
        offsets = residual_quantiles(early(validation), truth, expected)

        def forecast(windows: np.ndarray) -> Forecast:
            point = final(windows).astype(np.float32)
            return Forecast(point, widen(point, offsets, scale(windows)))

        return forecast

    return spread


def naive(panel: Panel, shape: Shape, mean: np.ndarray) -> dict[str, Point]:
    """The methods that learn nothing, by name: ``last_value``, ``seasonal_naive``, ``drift``.

    Args:
        mean: ``[series, targets]``: said where a window has no known value.
    """

    def method(rule: Callable[..., np.ndarray]) -> Point:
        def point(windows: np.ndarray) -> np.ndarray:
            history = gather(panel, windows, -shape.history, 0, "target")
            return rule(history, mean[windows[:, 0], np.newaxis], shape)

        return point

    return {name: method(rule) for name, rule in NAIVE.items()}


# Naive forecasts: history [windows, time, targets], fallback [windows, 1, targets]


def _last(history: np.ndarray, fallback: np.ndarray, shape: Shape) -> np.ndarray:
    """The last value known, ever after."""
    last = carried(history, fallback)[:, -1:]
    return np.repeat(last, shape.horizon, axis=1)


def _season(history: np.ndarray, fallback: np.ndarray, shape: Shape) -> np.ndarray:
    """The last value known of the same phase of the season; of any, where there is none."""
    windows, time, targets = history.shape
    season = shape.season
    padded = np.full((windows, -(-time // season) * season, targets), np.nan, history.dtype)
    padded[:, padded.shape[1] - time :] = history
    turns = padded.reshape(windows, -1, season * targets)
    latest = carried(turns, np.nan)[:, -1].reshape(windows, season, targets)
    latest = np.where(np.isnan(latest), carried(history, fallback)[:, -1:], latest)
    return latest[:, np.arange(shape.horizon) % season]


def _drift(history: np.ndarray, fallback: np.ndarray, shape: Shape) -> np.ndarray:
    """On along the line through the first and the last value known (Hyndman & Athanasopoulos
    2021, section 5.2)."""
    time = history.shape[1]
    known = np.isfinite(history)
    first, last = known.argmax(axis=1), time - 1 - known[:, ::-1].argmax(axis=1)
    ends = [np.take_along_axis(history, place[:, np.newaxis], axis=1) for place in (first, last)]
    slope = (ends[1] - ends[0]) / np.maximum(last - first, 1)[:, np.newaxis]
    ahead = np.arange(time, time + shape.horizon)[:, np.newaxis] - last[:, np.newaxis]
    line = ends[1] + slope * ahead
    return np.where(known.any(axis=1, keepdims=True), line, fallback)


NAIVE = {"last_value": _last, "seasonal_naive": _season, "drift": _drift}
