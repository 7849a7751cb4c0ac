"""Tables of time: their files, columns and cells, checked row by row."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from apps.timeseries.config import TableConfig
from apps.timeseries.panel import Roles
from apps.timeseries.tables import describe, read, to_panel
from common.errors import UserError
from tests.timeseries_cells import (
    LOAD,
    SITES,
    assert_same,
    long_table,
    refused,
    table,
    times,
    with_cell,
)

# Files


def test_csv_tsv_and_parquet_give_the_same_panel(tmp_path: Path) -> None:
    frame = with_cell(5, "heat", "NA")
    typed = frame.assign(
        time=pd.to_datetime(frame["time"]),
        load=frame["load"].astype(float),
        heat=pd.to_numeric(frame["heat"], errors="coerce"),
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    typed.to_parquet(tmp_path / "t.parquet")
    typed.set_index("time").to_parquet(tmp_path / "indexed.parquet")
    wanted = to_panel(frame, "t.csv", LOAD)
    for name in ("t.csv", "t.tsv", "t.parquet", "indexed.parquet"):
        assert_same(to_panel(read(tmp_path / name), "t.csv", LOAD), wanted)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("t.csv", None, "no such file"),
        ("t.parquet", None, "no such file"),
        ("t.xlsx", b"", r"expected a \.csv, \.tsv or \.parquet file"),
        ("t.jsonl", b"{}", r"expected a \.csv, \.tsv or \.parquet file"),
        ("t.parquet", b"", "can't be read as parquet"),
        ("t.parquet", b"PAR1 and no more of it", "can't be read as parquet"),
        ("t.csv", b"time,load\n", "no rows"),
    ],
)
def test_a_file_that_is_no_table_is_refused(
    name: str, content: bytes | None, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=expected) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: ")
    assert len(str(error.value).splitlines()) == 1


def test_a_parquet_file_without_rows_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"time": [], "load": []}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match="no rows"):
        read(tmp_path / "t.parquet")


# Columns


def test_the_panel_holds_the_columns_in_their_roles() -> None:
    frame = table().assign(flag=["True", "false"] * 12)
    config = TableConfig(
        target=("heat", "load"), future_covariates=("flag",), past_covariates=("none",)
    )
    panel = to_panel(frame, "folder/t.csv", config)
    assert panel.roles == Roles(("heat", "load"), (), ("flag",))
    assert (panel.name, panel.frequency, panel.step) == ("folder/t.csv", "h", 3600)
    (series,) = panel.series
    assert series.name == "t"
    assert_array_equal(series.times, times(24))
    assert series.seconds.dtype == np.int64
    assert_array_equal(series.target, frame[["heat", "load"]].astype(np.float32))
    assert_array_equal(series.future[:, 0], [1, 0] * 12)
    assert series.past.shape == (24, 0)
    for values in (series.target, series.past, series.future):
        assert values.dtype == np.float32


def test_the_only_column_of_numbers_is_the_target() -> None:
    frame = table().assign(note="fine")
    frame.insert(0, "", range(24))  # as pandas writes row numbers
    assert to_panel(frame, "t.csv", TableConfig(past_covariates=("heat",))).roles == Roles(
        ("load",), ("heat",)
    )
    assert "'load', 'heat'" in refused(frame, TableConfig())
    assert "--target; of numbers there are none" in refused(frame[["time", "note"]], TableConfig())


def test_the_first_column_of_dates_is_the_time_unless_another_is_named() -> None:
    frame = table().assign(until=lambda t: t["time"].str.replace("2014", "2015"))
    assert to_panel(frame, "t.csv", LOAD).series[0].times[0].year == 2014
    config = TableConfig(time_column="until", target=("load",))
    assert to_panel(frame, "t.csv", config).series[0].times[0].year == 2015


@settings(deadline=None, max_examples=10)
@given(st.permutations(["time", "load", "heat", "site"]))
def test_the_order_of_columns_changes_nothing(order: list[str]) -> None:
    config = TableConfig(past_covariates=("heat",), series_column="site")
    frame = table().assign(site=["a"] * 12 + ["b"] * 12)
    assert_same(to_panel(frame[order], "t", config), to_panel(frame, "t", config))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (TableConfig(target=("power",)), "--target power: .*'time', 'load', 'heat'"),
        (TableConfig(time_column="at", target=("load",)), "--time-column at: .*'time'"),
        (TableConfig(target=("load",), series_column="at"), "--series-column at: .*'time'"),
        (TableConfig(target=("load",), past_covariates=("a", "none")), "--past-covariates a: "),
        (TableConfig(target=("load",), future_covariates=("a",)), "--future-covariates a: "),
        (
            TableConfig(target=("load",), past_covariates=("load",)),
            "--past-covariates load: it is named by --target already",
        ),
        (
            TableConfig(target=("load",), past_covariates=("heat",), future_covariates=("heat",)),
            "--future-covariates heat: it is named by --past-covariates already",
        ),
        (TableConfig(target=("heat", "heat")), "--target heat: it is named by --target already"),
        (TableConfig(target=("load",), series_column="load"), "--target load: .*--series-column"),
        (
            TableConfig(target=("load", "time"), time_column="time"),
            "--target time: it is named by --time-column",
        ),
        (TableConfig(target=("load",), series_column="time"), "no column of timestamps"),
    ],
)
def test_a_column_without_one_role_is_refused_with_its_flag(
    config: TableConfig, expected: str
) -> None:
    assert re.match(expected, refused(table(), config))


def test_a_table_without_timestamps_is_refused() -> None:
    frame = table().assign(time=range(24))
    assert "'time', 'load', 'heat'; name it with --time-column" in refused(frame)


# Cells


@pytest.mark.parametrize("cell", ["", " ", "NA", "NaN", "nan", "null", "None", "N/A"])
def test_a_missing_value_is_no_error(cell: str) -> None:
    series = to_panel(with_cell(7, "load", cell), "t.csv", LOAD).series[0]
    assert np.flatnonzero(np.isnan(series.target[:, 0])).tolist() == [6]
    assert np.isfinite(series.past).all()


@pytest.mark.parametrize(
    "cell", ["x", "1,5", "inf", "-Infinity", "1e39", "-4e38", "0x1f", "--", "3 kW", "?"]
)
def test_a_cell_that_is_no_finite_number_is_named(cell: str) -> None:
    frame = with_cell(21, "load", "later", with_cell(17, "heat", cell))
    assert refused(frame).startswith(f"row 17: {cell!r} in column 'heat': expected a finite number")


def test_infinities_in_parquet_are_named_and_its_missing_values_are_none() -> None:
    frame = table().assign(time=times(24), load=pd.array([1, None] * 12, dtype="Int64"))
    frame["heat"] = np.arange(24.0)
    assert np.isnan(to_panel(frame, "t.csv", LOAD).series[0].target[:, 0]).sum() == 12
    frame.loc[4, "heat"] = -np.inf
    assert refused(frame).startswith("row 5: '-inf' in column 'heat'")


def test_a_target_without_any_value_is_refused() -> None:
    assert "'load' (--target) has no value" in refused(table().assign(load="NA"))
    frame = long_table(("a", times(5)), ("b", times(5)))
    frame.loc[frame["site"] == "b", "load"] = ""
    assert "series 'b' has no known value of load" in refused(frame, SITES)


def test_the_target_may_be_missing_at_both_ends() -> None:
    frame = table(30)
    frame.loc[:3, "load"] = ""
    frame.loc[25:, "load"] = ""
    series = to_panel(frame, "t", TableConfig(target=("load",), future_covariates=("heat",)))
    assert len(series.series[0]) == 30
    assert np.isnan(series.series[0].target[25:]).all()
    assert np.isfinite(series.series[0].future).all()


# What a person is told


def test_what_is_missing_is_described() -> None:
    frame = long_table(("a", times(50)), ("b", times(40)))
    frame.loc[[20, 77], "load"] = "NA"
    panel = to_panel(frame.drop([4, 60, 61, 62]).reset_index(drop=True), "t", SITES)
    assert describe(panel) == [
        "2 series, together 90 rows of frequency h, from 2014-03-03 00:00:00 to "
        "2014-03-05 01:00:00",
        "gaps: 6 rows without any value; the longest of 3 from 2014-03-03 10:00:00 on in series b",
        "load (target): 6 of 90 values missing (6.7%)",
    ]


def test_a_table_without_gaps_says_so() -> None:
    frame = with_cell(3, "heat", "")
    assert describe(to_panel(frame, "t", LOAD)) == [
        "one series, 24 rows of frequency h, from 2014-03-03 00:00:00 to 2014-03-03 23:00:00",
        "load (target): no value missing",
        "heat (past): 1 of 24 values missing (4.2%)",
    ]
