"""What a finished forecaster says: to a scheduler that has new rows, and of how good it is."""

import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from apps.timeseries.config import LEVELS
from apps.timeseries.schema import Schema
from common.errors import UserError
from common.runs import Run
from tests.commands import Answer, command, refusal
from tests.timeseries_runs import (
    EVALUATE,
    HISTORY,
    HORIZON,
    PREDICT,
    sales,
    small_data,
    small_run,
    write,
)

QUANTILES = [f"q{level:g}" for level in LEVELS]


@pytest.fixture(scope="module")
def run() -> Path:
    return small_run()[0]


def recent(known: int = 60) -> pd.DataFrame:
    """`known` rows of sales, and the warmth of the horizon after them."""
    table = sales(known + HORIZON)
    table.loc[known:, "sales"] = np.nan
    return table


def predict(run: Path, table: pd.DataFrame, folder: Path, *words: object) -> Answer:
    data = write(table, folder / "recent.csv")
    return command(PREDICT, "--run", run, "--data", data, "--out", folder / "out.csv", *words)


def forecast(run: Path, table: pd.DataFrame, folder: Path, *words: object) -> pd.DataFrame:
    answer = predict(run, table, folder, *words)
    assert answer.code == 0, answer.err
    return pd.read_csv(folder / "out.csv", parse_dates=["timestamp"])


# predict


def test_a_forecast_begins_after_the_last_known_row(run: Path, tmp_path: Path) -> None:
    found = forecast(run, recent(), tmp_path)
    assert list(found.columns) == ["series", "timestamp", "target", "point", *QUANTILES]
    expected = pd.date_range("2024-01-03 12:00", periods=HORIZON, freq="h")
    assert list(found["timestamp"]) == list(expected)
    assert set(found["target"]) == {"sales"}
    assert (np.diff(found[QUANTILES].to_numpy(), axis=1) >= 0).all()
    assert (found["point"] - found["q0.5"]).abs().max() < 1e-3
    assert found["point"].between(20, 90).all()
    height, width, _ = matplotlib.image.imread(tmp_path / "out.png").shape
    assert height > 200
    assert width > 200


def test_the_covariates_that_are_known_ahead_matter(run: Path, tmp_path: Path) -> None:
    cold, warm = recent(), recent()
    warm.loc[60:, "warmth"] += 5
    assert not forecast(run, cold, tmp_path).equals(forecast(run, warm, tmp_path))


def test_only_the_last_rows_of_a_long_history_are_looked_at(run: Path, tmp_path: Path) -> None:
    long = forecast(run, recent(60), tmp_path)
    short = forecast(run, recent(60).iloc[60 - HISTORY :], tmp_path)
    pd.testing.assert_frame_equal(long, short)


def test_several_series_end_when_they_end(run: Path, tmp_path: Path) -> None:
    tables = [recent(30).assign(shop="north"), recent(40).assign(shop="south")]
    found = forecast(run, pd.concat(tables), tmp_path, "--series-column", "shop")
    first = found.groupby("series")["timestamp"].min()
    assert first["north"] == pd.Timestamp("2024-01-02 06:00")
    assert first["south"] == pd.Timestamp("2024-01-02 16:00")
    alone = forecast(run, recent(40), tmp_path)
    south = found[found["series"] == "south"].reset_index(drop=True)
    np.testing.assert_allclose(south[QUANTILES], alone[QUANTILES], rtol=1e-4)


def test_gaps_are_reported_and_filled(run: Path, tmp_path: Path) -> None:
    answer = predict(run, recent().drop(index=[50, 51]), tmp_path)
    assert answer.code == 0, answer.err
    assert "gaps: 2 rows without any value" in answer.out
    assert pd.read_csv(tmp_path / "out.csv")["q0.5"].notna().all()


