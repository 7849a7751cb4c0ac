"""What a stream must be like for a run to label it; kept in schema.json. Imports no TensorFlow."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from apps.gesture.config import GestureConfig, TableConfig
from apps.gesture.streams import SAME_RATE, Corpus, Stream
from common.config import from_json
from common.errors import UserError
from common.runs import Run, read_json


@dataclass(frozen=True)
class Schema:
    """The form of schema.json."""

    channels: tuple[str, ...]
    classes: tuple[str, ...]
    rate: float
    """Frames in a second."""
    causal: bool
    lookahead: int
    """Frames that a label waits for."""
    smoothing: str
    shortest: int
    """Frames that a label lasts at least."""
    transitions: tuple[tuple[float, ...], ...]
    """From each class to each."""
    subjects: dict[str, tuple[str, ...]]
    """Of each part."""


def make(
    config: GestureConfig, corpus: Corpus, parts: Mapping[str, Corpus], transitions: np.ndarray
) -> dict[str, Any]:
    """For schema.json: channels, classes, rate, and how labels come out of probabilities, with the
    `transitions` ``[classes, classes]`` of one frame to the next."""
    return {
        "channels": list(corpus.channels),
        "classes": list(corpus.classes),
        "rate": corpus.rate,
        "causal": config.causal,
        "lookahead": config.waits,
        "smoothing": config.smooths,
        "shortest": max(1, round(config.shortest * corpus.rate)),
        "transitions": transitions.tolist(),
        "subjects": {part: list(found.subjects) for part, found in parts.items()},
    }


def read(run: Run) -> dict[str, Any]:
    """schema.json of a run.

    Raises:
        UserError: if it is missing or can't be read.
    """
    path = run.path / "schema.json"
    found = asdict(from_json(Schema, read_json(path), str(path)))
    count = len(found["classes"])
    if not (found["rate"] > 0 and count and found["channels"] and found["lookahead"] >= 0):
        raise UserError(f"{path}: expected channels, classes, a rate above 0 and a lookahead")
    if [len(row) for row in found["transitions"]] != [count] * count:
        raise UserError(f"{path}: transitions: expected {count} rows of {count} numbers")
    return found


def table(asked: TableConfig, trained: Mapping[str, Any]) -> TableConfig:
    """How streams are read: as `asked` for, and where nothing was, as in training."""
    values = {f.name: getattr(asked, f.name) for f in fields(TableConfig)}
    left = [f.name for f in fields(TableConfig) if values[f.name] == f.default]
    return TableConfig(**(values | {name: trained[name] for name in left}))


def fitted(corpus: Corpus, schema: Mapping[str, Any]) -> Corpus:
    """`corpus` with channels and classes in the order of the run's. Frames without a label
    stay at -1.

    Raises:
        UserError: for other channels, another rate, or a class that the run doesn't know.
    """
    order = channel_order(corpus.channels, schema, corpus.name)
    if abs(corpus.rate / schema["rate"] - 1) > SAME_RATE:
        raise UserError(
            f"{corpus.name}: {corpus.rate:.4g} frames a second, the run has {schema['rate']:.4g}; "
            f"--resample {schema['rate']:.6g} brings them there"
        )
    places = {name: number for number, name in enumerate(schema["classes"])}
    numbers = np.array([places.get(name, -1) for name in corpus.classes] + [-1], np.int32)
    streams = []
    for stream in corpus.streams:
        labels = numbers[stream.labels]
        strange = np.flatnonzero((labels < 0) & (stream.labels >= 0))
        if len(strange):
            raise _unknown(corpus, stream, int(strange[0]), places)
        streams.append(replace(stream, values=stream.values[:, order], labels=labels))
    return replace(
        corpus,
        classes=tuple(schema["classes"]),
        channels=tuple(schema["channels"]),
        streams=tuple(streams),
    )


def channel_order(found: tuple[str, ...], schema: Mapping[str, Any], where: str) -> list[int]:
    """Where each channel of the run stands among those that were found.

    Raises:
        UserError: unless they are the same, in whatever order.
    """
    wanted = schema["channels"]
    if sorted(found) != sorted(wanted):
        raise UserError(
            f"{where}: {len(found)} channels ({', '.join(found)}), expected the run's "
            f"{len(wanted)} ({', '.join(wanted)})"
        )
    return [found.index(name) for name in wanted]


def _unknown(corpus: Corpus, stream: Stream, frame: int, known: Mapping[str, int]) -> UserError:
    label = corpus.classes[stream.labels[frame]]
    return UserError(
        f"{corpus.name}: stream {stream.name}, row {frame + 1}: label {label!r}, expected one of "
        f"{', '.join(known)}"
    )
