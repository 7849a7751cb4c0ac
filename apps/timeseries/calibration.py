"""Intervals from the errors of the validation part, and quantiles put right by them. Imports no
TensorFlow."""

import numpy as np

from apps.timeseries.config import LEVELS

MEDIAN = LEVELS.index(0.5)
NARROWEST, WIDEST = 0.2, 5.0  # factor of a spread
FLATTEST = 0.01  # scale of a window, of the training deviation


def residual_quantiles(
    point: np.ndarray, truth: np.ndarray, scale: np.ndarray | None = None
) -> np.ndarray:
    r"""Quantiles of the errors of point forecasts, for each step and target by itself.

    Split-conformal intervals (Vovk et al. 2005; Romano et al. 2019): of n sorted errors
    :math:`r_{(1)} \le \dots \le r_{(n)}`, an upper level :math:`\tau > 0.5` has the one of rank
    :math:`\lceil (n+1)\,\tau \rceil`, a lower level that of rank
    :math:`\lfloor (n+1)\,\tau \rfloor`, and the median the mean of the two: on exchangeable
    windows a new error is then inside at least as often as is said. With too few errors for an
    outer level it has the extreme one, and says too much.

    Args:
        point: ``[windows, horizon, targets]``, of windows that the model was not fitted to.
        truth: ``[windows, horizon, targets]``, NaN where it is missing.
        scale: ``[windows, 1, targets]`` that errors are divided by, where series differ in size.

    Returns:
        ``[horizon, targets, levels]`` float32, rising, in the targets' unit or in `scale`'s. A
        step without errors has the target's of all steps; NaN if there are none either.
    """
    errors = (truth - point).astype(np.float64)
    if scale is not None:
        errors = errors / scale
    offsets = _ranked(errors)
    bare = np.isnan(offsets[..., 0])
    if bare.any():
        pooled = _ranked(errors.reshape(-1, 1, errors.shape[-1]))
        offsets = np.where(bare[..., np.newaxis], pooled, offsets)
    return offsets.astype(np.float32)


def _ranked(errors: np.ndarray) -> np.ndarray:
    """``[windows, horizon, targets]`` -> ``[horizon, targets, levels]``: those of conformal rank,
    NaN where there are none."""
    if not len(errors):
        return np.full((*errors.shape[1:], len(LEVELS)), np.nan)
    ordered = np.sort(errors, axis=0)  # what is NaN comes last
    count = np.isfinite(errors).sum(axis=0)
    found = np.empty((*count.shape, len(LEVELS)))
    for k, level in enumerate(LEVELS):
        # 0.1 * 30 is a little more than 3, which must not become the fourth.
        rank = np.round((count + 1) * level, 9)
        lower, upper = np.floor(rank), np.ceil(rank)
        ends = {-1: (lower, lower), 0: (lower, upper), 1: (upper, upper)}[int(np.sign(k - MEDIAN))]
        places = [np.clip(end, 1, np.maximum(count, 1)).astype(int) - 1 for end in ends]
        picked = [np.take_along_axis(ordered, place[np.newaxis], axis=0)[0] for place in places]
        found[..., k] = (picked[0] + picked[1]) / 2
    return found


def window_scale(history: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """How large errors may be expected to be: the standard deviation of each window's history.

    Errors of all windows are alike only after division by something: prices move more when they
    are high, series of one table differ. On the packaged tables and ETTh1 this kept intervals
    nearer to their level than the series' own seasonal difference, or the window's mean step.

    Args:
        history: ``[windows, time, targets]``, NaN where it is missing.
        deviation: ``[windows, 1, targets]`` above zero, of the training part: stands in where
            nothing is known; a hundredth of it is the least, for a history may be constant.

    Returns:
        ``[windows, 1, targets]`` float64, in the targets' units, above zero.
    """
    known = np.isfinite(history)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    mean = history.sum(axis=1, keepdims=True, where=known, dtype=np.float64) / count
    square = ((history - mean) ** 2).sum(axis=1, keepdims=True, where=known) / count
    found = np.maximum(np.sqrt(square), FLATTEST * deviation)
    return np.where(known.any(axis=1, keepdims=True), found, deviation)


def widen(point: np.ndarray, offsets: np.ndarray, scale: np.ndarray | None = None) -> np.ndarray:
    """Quantiles around point forecasts.

    Args:
        point: ``[windows, horizon, targets]``.
        offsets: ``[horizon, targets, levels]``, from ``residual_quantiles``.
        scale: ``[windows, 1, targets]``, if that was given one.

    Returns:
        ``[windows, horizon, targets, levels]`` float32, rising.
    """
    spread = offsets if scale is None else offsets * scale[..., np.newaxis]
    return (point[..., np.newaxis] + spread).astype(np.float32)


def spread_factors(quantiles: np.ndarray, truth: np.ndarray) -> np.ndarray:
    r"""What to stretch the distances between neighbouring quantiles by, for them to be right.

    Going out from the median, each new quantile
    :math:`q'_{k+1} = q'_k + f_k\,(q_{k+1} - q_k)` shall have the share :math:`\tau_{k+1}` of the
    truth at or below it. That is :math:`(y - q'_k) / (q_{k+1} - q_k) \le f_k` as often, so
    :math:`f_k` is the empirical :math:`\tau_{k+1}`-quantile of that fraction; downwards likewise.
    All windows, steps and targets share the factors, as fractions have no unit.

    Args:
        quantiles: ``[windows, horizon, targets, levels]``, of windows that the model was not
            fitted to.
        truth: ``[windows, horizon, targets]``, NaN where it is missing.

    Returns:
        ``[levels]`` float64, from 0.2 to 5: windows that are few or odd shall not turn a
        forecast inside out. 1 for the median, and for all if nothing is known.
    """
    factors = np.ones(len(LEVELS))
    known = np.isfinite(truth)
    if not known.any():
        return factors
    truth, steps = truth[known].astype(np.float64), quantiles[known].astype(np.float64)
    for way in (1, -1):
        inner = steps[:, MEDIAN]
        for k in range(MEDIAN + way, len(LEVELS) if way > 0 else -1, way):
            gap = np.maximum(way * (steps[:, k] - steps[:, k - way]), 0)
            beyond = way * (truth - inner)
            # Where there is no gap, no factor moves the quantile: always or never below it.
            inside = beyond <= 0 if way > 0 else beyond < 0
            never = np.where(inside, -np.inf, np.inf)
            fraction = np.divide(beyond, gap, out=never, where=gap > 0)
            share = LEVELS[k] if way > 0 else 1 - LEVELS[k]
            place = min(
                max(int(np.ceil(np.round(share * len(fraction), 9))) - 1, 0), len(truth) - 1
            )
            factors[k] = np.clip(np.partition(fraction, place)[place], NARROWEST, WIDEST)
            inner = inner + way * factors[k] * gap
    return factors


def respread(quantiles: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Quantiles with the distances between neighbours stretched; they can't cross, since no
    factor is negative, and the median stays where it is.

    Args:
        quantiles: ``[windows, horizon, targets, levels]``.
        factors: ``[levels]``, from ``spread_factors``; the median's own is not used.

    Returns:
        ``[windows, horizon, targets, levels]`` of the same type.
    """
    moved = quantiles.copy()
    for way in (1, -1):
        for k in range(MEDIAN + way, len(LEVELS) if way > 0 else -1, way):
            gap = np.maximum(way * (quantiles[..., k] - quantiles[..., k - way]), 0)
            moved[..., k] = moved[..., k - way] + way * quantiles.dtype.type(factors[k]) * gap
    return moved
