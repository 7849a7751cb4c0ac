"""The README's commands, as a newcomer would paste them.

A block of commands (or of Python) after a line ``<!-- run -->`` is pasted as it stands into a
shell, in a folder with the code and the files that it names; one after ``<!-- run quick -->`` in
the quick tests too. Of all other commands, in all documents, the flags are tried.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import soundfile

from common import cli
from tests import gesture_runs, music_pieces, sentiment_runs, speech_sounds, timeseries_runs
from tests.commands import ROOT, command
from tests.test_docs import DOCUMENTS, ELSEWHERE

MARKED = re.compile(
    r"^<!-- run( quick)? -->\n\n(?:```python\n(.*?)^```$|((?:^ {4}[^\n]*\n)+))",
    re.MULTILINE | re.DOTALL,
)
COMMAND = re.compile(
    r"^ {4}(?:.*\| )?(python -m (?:apps|common|benchmarks|studies)\S*.*(?:\\\n.*)*)", re.M
)
APPS = ("sentiment", "timeseries", "music", "speech", "gesture")


def commands(document: str) -> list[str]:
    """Command lines that call the project's modules, comments and redirections cut off."""
    text = (ROOT / document).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [
        re.split(r" #| < | &$| \[--", line)[0].rstrip(" &\\") for line in COMMAND.findall(text)
    ]
    return [line for line in lines if not line.split()[2].startswith(ELSEWHERE)]


ALL = sorted({line for document in DOCUMENTS for line in commands(document)})


@pytest.mark.parametrize("line", ALL)
def test_a_command_has_the_flags_that_it_is_given(line: str) -> None:
    asked = []

    def parse(run: object, kind: type, *, prog: str, presets: Any = None, **_: object) -> None:
        asked.append(cli.parse(kind, sys.argv[1:], prog=prog, presets=presets))

    module, *words = shlex.split(line)[2:]
    with mock.patch("common.cli.main", parse):
        answer = command(module, *words)
    assert answer.code == 0, answer.err
    assert asked


def test_commands_are_found() -> None:
    assert len(commands("README.md")) > 30
    assert not [line for line in ALL if " #" in line]
    assert {app for _, python, shell in blocks() for app in APPS if f"apps.{app}." in shell} == {
        *APPS
    }


def blocks() -> list[tuple[bool, str, str]]:
    """Of each marked block whether it is quick, and its Python or its shell commands."""
    found = MARKED.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    return [(bool(quick), python, shell) for quick, python, shell in found]


def paste(folder: Path, python: str, shell: str) -> str:
    """What a shell says to a block, in `folder`."""
    words = [sys.executable, "-"] if python else ["bash", "-e", "-o", "pipefail"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        words,
        input=python or re.sub("^ {4}", "", shell, flags=re.MULTILINE),
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (python or shell) + done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def with_the_code(folder: Path) -> Path:
    for name in ("apps", "common"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def test_the_quick_commands_run_as_they_stand(tmp_path: Path) -> None:
    run, _ = sentiment_runs.small_run()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "reviews").symlink_to(run)
    quick = [(python, shell) for is_quick, python, shell in blocks() if is_quick]
    assert quick
    for python, shell in quick:
        assert paste(with_the_code(tmp_path), python, shell).startswith(
            ("negative\t", "positive\t")
        )


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the code, and with the files that the README calls one's own."""
    folder = with_the_code(tmp_path_factory.mktemp("newcomer"))
    rows = pd.read_csv(sentiment_runs.moods(folder / "labelled.csv", 40))
    rows.rename(columns={"text": "body", "label": "stars"}).to_csv(
        folder / "reviews.csv", index=False
    )

    table = timeseries_runs.sales(1600).rename(columns={"warmth": "price"})
    table["holiday"] = (pd.to_datetime(table["time"]).dt.dayofweek == 6).astype(int)
    timeseries_runs.write(table[:800], folder / "sales.csv")
    timeseries_runs.write(table[800:], folder / "later.csv")
    recent = table[800:1200].copy()
    recent.loc[recent.index[-24:], "sales"] = np.nan
    timeseries_runs.write(recent, folder / "recent.csv")

    (folder / "scores").mkdir()
    for number in range(12):
        piece = music_pieces.lines(4, number)
        music_pieces.write_midi(piece, folder / "scores" / f"{number}.mid")
    music_pieces.write_midi(music_pieces.lines(1, 99), folder / "soprano.mid")

    speech_sounds.manifest(folder, speech_sounds.recordings(folder, 24))
    shutil.copy(folder / "0.wav", folder / "a.wav")
    soundfile.write(folder / "b.flac", *soundfile.read(folder / "1.wav"))

    for name in ("streams", "labelled"):
        (folder / name).mkdir()
    for subject in range(6):
        part = "streams" if subject < 5 else "labelled"
        table = gesture_runs.movement(subject, seconds=20)
        gesture_runs.write(table, folder / part / f"{subject}.csv")
    gesture_runs.write(gesture_runs.movement(7).drop(columns="label"), folder / "stream.csv")
    return folder


def of(app: str) -> list[tuple[str, str]]:
    """The marked blocks of an application, in the order of the page; what follows them all is of
    "deploy"."""
    kept: dict[str, list[tuple[str, str]]] = {name: [] for name in (*APPS, "deploy")}
    for _, python, shell in blocks():
        named = [name for name in APPS if f"apps.{name}." in shell]
        kept[named[0] if named else "deploy"].append((python, shell))
    return kept[app]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("app", [*APPS, "deploy"])
def test_commands_run_as_they_stand(newcomer: Path, app: str) -> None:
    """In the order of the page: "deploy" wants the runs before it."""
    assert of(app)
    for python, shell in of(app):
        paste(newcomer, python, shell)
