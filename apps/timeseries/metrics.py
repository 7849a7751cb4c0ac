"""Scores of forecasts at rolling origins. Imports no TensorFlow."""

from dataclasses import dataclass

import numpy as np

from apps.timeseries.config import LEVELS
from apps.timeseries.panel import Cuts, Forecast, Panel

INTERVALS = {"80": (LEVELS.index(0.1), LEVELS.index(0.9))}
INTERVALS["95"] = (LEVELS.index(0.025), LEVELS.index(0.975))
# Of the CRPS: each level stands for the levels that are nearer to it than to another one.
WEIGHTS = np.diff([0.0, *(np.array(LEVELS[1:]) + LEVELS[:-1]) / 2, 1.0])

Elements = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Scales:
    """What errors are divided by, so that series and targets of any unit can be averaged."""

    seasonal: np.ndarray
    """``[windows, targets]``: ``seasonal_scale`` of each window's own series."""
    deviation: np.ndarray
    """``[targets]``: as ``deviation`` gives it."""


def scales_at(panel: Panel, cuts: Cuts, season: int, origins: np.ndarray) -> Scales:
    """The scales of each window of `origins`, ``[windows, 2]``."""
    return Scales(seasonal_scale(panel, cuts, season)[origins[:, 0]], deviation(panel, cuts))


def seasonal_scale(panel: Panel, cuts: Cuts, season: int) -> np.ndarray:
    r"""Denominator of the MASE (Hyndman & Koehler 2006), for each series and target: the mean of
    :math:`|y_t - y_{t-m}|` over every pair before the test part of which both are known.

    Args:
        season: m, in rows.

    Returns:
        ``[series, targets]`` float64, in the targets' units; NaN where there is no such pair.
    """
    found = []
    for series in panel.series:
        known = series.target[series.seconds < cuts.validation].astype(np.float64)
        steps = np.abs(known[season:] - known[:-season])
        found.append(_mean(steps, np.isfinite(steps), (0,)))
    return np.stack(found)


def deviation(panel: Panel, cuts: Cuts) -> np.ndarray:
    """Standard deviation of each target over the training part, all series together: what the
    public protocol of ETTh1 (Zhou et al. 2021) standardises by.

    Returns:
        ``[targets]`` float64, in the targets' units; NaN where nothing is known.
    """
    known = [series.target[series.seconds < cuts.train] for series in panel.series]
    values = np.concatenate(known).astype(np.float64)
    mask = np.isfinite(values)
    return np.sqrt(_mean((values - _mean(values, mask, (0,))) ** 2, mask, (0,)))


def scores(forecast: Forecast, truth: np.ndarray, scales: Scales) -> dict[str, float]:
    r"""Every score, averaged over all windows, steps and targets of which the truth is known.

    With truth :math:`y`, point forecast :math:`\hat y`, quantiles :math:`q_k` of the levels
    :math:`\tau_k`, :math:`e = y - \hat y`, and :math:`\rho_\tau(u) = u\,(\tau - [u < 0])`:

    ===================== ===================================================================
    ``mae``               :math:`|e|`, in the targets' unit
    ``mse``, ``rmse``     :math:`e^2`, and the root of its mean
    ``smape``             :math:`200\,|e| / (|y| + |\hat y|)` per cent (Makridakis 1993), from 0
                          to 200; 0 where both are 0
    ``mase``              :math:`|e|` over its own series' ``seasonal_scale`` (Hyndman & Koehler
                          2006): 1 is as good as the seasonal naive one season ahead
    ``pinball``           :math:`\frac{1}{K} \sum_k \rho_{\tau_k}(y - q_k)`
    ``crps``              :math:`2 \int_0^1 \rho_\tau(y - q_\tau)\,d\tau` (Gneiting & Raftery
                          2007) as :math:`2 \sum_k w_k\,\rho_{\tau_k}(y - q_k)`
    ``coverage_80``, 95   share with :math:`q_{0.1} \le y \le q_{0.9}`, or 0.025 and 0.975
    ``width_80``, 95      :math:`q_{0.9} - q_{0.1}`, in the targets' unit
    ``scaled_mse``, _mae  of :math:`e` over the target's deviation in the training part
    ===================== ===================================================================

    The levels are not equally far apart, so :math:`w_k` is the width of the levels nearer to
    :math:`\tau_k` than to another, of (0, 1). These sum to one, and the CRPS of a forecast all
    of whose quantiles are the same is its absolute error, as it must be.

    Targets of different units are averaged as they are: ``mase`` and the scaled errors are then
    the ones to look at. An error whose scale is zero or unknown is left out of those.

    Args:
        truth: ``[windows, horizon, targets]``, NaN where it is missing.
        scales: of the same windows.

    Returns:
        Name -> score; NaN if nothing was left to average, or a forecast is NaN.
    """
    found = _averages(_elements(forecast, truth, scales), (0, 1, 2))
    return {name: float(value) for name, value in found.items()}


def by_step(forecast: Forecast, truth: np.ndarray, scales: Scales) -> dict[str, np.ndarray]:
    """The same ``scores`` for each step of the horizon: name -> ``[horizon]``."""
    return _averages(_elements(forecast, truth, scales), (0, 2))


def by_target(forecast: Forecast, truth: np.ndarray, scales: Scales) -> dict[str, np.ndarray]:
    """The same ``scores`` for each target: name -> ``[targets]``."""
    return _averages(_elements(forecast, truth, scales), (0, 1))


def by_window(forecast: Forecast, truth: np.ndarray, scales: Scales) -> dict[str, np.ndarray]:
    """The same ``scores`` for each window and target: name -> ``[windows, targets]``."""
    return _averages(_elements(forecast, truth, scales), (1,))


