"""Workers in real processes train what one process does, and survive the loss of one."""

import csv
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from common import launch, runs
from common.data import Shares
from tests.commands import child
from tests.kills import data_of
from tests.worker_runs import FLAGS, Started, begin, end, files, together, weights

GROUP: list[object] = ["--strategy", "multi-worker"]


def apps(first: str) -> pytest.MarkDecorator:
    """All of them, `first` in the quick tests."""
    others = [pytest.param(app, marks=pytest.mark.slow) for app in FLAGS if app != first]
    return pytest.mark.parametrize("app", [first, *others])


def flags(app: str, data: Path, run: Path, *more: object) -> list[object]:
    return ["--data", data, "--run-dir", run, "--patience", 99, *FLAGS[app], *more]


def losses(run: Path) -> dict[str, np.ndarray]:
    """What each history has beside times, by file."""
    return {
        str(path.relative_to(run)): np.array(
            [[float(v) for k, v in row.items() if k != "seconds"] for row in csv.DictReader(file)]
        )
        for path in sorted(run.rglob("history*.csv"))
        for file in [path.open()]
    }


def assert_equal(run: Path, other: Path, atol: float) -> None:
    found, wanted = weights(run), weights(other)
    assert wanted
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, atol=atol, rtol=0, err_msg=name)
    rows, expected = losses(run), losses(other)
    assert rows.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(rows[name], values, atol=1e-5, rtol=1e-5, err_msg=name)


@apps("sentiment")
@pytest.mark.timeout(900)
def test_two_workers_train_and_write_what_one_process_does(app: str, tmp_path: Path) -> None:
    data = data_of(app, tmp_path / "data")
    one, two = tmp_path / "one", tmp_path / "two"
    (alone,) = together(app, flags(app, data, one), tmp_path / "alone", workers=1)
    assert alone.code == 0, alone.text
    chief, other = together(app, flags(app, data, two, *GROUP), tmp_path / "logs")
    assert (chief.code, other.code) == (0, 0), chief.text + other.text
    assert_equal(two, one, atol=1e-6)
    assert files(two) == files(one)  # the chief has written all, and no one anything else
    assert runs.Run(two).is_finished
    assert not list((tmp_path / "logs" / "tmp_1").iterdir())
    lines = other.text.splitlines()
    assert len(lines) == 2, other.text
    assert "worker 1 of 2" in lines[0]
    assert "the run has ended" in lines[1]
    assert len(chief.text.splitlines()) >= len(alone.text.splitlines())
    lost_and_resumed(app, data, tmp_path, one)


def lost_and_resumed(app: str, data: Path, folder: Path, whole: Path) -> None:
    """The other worker is killed; the chief ends by itself within half a minute, with a line that
    says what to do; and done, that ends as if nothing had been."""
    run = folder / "run"
    more = [*GROUP, "--checkpoint-minutes", 0.0001]
    group = begin(app, flags(app, data, run, *more), folder / "lost")
    wait_for_a_checkpoint(run, group)
    group[1].process.kill()
    began = time.monotonic()
    group[0].process.join(120)
    assert time.monotonic() - began < 30
    left, _ = end(group)
    assert left.code == 2, left.text
    assert "another worker has ended or can't be reached; start all of them again" in left.last
    assert f"--resume {run}" in left.last
    assert "Traceback" not in left.text
    places, own = launch.tf_configs(2), folder / "copy"  # the other has none of the chief's files
    own.mkdir()
    for name in ("config.json", "unfinished.json"):
        shutil.copyfile(run / name, own / name)
    group = begin(app, ["--resume", run], folder / "again", places=places[:1])
    group += begin(app, ["--resume", own], folder / "again", places=places[1:])
    chief, other = end(group)
    assert (chief.code, other.code) == (0, 0), chief.text + other.text
    assert sorted(path.name for path in own.iterdir()) == ["config.json", "unfinished.json"]
    assert "goes on at" in chief.text or "trained already" in chief.text
    assert_equal(run, whole, atol=1e-6)


