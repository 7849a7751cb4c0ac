"""A forecaster beside what a sceptic would use instead. Imports no TensorFlow."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from apps.timeseries import metrics, plots
from apps.timeseries.panel import Forecast, Panel
from apps.timeseries.shape import Shape

Scores = dict[str, float]


def compare(
    forecast: Forecast,
    others: Mapping[str, Forecast],
    truth: np.ndarray,
    origins: np.ndarray,
    scales: metrics.Scales,
) -> tuple[Scores, dict[str, Scores]]:
    """The scores of a forecast, and those of the others.

    Each of the others has ``mae_ratio`` besides: the forecast's mean absolute error over its
    own, with the ends of a 95 % interval, ``mae_ratio_low`` and ``mae_ratio_high``. With
    several targets that is the ratio of the MASEs, for their units differ.

    Args:
        truth: ``[windows, horizon, targets]``, NaN where it is missing.
        origins: ``[windows, 2]``.
        scales: of the same windows.
    """
    unit = scales.seasonal if truth.shape[-1] > 1 else None
    compared = {}
    for name, other in others.items():
        ends = metrics.ratio(forecast, other, truth, origins, unit)
        names = ("mae_ratio", "mae_ratio_low", "mae_ratio_high")
        compared[name] = metrics.scores(other, truth, scales) | dict(zip(names, ends, strict=True))
    return metrics.scores(forecast, truth, scales), compared


def pictures(
    panel: Panel,
    origins: np.ndarray,
    forecasts: Mapping[str, Forecast],
    truth: np.ndarray,
    scales: metrics.Scales,
    shape: Shape,
) -> dict[str, Figure]:
    """``forecasts`` of the first of them; ``error_by_step`` and ``reliability`` of all.

    Args:
        origins: ``[windows, 2]``.
        truth: ``[windows, horizon, targets]``.
    """
    first = next(iter(forecasts.values()))
    steps = {k: metrics.by_step(v, truth, scales)["mase"] for k, v in forecasts.items()}
    observed = {k: metrics.reliability(v, truth) for k, v in forecasts.items()}
    return {
        "forecasts": plots.fans(panel, origins, first, shape.history),
        "error_by_step": plots.error_by_step(steps, "mase", panel),
        "reliability": plots.reliability(observed),
    }


def verdict(name: str, scores: Scores) -> str:
    """Whether the network is worth its trouble, by the `scores` of baseline `name`."""
    ratio, low, high = (scores[f"mae_ratio{end}"] for end in ("", "_low", "_high"))
    if high < 1:
        word = "better than"
    elif low > 1:
        word = "WORSE than"
    else:
        word = "NOT clearly different from"
    return (
        f"The network is {word} {name}: {ratio:.3f} of its mean absolute error "
        f"[{low:.3f}, {high:.3f}]."
    )
