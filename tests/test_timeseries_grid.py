"""Tables of time: their timestamps, and the grid that they are laid on."""

import re
from collections.abc import Callable
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from apps.timeseries.config import TableConfig
from apps.timeseries.tables import to_panel
from common.errors import UserError
from tests.timeseries_cells import (
    GRIDS,
    LOAD,
    SITES,
    assert_same,
    long_table,
    refused,
    table,
    times,
    with_cell,
)

# Timestamps

WRITTEN: dict[str, Callable[[pd.DatetimeIndex], list]] = {
    "with T": lambda index: [t.isoformat() for t in index],
    "without seconds": lambda index: index.strftime("%Y-%m-%d %H:%M").tolist(),
    "slashes, the year first": lambda index: index.strftime("%Y/%m/%d %H:%M").tolist(),
    "white space": lambda index: [f" {t} " for t in index],
    "Z": lambda index: [f"{t.isoformat()}Z" for t in index],
    "Z and +00:00": lambda index: [f"{t}{('Z', '+00:00', '-00:00')[t.hour % 3]}" for t in index],
    "an offset": lambda index: [f"{t}+05:30" for t in index],
    "an offset, written twice": lambda index: [
        f"{t}{('+05:30', '+0530')[t.hour % 2]}" for t in index
    ],
    "datetimes": lambda index: list(index),
    "datetimes with a zone": lambda index: list(index.tz_localize("Asia/Tokyo")),
}


@pytest.mark.parametrize("way", WRITTEN)
def test_every_way_to_write_a_time_is_the_time_on_the_wall(way: str) -> None:
    frame = table().assign(time=WRITTEN[way](times(24)))
    assert_array_equal(to_panel(frame, "t", LOAD).series[0].times, times(24))


@pytest.mark.parametrize("way", ["%Y-%m-%d", "%Y/%m/%d", "%Y-%m"])
def test_dates_and_months_are_times(way: str) -> None:
    frame = table(24, "MS").assign(time=times(24, "MS").strftime(way))
    panel = to_panel(frame, "t", LOAD)
    assert_array_equal(panel.series[0].times, times(24, "MS"))
    assert panel.frequency == "MS"
    frame["time"] = [date(2014 + n // 12, n % 12 + 1, 1) for n in range(3, 27)]
    assert_same(to_panel(frame, "t", LOAD), panel)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("", "the timestamp is empty"),
        ("NaT", "the timestamp is empty"),
        ("soon", "'soon': expected ISO 8601, such as 2014-"),
        ("2014-02-30 00:00", "expected ISO 8601"),
        ("2014-03-03 25:00", "expected ISO 8601"),
        ("0000-01-01", "expected ISO 8601"),
        ("2014-03-03 05:30 PM", "expected ISO 8601"),
        ("03/04/2014", "expected ISO 8601.*whether day or month comes first can't be known"),
        ("3.4.14 12:00", "whether day or month comes first can't be known"),
        ("1388534400", "a number is no date"),
        ("2014", "a number is no date"),
        ("2014-03-03 16:00:00.5", "expected seconds"),
        ("2014-03-03 16:00Z", r"has offset \+00:00, row 1 has no zone: expected one time zone"),
        ("2014-03-03 13:00:00", "stands in row 14 already; expected it once.*--series-column"),
        ("2014-03-03 12:30", r"is before row 16's, 2014-03-03 15:00:00; .*order of time"),
        ("2014-03-03 15:50", "not on the grid of frequency h.*15:00:00 or 2014-03-03 16:00:00"),
    ],
)
def test_a_timestamp_that_does_not_fit_is_named(cell: str, expected: str) -> None:
    message = refused(with_cell(17, "time", cell))
    assert message.startswith("row 17: ")
    assert re.search(expected, message)


