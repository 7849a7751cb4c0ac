"""What the benchmarks of the applications share: a process for each contender, its peak of memory,
sizes on disk, the machine, and tables in Markdown.

Importing it imports no TensorFlow.
"""

import contextlib
import csv
import importlib
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import numpy as np

from common import runs
from common.cli import start_tensorflow
from common.config import from_json

MEGABYTE = 1e6
STEPS = 20
"""Optimiser steps after which a training takes no more memory."""
Answer = TypeVar("Answer")
Row = Mapping[str, Any]


# The machine, and processes on it


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, memory (GB), and how many processes wanted a
    core over the last minute: above 0.5 somebody else was at work."""
    affinity = getattr(os, "sched_getaffinity", None)
    model = platform.processor() or platform.machine()
    known = Path("/proc/cpuinfo")
    if known.is_file():
        named = [line for line in known.read_text().splitlines() if line.startswith("model name")]
        model = named[0].split(":", 1)[1].strip() if named else model
    return {
        "cpu": model,
        "cores": len(affinity(0)) if affinity else os.cpu_count(),  # macOS has none
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load": os.getloadavg()[0],
    }


def alone(function: Callable[..., Answer], *arguments: Any) -> Answer:
    """What `function` gives in a fresh process of its own, whose memory is that of nobody else.

    Args:
        function: of a module, as its name and the arguments are sent there.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def peak_bytes() -> int:
    """The most memory that this process has held at once so far (its resident set)."""
    status = Path("/proc/self/status")
    if status.is_file():  # ru_maxrss also counts what the parent held when this one was forked
        lines = (line.split() for line in status.read_text().splitlines())
        found = [int(words[1]) for words in lines if words and words[0] == "VmHWM:"]
        if found:
            return 1024 * found[0]
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


class Clock:
    """Time since its start, without that inside ``stopped``: on the wall, and of the processors
    for this process, which does not depend on what else the machine does."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self._started, self._left_out = _now(), np.zeros(2)
        self._since: np.ndarray | None = None

    @property
    def times(self) -> dict[str, float]:
        """``seconds`` on the wall, and ``processor_seconds`` of all cores together."""
        now = _now() if self._since is None else self._since
        seconds, processor = now - self._started - self._left_out
        return {"seconds": float(seconds), "processor_seconds": float(processor)}

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        self._since = _now()
        yield
        self._left_out += _now() - self._since
        self._since = None


def _now() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])


def median_ms(ask: Callable[[Any], object], questions: Sequence[Any], warm: int = 3) -> float:
    """Median milliseconds of an answer; the first `warm` questions are asked once before."""
    for question in questions[:warm]:
        ask(question)
    taken = []
    for question in questions:
        started = time.perf_counter()
        ask(question)
        taken.append(time.perf_counter() - started)
    return 1e3 * float(np.median(taken))


# A run's training, up to some point of it


class Reached(Exception):
    """Ends an application's training where all is known."""


def config_type(app: str) -> type[Any]:
    """The configuration of an application's ``train``."""
    settings = importlib.import_module(f"apps.{app}.config")
    return next(one for name, one in vars(settings).items() if name.lower() == f"{app}config")


def up_to_fit(app: str, config: Any, instead: Callable[..., None]) -> None:
    """Runs an application's ``train`` until its first network is to be trained, and calls
    `instead` with what ``common.training.fit`` was to be given."""
    train = importlib.import_module(f"apps.{app}.train")

    def fit(*arguments: Any, **named: Any) -> None:
        instead(*arguments, **named)
        raise Reached

    with mock.patch("common.training.fit", fit), contextlib.suppress(Reached):
        train.run(config)


def training_peak(app: str, run: Path, folder: Path) -> int:
    """Peak of memory of the training of a finished run, done again for ``STEPS`` steps of its
    first network into a new `folder`; call it by ``alone``."""
    start_tensorflow()
    asked = runs.read_config(runs.Run(run)) | {"run_dir": str(folder)}

    def steps(trainer: Any, batches: Any, **_: Any) -> None:
        feed = trainer.feed(batches, 0)
        for _step in range(min(STEPS, batches.steps)):
            float(trainer.step(feed)["loss"])

    up_to_fit(app, from_json(config_type(app), asked, str(run)), steps)
    return peak_bytes()


def history(path: Path) -> list[dict[str, float]]:
    """A run's history.csv: a row an epoch."""
    with path.open(newline="", encoding="utf-8") as lines:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(lines)]


def first(rows: Sequence[Row], name: str, target: float, at_most: bool = False) -> Row:
    """The first row whose value is at least the target, or at most; empty where there is none."""
    sign = -1 if at_most else 1
    return next((row for row in rows if sign * row[name] >= sign * target), {})


def reached(rows: Sequence[Row], name: str, target: float, at_most: bool = False) -> float | None:
    """``seconds`` of that row; None where there is none."""
    return first(rows, name, target, at_most).get("seconds")


# Tables


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    title: str
    name: str
    """Of the value in a row."""
    form: str = ".3f"
    scale: float = 1.0
    """What a value is multiplied by."""
    best: Callable[..., float] | None = min
    """Which value of a column is set in bold; None: none of them."""
    missing: str = "–"
    """Shown where a row has no such value."""

    def cells(self, rows: Sequence[Row]) -> list[str]:
        """A cell a row; that of the best in bold, where several are compared."""
        values = [row.get(self.name) for row in rows]
        numbers = [v for v in values if isinstance(v, int | float)]
        best = self.best(numbers) if self.best is not None and len(numbers) > 1 else None
        found = []
        for value in values:
            if value is None:
                found.append(self.missing)
                continue
            shown = value if isinstance(value, str) else format(self.scale * value, self.form)
            found.append(f"**{shown}**" if value == best else shown)
        return found


MEMORY = Column("peak memory, MB", "peak_bytes", ",.0f", 1 / MEGABYTE)
SIZE = Column("size, MB", "bytes", ",.2f", 1 / MEGABYTE)


def markdown(rows: Mapping[str, Row], columns: Sequence[Column]) -> str:
    """A table in Markdown: a row for each contender, the best of every column in bold."""
    head = ["", *(column.title for column in columns)]
    cells = [column.cells(list(rows.values())) for column in columns]
    lines = [[name, *(column[number] for column in cells)] for number, name in enumerate(rows)]
    body = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in body)


def on(machine: Mapping[str, Any]) -> str:
    """The machine in a line."""
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']:g} GB, load "
        f"{machine['load']:.1f} at the start"
    )