def hourly(table: pd.DataFrame, step: str) -> pd.DataFrame:
    return table.assign(time=pd.date_range("2024-01-01", periods=len(table), freq=step))


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (
            recent(23),
            "series 'recent' has 23 rows of history, up to 2024-01-01 22:00:00; expected 24 at "
            "least, every h",
        ),
        (hourly(recent(), "30min"), "rows of frequency 30min; expected h, as the run was"),
        (hourly(recent(), "D"), "rows of frequency D; expected h"),
        (recent().drop(columns="warmth"), "--future-covariates warmth: expected one of its"),
        (recent().iloc[:-1], "no 'warmth' at 2024-01-03 17:00:00; expected the future covariates"),
        (sales(60), "no 'warmth' at 2024-01-03 12:00:00; .* of 6 rows after the last known target"),
        (recent().assign(sales=np.nan), "has no value in any row"),
        (recent().assign(sales="much"), "row 1: 'much' in column 'sales'"),
    ],
)
def test_what_can_not_be_forecast_is_refused_by_name(
    run: Path, tmp_path: Path, table: pd.DataFrame, expected: str
) -> None:
    line = refusal(predict(run, table, tmp_path))
    assert pd.Series([line]).str.contains(expected, regex=True).all(), line
    assert not (tmp_path / "out.csv").exists()
    assert not (tmp_path / "out.png").exists()


def test_odd_flags_are_refused(run: Path, tmp_path: Path) -> None:
    none = tmp_path / "none"
    assert "no such folder" in refusal(predict(none, recent(), tmp_path))
    data = write(recent(), tmp_path / "recent.csv")
    words = ["--run", run, "--data", data, "--out"]
    assert "no such folder" in refusal(command(PREDICT, *words, none / "out.csv"))
    assert "expected a table's name" in refusal(command(PREDICT, *words, tmp_path / "out.png"))
    (tmp_path / "run").mkdir()
    assert "config.json" in refusal(predict(tmp_path / "run", recent(), tmp_path))


def test_a_broken_schema_is_refused(run: Path, tmp_path: Path) -> None:
    assert Schema.read(Run(run)).shape.horizon == HORIZON
    with pytest.raises(UserError, match=r"no schema\.json"):
        Schema.read(Run(tmp_path))
    for text in ("{", "[]", '{"frequency": "h"}'):
        (tmp_path / "schema.json").write_text(text)
        with pytest.raises(UserError, match=r"schema\.json: (can't be read|expected|no 'roles')"):
            Schema.read(Run(tmp_path))


# evaluate


def test_the_runs_own_test_part_gives_the_scores_of_training(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.json"
    answer = command(EVALUATE, "--run", run, "--out", out)
    assert answer.code == 0, answer.err
    found, before = json.loads(out.read_text()), json.loads((run / "metrics.json").read_text())
    assert set(found["test"]) == set(before["test"])
    for name, value in found["test"].items():
        assert value == pytest.approx(before["test"][name], rel=1e-4), name
    naive = found["baselines"]["seasonal_naive"]
    for name in ("mae", "mase", "mae_ratio", "mae_ratio_low"):
        assert naive[name] == pytest.approx(before["baselines"]["seasonal_naive"][name], rel=1e-4)
    assert "80 % interval" in answer.out
    assert "of the error of seasonal_naive" in answer.out


def test_a_file_is_scored_as_a_whole_every_so_many_rows(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.json"
    data = write(sales(100), tmp_path / "new.csv")
    words = ["--run", run, "--data", data, "--out", out]
    assert command(EVALUATE, *words).code == 0
    assert json.loads(out.read_text())["origins"] == 100 - HISTORY - HORIZON + 1
    assert command(EVALUATE, *words, "--stride", 10).code == 0
    assert json.loads(out.read_text())["origins"] == 8
    assert np.isfinite(list(json.loads(out.read_text())["test"].values())).all()


def test_what_can_not_be_scored_is_refused(run: Path, tmp_path: Path) -> None:
    short = write(sales(29), tmp_path / "short.csv")
    assert "no window of 24 rows" in refusal(command(EVALUATE, "--run", run, "--data", short))
    both = ["--data", small_data(), "--dataset", "weather"]
    assert "found both" in refusal(command(EVALUATE, "--run", run, *both))
    assert "no such file" in refusal(command(EVALUATE, "--run", run, "--data", tmp_path / "x.csv"))
    assert "--stride 0" in refusal(command(EVALUATE, "--run", run, "--stride", 0))
    other = command(EVALUATE, "--run", run, "--dataset", "stocks")
    assert other.code == 2
    assert "--target sales: expected one of its columns" in other.err.splitlines()[-1]
