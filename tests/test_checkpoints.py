"""Checkpoints as files: which is taken, what is damaged, how many are kept, and a full disk."""

import errno
import json
import pickle
import resource
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_array_equal

from common import checkpoints, runs
from common.checkpoints import Checkpoints, Progress
from common.config import TrainConfig
from common.monitoring import Monitor

RANDOM = np.random.default_rng(0)


def made(folder: Path, training: str = "history", keep: int = 2) -> Checkpoints:
    """Of two variables that are 0."""
    folder.mkdir(exist_ok=True)
    variables = [tf.Variable(tf.zeros([3, 2])), tf.Variable(0, dtype=tf.int64)]
    config = TrainConfig(keep_checkpoints=keep)
    board = Monitor(folder / "tensorboard")
    return Checkpoints(training, folder / "best.weights.h5", variables, board, config)


def write(folder: Path, *steps: int, training: str = "history", keep: int = 2) -> Checkpoints:
    """A checkpoint at each of those steps, with them in its variables, and best weights."""
    kept = made(folder, training, keep)
    for step in steps:
        runs.write_text(kept.best, f"best of {step}")
        kept.variables[0].assign(np.full([3, 2], step / 7))
        kept.variables[1].assign(step)
        flow = {"layer": np.full([2, step], 0.1)}
        rows = [{"epoch": 1, "loss": 0.1 + step, "nan": float("nan")}]
        at = Progress(1, step, {"loss": 1 / 3}, rows, -float("inf"), 1, 2.5, flow=flow)
        kept.save(at, step)
    return kept


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()} - {"best.weights.h5", "tensorboard"}


def test_the_newest_is_taken_with_all_that_was_in_it(tmp_path: Path) -> None:
    write(tmp_path, 2, 10, 9)
    assert names(tmp_path) == {"step-9", "step-10"}
    fresh = made(tmp_path)
    runs.write_text(fresh.best, "worse")
    progress, place = fresh.newest()
    assert place == tmp_path / "step-10"
    assert fresh.variables[1].numpy() == 10
    assert_array_equal(fresh.variables[0].numpy(), np.full([3, 2], 10 / 7, np.float32))
    assert (progress.epoch, progress.batch, progress.totals) == (1, 10, {"loss": 1 / 3})
    assert list(progress.rows[0]) == ["epoch", "loss", "nan"]
    assert (progress.rows[0]["loss"], progress.best) == (10.1, -float("inf"))
    assert_array_equal(progress.flow["layer"], np.full([2, 10], 0.1))
    assert fresh.best.read_text() == "best of 10"


def test_no_more_are_kept_than_asked_for(tmp_path: Path) -> None:
    write(tmp_path, 1, 2, 3, 4, keep=1)
    assert names(tmp_path) == {"step-4"}


def test_another_training_of_the_run_has_its_own(tmp_path: Path) -> None:
    write(tmp_path, 5, training="history_1")
    assert made(tmp_path).newest()[1] is None
    assert made(tmp_path, "history_1").newest()[1] == tmp_path / "step-5"
    kept = write(tmp_path, 1, 2, 3)
    assert names(tmp_path) == {"step-2", "step-3", "step-5"}
    kept.finish(Progress(best_epoch=1))
    assert names(tmp_path) == {"finished-history", "step-5"}
    assert made(tmp_path).finished() is not None
    assert made(tmp_path, "history_1").newest()[1] == tmp_path / "step-5"


def test_a_training_that_has_ended_leaves_its_end_alone(tmp_path: Path) -> None:
    kept = write(tmp_path, 5, 6)
    kept.finish(Progress(3, 0, {}, [{"epoch": 1, "loss": 2.0}], 0.5, 1, 9.0))
    assert names(tmp_path) == {"finished-history"}
    runs.write_text(kept.best, "of a refit")
    fresh = made(tmp_path)
    ended = fresh.finished()
    assert ended is not None
    assert (ended.best_epoch, ended.seconds) == (1, 9.0)
    assert fresh.best.read_text() == "best of 6"
    assert made(tmp_path, "history_1").finished() is None


