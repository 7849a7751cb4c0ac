"""Command lines, run as a person would: in this process for speed, or in one of their own."""

import contextlib
import io
import runpy
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple
from unittest import mock

ROOT = Path(__file__).parent.parent


class Answer(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


def command(module: str, *words: object, stdin: bytes = b"") -> Answer:
    """``python -m module words``, inside this process: TensorFlow is here already."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.ExitStack() as around:
        around.enter_context(mock.patch.object(sys, "argv", [module, *map(str, words)]))
        around.enter_context(
            mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8"))
        )
        around.enter_context(contextlib.redirect_stdout(out))
        around.enter_context(contextlib.redirect_stderr(err))
        around.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", message=".*found in sys.modules")  # runpy's
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Answer(code, out.getvalue(), err.getvalue())


def trained(module: str, data: Path | None, run_dir: Path, *words: object) -> Answer:
    """What a training said that ended well; without `data`, on a corpus that `words` name."""
    where = () if data is None else ("--data", data)
    answer = command(module, *where, "--run-dir", run_dir, *words)
    assert answer.code == 0, answer.err
    return answer


def child(*words: object, stdin: bytes = b"") -> Answer:
    """``python words`` in a process of its own, in the project's folder."""
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=ROOT, input=stdin, capture_output=True, check=False
    )
    return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())


def refusal(answer: Answer) -> str:
    """The one line of a command that ended because of what the user gave."""
    assert answer.code == 2, answer
    assert "Traceback" not in answer.out + answer.err
    lines = answer.err.splitlines()
    assert len(lines) == 1, answer.err
    return lines[0]