def reliability(forecast: Forecast, truth: np.ndarray) -> np.ndarray:
    """Observed share of the truth at or below each quantile: the nominal levels if it is honest.

    Args:
        truth: ``[windows, horizon, targets]``, NaN where it is missing.

    Returns:
        ``[levels]``; NaN if nothing is known.
    """
    known = np.isfinite(truth)
    below = [
        _mean(truth <= forecast.quantiles[..., k], known, (0, 1, 2)) for k in range(len(LEVELS))
    ]
    return np.array(below)


def ratio(
    forecast: Forecast,
    other: Forecast,
    truth: np.ndarray,
    origins: np.ndarray,
    scale: np.ndarray | None = None,
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> tuple[float, float, float]:
    """MAE of a forecast over the MAE of another, with its 95 % interval: below 1 it is better.

    Moving-block bootstrap (Künsch 1989): blocks of consecutive origins, at least as many as the
    horizon is long, since forecasts from neighbouring origins share most of their truth and
    hence their luck. Windows of all series at the same row stay together.

    Args:
        truth: ``[windows, horizon, targets]``, NaN where it is missing.
        origins: ``[windows, 2]``, as ``panel.origins`` gives them; every n-th is fine.
        scale: ``[windows, targets]`` to divide errors by, such as ``Scales.seasonal``, which
            gives a ratio of MASEs: for targets or series of different units.
        seed: of the blocks that are drawn.

    Returns:
        The ratio, and its interval's two ends. These are NaN where there are fewer than two
        blocks, and all three if the other forecast makes no error.
    """
    rows, where = np.unique(origins[:, 1], return_inverse=True)
    unit = _positive(np.ones_like(truth[:, 0]) if scale is None else scale)[:, np.newaxis]
    mask = np.isfinite(truth) & ~np.isnan(unit)
    sums = []
    for point in (forecast.point, other.point):
        error = np.abs(truth - point.astype(np.float64)) / unit
        sums.append(np.bincount(where, error.sum(axis=(1, 2), where=mask), len(rows)))
    if not sums[1].sum():
        return float("nan"), float("nan"), float("nan")
    whole = float(sums[0].sum() / sums[1].sum())
    apart = max(1, int(np.median(np.diff(rows)))) if len(rows) > 1 else 1
    length = max(-(-truth.shape[1] // apart), round(len(rows) ** (1 / 3)))
    if len(rows) < 2 * length:
        return whole, float("nan"), float("nan")
    starts = np.random.default_rng(seed).integers(
        0, len(rows) - length + 1, (resamples, -(-len(rows) // length))
    )
    running = [np.concatenate([[0], np.cumsum(values)]) for values in sums]
    drawn, beside = ((run[starts + length] - run[starts]).sum(axis=1) for run in running)
    low, high = np.quantile(drawn / np.maximum(beside, np.finfo(float).tiny), (0.025, 0.975))
    return whole, float(low), float(high)


def _elements(forecast: Forecast, truth: np.ndarray, scales: Scales) -> Elements:
    """What is averaged, and which of it: name -> values and mask
    ``[windows, horizon, targets]``."""
    known = np.isfinite(truth)
    truth = np.where(known, truth, 0).astype(np.float64)
    point = forecast.point.astype(np.float64)
    error = np.abs(truth - point)
    size = np.abs(truth) + np.abs(point)
    seasonal = np.broadcast_to(_positive(scales.seasonal)[:, np.newaxis], error.shape)
    deviations = np.broadcast_to(_positive(scales.deviation), error.shape)
    seasonal_known, deviation_known = known & ~np.isnan(seasonal), known & ~np.isnan(deviations)
    scaled = error / deviations
    pinball, crps = np.zeros_like(error), np.zeros_like(error)
    for k, (level, weight) in enumerate(zip(LEVELS, WEIGHTS, strict=True)):
        above = truth - forecast.quantiles[..., k]
        loss = np.maximum(level * above, (level - 1) * above)
        pinball += loss / len(LEVELS)
        crps += 2 * weight * loss
    elements = {
        "mae": (error, known),
        "mse": (error**2, known),
        "smape": (200 * error / np.where(size == 0, 1, size), known),
        "mase": (error / seasonal, seasonal_known),
        "pinball": (pinball, known),
        "crps": (crps, known),
        "scaled_mse": (scaled**2, deviation_known),
        "scaled_mae": (scaled, deviation_known),
    }
    for name, (lower, upper) in INTERVALS.items():
        low, high = forecast.quantiles[..., lower], forecast.quantiles[..., upper]
        width = (high - low).astype(np.float64)
        inside = np.where(np.isnan(width), np.nan, (low <= truth) & (truth <= high))
        elements |= {f"coverage_{name}": (inside, known), f"width_{name}": (width, known)}
    return elements


def _averages(elements: Elements, axes: tuple[int, ...]) -> dict[str, np.ndarray]:
    found = {name: _mean(values, mask, axes) for name, (values, mask) in elements.items()}
    return {"mae": found.pop("mae"), "rmse": np.sqrt(found["mse"]), **found}


def _positive(scale: np.ndarray) -> np.ndarray:
    """NaN for what can't be divided by: an infinite error would say nothing of the others."""
    return np.where(scale > 0, scale, np.nan).astype(np.float64)


def _mean(values: np.ndarray, mask: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Mean of what the mask admits; NaN, without a warning, where that is nothing."""
    count = mask.sum(axis=axes)
    total = values.sum(axis=axes, where=mask, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