def truncated(place: Path) -> None:
    path = place / "variables.npz"
    path.write_bytes(path.read_bytes()[:-40])


def flipped(place: Path) -> None:
    path = place / "variables.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def changed_score(place: Path) -> None:
    path = place / "progress.json"
    path.write_text(path.read_text().replace('"best_epoch": 1', '"best_epoch": 2'))


def signed(place: Path) -> None:
    """The manifest as it would be if what is there had been written."""
    files = {
        p.name: [p.stat().st_size, checkpoints.checksum(p)]
        for p in place.iterdir()
        if p.name in checkpoints.FILES
    }
    text = json.dumps({"training": "history", "files": files})
    (place / "manifest.json").write_text(text)


class Bomb:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (Path.touch, (Path("exploded"),))  # type: ignore[return-value]


def a_pickle(place: Path) -> None:
    (place / "variables.npz").write_bytes(pickle.dumps(Bomb()))
    signed(place)


def a_pickled_array(place: Path) -> None:
    np.savez(place / "variables.npz", **{"0": np.array([Bomb()]), "1": np.array(1)})
    signed(place)


def a_zip_bomb(place: Path) -> None:
    with zipfile.ZipFile(place / "variables.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.npy", bytes(50_000_000))
    signed(place)


def a_huge_header(place: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999,)}"
    text = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(place / "variables.npz", "w") as archive:
        archive.writestr("0.npy", text)
    signed(place)


def other_shapes(place: Path) -> None:
    np.savez(place / "variables.npz", **{"0": np.zeros([2, 3]), "1": np.array(1)})
    signed(place)


def other_types(place: Path) -> None:
    path = place / "progress.json"
    path.write_text(path.read_text().replace('"epoch": 1, "batch"', '"epoch": "1", "batch"'))
    signed(place)


def another_field(place: Path) -> None:
    path = place / "progress.json"
    path.write_text(path.read_text().replace('"batch"', '"__class__": "os.system", "batch"'))
    signed(place)


def no_best_weights(place: Path) -> None:
    (place / "best.weights.h5").unlink()
    signed(place)


def no_manifest(place: Path) -> None:
    (place / "manifest.json").unlink()


def nested_manifest(place: Path) -> None:
    (place / "manifest.json").write_text("[" * 100_000)


def listed_manifest(place: Path) -> None:
    (place / "manifest.json").write_text("[1]")


def a_manifest_of_bytes(place: Path) -> None:
    (place / "manifest.json").write_bytes(b"\xff\xfe\x00")


def a_file(place: Path) -> None:
    shutil.rmtree(place)
    place.write_text("not a folder")