@pytest.mark.parametrize("cell", ["03/04/2014", "1388534400", "x"])
def test_a_column_of_what_is_no_time_is_refused_at_its_first_row(cell: str) -> None:
    frame = table().assign(time=cell)
    config = TableConfig(time_column="time", target=("load",))
    assert refused(frame, config).startswith(f"row 1: timestamp {cell!r}: expected ISO 8601")


def test_numbers_are_no_timestamps_in_parquet_either() -> None:
    frame = table().assign(time=np.arange(24) * 3600)
    config = TableConfig(time_column="time", target=("load",))
    assert "row 1: timestamp '0': expected ISO 8601" in refused(frame, config)


@pytest.mark.parametrize("typed", [False, True])
def test_summer_time_is_refused_where_it_begins(typed: bool) -> None:
    zoned = times(24, "h", "2014-03-29 18:00").tz_localize("UTC").tz_convert("Europe/Paris")
    frame = table().assign(time=zoned if typed else [t.isoformat() for t in zoned])
    assert re.match(
        r"row 8: .*03:00:00.*has offset \+02:00, row 1 has offset \+01:00: .*convert them to UTC",
        refused(frame),
    )


def test_a_zone_that_is_lost_on_the_way_is_named() -> None:
    frame = table().assign(time=[f"{t}+01:00" for t in times(24)])
    assert "row 3: " in refused(with_cell(3, "time", "2014-03-03 02:00", frame))


def test_times_are_compared_within_their_series_only() -> None:
    frame = long_table(("b", times(9)), ("a", times(5)))
    mixed = frame.sort_values("time", kind="stable").reset_index(drop=True)
    for one in (frame, mixed):
        panel = to_panel(one, "t", SITES)
        assert [(series.name, len(series)) for series in panel.series] == [("b", 9), ("a", 5)]
    twice = with_cell(12, "time", "2014-03-03 01:00:00", frame)
    assert refused(twice, SITES).startswith(
        "row 12: timestamp 2014-03-03 01:00:00 of series 'a' stands in row 11 already; expected"
    )
    assert "row 4: 'site' is empty" in refused(with_cell(4, "site", "", frame), SITES)


# Frequency


@pytest.mark.parametrize("frequency", GRIDS)
def test_the_frequency_is_found_and_rows_that_lack_are_missing(frequency: str) -> None:
    index = times(40, frequency)
    frame = table(40).assign(time=index.astype(str))
    whole = to_panel(frame, "t", LOAD)
    assert whole.frequency == frequency
    gone = [3, 4, 5, 11, 30]
    panel = to_panel(frame.drop(gone).reset_index(drop=True), "t", LOAD)
    assert panel.frequency == frequency
    assert_array_equal(panel.series[0].seconds, whole.series[0].seconds)
    assert np.flatnonzero(np.isnan(panel.series[0].target[:, 0])).tolist() == gone


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(GRIDS), st.sets(st.integers(1, 58), max_size=25))
def test_the_grid_is_found_whichever_rows_are_missing(frequency: str, gone: set[int]) -> None:
    frame = table(60).assign(time=times(60, frequency).astype(str))
    kept = frame.drop(sorted(gone)).reset_index(drop=True)
    panel = to_panel(kept, "t", TableConfig(target=("load",), frequency=frequency))
    series = panel.series[0]
    assert_array_equal(series.times, times(60, frequency))
    assert np.flatnonzero(np.isnan(series.target[:, 0])).tolist() == sorted(gone)
    if len(gone) <= 10:  # then most steps are single ones, and it can be found out
        assert_same(to_panel(kept, "t", TableConfig(target=("load",))), panel)


@pytest.mark.parametrize(
    ("declared", "rows", "found"),
    [("60min", "h", "h"), ("W", "W-SUN", "W-SUN"), ("24h", "D", "D"), ("QE", "QE-DEC", "QE-DEC")],
)
def test_one_grid_has_one_name(declared: str, rows: str, found: str) -> None:
    config = TableConfig(target=("load",), frequency=declared)
    assert to_panel(table(24, rows), "t", config).frequency == found


