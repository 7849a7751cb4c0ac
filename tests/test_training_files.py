"""What a training writes while it runs: its history, and what TensorBoard shows."""

import csv
import math
from pathlib import Path

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.toy_training import CONFIG, Scripted, fit


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    fit(folder, CONFIG, Scripted([0.5, 0.6, 0.55]))
    return folder


def test_the_history_has_a_row_an_epoch_with_every_score(written: Path) -> None:
    rows = list(csv.DictReader((written / "history.csv").open()))
    assert [float(row["epoch"]) for row in rows] == [1, 2, 3]
    assert [float(row["val_accuracy"]) for row in rows] == [0.5, 0.6, 0.55]
    assert {"epoch", "loss", "accuracy", "val_accuracy", "seconds"} <= set(rows[0])
    assert all(math.isfinite(float(value)) for row in rows for value in row.values())


def test_tensorboard_has_the_loss_the_rate_the_gradients_and_the_spectral_radius(
    written: Path,
) -> None:
    events = EventAccumulator(str(written / "tensorboard"))
    events.Reload()
    tags = set(events.Tags()["tensors"])
    assert {"batch/loss", "batch/learning_rate", "batch/gradient_norm"} <= tags
    assert {"epoch/loss", "epoch/accuracy", "epoch/val_accuracy"} <= tags
    radii = {tag for tag in tags if tag.startswith("spectral_radius/")}
    assert len(radii) == 1  # one square kernel
    for tag in radii:
        values = [float(tf.make_ndarray(e.tensor_proto)) for e in events.Tensors(tag)]
        assert len(values) == 3
        assert all(0 < value < 10 for value in values)
