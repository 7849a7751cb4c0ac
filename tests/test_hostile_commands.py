"""The commands themselves, given what is broken: one line, exit code 2, nothing left behind."""

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from common import runs
from common.config import to_json
from tests.broken_files import LAUGHS, WAV_4_GB, midi, refused, score, sound, write, zipped
from tests.commands import ROOT, Answer, command, refusal
from tests.test_hostile_runs import CONFIGS, SERIES, STREAMS, TEXTS, TUNES

APPS = ("sentiment", "timeseries", "music", "speech", "gesture")
SCHEMAS = {"timeseries": SERIES, "music": TUNES, "speech": TEXTS, "gesture": STREAMS}
CONFIG = dict(zip(APPS, CONFIGS, strict=True))
BROKEN: dict[str, dict[str, str | bytes]] = {
    "sentiment": {"a.csv": "text,label\na,1\n\xff,0\n".encode("latin1"), "b.csv": b"x" * 10**7},
    "timeseries": {"a.csv": "time,y\n" + "soon,1\n" * 9, "b.parquet": b"PAR1" * 100},
    "music": {"a.mat": b"\0" * 200, "b.json": "[" * 100_000, "c.npz": b"PK"},
    "speech": {"a.csv": "path,text\n/dev/zero,a\n", "b.jsonl": '{"path": ' + "[" * 100_000},
    "gesture": {"a.csv": "time,ax,label\n0,nan,a\n", "b.ts": "@data\n1,NaN:a\n"},
}
CASES = [(app, name) for app in APPS for name in BROKEN[app]]


def finished(app: str, folder: Path) -> Path:
    """A run's folder whose export is no export."""
    config = {"app": app, **to_json(CONFIG[app]())}
    write(folder / "config.json", json.dumps(config))
    write(folder / "export" / "1" / "saved_model.pb", b"\x0a\xffnothing of the kind")
    if app in SCHEMAS:
        write(folder / "schema.json", json.dumps(SCHEMAS[app]))
    return folder


def training(app: str, data: Path, folder: Path) -> list[object]:
    words: list[object] = [f"apps.{app}.train", "--data", data, "--run-dir", folder / "run"]
    return [*words, "--target", "y"] if app == "timeseries" else words


def scoring(app: str, data: Path, run: Path) -> list[object]:
    return [f"apps.{app}.evaluate", "--run", run, "--data", data]


def predicting(app: str, path: Path, run: Path) -> list[object]:
    words: list[object] = [f"apps.{app}.predict", "--run", run]
    flags = {"music": ["--primer"], "speech": []}
    out = {"sentiment": [], "speech": [], "music": [path.parent / "o.mid"]}
    written = out.get(app, [path.parent / "o.csv"])
    return [*words, *flags.get(app, ["--data"]), path, *(["--out", *written] if written else [])]


@pytest.mark.parametrize(("app", "name"), CASES)
def test_training_and_scoring_refuse_what_is_broken_and_leave_nothing(
    app: str, name: str, tmp_path: Path
) -> None:
    data = write(tmp_path / name, BROKEN[app][name])
    run = finished(app, tmp_path / "finished")
    assert "error: " in refusal(command(*map(str, training(app, data, tmp_path))))
    assert not (tmp_path / "run").exists()
    assert "error: " in refusal(command(*map(str, scoring(app, data, run))))


@pytest.mark.parametrize("app", APPS)
def test_a_name_that_the_system_refuses_is_one_line(app: str, tmp_path: Path) -> None:
    assert "name too long" in refusal(command(*map(str, training(app, Path("x" * 5000), tmp_path))))
    run = finished(app, tmp_path / "finished")
    assert "name too long" in refusal(command(*map(str, scoring(app, Path("x" * 5000), run))))


PREDICTED: dict[str, dict[str, str | bytes]] = {
    "sentiment": BROKEN["sentiment"],
    "timeseries": BROKEN["timeseries"],
    "music": {"a.mid": midi(b"\0" * 9), "b.xml": score(head=LAUGHS, name="&a11;"), "c.mxl": b"PK"},
    "speech": {"a.wav": b"RIFF", "b.flac": b"fLaC" + b"\xff" * 100},
    "gesture": BROKEN["gesture"],
}


