"""The benchmark of checkpoints: that it times what a training would write."""

from pathlib import Path

import pytest

from benchmarks import checkpoints
from common import training
from common.monitoring import Monitor
from tests import toy_training
from tests.toy_training import CONFIG


def test_steps_and_checkpoints_are_timed_where_a_run_has_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training.set_up(CONFIG)
    made, batches = toy_training.trainer(CONFIG), toy_training.batches()
    (tmp_path / "checkpoints").mkdir()
    config = checkpoints.BenchmarkConfig(steps=2, saves=3)
    weights = tmp_path / "checkpoints" / "best.weights.h5"
    row = checkpoints.timed(made, batches, weights, Monitor(tmp_path / "tensorboard"), config)
    assert row["steps_an_epoch"] == batches.steps
    assert min(row["step_seconds"], row["save_seconds"]) > 0
    kept = sorted(path.name for path in weights.parent.glob("step-*"))
    assert kept == ["step-1", "step-2"]
    variables = sum(variable.numpy().nbytes for variable in made.variables)
    assert row["bytes"] > variables + weights.stat().st_size
    checkpoints.show({"toy": {**row, "share": 0.0123}})
    assert "1.23%" in capsys.readouterr().out.splitlines()[-1]