DAMAGES = [
    *(truncated, flipped, changed_score, a_pickle, a_pickled_array, a_zip_bomb, a_huge_header),
    *(other_shapes, other_types, another_field, no_best_weights, no_manifest, nested_manifest),
    *(listed_manifest, a_manifest_of_bytes, a_file),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_named_and_the_one_before_is_taken(
    damage: Callable[[Path], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "run", 3, 4)
    damage(tmp_path / "run" / "step-4")
    fresh = made(tmp_path / "run", keep=1)
    progress, place = fresh.newest()
    assert place == tmp_path / "run" / "step-3"
    assert (progress.batch, fresh.variables[1].numpy()) == (3, 3)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{tmp_path}/run/step-4: damaged, skipped: ")
    assert not (tmp_path / "exploded").exists()
    fresh.save(progress, 3)  # a damaged one does not count among those that are kept
    assert names(tmp_path / "run") == {"step-3"}
    fresh.save(progress, 4)
    assert names(tmp_path / "run") == {"step-4"}


def test_a_damaged_one_is_replaced_when_training_comes_there_again(tmp_path: Path) -> None:
    write(tmp_path, 3, 4).finish(Progress(best_epoch=1))
    write(tmp_path, 3, 4)
    for place in (tmp_path / "step-4", tmp_path / "finished-history"):
        (place / "progress.json").write_text("{")
    fresh = made(tmp_path)
    assert fresh.finished() is None
    progress, _ = fresh.newest()
    fresh.save(progress, 4)
    assert names(tmp_path) == {"step-3", "step-4"}
    fresh.finish(progress)
    assert names(tmp_path) == {"finished-history"}
    assert made(tmp_path).finished() is not None


def test_where_all_are_damaged_it_starts_anew(tmp_path: Path) -> None:
    write(tmp_path, 3, 4)
    for place in checkpoints.steps_in(tmp_path):
        truncated(place)
    fresh = made(tmp_path)
    assert fresh.newest() == (Progress(), None)
    assert not fresh.variables[0].numpy().any()


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file of this process can grow beyond `size`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_without_room_for_one_it_is_named_and_those_before_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = write(tmp_path, 3, 4)
    with room_for(100):
        kept.save(Progress(2, 0, best_epoch=1), 5)
        kept.finish(Progress(2, 0, best_epoch=1))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{tmp_path}/step-5: checkpoint not written: File too large")
    assert lines[0].endswith("training goes on")
    assert names(tmp_path) == {"step-3", "step-4"}
    kept.save(Progress(2, 0, best_epoch=1), 6)
    assert names(tmp_path) == {"step-4", "step-6"}
    assert made(tmp_path).newest()[1] == tmp_path / "step-6"


def test_without_room_for_what_tensorboard_shows_training_can_only_end(tmp_path: Path) -> None:
    kept = made(tmp_path)
    kept.board.text("a", "some", 0)
    refusal = tf.errors.ResourceExhaustedError(None, None, "No space left\n on device")
    flush = mock.patch.object(type(kept.board._writer), "flush", side_effect=refusal)
    with flush, pytest.raises(OSError, match="events can't be written: No space left on") as found:
        kept.save(Progress(), 1)
    assert found.value.errno == errno.ENOSPC
    assert names(tmp_path) == set()


def test_a_process_that_does_not_write_leaves_all_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, 3)
    before = sorted(p.name for p in tmp_path.rglob("*"))
    other = made(tmp_path)
    other.writes = False
    other.save(Progress(2, 0, best_epoch=1), 9)
    other.finish(Progress(2, 0, best_epoch=1))
    other.interrupt()
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


def test_best_weights_are_kept_where_files_can_have_one_name_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*names: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    write(tmp_path, 3)
    fresh = made(tmp_path)
    fresh.best.unlink()
    fresh.newest()
    assert fresh.best.read_text() == "best of 3"


def test_what_a_kill_left_half_written_is_swept_away_when_a_run_goes_on(tmp_path: Path) -> None:
    run = runs.Run(tmp_path / "run")
    runs.start(run, "toy", TrainConfig())
    config = run.config.read_bytes()
    half = run.weights().parent / ".0123abcd.step-7"
    half.mkdir()
    (half / "variables.npz").write_bytes(b"half")
    (run.path / ".89abcdef.history.csv").write_text("half")
    (run.path / ".mine").write_text("not ours")
    run.export.mkdir(parents=True)
    (run.export.parent / ".writing-abc").mkdir()
    runs.start(run, "toy", TrainConfig(keep_checkpoints=5))
    assert run.config.read_bytes() == config
    left = {str(p.relative_to(run.path)) for p in run.path.rglob("*")}
    assert left == {"config.json", "unfinished.json", "plots", "checkpoints", ".mine"} | {
        *("export", "export/1")
    }


def test_the_end_of_a_run_removes_what_only_resuming_needs(tmp_path: Path) -> None:
    run = runs.Run(tmp_path / "run")
    runs.start(run, "toy", TrainConfig())
    write(run.weights().parent, 3).finish(Progress(best_epoch=1))
    write(run.weights().parent, 4, training="history_1")
    (run.weights().parent / "interrupted-history_2").touch()
    runs.end(run, {"app": "toy"})
    assert not run.is_finished
    assert names(run.weights().parent) == {*("step-4", "finished-history", "interrupted-history_2")}
    (run.weights().parent / "interrupted-history_2").unlink()
    runs.end(run, {"app": "toy"})
    assert run.is_finished
    assert names(run.weights().parent) == set()
    assert run.weights().is_file()
