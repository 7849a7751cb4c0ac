"""Lengths that a table's frequency suggests, and those that don't fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from apps.timeseries.config import TimeSeriesConfig
from apps.timeseries.panel import Panel, Roles, Series, cut
from apps.timeseries.shape import DAY, WEEK, YEAR, Shape, shape_of
from common.errors import UserError


def panel(frequency: str, count: int, season: int = 0) -> Panel:
    """A random walk, or noise around a pattern that comes back every `season` rows."""
    random = np.random.default_rng(count)
    noise = random.normal(size=count)
    pattern = np.resize(random.normal(size=season) * 5, count) if season else np.cumsum(noise)
    values = (pattern + noise * 0.1)[:, np.newaxis].astype(np.float32)
    times = pd.date_range("2001-01-01", periods=count, freq=frequency, unit="s")
    seconds = times.to_numpy().astype("datetime64[s]").astype(np.int64)
    nothing = np.zeros((count, 0), np.float32)
    return Panel("t", (Series("t", seconds, values, nothing, nothing),), Roles(("x",)), frequency)


def shape(one: Panel, **flags: Any) -> Shape:
    config = TimeSeriesConfig(**flags)
    return shape_of(config, one, cut(one, config.split))


@pytest.mark.parametrize(
    ("frequency", "count", "season", "wanted"),
    [
        ("30min", 6000, 336, Shape(336, 48, 24, 336, (48, 336), (DAY, WEEK))),
        ("h", 3000, 24, Shape(168, 24, 12, 24, (24, 168), (DAY, WEEK))),
        ("D", 1500, 7, Shape(28, 14, 2, 7, (14,), (WEEK, YEAR))),
        ("B", 1500, 0, Shape(20, 10, 1, 1, (10,), (WEEK, YEAR))),
        ("MS", 400, 12, Shape(24, 12, 2, 12, (12,), (YEAR,))),
        ("BME", 400, 12, Shape(24, 12, 2, 12, (12,), (YEAR,))),
        ("5min", 6000, 288, Shape(288, 96, 24, 288, (288,), (DAY, WEEK))),
        ("YS-JAN", 400, 0, Shape(48, 24, 4, 1, (), ())),
    ],
)
def test_a_table_gets_the_lengths_that_its_frequency_suggests(
    frequency: str, count: int, season: int, wanted: Shape
) -> None:
    found = shape(panel(frequency, count, season))
    assert found == wanted
    assert found.history % found.patch == found.horizon % found.patch == 0


def test_a_flag_goes_before_the_suggested_length() -> None:
    flags = {"horizon": 6, "history": 48, "patch": 3, "season": 8, "seasonal_lags": False}
    assert shape(panel("h", 3000, 24), **flags) == Shape(48, 6, 3, 8, (), (DAY, WEEK))


def test_a_flag_goes_before_what_suits_a_dataset_and_a_file_has_no_such() -> None:
    found = TimeSeriesConfig(dataset="stocks", history=90).suited()
    assert (found.horizon, found.history, found.scale) == (10, 90, "window")
    assert TimeSeriesConfig(dataset="stocks", data=Path("own.csv")).suited().scale is None


def test_lags_are_known_for_every_step_of_the_horizon() -> None:
    found = shape(panel("h", 3000, 24), horizon=30, history=180)
    assert found.lags == (48, 168)
    assert min(found.lags) >= found.horizon


def test_the_calendar_has_only_turns_that_training_saw_twice() -> None:
    assert shape(panel("h", 400, 24), horizon=6, history=12).cycles == (DAY,)
    assert shape(panel("D", 1000, 7)).cycles == (WEEK,)
    assert shape(panel("D", 1100, 7)).cycles == (WEEK, YEAR)


@pytest.mark.filterwarnings("error")
def test_a_season_is_found_in_spite_of_missing_values() -> None:
    one = panel("h", 3000, 24)
    one.series[0].target[::2] = np.nan
    one.series[0].target[500:900] = np.nan
    assert shape(one).season in (24, 168)  # a week has whole days: only noise sets them apart


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"patch": 5}, r"--patch 5: expected a divisor of the history \(168\) and .* \(24\)"),
        ({"patch": 7}, r"--patch 7: expected a divisor"),
        ({"season": 169}, "--season 169: expected no more than the history, 168 rows"),
        (
            {"history": 2200, "horizon": 20},
            "t: no window of 2200 rows of history and 20 of "
            "forecast in the train part; its longest series has 3,000 rows",
        ),
        ({"horizon": 400}, "and 400 of forecast in the validation part"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(flags: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError, match=expected) as error:
        shape(panel("h", 3000, 24), **flags)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("count", [1, 2, 30])
def test_a_table_that_is_too_short_is_refused(count: int) -> None:
    with pytest.raises(UserError, match=f"longest series has {count} rows: lower --history"):
        shape(panel("h", count))
