"""A trained labeller of sensor streams beside a random forest over windows and a convolutional-
recurrent network, on one fold: trained on the same subjects, scored on the same streams of subjects
that none has seen, with the same look-ahead.

    python -m benchmarks.gesture_peers --run RUN

The forest is the application's baseline. The network over windows (``benchmarks.crnn``) is trained
twice: as published, and for as many epochs as were best on the validation subjects; then, as our
runs do with ``--refit``, anew on those subjects too. Each contender works in a process of its own.
Time to the stated quality is that at which the frame accuracy on the validation subjects first was
as high, trained without them; ours is taken from the run's history, so from the time when it was
trained. The time for a minute is that of whole streams. Writes
benchmarks/results/gesture_peers.json.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from apps.gesture import baselines, metrics
from apps.gesture import schema as schemas
from apps.gesture.baselines import Windows
from apps.gesture.config import GestureConfig
from apps.gesture.streams import Corpus, Stream, fixed_streams, split
from benchmarks import crnn, measure
from benchmarks.measure import MEMORY, SIZE, Column
from common import runs
from common.cli import main, start_tensorflow
from common.errors import UserError

COLUMNS = (
    Column("frame accuracy", "frame_accuracy", best=max),
    Column("F1 of segments, 50 %", "segmental_f1_50", best=max),
    Column("edit score", "edit_score", best=max),
    Column("s to the target", "target_seconds", ",.0f", missing="never"),
    Column("training, s", "train_seconds", ",.0f"),
    MEMORY,
    Column("a minute, ms", "minute_ms", ",.0f"),
    SIZE,
)
Label = Callable[[np.ndarray], np.ndarray]
"""Values ``[time, channels]`` to labels ``[time]``."""


@dataclass(frozen=True)
class BenchmarkConfig:
    """Compare a finished run of apps.gesture with a random forest and a CRNN."""

    run: Path
    """Folder of a finished run of one fold."""
    target: float = 0.75
    """Frame accuracy on the validation subjects that is raced to."""
    epochs: int = 60
    """Of the network over windows, at most; 10 are published."""
    out: Path = Path(__file__).parent / "results" / "gesture_peers.json"
    """Where to write the results."""

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise UserError(f"--epochs {self.epochs}: expected a value above 0")


@dataclass(frozen=True)
class Fold:
    """What all contenders are given."""

    parts: dict[str, Corpus]
    known: Corpus
    """What the last training is on: the validation subjects too, where the run did so."""
    lookahead: int | None
    schema: dict[str, Any]

    @property
    def refits(self) -> bool:
        return self.known.subjects != self.parts["train"].subjects

    @property
    def rate(self) -> float:
        return self.known.rate

    @property
    def windows(self) -> Windows:
        return Windows.of(self.rate, self.lookahead)

    def streams(self, part: str) -> tuple[Stream, ...]:
        return fixed_streams(self.parts[part])


def run(config: BenchmarkConfig) -> dict[str, Any]:
    """Prints a row for each contender, and writes them to --out."""
    finished = runs.finished("gesture", config.run)
    asked = runs.settings(finished, GestureConfig)
    if asked["fold"] == "all":
        raise UserError(f"--run {config.run}: a run of all folds, expected one, as its fold_0")
    machine = measure.machine()
    config.out.parent.mkdir(parents=True, exist_ok=True)
    rows: dict[str, Any] = {}
    for name, contender in contenders(asked["cell"]).items():
        print(f"{name} ...", flush=True)
        rows[name] = measure.alone(contender, config)
    rows[next(iter(rows))]["peak_bytes"] = measure.alone(peak_of_ours, config)
    result = {
        "run": str(config.run),
        "fold": asked["fold"],
        "target": config.target,
        "contenders": rows,
        "machine": machine,
        "versions": runs.versions(),
    }
    runs.write_json(config.out, result)
    print(f"\nfold {asked['fold']}, target {config.target:g}; {measure.on(machine)}\n")
    print(measure.markdown(rows, COLUMNS))
    return result


def fold_of(config: BenchmarkConfig) -> Fold:
    """The run's own fold."""
    from apps.gesture import data

    finished = runs.finished("gesture", config.run)
    asked = runs.settings(finished, GestureConfig)
    like = GestureConfig(**asked)
    corpus = data.load(like.dataset, like.data, like)
    parts = split(corpus, int(like.fold))
    learned = [*parts["train"].subjects, *(parts["validation"].subjects if like.refit else ())]
    ahead = like.waits if like.causal else None
    return Fold(parts, corpus.of(learned), ahead, schemas.read(finished))


# Contenders, each called in a process of its own


