"""The newest rows of a table, made ready to be forecast from. Imports no TensorFlow."""

from dataclasses import replace

import numpy as np
import pandas as pd

from apps.timeseries.panel import Panel, Series
from apps.timeseries.schema import Schema
from apps.timeseries.timestamps import shown
from common.errors import UserError


def ready(panel: Panel, schema: Schema) -> tuple[Panel, np.ndarray]:
    """Each series up to the horizon's end after its last known target, and the origins there.

    Rows after that target give the future covariates; the horizon's other values are NaN.

    Returns:
        The panel, and ``[series, 2]``: number of the series, and the row of the first forecast
        step.

    Raises:
        UserError: for another frequency than the run's, for a series with less history than the
            run looks back on, and for a future covariate that is not given over the horizon.
    """
    schema.check(panel)
    found, origins = [], []
    for number, series in enumerate(panel.series):
        known = np.isfinite(series.target).any(axis=1)
        row = len(known) - int(known[::-1].argmax())
        history = schema.shape.history
        if row < history:
            raise UserError(
                f"{panel.name}: series {series.name!r} has {row:,} rows of history, up to "
                f"{shown(series.seconds[row - 1])}; expected {history:,} at least, every "
                f"{schema.frequency}"
            )
        longer = _reaching(series, row, schema)
        _check_future(panel, longer, row)
        found.append(longer)
        origins.append((number, row))
    return replace(panel, series=tuple(found)), np.array(origins)


def history_of(panel: Panel, origins: np.ndarray) -> Panel:
    """What of `panel` stands before the origins ``[windows, 2]``."""
    kept = []
    for number, row in origins:
        one = panel.series[number]
        rows = (one.seconds, one.target, one.past, one.future)
        kept.append(Series(one.name, *(values[:row] for values in rows)))
    return replace(panel, series=tuple(kept))


def _reaching(series: Series, row: int, schema: Schema) -> Series:
    """The series with exactly the horizon's rows after `row`."""
    horizon = schema.shape.horizon
    last = pd.Timestamp(int(series.seconds[row - 1]), unit="s")
    ahead = pd.date_range(last, periods=horizon + 1, freq=schema.frequency, unit="s")[1:]
    seconds = ahead.to_numpy().astype("datetime64[s]").astype(np.int64)

    def reaching(rows: np.ndarray) -> np.ndarray:
        rows = rows[: row + horizon]
        return np.pad(rows, ((0, row + horizon - len(rows)), (0, 0)), constant_values=np.nan)

    columns = [reaching(rows) for rows in (series.target, series.past, series.future)]
    return Series(series.name, np.concatenate([series.seconds[:row], seconds]), *columns)


def _check_future(panel: Panel, series: Series, row: int) -> None:
    missing = np.isnan(series.future[row:])
    if missing.any():
        step, column = np.argwhere(missing)[0]
        raise UserError(
            f"{panel.name}: series {series.name!r}: no {panel.roles.future[column]!r} at "
            f"{shown(series.seconds[row + step])}; expected the future covariates "
            f"({', '.join(panel.roles.future)}) of {len(missing)} rows after the last known "
            f"target, {shown(series.seconds[row - 1])}"
        )
