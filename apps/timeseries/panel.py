"""Series on a regular grid of time, their parts, and what is known when. Imports no TensorFlow."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from apps.timeseries.config import LEVELS
from apps.timeseries.frequency import step_of
from common.errors import UserError

PARTS = ("train", "validation", "test")
MOST_QUANTILES = 20_000_000
"""Of one method's forecasts of a part: 80 MB. The packaged tables have 2 million."""


@dataclass(frozen=True)
class Roles:
    """Which columns of a table are what."""

    targets: tuple[str, ...]
    """To be forecast."""
    past: tuple[str, ...] = ()
    """Covariates known up to the moment of forecasting: other sensors."""
    future: tuple[str, ...] = ()
    """Covariates known over the horizon as well: holidays, prices set, weather forecasts."""


@dataclass(frozen=True)
class Series:
    """One series; every row is one step of the grid, a value that is missing is NaN."""

    name: str
    seconds: np.ndarray
    """``[time]`` int64: of the clock on the wall, since 1970-01-01 00:00."""
    target: np.ndarray
    """``[time, targets]`` float32, in the table's unit."""
    past: np.ndarray
    """``[time, past covariates]`` float32."""
    future: np.ndarray
    """``[time, future covariates]`` float32."""

    def __len__(self) -> int:
        return len(self.seconds)

    @property
    def times(self) -> pd.DatetimeIndex:
        """``seconds`` as pandas has them."""
        return pd.DatetimeIndex(self.seconds.astype("datetime64[s]"))


@dataclass(frozen=True)
class Panel:
    """Series of one table, all with the same columns and the same frequency."""

    name: str
    """What people call it: a dataset's name or a file's."""
    series: tuple[Series, ...]
    roles: Roles
    frequency: str
    """An alias of a pandas offset: "h", "30min", "D", "B", "MS"."""

    @property
    def step(self) -> float:
        """Seconds from a row to the next, in the middle: months are not equally long."""
        return step_of(self.frequency)


@dataclass(frozen=True)
class Cuts:
    """Where, in wall-clock seconds, the parts end: each part is from the end of the one before
    up to, and without, its own end."""

    train: int
    validation: int
    test: int

    def bounds(self, part: str) -> tuple[int, int]:
        """First second of `part`, and the first after it."""
        ends = {"train": self.train, "validation": self.validation, "test": self.test}
        starts = {"train": np.iinfo(np.int64).min, "validation": self.train}
        return int(starts.get(part, self.validation)), ends[part]


def cut(panel: Panel, split: tuple[float, float, float]) -> Cuts:
    """Parts by time, the same moments for every series.

    Args:
        split: sizes of training, validation and test part: as shares of all rows (they are
            scaled to sum to 1), in per cent (they sum to 100), or, where all are whole numbers
            above 1, as numbers of rows from the beginning; rows after the last part are not
            used.

    Raises:
        UserError: for sizes that can't be, or more rows than there are.
    """
    grid = np.unique(np.concatenate([series.seconds for series in panel.series]))
    shown = " ".join(f"{size:g}" for size in split)
    if not all(0 < size < np.inf for size in split):
        raise UserError(f"--split {shown}: expected three sizes above 0")
    if min(split) > 1 and sum(split) != 100:
        if any(size != int(size) for size in split) or sum(split) > len(grid):
            raise UserError(
                f"--split {shown}: expected three whole numbers of rows, {len(grid):,} together "
                f"at most, as {panel.name} has; or three shares"
            )
        rows = np.cumsum([int(size) for size in split])
    else:
        shares = np.cumsum(split) / sum(split)
        rows = np.floor(shares * len(grid) + 1e-6).astype(int)
    ends = np.append(grid, grid[-1] + 1)[rows]
    return Cuts(*(int(end) for end in ends))


def origins(panel: Panel, cuts: Cuts, part: str, history: int, horizon: int) -> np.ndarray:
    """Every window of a part: its forecast lies in it wholly; its history may reach back.

    A window without one known target value in its history, or in its horizon, is left out.

    Returns:
        ``[windows, 2]``: number of the series, and the row of the first forecast step.
    """
    first, last = cuts.bounds(part)
    found = []
    for number, series in enumerate(panel.series):
        inside = np.flatnonzero((series.seconds >= first) & (series.seconds < last))
        if not len(inside):
            continue
        rows = np.arange(max(inside[0], history), inside[-1] + 2 - horizon)
        if not len(rows):
            continue
        known = np.concatenate([[0], np.cumsum(np.isfinite(series.target).any(axis=1))])
        before = known[rows] - known[rows - history]
        after = known[rows + horizon] - known[rows]
        rows = rows[(before > 0) & (after > 0)]
        found.append(np.stack([np.full_like(rows, number), rows], axis=1))
    return np.concatenate(found) if found else np.zeros((0, 2), np.int64)


def scored(origins: np.ndarray, horizon: int, targets: int) -> np.ndarray:
    """All windows, or every so many of them: no more than can be forecast by several methods side
    by side in memory (``MOST_QUANTILES``), and than a score needs.

    Args:
        origins: ``[windows, 2]``, as ``origins`` gives them.
    """
    return origins[
        :: max(1, -(-origins.shape[0] * horizon * targets * len(LEVELS) // MOST_QUANTILES))
    ]


def gather(panel: Panel, origins: np.ndarray, begin: int, end: int, field: str) -> np.ndarray:
    """Rows `begin` to `end`, without the last, counted from each window's first forecast step.

    Args:
        origins: as ``origins`` gives them.
        field: ``"target"``, ``"past"``, ``"future"`` or ``"seconds"``.

    Returns:
        ``[windows, end - begin, columns]``, or ``[windows, end - begin]`` of seconds.
    """
    columns = getattr(panel.series[0], field).shape[1:]
    dtype = getattr(panel.series[0], field).dtype
    found = np.empty((len(origins), end - begin, *columns), dtype)
    for number in np.unique(origins[:, 0]):
        here = origins[:, 0] == number
        rows = origins[here, 1][:, np.newaxis] + np.arange(begin, end)
        found[here] = getattr(panel.series[number], field)[rows]
    return found


@dataclass(frozen=True)
class Forecast:
    """What is said at each origin about each step of the horizon, in the targets' units."""

    point: np.ndarray
    """``[windows, horizon, targets]``."""
    quantiles: np.ndarray
    """``[windows, horizon, targets, levels]``, of ``config.LEVELS``, rising."""

    @classmethod
    def certain(cls, point: np.ndarray) -> "Forecast":
        """A point ``[windows, horizon, targets]`` that claims to be all quantiles at once: for its
        point scores only."""
        return cls(point, np.repeat(point[..., np.newaxis], len(LEVELS), axis=-1))
