"""A training that is killed and goes on ends as one that never was: the loop itself, on a toy."""

import csv
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from numpy.testing import assert_array_equal
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from common import checkpoints, training
from common.config import TrainConfig
from common.monitoring import Monitor
from common.trainer import Trainer
from tests import kills, sentiment_runs, toy_training
from tests.commands import ROOT, child, command, refusal
from tests.toy_training import CONFIG, recurrent_model

FULL = dataclasses.replace(
    CONFIG, average=0.9, gradient_flow=True, checkpoint_minutes=1e-9, patience=2, epochs=6
)
"""With a checkpoint after every step, and all that there is to go wrong."""
SCORES = [0.1, 0.5, 0.4, 0.3, 0.9]
"""Of the epochs, of six steps each: the second is the best, the fourth the last."""
STEPS = 6


class Killed(BaseException):
    """Nothing that the code under test could catch."""


def fit(
    folder: Path,
    config: TrainConfig = FULL,
    *,
    kill_at: int | None = None,
    validate: Callable[[int], dict[str, float]] | None = None,
    seed: int = 0,
    epochs: int = 0,
) -> tuple[Trainer, training.Fitted]:
    """A training in `folder`, of a new network, killed when it asks for step `kill_at`."""
    folder.mkdir(exist_ok=True)
    training.set_up(dataclasses.replace(config, seed=seed))
    made = toy_training.trainer(config, recurrent_model(dropout=0.4))
    step = made.step

    def step_or_die(iterator: Any) -> Any:
        if made.made + 1 == kill_at:
            step(iterator)  # what was not saved must not count
            raise Killed
        return step(iterator)

    made.step = step_or_die  # type: ignore[method-assign]
    board = Monitor(folder / "tensorboard")
    board.graph(tf.function(lambda x: x + 1).get_concrete_function(tf.constant(1)))
    fitted = training.fit(
        made,
        toy_training.batches(),
        epochs=epochs or config.epochs or 1,
        validate=validate or scripted,
        monitor="accuracy",
        weights=folder / "best.weights.h5",
        history=folder / "history.csv",
        board=board,
    )
    return made, fitted


