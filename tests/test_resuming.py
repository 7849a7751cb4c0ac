"""--resume: which runs may go on, and with what."""

import dataclasses
import errno
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import pytest

from common import cli, resuming, runs
from common.config import TrainConfig, from_json, to_json
from common.errors import UserError
from common.fingerprints import fingerprint

PROG = "python -m apps.toy.train"


@dataclass(frozen=True)
class ToyConfig(TrainConfig):
    """Of every kind of field that there is."""

    colour: Literal["red", "green"] = "red"
    split: tuple[float, float] = (0.7, 0.3)
    target: tuple[str, ...] | None = None
    preset: Literal["default", "best"] = "default"


PRESETS: dict[str, dict[str, Any]] = {"default": {}, "best": {"units": 100}}


@pytest.fixture
def run(tmp_path: Path) -> runs.Run:
    """One that was killed."""
    data = tmp_path / "data.csv"
    data.write_text("text,label\nfine,1\n")
    run = runs.Run(tmp_path / "run")
    runs.start(run, "toy", ToyConfig(data=data, units=7, jit=True, split=(0.5, 0.5), warmup=0))
    return run


def main(*words: object) -> tuple[int, list[Any]]:
    """Exit code, and the configurations that were run."""
    seen: list[Any] = []
    argv = mock.patch.object(sys, "argv", ["toy", *map(str, words)])
    with argv, pytest.raises(SystemExit) as stop:
        cli.main(seen.append, ToyConfig, prog=PROG, presets=PRESETS, app="toy")
    return int(stop.value.code or 0), seen


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    code, seen = main(*words)
    out, err = capsys.readouterr()
    assert (code, seen, out, len(err.splitlines())) == (2, [], "", 1)
    return err


def test_a_run_goes_on_with_its_own_configuration(run: runs.Run) -> None:
    code, (config,) = main("--resume", run.path)
    assert code == 0
    assert (config.resume, config.run_dir) == (run.path, run.path)
    assert (config.units, config.jit, config.split, config.warmup) == (7, True, (0.5, 0.5), 0)
    assert config.data == run.path.parent / "data.csv"
    assert runs.planned("toy", config.run_dir, config.resume) == run


def test_flags_that_say_the_same_may_stand_beside_it(
    run: runs.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.path.parent)
    words = ["--units", 7, "--data", "data.csv", "--run-dir", "run", "--jit", "--preset", "default"]
    assert main("--resume=run", *words)[0] == 0


