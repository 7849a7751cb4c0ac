"""A stream that arrives row by row on stdin, labelled as it does."""

import csv
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from apps.gesture import schema as schemas
from apps.gesture import tables
from apps.gesture.config import TableConfig
from apps.gesture.smoothing import Filter
from common import files
from common.errors import UserError

STDIN = Path("stdin")  # as errors name it
LONGEST_ROW = 100_000  # bytes


def follow(model: Any, schema: Mapping[str, Any], like: TableConfig) -> None:
    """Prints ``time, label, confidence`` of every frame whose label is not the one before's, as
    soon as the look-ahead after it is there. The time is the row's own; without a time column,
    seconds since the first row.

    Raises:
        UserError: naming the row, for whatever can't be used; what was printed stands.
    """
    rows = rows_of(sys.stdin)
    times: deque[str] = deque()
    classes, last = schema["classes"], -1
    weigh = Filter(np.array(schema["transitions"])) if schema["smoothing"] == "filter" else None
    arriving = clocked(frames_of(rows, schema, like), schema["rate"])
    for probabilities in answers(model, arriving, times):
        time = times.popleft()
        label = weigh(probabilities) if weigh else int(probabilities.argmax())
        if label != last:
            print(f"{time}\t{classes[label]}\t{probabilities[label]:.4f}", flush=True)
        last = label


def answers(
    model: Any, arriving: Iterator[tuple[str, np.ndarray]], times: deque[str]
) -> Iterator[np.ndarray]:
    """Probabilities ``[classes]`` of one frame after the other, each as early as can be.

    Args:
        arriving: time and values ``[channels]`` of each frame.
        times: gets the time of each frame that arrives.
    """
    state = model.signatures["start"](batch=tf.constant(1))
    for time, values in arriving:
        times.append(time)
        said = model.signatures["step"](frames=tf.constant(values[np.newaxis, np.newaxis]), **state)
        state = {name: value for name, value in said.items() if name.startswith("state")}
        yield from said["probabilities"].numpy()[0]
    if times:
        yield from model.signatures["finish"](**state)["probabilities"].numpy()[0]


def rows_of(stdin: Any) -> Iterator[list[str]]:
    """Cells of each line of CSV, as soon as it is there.

    Raises:
        UserError: at a terminal, and for bytes that are not UTF-8.
    """
    if stdin is None or stdin.isatty():
        raise UserError("--live: expected rows on stdin, as in `sensor | ... --live`")
    for count, text in files.decoded(stdin.buffer, "stdin", LONGEST_ROW):
        if text.strip():
            try:
                yield next(csv.reader([text]))
            except csv.Error as error:
                raise UserError(f"stdin: line {count}: not a row of cells: {error}") from None


def frames_of(
    rows: Iterator[list[str]], schema: Mapping[str, Any], like: TableConfig
) -> Iterator[tuple[str | None, np.ndarray]]:
    """Time cell, if there is such a column, and values ``[channels]`` of each row.

    Raises:
        UserError: for an empty stream, other channels than the run's, and a row with too few cells
            or with one that is no number.
    """
    header = next(rows, None)
    if header is None:
        raise UserError("stdin: expected a header and rows, found nothing")
    said = (like.time_column, like.label_column, like.subject_column, like.stream_column)
    channels = tuple(name for name in header if name not in said)
    order = schemas.channel_order(channels, schema, "stdin")
    places = [header.index(channels[place]) for place in order]
    clock = header.index(like.time_column) if like.time_column in header else None
    for number, cells in enumerate(rows, 1):
        if len(cells) != len(header):
            raise UserError(f"stdin: row {number}: {len(cells)} cells, expected {len(header)}")
        values = [_number(cells[place], header[place], number) for place in places]
        yield None if clock is None else cells[clock], np.array(values, np.float32)


def clocked(
    frames: Iterator[tuple[str | None, np.ndarray]], rate: float
) -> Iterator[tuple[str, np.ndarray]]:
    """The same frames, ``[channels]`` each, all with a time. Times of their own are looked at a
    second at a time: they must rise, at the run's rate, with no frame missing."""
    second = max(2, round(rate))
    recent: list[str] = []
    number = 0
    for number, (time, values) in enumerate(frames, 1):
        if time is not None:
            recent.append(time)
        if len(recent) > second:
            _check_times(recent, number, rate)
            recent = recent[-1:]
        yield f"{(number - 1) / rate:.3f}" if time is None else time, values
    _check_times(recent, number, rate)


def _check_times(times: Sequence[str], last: int, rate: float) -> None:
    if len(times) > 1:
        rows = np.arange(last - len(times), last)
        tables.rate_of(tables.seconds(times, rows, "time", STDIN), rows, STDIN, rate)


def _number(cell: str, name: str, row: int) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = np.nan
    if not abs(value) <= tables.LARGEST:
        raise UserError(f"stdin: row {row}: {name} is {cell[:60]!r}, expected a finite number")
    return value
