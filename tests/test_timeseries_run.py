"""A small real training of a table of one's own, and what its export answers."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.commands import command, refusal

TRAIN = "apps.timeseries.train"
SMALL = ["--units", 6, "--epochs", 2, "--members", 2, "--horizon", 6, "--history", 24]
QUICK = ["--epochs", 1, "--members", 1, "--batch-size", 256]


def write_table(path: Path, rows: int = 400) -> Path:
    random = np.random.default_rng(0)
    hours = np.arange(rows)
    warmth = random.normal(size=rows).cumsum() / 5
    sales = 50 + 8 * np.sin(hours * np.pi / 12) + 3 * warmth + random.normal(size=rows)
    times = pd.date_range("2024-01-01", periods=rows, freq="h")
    pd.DataFrame({"time": times, "sales": sales, "warmth": warmth}).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    "words",
    [
        ["--future-covariates", "warmth", *QUICK, "--no-refit"],
        pytest.param(
            ["--past-covariates", "warmth", "--loss", "mse", "--decoder", "autoregressive"],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["quick", "whole"],
)
def test_a_run_ends_with_scores_and_an_export_that_steps(tmp_path: Path, words: list) -> None:
    import tensorflow as tf

    table = write_table(tmp_path / "sales.csv")
    folder = tmp_path / "run"
    answer = command(
        TRAIN, "--data", table, "--target", "sales", "--run-dir", folder, *SMALL, *words
    )
    assert answer.code == 0, answer.err
    result = json.loads((folder / "metrics.json").read_text())
    assert set(result["baselines"]) == {"last_value", "seasonal_naive", "drift", "ridge"}
    assert 0 < result["test"]["mae"] < 30
    loaded = tf.saved_model.load(str(folder / "export" / "1"))
    schema = json.loads((folder / "schema.json").read_text())
    patch = schema["patch"]
    rows = pd.read_csv(table)
    seconds = np.arange(len(rows), dtype=np.int64) * 3600
    role = "future" if "--future-covariates" in words else "past"

    def given(begin: int, end: int) -> dict:
        reach = end + 6 if role == "future" else end
        return {
            "target": tf.constant(rows["sales"][begin:end], tf.float32)[None, :, None],
            "seconds": tf.constant(seconds[begin : end + 6])[None],
            role: tf.constant(rows["warmth"][begin:reach], tf.float32)[None, :, None],
        }

    whole = loaded.signatures["serving_default"](**given(0, 48))
    started = loaded.signatures["start"](**given(0, 48))
    np.testing.assert_allclose(whole["quantiles"], started["quantiles"], rtol=1e-5)
    assert (np.diff(whole["quantiles"].numpy(), axis=-1) >= 0).all()
    state = {name: value for name, value in started.items() if name.startswith("state")}
    half = loaded.signatures["step"](**given(48, 48 + patch), **state)
    between = {name: value for name, value in half.items() if name.startswith("state")}
    twice = loaded.signatures["step"](**given(48 + patch, 48 + 2 * patch), **between)
    once = loaded.signatures["step"](**given(48, 48 + 2 * patch), **state)
    np.testing.assert_allclose(twice["quantiles"], once["quantiles"], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["--precision", "mixed_bfloat16", "--members", 2],
        ["--precision", "mixed_float16", "--decoder", "autoregressive", "--teacher-forcing", 0.5],
        ["--jit", "--decoder", "autoregressive", "--teacher-forcing", 0.5],
        ["--strategy", "mirrored"],
    ],
    ids=lambda words: " ".join(map(str, words)),
)
def test_every_way_of_training_ends_with_scores_and_an_export(words: list, tmp_path: Path) -> None:
    table, folder = write_table(tmp_path / "sales.csv"), tmp_path / "run"
    answer = command(
        TRAIN, "--data", table, "--target", "sales", "--run-dir", folder, *SMALL, *QUICK, *words
    )
    assert answer.code == 0, answer.err
    result = json.loads((folder / "metrics.json").read_text())
    assert 0 < result["test"]["mae"] < 30
    assert result["export_difference"] < 1e-3


def test_a_table_that_is_too_short_is_refused(tmp_path: Path) -> None:
    table = write_table(tmp_path / "sales.csv", rows=40)
    answer = command(TRAIN, "--data", table, "--target", "sales", "--run-dir", tmp_path / "run")
    assert "no window" in refusal(answer)
    assert not (tmp_path / "run").exists()