def wait_for_a_checkpoint(run: Path, group: Sequence[Started]) -> None:
    while not any(run.rglob("step-*")) and group[0].process.is_alive():
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_group_that_lost_its_chief_ends_with_the_very_weights(tmp_path: Path) -> None:
    """Dropout included, whose seeds differ between the workers."""
    data = data_of("sentiment", tmp_path / "data")
    whole, run = tmp_path / "whole", tmp_path / "run"
    more: list[object] = [*GROUP, "--input-dropout", 0.3, "--readout-dropout", 0.5]
    more += ["--word-dropout", 0.1, "--pretrain-epochs", 1, "--checkpoint-minutes", 0.0001]
    words = flags("sentiment", data, whole, *more)
    assert [said.code for said in together("sentiment", words, tmp_path / "first")] == [0, 0]
    group = begin("sentiment", flags("sentiment", data, run, *more), tmp_path / "second")
    wait_for_a_checkpoint(run, group)
    group[0].process.kill()
    assert [said.code for said in end(group)] == [-9, 2]
    again = together("sentiment", ["--resume", run], tmp_path / "third")
    assert [said.code for said in again] == [0, 0]
    found, wanted = weights(run), weights(whole)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_workers_with_other_flags_are_refused(tmp_path: Path) -> None:
    data = data_of("sentiment", tmp_path / "data")
    words, places = flags("sentiment", data, tmp_path / "run", *GROUP), launch.tf_configs(2)
    group = begin("sentiment", words, tmp_path, places=places[:1])
    group += begin("sentiment", [*words, "--learning-rate", 0.5], tmp_path, places=places[1:])
    lost, refused = end(group)
    assert (lost.code, refused.code) == (2, 2)
    assert "learning_rate (0.5) differs from the chief's" in refused.last
    assert "another worker has ended" in lost.last


BUSY_CHIEF = """
import dataclasses, sys, time
from pathlib import Path
from common import cluster, training, workers
from tests import toy_training

config = dataclasses.replace(toy_training.CONFIG, strategy="multi-worker", epochs=1)
strategy = training.set_up(config)

def validate(step):
    time.sleep(60)
    return {"accuracy": 1.0}

with strategy.scope():
    _, fitted = toy_training.fit(Path(sys.argv[1]), config, validate)
workers.meet()
print("best", fitted.best_epoch)
cluster.leave(0)
"""


@pytest.mark.slow
def test_the_others_wait_as_long_as_the_chief_validates(tmp_path: Path) -> None:
    """Several times as long as it takes to notice that a worker is lost."""
    group = []
    for number, place in enumerate(launch.tf_configs(2)):
        (tmp_path / f"{number}").mkdir()
        with (tmp_path / f"{number}.log").open("w") as said:
            group.append(launch.start(["-c", BUSY_CHIEF, tmp_path / f"{number}"], said, place))
    assert [process.wait(280) for process in group] == [0, 0]
    for number in range(2):
        assert (tmp_path / f"{number}.log").read_text().splitlines()[-1] == "best 1"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_demo_shows_what_it_promises(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    answer = child("-m", "studies.cluster_demo", "--folder", folder, "--reviews", 100)
    assert answer.code == 0, answer.out + answer.err
    assert "the other ended after" in answer.out
    assert "goes on at" in answer.out
    assert answer.out.count("of one process's") == 2


def test_shares_are_all_rows_once_and_none_is_empty() -> None:
    for rows in (1, 2, 3, 7, 8):
        batch = np.arange(10, 10 + rows)
        parts = [part for r in range(3) for part in Shares(r, 1, 3).of(batch)]
        assert len(parts) == 3
        counted = np.concatenate([chosen[counts > 0] for chosen, counts in parts])
        assert sorted(counted) == list(batch)
        assert all(len(chosen) == len(counts) > 0 for chosen, counts in parts)
        both = list(Shares(0, 2, 3).of(batch)) + list(Shares(2, 1, 3).of(batch))
        for (one, _), (other, _) in zip(parts, both, strict=True):
            np.testing.assert_array_equal(one, other)
