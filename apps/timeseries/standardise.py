"""Values that are missing, and units that differ: what the baselines do about them. Imports no
TensorFlow."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from apps.timeseries.panel import Cuts, Panel, Series

BLOCK = 65_536  # rows


def carried(values: np.ndarray, fallback: np.ndarray | float) -> np.ndarray:
    """Missing values replaced by the one before them, at the beginning by the first known, and
    by `fallback` where all are missing: over axis 1 of ``[windows, time, columns]``."""
    known = np.isfinite(values)
    if known.all():
        return values
    places = np.where(known, np.arange(values.shape[1])[:, np.newaxis], 0)
    places = np.maximum(np.maximum.accumulate(places, axis=1), known.argmax(axis=1)[:, np.newaxis])
    found = np.take_along_axis(values, places, axis=1)
    return np.where(np.isnan(found), fallback, found).astype(values.dtype)


def before(panel: Panel, end: int) -> list[Series]:
    """Each series up to, and without, a second of the clock; nothing is copied."""
    found = []
    for series in panel.series:
        rows = slice(int(np.searchsorted(series.seconds, end)))
        columns = {name: getattr(series, name)[rows] for name in ("target", "past", "future")}
        found.append(replace(series, seconds=series.seconds[rows], **columns))
    return found


def moments(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation ``[parts, columns]`` of parts ``[time, columns]``, NaN where missing;
    those of all parts together, or 0 and 1, where a part has nothing; a deviation is never 0."""
    whole_mean, whole_deviation = together(parts)
    means, deviations = zip(*(_known_moments([part]) for part in parts), strict=True)
    mean, deviation = np.stack(means), np.stack(deviations)
    mean = np.where(np.isnan(mean), whole_mean, mean)
    return mean, np.where(np.isnan(deviation), whole_deviation, deviation)


def together(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation ``[columns]`` of all parts as one; 0 and 1 where nothing is known, and 1
    of a column that stands still."""
    mean, deviation = _known_moments(parts)
    return np.nan_to_num(mean, nan=0.0), np.nan_to_num(deviation, nan=1.0)


def _known_moments(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """``[columns]`` each, NaN where nothing is known, and for a deviation of 0. Block by block:
    float64 of everything would take twice the memory that the parts do."""

    def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for part in parts:
            for begin in range(0, len(part), BLOCK):
                values = part[begin : begin + BLOCK]
                yield values, np.isfinite(values)

    columns = parts[0].shape[1]
    count, total, square = (np.zeros(columns) for _ in range(3))
    for values, known in blocks():
        count += known.sum(axis=0)
        total += values.sum(axis=0, where=known, dtype=np.float64)
    mean = total / np.maximum(count, 1)
    for values, known in blocks():
        square += ((values - mean) ** 2).sum(axis=0, where=known)
    variance = square / np.maximum(count, 1)
    bare = count == 0
    deviation = np.where(bare | (variance == 0), np.nan, np.sqrt(variance))
    return np.where(bare, np.nan, mean), deviation


def standardised(panel: Panel, cuts: Cuts) -> Panel:
    """The panel by the training part's mean and deviation: targets series by series, covariates
    of all series together, for they say more when they can be compared."""
    known = before(panel, cuts.train)
    mean, deviation = moments([series.target for series in known])
    columns = {}
    for field in ("past", "future"):
        columns[field] = together([getattr(series, field) for series in known])
    changed = []
    for number, series in enumerate(panel.series):
        by = {"target": (mean[number], deviation[number]), **columns}
        values: dict[str, Any] = {
            name: _by(getattr(series, name), *those) for name, those in by.items()
        }
        changed.append(replace(series, **values))
    return replace(panel, series=tuple(changed))


def _by(values: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    found = np.empty(values.shape, np.float32)
    for begin in range(0, len(values), BLOCK):
        rows = slice(begin, begin + BLOCK)
        found[rows] = (values[rows] - mean) / deviation
    return found
