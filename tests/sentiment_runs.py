"""Small labelled files, and one small real training that several test files look at."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from apps.sentiment.data import packaged_rows
from tests.commands import Answer, trained
from tests.once import folder, shared

TRAIN, PREDICT, EVALUATE = (f"apps.sentiment.{name}" for name in ("train", "predict", "evaluate"))
SMALL: list[object] = ["--units", 6, "--embedding", 8, "--epochs", 2, "--members", 1]
SMALL += ["--batch-size", 32]
_FOLDER = folder("sentiment")
MOODS = {"awful": "boring and bad", "fine": "watchable and plain", "great": "moving and good"}


def write_csv(path: Path, texts: Sequence[str], labels: Sequence[object], **more: object) -> Path:
    pd.DataFrame({"text": texts, "label": labels, **more}).to_csv(path, index=False)
    return path


def moods(path: Path, count: int = 25) -> Path:
    """A file of three classes that are told by their words, `count` rows of each."""
    texts = [f"film {n} is {words}" for words in MOODS.values() for n in range(count)]
    return write_csv(path, texts, [mood for mood in MOODS for _ in range(count)])


def sentences(path: Path, count: int = 140) -> Path:
    """`count` real sentences of each class of Rotten Tomatoes, a split and a number beside."""
    rows = packaged_rows("rotten_tomatoes")
    rows = pd.concat([rows[rows["label"] == label].head(count) for label in (0, 1)])
    rows["label"] = rows["label"].map({0: "negative", 1: "positive"})
    cycle = ["train"] * 8 + ["validation", "test"]
    rows["split"] = [cycle[n % 10] for n in range(len(rows))]
    rows["number"] = range(len(rows))
    rows[["number", "text", "label", "split"]].to_csv(path, index=False)
    return path


def train(data: Path, run_dir: Path, *words: object) -> Answer:
    return trained(TRAIN, data, run_dir, *SMALL, *words)


@shared
def small_data() -> Path:
    return sentences(_FOLDER / "sentences.csv")


@shared
def small_run() -> tuple[Path, Answer]:
    """The folder of a small real run, and what its training said."""
    run = _FOLDER / "run"
    return run, train(small_data(), run)
