"""Timestamps of a table: the column they stand in, what they say, and their order."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from common.errors import UserError

ISO = (
    r"(?P<local>(?!0000)\d{4}(?P<dash>[-/])\d{1,2}(?:(?P=dash)\d{1,2})?)"
    r"(?:[T ](?P<clock>\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?)"
    r"\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?)?"
)
"""A date or a month, with a time of day and a zone or without; the year first."""
EXPECTED = "expected ISO 8601, such as 2014-03-31 17:30:00"
DATE_LIKE = r"\d{4}[-/]\d{1,2}(?:[-/ T].*)?|\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}(?:[ T].*)?"
"""What is meant as a date, though it may not be read as one."""
SAMPLE = 20
"""Cells that are looked at to find the column of timestamps."""


@dataclass(frozen=True)
class Index:
    """The timestamps of one series, rising."""

    name: str
    """Of the series."""
    rows: np.ndarray
    """``[rows]``: where in the table they stand, counted from 0."""
    seconds: np.ndarray
    """``[rows]`` int64: of the clock on the wall, since 1970-01-01 00:00."""


def as_text(cells: pd.Series) -> pd.Series:
    """Cells as strings without white space around them; what is missing is empty."""
    if cells.dtype == object or pd.api.types.is_string_dtype(cells.dtype):
        return cells.fillna("").astype(str).str.strip()
    return cells.astype(object).where(cells.notna(), "").astype(str)


def shown(seconds: float) -> str:
    """A moment as people write it: ``2014-03-31 17:30:00``."""
    return str(np.datetime64(int(seconds), "s")).replace("T", " ")


def looks_like_time(cells: pd.Series) -> bool:
    """Whether a column holds datetimes, or most of its first cells are meant as dates."""
    if pd.api.types.is_datetime64_any_dtype(cells.dtype):
        return True
    if pd.api.types.is_numeric_dtype(cells.dtype):
        return False
    text = as_text(cells.dropna().iloc[:SAMPLE])
    text = text[text != ""]
    return len(text) > 0 and bool(text.str.fullmatch(DATE_LIKE).mean() >= 0.5)


class Clock:
    """Reads the timestamps of a table, piece by piece.

    Args:
        where: what errors call the table.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self._zone: str | None = None

    def read(self, cells: pd.Series) -> np.ndarray:
        """Timestamps as ``[rows]`` int64 seconds of the clock on the wall since 1970-01-01 00:00;
        a time zone that all have is dropped.

        Args:
            cells: of the next rows; its index counts them from 0.

        Raises:
            UserError: for the first cell that is empty or no ISO 8601 timestamp, is no whole
                second, or has another offset from UTC than row 1, naming its row.
        """
        where = self.where
        if pd.api.types.is_datetime64_any_dtype(cells.dtype):
            times, offsets = _from_datetimes(cells)
            text = as_text(cells)
        else:
            text = as_text(cells)
            times, offsets = _from_text(text)
        _refuse_first(times.isna(), text, where)
        seconds = times.to_numpy().astype("datetime64[s]")
        broken = times.to_numpy() != seconds
        if broken.any():
            row = int(broken.argmax())
            raise UserError(
                f"{where}: row {text.index[row] + 1}: timestamp {text.iloc[row]!r}: expected "
                f"seconds"
            )
        if self._zone is None:
            self._zone = str(offsets.iloc[0])
        other = (offsets != self._zone).to_numpy()
        if other.any():
            row = int(other.argmax())
            zones = [
                f"offset {zone}" if zone else "no zone" for zone in (offsets.iloc[row], self._zone)
            ]
            raise UserError(
                f"{where}: row {text.index[row] + 1}: timestamp {text.iloc[row]!r} has {zones[0]}, "
                f"row 1 has {zones[1]}: expected one time zone without summer time; convert them "
                f"to UTC"
            )
        return seconds.astype(np.int64)


def _from_datetimes(cells: pd.Series) -> tuple[pd.Series, pd.Series]:
    if cells.dt.tz is None:
        return cells, pd.Series("", index=cells.index)
    wall = cells.dt.tz_localize(None)
    return wall, (wall - cells.dt.tz_convert("UTC").dt.tz_localize(None)).map(_offset)


def _offset(away: pd.Timedelta) -> str:
    if pd.isna(away):
        return ""
    minutes = round(away.total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def _from_text(text: pd.Series) -> tuple[pd.Series, pd.Series]:
    parts = text.str.extract(f"^{ISO}$").astype(object).fillna("")
    local = (parts["local"].str.replace("/", "-") + " " + parts["clock"]).str.strip()
    times = pd.to_datetime(local, format="ISO8601", errors="coerce")
    zones = parts["zone"].str.replace(":", "").replace({"Z": "+00", "UTC": "+00", "GMT": "+00"})
    named = zones != ""
    padded = zones.str.ljust(5, "0").replace("-0000", "+0000")
    return times, (padded.str[:3] + ":" + padded.str[3:]).where(named, "")


def _refuse_first(bad: pd.Series, text: pd.Series, where: str) -> None:
    if not bad.any():
        return
    row = int(bad.to_numpy().argmax())
    cell, row = str(text.iloc[row])[:60], text.index[row]
    if cell in ("", "NaT"):
        raise UserError(f"{where}: row {row + 1}: the timestamp is empty; {EXPECTED}")
    hint = ""
    if pd.Series([cell]).str.fullmatch(r"\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}.*").all():
        hint = ": whether day or month comes first can't be known"
    elif cell.replace(".", "", 1).lstrip("-").isdigit():
        hint = ": a number is no date"
    raise UserError(f"{where}: row {row + 1}: timestamp {cell!r}: {EXPECTED}{hint}")


def series_of(names: pd.Series, seconds: np.ndarray, where: str) -> list[Index]:
    """The rows of each series, in the order in which the series begin.

    Args:
        names: ``[rows]``: the series that each row belongs to.
        seconds: ``[rows]``: as ``read_times`` gives them.

    Raises:
        UserError: for the first row whose timestamp its series has already, or that is not
            after the row before it in its series.
    """
    codes, labels = pd.factorize(names)
    _check_order(codes, labels, seconds, where)
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes))
    rows_of = np.split(order, ends[:-1])
    return [
        Index(str(label), rows, seconds[rows]) for label, rows in zip(labels, rows_of, strict=True)
    ]


def _check_order(codes: np.ndarray, labels: pd.Index, seconds: np.ndarray, where: str) -> None:
    frame = pd.DataFrame({"series": codes, "seconds": seconds, "row": np.arange(len(codes))})
    groups = frame.groupby("series")
    twice = frame.duplicated(["series", "seconds"]).to_numpy()
    before = (groups["seconds"].diff() < 0).to_numpy()
    if not (twice | before).any():
        return
    row = int((twice | before).argmax())
    mine = frame[(frame["series"] == codes[row]) & (frame["row"] < row)]
    of = f" of series {labels[codes[row]]!r}" if len(labels) > 1 else ""
    if twice[row]:
        first = int(mine["row"][mine["seconds"] == seconds[row]].iloc[0])
        several = "" if of else "; several series in one file need --series-column"
        raise UserError(
            f"{where}: row {row + 1}: timestamp {shown(seconds[row])}{of} stands in row "
            f"{first + 1} already; expected it once{several}"
        )
    last = int(mine["row"].iloc[-1])
    raise UserError(
        f"{where}: row {row + 1}: timestamp {shown(seconds[row])}{of} is before row {last + 1}'s, "
        f"{shown(seconds[last])}; expected rows in the order of time"
    )
