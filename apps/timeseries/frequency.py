"""The regular grid of time that rows lie on: found out, checked, and drawn."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset
from pandas.tseries.offsets import Day, Tick

from apps.timeseries.timestamps import Index, shown
from common.errors import UserError

DAY = 86_400
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
CALENDAR = (
    *(f"{kind}-{month}" for kind in ("YS", "YE") for month in MONTHS),
    *(f"{kind}-{month}" for kind in ("QS", "QE") for month in ("OCT", "NOV", "DEC")),
    *("MS", "ME", "BMS", "BME"),
)
"""Grids whose steps are not equally long, the coarsest first."""
MOST_ADDED = 1_000_000
"""Rows that a table may lack in one gap and still be taken at its word."""


def frequency_of(series: list[Index], declared: str | None, where: str) -> str:
    """The alias of the grid that the rows of all series lie on, up to rows that are missing.

    It is `declared`, or that of the longest series: what ``pandas.infer_freq`` says where none
    is missing, or else the calendar's or the commonest step. The same grid always has the
    same alias: ``h`` for ``60min``.

    Raises:
        UserError: if `declared` is no frequency, is finer than the rows, or is missing where
            every series has fewer than 3 rows; if a series has another frequency. Single rows
            off the grid are for ``grid`` to name.
    """
    longest = max(series, key=lambda index: len(index.seconds))
    if declared is not None:
        frequency = _canonical(_offset(declared), longest.seconds[0])
        says = "as --frequency says"
    elif len(longest.seconds) < 3:
        raise UserError(
            f"{where}: {len(longest.seconds)} row(s) are too few to find the frequency: expected "
            f"3 at least, or --frequency"
        )
    else:
        frequency = _infer(longest.seconds)
        says = f"as series {longest.name!r} has"
    for index in series:
        if len(index.seconds) < 3 or (index is longest and declared is None):
            continue
        own = _infer(index.seconds)
        if own != frequency and not _fits(index.seconds, frequency):
            of = f"series {index.name!r} has rows" if len(series) > 1 else "rows"
            raise UserError(
                f"{where}: row {index.rows[0] + 1}: from here {of} every {own}; expected every "
                f"{frequency}, {says}"
            )
    return frequency


def grid(index: Index, frequency: str, where: str) -> np.ndarray:
    """``[time]`` int64 seconds: the grid from a series' first row to its last.

    Raises:
        UserError: for the first row that is not on it; for a gap of over ``MOST_ADDED`` rows.
    """
    seconds, offset = index.seconds, to_offset(frequency)
    gaps = np.diff(seconds, prepend=seconds[0]) / step_of(frequency)
    if gaps.max() > MOST_ADDED:
        row = int(gaps.argmax())
        raise UserError(
            f"{where}: row {index.rows[row] + 1}: {shown(seconds[row])} follows on "
            f"{shown(seconds[row - 1])}: {gaps[row]:,.0f} rows of frequency {frequency} are "
            f"missing; expected {MOST_ADDED:,} at most"
        )
    off = _off_grid(seconds, offset)
    if off.any():
        row = int(off.argmax())
        raise UserError(
            f"{where}: row {index.rows[row] + 1}: {shown(seconds[row])} is not on the grid of "
            f"frequency {frequency} that the other rows lie on{_nearest(seconds, row, offset)}"
        )
    fixed = _fixed_seconds(offset)
    if fixed:
        return np.arange(seconds[0], seconds[-1] + 1, fixed)
    return _range(seconds[0], seconds[-1], offset)


def step_of(frequency: str) -> float:
    """Seconds from a row to the next, in the middle: months are not equally long."""
    offset = to_offset(frequency)
    return float(_fixed_seconds(offset) or np.median(np.diff(_from(0, offset))))


def _offset(declared: str) -> Any:
    try:
        offset = to_offset(declared)
        steps = np.diff(_from(0, offset))
    except (ValueError, TypeError, OverflowError):
        steps = np.zeros(1)
    if not len(steps) or min(steps) <= 0:  # nothing, backwards, or less than a second
        raise UserError(
            f"--frequency {declared}: expected a pandas alias of a second at least, such as h, "
            f"30min, D, B, W, MS, ME"
        ) from None
    return offset


def _fixed_seconds(offset: Any) -> int | None:
    """Seconds of a step, if all steps are equally long (for a clock without summer time)."""
    if isinstance(offset, Day):
        return offset.n * DAY
    return round(pd.Timedelta(offset).total_seconds()) if isinstance(offset, Tick) else None


def _range(first: int, last: int, offset: Any) -> np.ndarray:
    """``[time]`` int64 seconds: what lies on the grid, from `first` to `last`."""
    start, end = (pd.Timestamp(int(moment), unit="s") for moment in (first, last))
    return _seconds(pd.date_range(start, end, freq=offset, unit="s"))


def _from(first: int, offset: Any) -> np.ndarray:
    """The first 40 moments of a grid."""
    start = pd.Timestamp(int(first), unit="s")
    return _seconds(pd.date_range(start, periods=40, freq=offset, unit="s"))


def _seconds(times: pd.DatetimeIndex) -> np.ndarray:
    return times.to_numpy().astype("datetime64[s]").astype(np.int64)


def _regular(seconds: np.ndarray) -> str | None:
    """What pandas calls a grid without gaps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas 3.1: an offset will come instead of its name
        found: Any = pd.infer_freq(pd.DatetimeIndex(seconds.astype("datetime64[s]")))
    return getattr(found, "freqstr", found)


