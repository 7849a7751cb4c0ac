"""Tables as their files have them: every cell a string, some of them spoilt."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from apps.timeseries.config import TableConfig
from apps.timeseries.panel import Panel
from apps.timeseries.tables import to_panel
from common.errors import UserError

GRIDS = ["s", "5min", "30min", "h", "6h", "D", "B", "W-WED", "MS", "ME", "QS-FEB", "YS-JAN"]


def times(count: int, frequency: str = "h", start: str = "2014-03-03") -> pd.DatetimeIndex:
    return pd.date_range(start, periods=count, freq=frequency)


def table(count: int = 24, frequency: str = "h", start: str = "2014-03-03") -> pd.DataFrame:
    """As ``read`` gives a CSV: cells are strings."""
    values = np.random.default_rng(count).normal(size=(2, count)).round(3)
    columns = {"time": times(count, frequency, start), "load": values[0], "heat": values[1]}
    return pd.DataFrame(columns).astype(str)


def long_table(*series: tuple[str, pd.DatetimeIndex]) -> pd.DataFrame:
    """Several series below one another."""
    parts = [pd.DataFrame({"time": index, "site": name}) for name, index in series]
    whole = pd.concat(parts, ignore_index=True)
    return whole.assign(load=np.arange(len(whole)) % 7 + 1.5).astype(str)


def with_cell(row: int, column: str, cell: str, frame: pd.DataFrame | None = None) -> pd.DataFrame:
    """A table with another cell in a row, counted from 1."""
    frame = table() if frame is None else frame.copy()
    frame.loc[row - 1, column] = cell
    return frame


LOAD = TableConfig(target=("load",), past_covariates=("heat",))
SITES = TableConfig(target=("load",), series_column="site")


def refused(frame: pd.DataFrame, config: TableConfig = LOAD) -> str:
    with pytest.raises(UserError) as error:
        to_panel(frame, "t.csv", config)
    message = str(error.value)
    assert message.startswith("t.csv: ")
    assert len(message.splitlines()) == 1
    return message.removeprefix("t.csv: ")


def assert_same(one: Panel, other: Panel) -> None:
    assert (one.roles, one.frequency) == (other.roles, other.frequency)
    for mine, yours in zip(one.series, other.series, strict=True):
        assert mine.name == yours.name
        for field in ("seconds", "target", "past", "future"):
            assert_array_equal(getattr(mine, field), getattr(yours, field))
