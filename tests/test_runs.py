"""A run's folder: where it may be made, what is in it, and that no file is half there."""

import json
from pathlib import Path

import pytest

from common import runs
from common.config import TrainConfig
from common.errors import UserError


def finished_run(path: Path, config: str = '{"app": "sentiment"}') -> Path:
    """A folder that looks like a finished run."""
    run = runs.Run(path)
    run.export.mkdir(parents=True)
    (run.export / "saved_model.pb").write_bytes(b"")
    run.config.write_text(config, encoding="utf-8")
    return path


def broken_writer(path: Path) -> None:
    path.write_text("half")
    raise OSError("disk full")


# planned and start


def test_a_planned_run_makes_nothing_yet(tmp_path: Path) -> None:
    run = runs.planned("sentiment", tmp_path / "a" / "b")
    assert run.path == tmp_path / "a" / "b"
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_may_be_used(tmp_path: Path) -> None:
    assert runs.planned("sentiment", tmp_path).path == tmp_path


def test_a_run_without_a_folder_gets_one_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = runs.planned("music", None)
    assert first.path.parent == Path("runs") / "music"
    for _ in range(3):  # within the same second, or the next
        run = runs.planned("music", None)
        runs.start(run, "music", TrainConfig())
    assert len(list((tmp_path / "runs" / "music").iterdir())) == 3


def test_a_folder_with_files_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match=f"--run-dir {tmp_path}: expected a new or empty folder"):
        runs.planned("sentiment", tmp_path)


def test_a_run_that_was_killed_before_it_said_what_it_is_begins_anew(tmp_path: Path) -> None:
    run = runs.planned("toy", tmp_path / "run")
    runs.start(run, "toy", TrainConfig())
    for folder in (run.plots, run.weights().parent):
        folder.rmdir()
    run.config.rename(run.path / ".0123abcd.config.json")
    assert runs.planned("toy", run.path) == run
    runs.start(run, "toy", TrainConfig())
    found = sorted(p.name for p in run.path.iterdir())
    assert found == ["checkpoints", "config.json", "plots", "unfinished.json"]


def test_a_run_killed_at_its_very_end_is_tidied_when_it_is_resumed(tmp_path: Path) -> None:
    run = runs.Run(tmp_path)
    for name in ("step-3", "finished-history"):
        (run.weights().parent / name).mkdir(parents=True)
    run.weights().touch()
    runs.tidy(run)
    assert [p.name for p in run.weights().parent.iterdir()] == [run.weights().name]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(UserError, match="expected a folder, found a file"):
        runs.planned("sentiment", path)
    with pytest.raises(UserError, match="can't be made"):
        runs.start(runs.Run(path / "below"), "sentiment", TrainConfig())


def test_a_started_run_says_how_to_run_it_again(tmp_path: Path) -> None:
    run = runs.Run(tmp_path / "new" / "run")
    runs.start(run, "sentiment", TrainConfig(units=9, data=tmp_path / "x.csv"))
    config = runs.read_config(run)
    assert config["app"] == "sentiment"
    assert config["units"] == 9
    assert config["data"] == str(tmp_path / "x.csv")
    assert run.plots.is_dir()
    assert run.weights().parent.is_dir()


# finished and read_config


def test_a_finished_run_is_found(tmp_path: Path) -> None:
    assert runs.finished("sentiment", finished_run(tmp_path)).path == tmp_path


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--run .*nowhere: no such folder"):
        runs.finished("sentiment", tmp_path / "nowhere")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not a run's folder: no config\.json"):
        runs.finished("sentiment", tmp_path)


def test_a_run_of_another_application_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a run of 'music', expected one of 'sentiment'"):
        runs.finished("sentiment", finished_run(tmp_path, '{"app": "music"}'))


def test_a_run_without_an_export_is_refused_and_told_where_it_should_be(tmp_path: Path) -> None:
    run = runs.Run(finished_run(tmp_path))
    (run.export / "saved_model.pb").unlink()
    with pytest.raises(UserError, match=f"no exported model in it, expected {run.export}"):
        runs.finished("sentiment", tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1]", '"app"', "null", "\udcff"])
def test_a_config_that_is_no_json_object_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"JSON|expected UTF-8 text") as refusal:
        runs.read_config(runs.Run(tmp_path))
    assert str(path) in str(refusal.value)


# Files


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    for value in ({"accuracy": 1 / 3}, {"name": "naïve 😀"}):  # the second replaces the first
        runs.write_json(path, value)
        assert json.loads(path.read_text(encoding="utf-8")) == value
        assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_left_when_a_writer_fails(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk full"):
        runs.write_whole(tmp_path / "metrics.json", broken_writer)
    assert list(tmp_path.iterdir()) == []


def test_the_file_there_was_stays_when_a_writer_fails(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text("whole")
    with pytest.raises(OSError, match="disk full"):
        runs.write_whole(path, broken_writer)
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_sees_the_suffix_of_the_file(tmp_path: Path) -> None:
    seen = []

    def write(path: Path) -> None:
        seen.append(path.name)
        path.touch()

    runs.write_whole(tmp_path / "best.weights.h5", write)
    assert seen[0].endswith(".weights.h5")


def test_the_versions_of_what_decides_a_result_are_named() -> None:
    versions = runs.versions()
    assert {"python", "tensorflow", "keras", "numpy"} <= set(versions)
    assert all(isinstance(version, str) and version for version in versions.values())