@pytest.mark.parametrize("app", APPS)
def test_predicting_refuses_what_is_broken(app: str, tmp_path: Path) -> None:
    run = finished(app, tmp_path / "finished")
    for name, content in PREDICTED[app].items():
        path = write(tmp_path / name, content)
        assert "error: " in refusal(command(*map(str, predicting(app, path, run))))
    assert not list(tmp_path.glob("o.*"))


HOURS = "".join(f"2024-01-02 {hour:02d}:00:00,{hour},1\n" for hour in range(24))
WHOLE: dict[str, tuple[str, str | bytes]] = {
    "sentiment": ("a.csv", "text\nfine\n"),
    "timeseries": (
        "a.csv",
        "time,y,p\n" + HOURS,
    ),
    "music": ("a.mid", midi(b"\0\x90\x3c\x40\x60\x80\x3c\x40\0\xff\x2f\0")),
    "speech": ("a.wav", sound()),
    "gesture": ("a.csv", "time,ax\n" + "".join(f"{n / 20},{n}\n" for n in range(40))),
}


@pytest.mark.parametrize("app", APPS)
def test_a_damaged_run_is_refused_whatever_is_asked_of_it(app: str, tmp_path: Path) -> None:
    run = finished(app, tmp_path / "finished")
    name, content = WHOLE[app]
    words = [*map(str, predicting(app, write(tmp_path / name, content), run))]
    assert "can't be loaded as a SavedModel" in refusal(command(*words))
    for damage in ('{"app": ', "[1]", json.dumps({"app": "other"}), "[" * 100_000):
        write(run / "config.json", damage)
        refusal(command(*words))
    (run / "config.json").unlink()
    os.mkfifo(run / "config.json")
    assert "found a pipe" in refusal(command(*words))
    refused(lambda: runs.finished(app, tmp_path / name), "no such folder")


# Real processes, held to what they may take

MEMORY = 3 * 2**30
"""Bytes at a process's peak: TensorFlow has 1 GB of them when it does nothing."""
SECONDS = 120
"""Of the processor: importing TensorFlow takes 6 to 10."""


BETWEEN = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=open(sys.argv[1], "w"))
sys.exit(code)
"""
"""A small process: the peak of one that is forked off pytest would be that of pytest."""


def held(*words: object) -> tuple[Answer, int]:
    """How a command ended in a process of its own, with the limits set; and its peak, bytes."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_DATA, (4 * MEMORY, 4 * MEMORY))

    with tempfile.NamedTemporaryFile("r") as peak:
        done = subprocess.run(
            [sys.executable, "-c", BETWEEN, peak.name, sys.executable, "-m", *map(str, words)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            preexec_fn=limit,
        )
        answer = Answer(done.returncode, done.stdout.decode(), done.stderr.decode())
        return answer, int(peak.read()) * 1024


LARGE: dict[str, dict[str, str | bytes]] = {
    "sentiment": {"a.csv": b'text,label\n"' + b"word " * 20_000_000},
    "timeseries": {"a.csv": b"time" + b",y" * 1_000_000 + b"\n" + b"1," * 30_000_000},
    "music": {"a.mxl": zipped([("a.xml", bytes(300_000_000))])},
    "speech": {"a.wav": WAV_4_GB, "b.wav": b"RIFF" + b"\xff" * 50_000_000},
    "gesture": {"a.csv": b"time,ax,label\n0,1," + b"l" * 100_000_000},
}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("app", APPS)
def test_a_process_takes_no_more_than_it_may(app: str, tmp_path: Path) -> None:
    run = finished(app, tmp_path / "finished")
    for name, content in LARGE[app].items():
        path = write(tmp_path / name, content)
        lines = [predicting(app, path, run)]
        if app not in ("music", "speech"):
            lines += [training(app, path, tmp_path), scoring(app, path, run)]
        for words in lines:
            answer, peak = held(*words)
            refusal(answer)
            assert peak < MEMORY
    assert not (tmp_path / "run").exists()
