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
from benchmarks import dlinear, measure
from tests.commands import command, refusal
from tests.timeseries_runs import small_run

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


def test_the_linear_model_is_the_one_that_it_describes() -> None:
    model = dlinear.build(40, 3)
    assert model.count_params() == 2 * (40 * 3 + 3)
    random = np.random.default_rng(0)
    for layer in ("rest", "trend"):
        shapes = [weight.shape for weight in model.get_layer(layer).get_weights()]
        model.get_layer(layer).set_weights([random.normal(size=shape) for shape in shapes])
    window = random.normal(size=(2, 40, 5)).astype(np.float32)
    whole = np.pad(window, [(0, 0), (12, 12), (0, 0)], mode="edge")
    trend = np.stack([whole[:, t : t + 25].mean(axis=1) for t in range(40)], axis=1)
    wanted = 0
    for layer, part in (("rest", window - trend), ("trend", trend)):
        kernel, bias = model.get_layer(layer).get_weights()
        wanted = wanted + np.einsum("nlc,lh->nhc", part, kernel) + bias[:, np.newaxis]
    np.testing.assert_allclose(model(window), wanted, atol=1e-4)


def test_linear_models_are_compared_without_statsforecast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "statsforecast", None)
    monkeypatch.setattr(measure, "alone", lambda function, *words: function(*words))
    run, out = small_run()[0], tmp_path / "results.json"
    words = ["--peers", "ridge", "DLinear", "--origins", 5, "--linear.history", 30]
    answer = command(BENCHMARK, "--run", run, *words, "--out", out)
    assert answer.code == 0, answer.err
    result = json.loads(out.read_text())
    table = result["contenders"]
    assert list(table) == ["gru network", "ridge", "DLinear"]
    assert table["DLinear"]["bytes"] == 4 * 2 * (30 * 6 + 6)
    assert table["gru network"]["bytes"] == measure.size_of(run / "export" / "1")
    for row in table.values():
        assert row["vs_network"]["mase"] == pytest.approx(
            row["mase"] / table["gru network"]["mase"]
        )
        assert min(row["train_seconds"], row["seconds"], row["peak_bytes"]) > 0
    assert table["ridge"]["target_seconds"] == table["ridge"]["train_seconds"]
    assert table["DLinear"]["target_seconds"] is None
    # The sun is half of it, and seen by all; the warmth to come by ridge alone.
    assert table["ridge"]["mase"] < table["DLinear"]["mase"] < 1.5
    assert "| ridge | " in answer.out


@pytest.mark.slow
def test_the_seasonal_naive_is_the_one_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("statsforecast")
    monkeypatch.setattr(measure, "alone", lambda function, *words: function(*words))
    random = np.random.default_rng(0)
    sales = 50 + 8 * np.sin(np.arange(600) * np.pi / 12) + random.normal(size=600)
    times = pd.date_range("2024-01-01", periods=len(sales), freq="h")
    pd.DataFrame({"time": times, "sales": sales}).to_csv(tmp_path / "sales.csv", index=False)
    words = ["--data", tmp_path / "sales.csv", "--target", "sales", "--run-dir", tmp_path / "run"]
    small = ["--units", 4, "--epochs", 1, "--members", 1, "--horizon", HORIZON, "--history", 48]
    trained = command("apps.timeseries.train", *words, *small, "--season", DAY)
    assert trained.code == 0, trained.err
    rows, out = 240, tmp_path / "results.json"
    few = ["--origins", 7, "--rows", rows, "--linear.history", 48]
    answer = command(BENCHMARK, "--run", tmp_path / "run", *few, "--out", out)
    assert answer.code == 0, answer.err
    result = json.loads(out.read_text())
    table = result["contenders"]
    assert list(table) == ["gru network", "ridge", "DLinear", "SeasonalNaive", "AutoETS", "MSTL"]
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
