"""Values that are missing, and units that differ: what the baselines do about them. Imports no
TensorFlow."""

from dataclasses import replace

import numpy as np

from apps.timeseries.panel import Cuts, Panel, Series


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
    """Each series up to, and without, a second of the clock."""
    found = []
    for series in panel.series:
        rows = series.seconds < end
        columns = {name: getattr(series, name)[rows] for name in ("target", "past", "future")}
        found.append(replace(series, seconds=series.seconds[rows], **columns))
    return found


def moments(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation ``[parts, columns]`` of parts ``[time, columns]``, NaN where missing;
    those of all parts together, or 0 and 1, where a part has nothing; a deviation is never 0."""
    everything = np.concatenate(parts)
    means, deviations = [], []
    for values in [*parts, everything]:
        known = np.isfinite(values)
        count = np.maximum(known.sum(axis=0), 1)
        mean = values.sum(axis=0, where=known, dtype=np.float64) / count
        variance = ((values - mean) ** 2).sum(axis=0, where=known) / count
        bare = ~known.any(axis=0)
        means.append(np.where(bare, np.nan, mean))
        deviations.append(np.where(bare | (variance == 0), np.nan, np.sqrt(variance)))
    mean, deviation = np.stack(means), np.stack(deviations)
    mean = np.where(np.isnan(mean), np.nan_to_num(mean[-1], nan=0.0), mean)
    deviation = np.where(np.isnan(deviation), np.nan_to_num(deviation[-1], nan=1.0), deviation)
    return mean[:-1], deviation[:-1]


def standardised(panel: Panel, cuts: Cuts) -> Panel:
    """The panel by the training part's mean and deviation: targets series by series, covariates
    of all series together, for they say more when they can be compared."""
    known = before(panel, cuts.train)
    mean, deviation = moments([series.target for series in known])
    columns = {}
    for field in ("past", "future"):
        columns[field] = moments([np.concatenate([getattr(series, field) for series in known])])
    changed = []
    for number, series in enumerate(panel.series):
        values = {"target": (series.target - mean[number]) / deviation[number]}
        for field, (middle, spread) in columns.items():
            values[field] = (getattr(series, field) - middle[0]) / spread[0]
        typed = {name: array.astype(np.float32) for name, array in values.items()}
        changed.append(replace(series, **typed))
    return replace(panel, series=tuple(changed))