def test_how_often_it_is_saved_may_change(run: runs.Run) -> None:
    _, (config,) = main("--resume", run.path, "--checkpoint-minutes", 1, "--keep-checkpoints", 5)
    assert (config.checkpoint_minutes, config.keep_checkpoints) == (1, 5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--units", 8], "units differs: the run has 7, asked was 8"),
        (["--no-jit"], "jit differs: the run has True, asked was False"),
        (["--split", 0.7, 0.3], r"split differs: the run has \(0.5, 0.5\), asked was \(0.7, 0.3\)"),
        (["--colour", "green"], "colour differs: the run has 'red', asked was 'green'"),
        (["--target", "a", "b"], r"target differs: the run has None, asked was \('a', 'b'\)"),
        (
            ["--data", "other.csv"],
            "data differs: the run has '.*data.csv', asked was '.*other.csv'",
        ),
        (["--run-dir", "elsewhere"], "run_dir differs"),
        (["--preset", "best"], "preset differs: the run has 'default', asked was 'best'"),
    ],
)
def test_a_flag_that_says_something_else_is_refused_by_name(
    words: list[object], message: str, run: runs.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted((p, p.stat().st_mtime_ns) for p in run.path.rglob("*"))
    err = refused(capsys, "--resume", run.path, *words)
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(err)
    assert sorted((p, p.stat().st_mtime_ns) for p in run.path.rglob("*")) == before


@pytest.mark.parametrize("change", ["longer", "same length", "gone"])
def test_other_data_is_refused(
    change: str, run: runs.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    data = run.path.parent / "data.csv"
    text = data.read_text()
    data.write_text(text + "bad,0\n" if change == "longer" else text.replace("1", "0"))
    if change == "gone":
        data.unlink()
    assert f"{data} has changed" in refused(capsys, "--resume", run.path)


def test_a_finished_run_is_left_alone(run: runs.Run, capsys: pytest.CaptureFixture[str]) -> None:
    runs.end(run, {})
    before = sorted((p, p.stat().st_mtime_ns) for p in run.path.rglob("*"))
    assert main("--resume", run.path) == (0, [])
    assert "this run is finished" in capsys.readouterr().out
    assert sorted((p, p.stat().st_mtime_ns) for p in run.path.rglob("*")) == before


def test_what_is_no_run_of_the_application_is_refused(
    run: runs.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "nowhere: no such folder" in refused(capsys, "--resume", run.path / "nowhere")
    assert "no config.json in it" in refused(capsys, "--resume", run.plots)
    assert "no such folder" in refused(capsys, "--resume", run.config)
    runs.write_json(run.config, {"app": "music", "head": "joint"})
    assert "a run of 'music', expected one of 'toy'" in refused(capsys, "--resume", run.path)
    runs.write_json(run.config, {"app": "toy"})
    run.unfinished.unlink()
    assert "no unfinished.json in it: it can't be resumed" in refused(capsys, "--resume", run.path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("units", "7"), ("units", 7.5), ("units", True), ("units", None), ("jit", 1)),
        *(("colour", "os.system"), ("split", [0.5]), ("split", 0.5), ("split", ["a", "b"])),
        *(("target", "sales"), ("target", [1]), ("data", ["x"]), ("learning_rate", "1e-3")),
        *(("__class__", "os.system"), ("learning_rate", -1.0), ("epochs", {})),
    ],
)
def test_a_configuration_that_could_not_have_been_written_is_refused(
    field: str, value: Any, run: runs.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.write_json(run.config, {**runs.read_config(run), field: value})
    assert field.replace("_", "-").strip("-") in refused(capsys, "--resume", run.path).replace(
        "_", "-"
    )


def test_other_versions_are_said_and_no_obstacle(
    run: runs.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.write_json(run.unfinished, {**runs.read_json(run.unfinished), "versions": {"keras": "2"}})
    assert main("--resume", run.path)[0] == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "begun with other versions ({'keras': '2'})" in line


def test_a_full_disk_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def full(config: ToyConfig) -> None:
        raise OSError(errno.ENOSPC, "long\nlines", "history.csv")

    with mock.patch.object(sys, "argv", ["toy"]), pytest.raises(SystemExit) as stop:
        cli.main(full, ToyConfig, prog=PROG, app="toy")
    assert stop.value.code == 2
    wanted = "history.csv: No space left on device; what was written whole stays"
    assert capsys.readouterr().err == f"{PROG}: error: {wanted}\n"


def test_a_configuration_comes_back_from_json_as_it_was() -> None:
    config = ToyConfig(
        data=Path("/a"), units=3, split=(1, 2.5), target=("a",), epochs=4, colour="green"
    )
    written = json.loads(json.dumps(to_json(config)))
    assert from_json(ToyConfig, written, "here") == config
    with pytest.raises(UserError, match="here: 'more' is no field of ToyConfig"):
        from_json(ToyConfig, {"more": 1}, "here", exact=True)


@pytest.mark.parametrize("name", ["units", "seed", "strategy", "data"])
def test_only_what_is_named_harmless_may_differ(name: str) -> None:
    other: Any = {"units": 9, "seed": 9, "strategy": "mirrored", "data": Path("x")}[name]
    config = ToyConfig(resume=Path("run"))
    with pytest.raises(UserError, match=f"{name} differs"):
        resuming.refuse_changes(config, dataclasses.replace(config, **{name: other}))


def test_a_folder_of_data_is_known_by_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.csv").write_text("1")
    (folder / "deep" / "b.csv").write_text("2")
    first = fingerprint(folder)
    assert first.startswith("2 bytes, sha256 ")
    (folder / "a.csv").rename(folder / "c.csv")
    second = fingerprint(folder)
    (folder / "deep" / "b.csv").write_text("3")
    assert len({first, second, fingerprint(folder), "missing"}) == 4
    assert fingerprint(tmp_path / "nowhere") == "missing"
    before = fingerprint(folder, folder / "runs" / "mine")
    runs.start(runs.Run(folder / "runs" / "mine"), "toy", ToyConfig())
    assert fingerprint(folder, folder / "runs" / "mine") == before
    assert fingerprint(folder) != before


@pytest.mark.timeout(20)
def test_what_is_no_data_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for path, kind in ((tmp_path / "pipe.csv", "a pipe"), (Path("/dev/zero"), "a device")):
        with pytest.raises(UserError, match=f"{path}: .*found {kind}"):
            fingerprint(path)