def scripted(step: int) -> dict[str, float]:
    return {"accuracy": SCORES[step // STEPS - 1]}


def killed(folder: Path, *places: int | None, **options: Any) -> None:
    """Starts it anew, or goes on, and kills it. Where there is a checkpoint, the network that is
    begun with must not matter."""
    for place in places:
        with pytest.raises(Killed):
            fit(folder, kill_at=place, seed=len(steps(folder)), **options)


def history(folder: Path) -> list[dict[str, str]]:
    rows = list(csv.DictReader((folder / "history.csv").open()))
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def events(folder: Path) -> dict[str, list[tuple[int, bytes]]]:
    """What TensorBoard shows: tag -> steps and values; pictures and seconds by step alone."""
    found = EventAccumulator(str(folder / "tensorboard"), {"tensors": 0})
    found.Reload()
    shown = {}
    for tag in found.Tags()["tensors"]:
        exact = tag not in ("epoch/seconds", "gradient_flow")
        shown[tag] = [
            (e.step, e.tensor_proto.SerializeToString() if exact else b"")
            for e in found.Tensors(tag)
        ]
    shown["graph"] = [(0, bytes(found.Tags()["graph"]))]
    return shown


def steps(folder: Path) -> list[str]:
    return [place.name for place in checkpoints.steps_in(folder)]


def assert_equal(a: tuple[Any, ...], b: tuple[Any, ...], first: Path, second: Path) -> None:
    """Two trainings: weights, averages, optimiser, seeds, history, flow, and TensorBoard."""
    (trainer, fitted), (other, refitted) = a, b
    for one, two in zip(trainer.model.get_weights(), other.model.get_weights(), strict=True):
        assert_array_equal(one, two)
    assert fitted.best_epoch == refitted.best_epoch
    assert history(first) == history(second)
    assert fitted.gradient_flow.keys() == refitted.gradient_flow.keys()
    for name, rows in fitted.gradient_flow.items():
        assert_array_equal(rows, refitted.gradient_flow[name])
    assert events(first) == events(second)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A training that was never killed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, fit(folder)


def test_a_training_killed_again_and_again_ends_as_one_that_never_was(
    whole: tuple[Path, Any], tmp_path: Path
) -> None:
    """Before any checkpoint, inside an epoch, at its end, and while it validates."""
    folder, reference = whole
    assert reference[1].best_epoch == 2
    assert len(reference[1].history) == 4
    assert next(iter(reference[1].gradient_flow.values())).shape[0] == 5
    assert len(events(folder)["epoch/loss"]) == 4

    def validate(step: int) -> dict[str, float]:
        raise Killed

    again = tmp_path / "again"
    killed(again, 1, 4, 7, 8)
    killed(again, None, validate=validate)
    assert steps(again) == ["step-10", "step-11"]
    resumed = fit(again, seed=9)
    assert_equal(reference, resumed, folder, again)
    assert all(row["seconds"] > 0 for row in resumed[1].history)
    assert resumed[1].seconds >= resumed[1].history[-1]["seconds"]


def test_ctrl_c_keeps_the_best_weights_and_can_be_gone_on_from(
    whole: tuple[Path, Any], tmp_path: Path
) -> None:
    """Also a second time, after all that had ended."""
    folder, reference = whole
    again = tmp_path / "again"

    def validate(step: int) -> dict[str, float]:
        if step == 2 * STEPS:
            raise KeyboardInterrupt
        return scripted(step)

    _, fitted = fit(again, validate=validate)
    assert fitted.interrupted
    assert fitted.best_epoch == 1
    assert (again / "interrupted-history").is_file()
    resumed = fit(again, seed=9)
    assert not (again / "interrupted-history").exists()
    assert_equal(reference, resumed, folder, again)

    shown, rows = events(again), (again / "history.csv").read_text()
    (again / "best.weights.h5").unlink()  # as a refit replaces it
    ended = fit(again, seed=8, kill_at=1)
    assert_equal(reference, ended, folder, again)
    assert ended[1].seconds == resumed[1].seconds
    assert (events(again), (again / "history.csv").read_text()) == (shown, rows)


def test_nothing_that_a_step_changes_is_left_out() -> None:
    """Also of an optimiser inside another, which scales losses of half precision."""
    config = dataclasses.replace(FULL, precision="mixed_float16")
    training.set_up(config)
    made = toy_training.trainer(config, recurrent_model(dropout=0.4))
    saved = {id(variable) for variable in made.variables}
    optimizer = made.optimizer
    assert optimizer.inner_optimizer.variables
    seeds = [v for v in made.model.variables if "seed" in v.path]
    assert len(seeds) == 1
    for variable in (*made.model.weights, *seeds, *optimizer.variables):
        assert id(variable.value) in saved
    for variable in (*optimizer.inner_optimizer.variables, optimizer.dynamic_scale):
        assert id(variable.value) in saved
    assert {id(average) for average in made.averages} <= saved


APP = "apps.sentiment.train"


def test_an_application_killed_from_outside_ends_as_one_that_never_was(tmp_path: Path) -> None:
    data, whole, again = sentiment_runs.moods(tmp_path / "data.csv"), tmp_path / "a", tmp_path / "b"
    words = [*sentiment_runs.SMALL, "--word-dropout", 0.1, "--checkpoint-minutes", 1e-9]
    sentiment_runs.train(data, whole, *words[len(sentiment_runs.SMALL) :])
    asked = [*words, "--data", data, "--run-dir", again]
    process = subprocess.Popen(
        [sys.executable, "-m", APP, *map(str, asked)], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    try:
        while not (again / "checkpoints" / "step-3").is_dir() and process.poll() is None:
            time.sleep(0.01)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    changed = command(APP, "--resume", again, "--units", 7)
    assert "units differs: the run has 6, asked was 7" in refusal(changed)
    answer = command(APP, "--resume", again)
    assert answer.code == 0, answer.err
    assert "goes on at batch" in answer.out
    assert kills.outcome(again) == kills.outcome(whole)
    assert not (again / "unfinished.json").exists()
    answer = command(APP, "--resume", again)
    assert (answer.code, len(answer.out.splitlines())) == (0, 1)
    assert "this run is finished" in answer.out


ON_TWO = """
import sys
from pathlib import Path
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests import test_resume
test_resume.resume_on_two(Path(sys.argv[1]))
"""


def resume_on_two(folder: Path) -> None:
    config = dataclasses.replace(FULL, strategy="mirrored", gradient_flow=False, epochs=2)
    reference = fit(folder / "whole", config)
    killed(folder / "again", 4, 9, config=config)
    resumed = fit(folder / "again", config, seed=9)
    assert_equal(reference, resumed, folder / "whole", folder / "again")


@pytest.mark.slow
def test_a_training_on_two_devices_goes_on_too(tmp_path: Path) -> None:
    answer = child("-c", ON_TWO, tmp_path)
    assert answer.code == 0, answer.err[-2000:]


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("app", list(kills.RECIPES))
def test_a_run_of_an_application_killed_at_random_ends_as_one_that_never_was(
    app: str, tmp_path: Path
) -> None:
    """KILLS: how often, 40 by default. KILLS_LOG: the folder of the log. KILLS_FORK: see there."""
    log = Path(os.environ.get("KILLS_LOG", tmp_path / "log"))
    killer = kills.Killer(app, tmp_path / "runs", log, fork="KILLS_FORK" in os.environ)
    killer.run(int(os.environ.get("KILLS", 40)))
    assert not killer.unequal, (log / f"{app}.jsonl").read_text()
