"""Streams of one's own, and two small real trainings on them that several test files look at."""

from pathlib import Path

import numpy as np
import pandas as pd

from tests.commands import Answer, trained
from tests.once import folder, shared

TRAIN, PREDICT, EVALUATE = (f"apps.gesture.{name}" for name in ("train", "predict", "evaluate"))
RATE = 20.0
CLASSES = ("circle", "rest", "shake")
SMALL: list[object] = ["--units", 8, "--width", 8, "--layers", 1, "--epochs", 1, "--piece", 4]
SMALL += ["--members", 2, "--batch-size", 8, "--lookahead", 8, "--hop", 3, "--learning-rate", 0.02]
_FOLDER = folder("gesture")


def movement(subject: int, seed: int = 0, seconds: float = 40) -> pd.DataFrame:
    """Three movements in turn, told by how fast and along which axis the sensor swings."""
    random = np.random.default_rng([seed, subject])
    rows = round(seconds * RATE)
    time = np.arange(rows) / RATE
    label = np.array(CLASSES)[(time // 4).astype(int) % len(CLASSES)]
    phase = random.uniform(0, 6)
    swing = {
        "circle": np.stack([np.sin(4 * time + phase), np.cos(4 * time + phase), 0 * time]),
        "rest": np.zeros((3, rows)),
        "shake": np.stack([0 * time, 0 * time, 2 * np.sin(25 * time + phase)]),
    }
    values = sum(swing[name] * (label == name) for name in CLASSES)
    values = values + random.normal(0, 0.2, (3, rows)) + 0.1 * subject
    columns = dict(zip(("ax", "ay", "az"), values, strict=True))
    return pd.DataFrame({"time": time, **columns, "label": label, "subject": f"s{subject}"})


def write(table: pd.DataFrame, path: Path) -> Path:
    table.to_csv(path, index=False)
    return path


def train(run_dir: Path, *words: object, data: Path | None = None) -> Answer:
    where = data or small_data()
    return trained(TRAIN, where, run_dir, *SMALL, *words)


@shared
def small_data() -> Path:
    """A folder of five streams, a subject each."""
    streams = _FOLDER / "streams"
    streams.mkdir()
    for subject in range(5):
        write(movement(subject), streams / f"stream_{subject}.csv")
    return streams


@shared
def small_run() -> tuple[Path, Answer]:
    """The folder of a small bidirectional run, and what its training said."""
    run = _FOLDER / "run"
    return run, train(run)


@shared
def causal_run() -> tuple[Path, Answer]:
    """The same of a causal one."""
    run = _FOLDER / "causal"
    return run, train(run, "--causal", "--no-refit")
