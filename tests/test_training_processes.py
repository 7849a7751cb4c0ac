"""Training in processes of their own: two devices, and a Ctrl-C from outside."""

import dataclasses
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from common import export, training
from common.errors import UserError
from tests import toy_training
from tests.commands import ROOT, child
from tests.toy_training import CONFIG

ON_TWO = """
import sys
from pathlib import Path
from tests.toy_training import CONFIG, train_on_two_devices
import dataclasses
config = dataclasses.replace(CONFIG, strategy="mirrored", average=0.9)
train_on_two_devices(config, 2, Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_two_devices_train_like_one(tmp_path: Path) -> None:
    """Also with batches that can't be halved."""
    assert 43 % CONFIG.batch_size % 2 == 1
    answer = child("-c", ON_TWO, tmp_path / "two.npz")
    assert answer.code == 0, answer.err[-2000:]
    one = toy_training.train(dataclasses.replace(CONFIG, average=0.9), toy_training.batches(), 2)
    with np.load(tmp_path / "two.npz") as two:
        for name, wanted in zip(two.files, one, strict=True):
            assert_allclose(two[name], wanted, atol=1e-6)


APP_ON_TWO = """
import sys
from pathlib import Path
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from apps.sentiment.config import SentimentConfig
from apps.sentiment.train import run
given = {"data": Path(sys.argv[1]), "run_dir": Path(sys.argv[2]), "strategy": "mirrored"}
run(SentimentConfig(**given, epochs=2, units=4, embedding=4, members=2, pretrain_epochs=1))
"""


@pytest.mark.slow
def test_an_application_trains_on_two_devices_from_data_to_export(tmp_path: Path) -> None:
    data, run = tmp_path / "data.csv", tmp_path / "run"
    rows = [f"a film so {word} number {n},{word}" for n in range(40) for word in ("good", "bad")]
    data.write_text("\n".join(["text,label", *rows]) + "\n")
    answer = child("-c", APP_ON_TWO, data, run)
    assert answer.code == 0, answer.err[-2000:]
    assert json.loads((run / "metrics.json").read_text())["export_difference"] < 1e-3
    assert (run / "export" / "1" / "saved_model.pb").is_file()


@pytest.mark.parametrize("strategy", ["mirrored", "multi-worker"])
@pytest.mark.parametrize("settings", [{"jit": True}, {"precision": "mixed_float16"}])
def test_what_several_devices_cannot_do_is_refused(strategy: Any, settings: dict) -> None:
    with pytest.raises(UserError, match=f"--strategy {strategy}"):
        training.set_up(dataclasses.replace(CONFIG, strategy=strategy, **settings))


@pytest.mark.slow
def test_ctrl_c_from_outside_ends_with_scores_and_an_export(tmp_path: Path) -> None:
    data, run = tmp_path / "data.csv", tmp_path / "run"
    rows = [f"a film so {word} number {n},{word}" for n in range(40) for word in ("good", "bad")]
    data.write_text("\n".join(["text,label", *rows]) + "\n")
    words = ["--data", data, "--run-dir", run, "--units", 4, "--embedding", 4, "--epochs", 10_000]
    process = subprocess.Popen(
        [sys.executable, "-m", "apps.sentiment.train", *map(str, [*words, "--patience", 10_000])],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Whoever runs the tests in the background of a shell has Ctrl-C turned off.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        while not (run / "history.csv").is_file() and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=200)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert "interrupted" in said
    assert "Traceback" not in said
    assert 0 <= json.loads((run / "metrics.json").read_text())["test"]["accuracy"] <= 1
    assert "serving_default" in export.load(run / "export" / "1").signatures
