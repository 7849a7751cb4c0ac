"""Trainings of every application by workers of their own, in real processes."""

import json
import multiprocessing
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common import launch
from studies import cluster_demo
from tests.kills import preloaded, train

FLAGS: dict[str, list[object]] = {
    "sentiment": [
        *("--units", 6, "--embedding", 8, "--members", 2, "--epochs", 2, "--batch-size", 5),
        *("--input-dropout", 0, "--readout-dropout", 0),
    ],
    "timeseries": [
        *("--units", 6, "--members", 2, "--epochs", 2, "--batch-size", 17, "--horizon", 6),
        *("--history", 24, "--target", "sales", "--dropout", 0),
    ],
    "music": [
        *("--units", 8, "--density-units", 8, "--members", 2, "--epochs", 4, "--batch-size", 3),
        *("--input-dropout", 0, "--dropout", 0, "--density-dropout", 0),
    ],
    "speech": [
        *("--units", 8, "--width", 8, "--filters", 3, "--attention", 8, "--mels", 20),
        *("--layers", 1, "--epochs", 2, "--batch-size", 5, "--short-first", 1),
        *("--dropout", 0, "--sampling", 0, "--mel-masks", 0, "--time-masks", 0),
        *("--tract", 0, "--formants", 0, "--learning-rate", 3e-4),
        *("--noise", 1),  # without it channels are the logarithm of what rounding left
    ],
    "gesture": [
        *("--units", 8, "--width", 8, "--layers", 1, "--epochs", 1, "--piece", 2),
        *("--members", 1, "--batch-size", 3, "--hop", 5, "--dropout", 0),
    ],
}
"""Small networks that draw nothing by themselves, several in a run, and batches that can't be
halved."""


class Said(NamedTuple):
    """How a worker ended."""

    code: int
    text: str

    @property
    def last(self) -> str:
        return self.text.splitlines()[-1] if self.text else ""


class Started(NamedTuple):
    """A worker that works, and where what it says goes."""

    process: Any
    said: Path


def begin(
    app: str, words: Sequence[object], logs: Path, workers: int = 2, places: Sequence[str] = ()
) -> list[Started]:
    """An application's train.py in several workers, the chief first, each with a temporary folder
    of its own; or in one process alone.

    They are forked off a process that has imported TensorFlow, and has not started it yet.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(sorted({name for each in FLAGS for name in preloaded(each)}))
    started = []
    for place in places or (launch.tf_configs(workers) if workers > 1 else [""]):
        number = json.loads(place)["task"]["index"] if place else 0
        (logs / f"tmp_{number}").mkdir(parents=True, exist_ok=True)
        said = logs / f"{number}.log"
        around = {"TMPDIR": str(logs / f"tmp_{number}"), "TF_CONFIG": place}
        given = (f"apps.{app}.train", list(map(str, words)), said, around)
        process = context.Process(target=_train, args=given)
        process.start()
        started.append(Started(process, said))
    return started


def _train(module: str, words: list[str], said: Path, around: dict[str, str]) -> None:
    os.environ.update(around)
    tempfile.tempdir = None  # or the folder before is remembered
    train(module, words, said)


def end(started: Sequence[Started], seconds: float = 280) -> list[Said]:
    """Waits for all, and kills what does not end."""
    try:
        for process, _ in started:
            process.join(seconds)
    finally:
        for process, _ in started:
            process.kill()
            process.join()
    return [Said(process.exitcode, said.read_text()) for process, said in started]


def together(app: str, words: Sequence[object], logs: Path, workers: int = 2) -> list[Said]:
    """``begin``, and ``end``."""
    return end(begin(app, words, logs, workers))


def weights(run: Path) -> dict[str, np.ndarray]:
    """All best weights in a run's folder, by file and name."""
    return {
        f"{path.relative_to(run)} {name}": value
        for path in sorted(run.rglob("best*.weights.h5"))
        for name, value in cluster_demo.weights(path).items()
        if not path.parent.name.startswith("finished")
    }


def files(folder: Path) -> set[str]:
    """All in a folder, without what a process's number or the time names."""
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {name.split(".tfevents.")[0] for name in names}