def _canonical(offset: Any, first: int) -> str:
    return _regular(_from(first, offset)) or offset.freqstr


def _infer(seconds: np.ndarray) -> str:
    """The frequency of three rows or more, rising, of which some may be missing."""
    alias = _regular(seconds)
    if alias is not None:
        return _canonical(to_offset(alias), seconds[0])
    steps, counts = np.unique(np.diff(seconds), return_counts=True)
    commonest = int(steps[counts.argmax()])
    if commonest == DAY and _business(seconds):
        return "B"
    if commonest >= 28 * DAY:
        shares = [1 - _off_grid(seconds, to_offset(alias)).mean() for alias in CALENDAR]
        best = int(np.argmax(shares))
        # A calendar with a slip in it, unless the steps are equally long after all
        if shares[best] == 1 or (shares[best] > 0.5 and (steps % commonest).any()):
            return _canonical(to_offset(CALENDAR[best]), seconds[0])
    first = seconds[seconds % commonest == _phase(seconds, commonest)][0]
    return _canonical(to_offset(pd.Timedelta(seconds=commonest)), first)


def _business(seconds: np.ndarray) -> bool:
    """Whether there is no weekend's row over two weeks or more."""
    weekday = (seconds // DAY + 3) % 7  # 1970-01-01 was a Thursday
    return bool((weekday < 5).all() and seconds[-1] - seconds[0] >= 13 * DAY)


def _phase(seconds: np.ndarray, fixed: int) -> int:
    """The remainder that most rows share; of several the one that comes first."""
    phases, firsts, counts = np.unique(seconds % fixed, return_index=True, return_counts=True)
    most = counts == counts.max()
    return int(phases[most][firsts[most].argmin()])


def _off_grid(seconds: np.ndarray, offset: Any) -> np.ndarray:
    """``[rows]`` bool: which rows are not on the grid that most of them lie on."""
    fixed = _fixed_seconds(offset)
    if fixed:
        return seconds % fixed != _phase(seconds, fixed)
    clock = _phase(seconds, DAY)  # the first row may be the one with another time of day
    return ~np.isin(seconds, _range(seconds[0] // DAY * DAY + clock, seconds[-1], offset))


def _fits(seconds: np.ndarray, frequency: str) -> bool:
    """Whether most rows lie on the grid, and some of them one step apart: else it is too fine."""
    offset = to_offset(frequency)
    off = _off_grid(seconds, offset)
    if off.mean() >= 0.5:
        return False
    fixed, kept = _fixed_seconds(offset), seconds[~off]
    if fixed:
        return bool((np.diff(kept) == fixed).any())
    places = np.searchsorted(_range(seconds[0], seconds[-1], offset), kept)
    return bool((np.diff(places) == 1).any())


def _nearest(seconds: np.ndarray, row: int, offset: Any) -> str:
    fixed, moment = _fixed_seconds(offset), int(seconds[row])
    if fixed:
        before = moment - (moment - _phase(seconds, fixed)) % fixed
        around = np.array([before, before + fixed])
    else:
        begin = (moment // DAY - 400) * DAY + _phase(seconds, DAY)
        around = _range(begin, moment + 400 * DAY, offset)
        after = int((around < moment).sum())
        if not 0 < after < len(around):  # steps of years
            return ""
        around = around[after - 1 : after + 1]
    return f"; expected {shown(around[0])} or {shown(around[1])}"
