"""The labeller beside its peers: that the network over windows is the published one, and that all
are judged on the same streams."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from apps.gesture import data, streams
from apps.gesture.baselines import Windows
from apps.gesture.config import TableConfig
from benchmarks import crnn, measure
from tests.commands import command, refusal
from tests.gesture_runs import CLASSES, causal_run, small_data

BENCHMARK = "benchmarks.gesture_peers"


def test_the_network_over_windows_has_the_published_sizes() -> None:
    model = crnn.build(100, 6, 7)
    convolutions = (5 * 6 * 64 + 64) + (5 * 64 * 64 + 64)
    assert model.count_params() == convolutions + 4 * (100 * (64 + 100) + 100) + (100 * 7 + 7)
    probabilities = model(np.random.default_rng(0).normal(size=(2, 100, 6))).numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_it_learns_to_tell_movements_apart() -> None:
    corpus = data.load("", small_data(), TableConfig())
    parts = streams.split(corpus, 0)
    fixed = streams.fixed_streams(parts["validation"])
    windows = Windows.of(corpus.rate, None)
    # Many copies: the batches are large.
    known = dataclasses.replace(parts["train"], streams=30 * parts["train"].streams)
    label, curve = crnn.fit(known, fixed, windows, 4, measure.Clock(), 0)
    assert len(curve) == 4
    assert curve[-1]["frame_accuracy"] > 0.6 > 1.2 / len(CLASSES)
    said = label(fixed[0].values)
    assert said.shape == fixed[0].labels.shape
    later = fixed[0].values.copy()
    later[200 + windows.ahead + windows.every :] += 9
    np.testing.assert_array_equal(label(later)[:200], said[:200])


def test_all_are_judged_on_the_runs_own_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "alone", lambda function, *words: function(*words))
    monkeypatch.setattr("apps.gesture.baselines.TREES", 10)
    run, out = causal_run()[0], tmp_path / "results.json"
    answer = command(BENCHMARK, "--run", run, "--epochs", 2, "--target", 0.01, "--out", out)
    assert answer.code == 0, answer.err
    rows = json.loads(out.read_text())["contenders"]
    trained = json.loads((run / "metrics.json").read_text())
    ours, forest, published, chosen = rows.values()
    for name, value in trained["test"].items():
        assert ours[name] == pytest.approx(value, abs=1e-3), name
    assert ours["train_seconds"] == trained["train_seconds"]
    assert forest["frame_accuracy"] > 0.5
    assert published["bytes"] == chosen["bytes"]
    assert chosen["epochs"] in (1, 2)
    for row in rows.values():
        assert min(row["target_seconds"], row["peak_bytes"], row["minute_ms"], row["bytes"]) > 0
    assert all(f"| {name} |" in answer.out for name in rows)


def test_what_can_not_be_compared_is_refused(tmp_path: Path) -> None:
    assert "no such folder" in refusal(command(BENCHMARK, "--run", tmp_path / "none"))
    said = refusal(command(BENCHMARK, "--run", tmp_path, "--epochs", 0))
    assert "--epochs 0: expected a value above 0" in said
