"""The forecaster's benchmark: what it refuses, and that its scores are those of the methods that
it names."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from apps.timeseries import metrics
from apps.timeseries.config import LEVELS
from apps.timeseries.panel import Forecast
from tests.commands import command, refusal

BENCHMARK = "benchmarks.timeseries"
DAY, HORIZON = 24, 6


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    assert "no such folder" in refusal(command(BENCHMARK, "--run", tmp_path / "none"))
    assert "no config.json" in refusal(command(BENCHMARK, "--run", tmp_path))


def test_no_origins_are_refused(tmp_path: Path) -> None:
    answer = command(BENCHMARK, "--run", tmp_path, "--origins", 0)
    assert refusal(answer).endswith("--origins 0: expected a value above 0")


def test_without_statsforecast_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"app": "timeseries"}')
    (tmp_path / "export" / "1").mkdir(parents=True)
    (tmp_path / "export" / "1" / "saved_model.pb").touch()
    monkeypatch.setitem(sys.modules, "statsforecast", None)
    out = tmp_path / "results.json"
    said = refusal(command(BENCHMARK, "--run", tmp_path, "--out", out))
    assert "pip install -c constraints.txt -e '.[bench]'" in said
    assert not out.exists()


@pytest.mark.slow
def test_the_seasonal_naive_is_the_one_by_hand(tmp_path: Path) -> None:
    pytest.importorskip("statsforecast")
    random = np.random.default_rng(0)
    sales = 50 + 8 * np.sin(np.arange(600) * np.pi / 12) + random.normal(size=600)
    times = pd.date_range("2024-01-01", periods=len(sales), freq="h")
    pd.DataFrame({"time": times, "sales": sales}).to_csv(tmp_path / "sales.csv", index=False)
    words = ["--data", tmp_path / "sales.csv", "--target", "sales", "--run-dir", tmp_path / "run"]
    small = ["--units", 4, "--epochs", 1, "--members", 1, "--horizon", HORIZON, "--history", 48]
    trained = command("apps.timeseries.train", *words, *small, "--season", DAY)
    assert trained.code == 0, trained.err
    rows, out = 240, tmp_path / "results.json"
    answer = command(
        BENCHMARK, "--run", tmp_path / "run", "--origins", 7, "--rows", rows, "--out", out
    )
    assert answer.code == 0, answer.err
    result = json.loads(out.read_text())
    table = result["contenders"]
    assert list(table) == ["gru network", "SeasonalNaive", "AutoETS", "MSTL"]
    assert result["seasons"] == [DAY]
    starts = np.array(result["origins"])[:, 1]
    assert len(starts) == 7
    assert starts.min() >= 480  # the test part's first row
    assert starts.max() + HORIZON <= 600
    got, wanted = table["SeasonalNaive"], seasonal_naive(sales, starts, rows)
    for name in ("mae", "mase", "crps", "coverage_80", "width_80", "coverage_95", "width_95"):
        assert got[name] == pytest.approx(wanted[name], rel=1e-4), name
    assert got["vs_network"]["mase"] == pytest.approx(got["mase"] / table["gru network"]["mase"])
    assert table["MSTL"]["mase"] < got["mase"]  # it averages days that only noise sets apart


def seasonal_naive(sales: np.ndarray, starts: np.ndarray, rows: int) -> dict[str, float]:
    """Yesterday again, and Gaussian around it as far as days were apart in the rows before."""
    quantiles = []
    for start in starts:
        known = sales[start - rows : start]
        deviation = np.sqrt(np.mean((known[DAY:] - known[:-DAY]) ** 2))
        step = known[len(known) - DAY :][:HORIZON, np.newaxis]
        quantiles.append(step + deviation * stats.norm.ppf(LEVELS))
    found = np.stack(quantiles)[:, :, np.newaxis]
    point = found[..., LEVELS.index(0.5)]
    truth = np.stack([sales[start : start + HORIZON] for start in starts])[..., np.newaxis]
    past = sales[:480]
    scale = np.full((len(starts), 1), np.abs(past[DAY:] - past[:-DAY]).mean())
    return metrics.scores(Forecast(point, found), truth, metrics.Scales(scale, np.ones(1)))
