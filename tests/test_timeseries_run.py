"""A small real training of a table of one's own, and what its export answers."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from apps.timeseries.gallery import chosen
from tests.commands import command, refusal
from tests.pages import assert_shown, sections
from tests.timeseries_runs import (
    HISTORY,
    HORIZON,
    TRAIN,
    sales,
    small_data,
    small_run,
    train,
    write,
)

BASELINES = {"last_value", "seasonal_naive", "drift", "ridge"}
RATIOS = {"mae_ratio", "mae_ratio_low", "mae_ratio_high"}


def test_the_folder_of_a_run_has_all_that_was_promised() -> None:
    run, answer = small_run()
    result = json.loads((run / "metrics.json").read_text())
    assert (result["app"], result["cell"]) == ("timeseries", "gru")
    assert set(result["baselines"]) == BASELINES
    for scores in result["baselines"].values():
        assert set(scores) == set(result["test"]) | RATIOS
        assert scores["mae_ratio"] == pytest.approx(result["test"]["mae"] / scores["mae"])
    assert all(math.isfinite(value) for value in result["test"].values())
    assert 0 < result["test"]["mae"] < 30
    assert result["export_difference"] < 1e-4
    config = json.loads((run / "config.json").read_text())
    assert (config["units"], config["data"]) == (6, str(small_data()))
    plots = {path.stem for path in (run / "plots").iterdir()}
    assert plots == {"forecasts", "error_by_step", "reliability", "learning_curves", "examples"}
    assert list((run / "tensorboard").rglob("events*"))
    best = result["best_baseline"]
    assert f"the best baseline, {best}: {result['baselines'][best]['mae_ratio']:.3f}" in answer.out
    assert_shown(run)
    for line in ("apps.timeseries.predict", "apps.timeseries.evaluate", "saved_model_cli"):
        assert line in answer.out


def test_the_best_and_the_worst_forecast_are_shown_as_they_are_scored() -> None:
    import tensorflow as tf

    run, _ = small_run()
    shown = sections(run)
    told, *pictures = shown["Error and calibration"]
    assert "mae ratio" in told.text
    drawn = [Path(block.source).stem for block in pictures]
    assert drawn == ["error_by_step", "reliability"]
    forecasts, examples, table = shown["Forecasts"]
    assert Path(forecasts.source).stem == "forecasts"
    assert Path(examples.source).stem == "examples"
    assert [row[0] for row in table.rows] == ["best", "typical", "worst"]
    rows, loaded = sales(), tf.saved_model.load(str(run / "export" / "1"))
    sold, known = rows["sales"].to_numpy(), rows.set_index("time").index
    seconds = np.arange(len(rows), dtype=np.int64) * 3600 + known[0].value // 10**9
    ratios = []
    for _, _, target, begin, error in table.rows:
        at = known.get_loc(begin)
        past, whole = slice(at - HISTORY, at), slice(at - HISTORY, at + HORIZON)
        answer = loaded.signatures["serving_default"](
            target=tf.constant(sold[past], tf.float32)[None, :, None],
            seconds=tf.constant(seconds[whole])[None],
            future=tf.constant(rows["warmth"][whole], tf.float32)[None, :, None],
        )
        said = answer["point"].numpy()[0, :, 0]
        ratios.append(np.abs(sold[at : at + HORIZON] - said).mean() / float(error))
        assert target == "sales"
    errors = [float(row[-1]) for row in table.rows]
    assert errors == sorted(errors)
    assert errors[0] < json.loads((run / "metrics.json").read_text())["test"]["mase"] < errors[2]
    assert ratios == pytest.approx([ratios[0]] * 3, rel=0.02)  # the same scale of all


def test_forecasts_to_show_are_chosen_by_their_error() -> None:
    errors = np.array([[3.0, np.nan], [1.0, 7.0], [np.nan, 2.0]])
    assert chosen(errors) == {"best": (1, 0), "typical": (2, 1), "worst": (1, 1)}
    assert chosen(np.full((2, 1), np.nan)) == {}
    assert set(chosen(np.ones((1, 1))).values()) == {(0, 0)}


def steps_on(run: Path, role: str) -> None:
    """The export answers at once, and step by step, the same."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(run / "export" / "1"))
    patch = json.loads((run / "schema.json").read_text())["shape"]["patch"]
    rows = sales()
    seconds = np.arange(len(rows), dtype=np.int64) * 3600

    def given(begin: int, end: int) -> dict:
        reach = end + HORIZON if role == "future" else end
        return {
            "target": tf.constant(rows["sales"][begin:end], tf.float32)[None, :, None],
            "seconds": tf.constant(seconds[begin : end + HORIZON])[None],
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


def test_the_export_steps_on_with_new_rows() -> None:
    steps_on(small_run()[0], "future")


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["--loss", "mse", "--decoder", "autoregressive", "--members", 2, "--refit"],
        ["--precision", "mixed_bfloat16", "--members", 2],
        ["--precision", "mixed_float16", "--decoder", "autoregressive", "--teacher-forcing", 0.5],
        ["--jit", "--decoder", "autoregressive", "--teacher-forcing", 0.5],
        ["--strategy", "mirrored", "--no-linear"],
    ],
    ids=lambda words: " ".join(map(str, words)),
)
def test_every_way_of_training_ends_with_scores_and_an_export(words: list, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(small_data(), run, "--past-covariates", "warmth", "--epochs", 1, *words)
    result = json.loads((run / "metrics.json").read_text())
    assert 0 < result["test"]["mae"] < 30
    assert result["export_difference"] < 1e-3
    if "mixed" not in str(words):
        steps_on(run, "past")


def test_a_table_that_is_too_short_is_refused(tmp_path: Path) -> None:
    table = write(sales(40), tmp_path / "sales.csv")
    answer = command(TRAIN, "--data", table, "--target", "sales", "--run-dir", tmp_path / "run")
    assert "no window" in refusal(answer)
    assert not (tmp_path / "run").exists()