def test_weekends_are_no_gaps_unless_so_declared() -> None:
    frame = table(20, "B")
    assert len(to_panel(frame, "t", LOAD).series[0]) == 20
    daily = to_panel(frame, "t", TableConfig(target=("load",), frequency="D"))
    assert daily.frequency == "D"
    assert np.isnan(daily.series[0].target).sum() == 3 * 2
    holiday = to_panel(frame.drop(7).reset_index(drop=True), "t", LOAD)
    assert (holiday.frequency, len(holiday.series[0])) == ("B", 20)


@pytest.mark.parametrize("declared", ["H", "xyz", "-1h", "0D", "ms", "500ms", ""])
def test_what_is_no_frequency_is_refused(declared: str) -> None:
    with pytest.raises(UserError, match=f"^--frequency {declared}: expected a pandas alias"):
        to_panel(table(), "t", TableConfig(target=("load",), frequency=declared))


@pytest.mark.parametrize(
    ("rows", "declared", "expected"),
    [
        ("2h", "h", "row 1: from here rows every 2h; expected every h, as --frequency says"),
        ("30min", "h", "row 1: from here rows every 30min; expected every h"),
        ("MS", "D", "row 1: from here rows every MS; expected every D"),
        ("D", "B", "row 6: 2014-03-08 00:00:00 is not on the grid of frequency B"),
        ("MS", "ME", "row 1: from here rows every MS; expected every ME"),
    ],
)
def test_rows_of_another_frequency_than_declared_are_refused(
    rows: str, declared: str, expected: str
) -> None:
    config = TableConfig(target=("load",), frequency=declared)
    assert refused(table(24, rows), config).startswith(expected)


@pytest.mark.parametrize("frequency", ["h", "D", "B", "W-WED", "MS", "ME"])
@pytest.mark.parametrize("row", [1, 2, 13, 24])
def test_the_row_off_the_grid_is_named(frequency: str, row: int) -> None:
    index = times(24, frequency).to_list()
    index[row - 1] += pd.Timedelta("11min")
    message = refused(table().assign(time=[str(t) for t in index]))
    assert message.startswith(f"row {row}: {index[row - 1]} is not on the grid of freq")
    assert f"expected {index[row - 1] - pd.Timedelta('11min')} or " in message


def test_two_rows_have_no_frequency() -> None:
    assert "2 row(s) are too few to find the frequency: expected 3" in refused(table(2))
    config = TableConfig(target=("load",), frequency="h")
    assert len(to_panel(table(2), "t", config).series[0]) == 2
    assert to_panel(table(1), "t", config).step == 3600
    config = TableConfig(target=("load",), frequency="10YS")
    assert "row 1: 2014-03-03 00:00:00 is not on the grid" in refused(table(1), config)


def test_a_slip_of_centuries_is_no_gap() -> None:
    index = [*times(9, "min").astype(str), "2114-03-03 00:09:00"]
    assert re.match(
        r"row 10: 2114.*follows on 2014-03-03 00:08:00: 52,", refused(table(10).assign(time=index))
    )


def test_all_series_have_the_frequency_of_the_longest() -> None:
    frame = long_table(("a", times(30)), ("b", times(2)), ("c", times(1, start="2015-01-01")))
    panel = to_panel(frame, "t", SITES)
    assert [len(series) for series in panel.series] == [30, 2, 1]
    other = long_table(("b", times(20, "2h")), ("a", times(30)), ("c", times(12, "D")))
    assert refused(other, SITES) == (
        "row 1: from here series 'b' has rows every 2h; expected every h, as series 'a' has"
    )
    finer = long_table(("a", times(30)), ("b", times(20, "30min")))
    assert "row 31: from here series 'b' has rows every 30min" in refused(finer, SITES)
    short = long_table(("a", times(30)), ("b", times(2, "30min")))
    assert "row 32: 2014-03-03 00:30:00 is not on the grid of frequency h" in refused(short, SITES)