def contenders(cell: str) -> dict[str, Callable[[BenchmarkConfig], dict[str, Any]]]:
    """By the names of the table, ours first."""
    return {
        f"ours, {cell}": ours,
        "random forest": forest,
        f"CRNN, {crnn.PUBLISHED} epochs as published": published_crnn,
        "CRNN, epochs by validation": chosen_crnn,
    }


def ours(config: BenchmarkConfig) -> dict[str, Any]:
    """The run, through its SavedModel, its labels smoothed as its users get them."""
    start_tensorflow()

    from apps.gesture.predict import ask
    from apps.gesture.smoothing import labels_of
    from common import export

    finished, fold = runs.finished("gesture", config.run), fold_of(config)
    model = export.load(finished.export, "serving_default")

    def label(values: np.ndarray) -> np.ndarray:
        blank = Stream("", "", values, np.zeros(len(values), np.int32))
        return labels_of(ask(model, [blank]), fold.schema)[0]

    curve = measure.history(finished.history())
    return {
        **judged(label, fold),
        "target_seconds": measure.reached(curve, "val_frame_accuracy", config.target),
        "train_seconds": runs.read_json(finished.metrics)["train_seconds"],
        "bytes": measure.size_of(finished.export),
    }


def peak_of_ours(config: BenchmarkConfig) -> int:
    with tempfile.TemporaryDirectory() as folder:
        return measure.training_peak("gesture", config.run, Path(folder) / "run")


def forest(config: BenchmarkConfig) -> dict[str, Any]:
    """The application's baseline."""
    start_tensorflow()  # which reads the corpus
    fold = fold_of(config)
    validation = fold.streams("validation")
    started = time.perf_counter()
    early = baselines.fit_forest(fold.streams("train"), fold.windows, seed=0)
    first = time.perf_counter() - started
    said = [early(stream.values) for stream in validation]
    accuracy = metrics.scores(validation, said, fold.rate)["frame_accuracy"]
    started = time.perf_counter()
    final = baselines.fit_forest(fixed_streams(fold.known), fold.windows, seed=0)
    seconds, peak = time.perf_counter() - started, measure.peak_bytes()
    trees = [tree.tree_ for tree in final.classifier.estimators_]
    names = ("children_left", "children_right", "feature", "threshold", "value")
    return {
        **judged(final, fold),
        "target_seconds": first if accuracy >= config.target else None,
        "train_seconds": seconds,
        "peak_bytes": peak,
        "bytes": sum(getattr(tree, name).nbytes for tree in trees for name in names),
    }


def published_crnn(config: BenchmarkConfig) -> dict[str, Any]:
    """The network over windows, for the published epochs."""
    return over_windows(config, crnn.PUBLISHED)


def chosen_crnn(config: BenchmarkConfig) -> dict[str, Any]:
    """The same for as many epochs as were best on validation."""
    return over_windows(config, None)


def over_windows(config: BenchmarkConfig, epochs: int | None) -> dict[str, Any]:
    """One that is trained on the training subjects, and anew where it is to be trained for less or
    on more subjects; None: for the epochs that are best on validation, of all that are allowed."""
    start_tensorflow()
    fold = fold_of(config)
    most, clock, seed = epochs or config.epochs, measure.Clock(), 0
    validation = fold.streams("validation")
    label, curve = crnn.fit(fold.parts["train"], validation, fold.windows, most, clock, seed)
    best = epochs or int(np.argmax([point["frame_accuracy"] for point in curve])) + 1
    if best < most or fold.refits:
        if epochs:  # the first one only told how fast it learns
            clock.start()
        label, _ = crnn.fit(fold.known, (), fold.windows, best, clock, seed)
    seconds, peak = clock.times["seconds"], measure.peak_bytes()
    return {
        **judged(label, fold),
        "epochs": best,
        "target_seconds": measure.reached(curve, "frame_accuracy", config.target),
        "train_seconds": seconds,
        "peak_bytes": peak,
        "bytes": 4 * label.model.count_params(),
    }


def judged(label: Label, fold: Fold) -> dict[str, float]:
    """All scores on the test subjects, and milliseconds for a minute of a stream."""
    test = fold.streams("test")
    label(test[0].values)  # traced
    started = time.perf_counter()
    said = [label(stream.values) for stream in test]
    minutes = sum(map(len, test)) / fold.rate / 60
    taken = 1e3 * (time.perf_counter() - started) / minutes
    found = metrics.scores(test, said, fold.rate, fold.lookahead or 0)
    return {**found, "minute_ms": taken}


if __name__ == "__main__":
    main(run, BenchmarkConfig, prog="python -m benchmarks.gesture_peers")
