"""Curves and intervals as SVG inside a page: they take its colours, dark or light, stay sharp, and
say in words what they show. Geometry alone; ``templates/charts.html`` draws it. Imports no
TensorFlow."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from matplotlib.ticker import MaxNLocator

from common import files
from common.errors import UserError

MOST_BYTES = 2**22
"""Of a history.csv: tens of thousands of epochs."""
MOST_EPOCHS = 1_000
"""That are read of a history; of more, every so many."""
MOST_POINTS = 400
"""Of a curve: more are not to be told apart on a page."""
LARGEST = 1e100
"""Numbers beyond are no scores, and would leave the range of floats when they are scaled."""
WIDTH, HEIGHT = 480, 260
LEFT, RIGHT, TOP, BOTTOM = 72, 12, 12, 44

KINDS = ("training", "validation")

Point = tuple[float, float]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Line:
    """A curve: its name, its points, x rising, and the number of its colour."""

    label: str
    points: Sequence[Point]
    colour: int = 0


@dataclass(frozen=True)
class Chart:
    """What the template draws, in units of its view box, ``WIDTH`` x ``HEIGHT``.

    Args:
        title: what goes upwards.
        across: what goes to the right.
        words: what it shows, for who can't see it.
        lines: colour and points of each curve.
        x_ticks, y_ticks: places and what stands there.
    """

    title: str
    across: str
    words: str
    lines: Sequence[tuple[int, Sequence[Point]]]
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]

    width = WIDTH
    height = HEIGHT

    @property
    def frame(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom edge of where curves are."""
        return LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM


def chart(title: str, lines: Iterable[Line], across: str = "epoch") -> Chart | None:
    """Curves over one pair of axes; None if there is no point to draw."""
    drawn = [replace(line, points=thinned(line.points)) for line in lines]
    drawn = [line for line in drawn if line.points]
    if not drawn:
        return None
    every = [point for line in drawn for point in line.points]
    (left, right, x_values), (low, high, y_values) = (
        _axis([point[place] for point in every], whole=not place) for place in (0, 1)
    )

    def x(value: float) -> float:
        return round(LEFT + (value - left) / (right - left) * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    return Chart(
        title,
        across,
        "; ".join(f"{line.label}, {_told(line.points, across)}" for line in drawn),
        [(line.colour, [(x(a), y(b)) for a, b in line.points]) for line in drawn],
        [(x(value), f"{value:g}") for value in x_values],
        [(y(value), f"{value:g}") for value in y_values],
    )


def thinned(points: Sequence[Point]) -> list[Point]:
    """What of a curve can be drawn: finite points, not too many."""
    finite = [(x, y) for x, y in points if all(abs(v) < LARGEST for v in (x, y))]  # NaN is not
    return picked(finite, MOST_POINTS)


def picked(items: Sequence[Item], most: int) -> list[Item]:
    """All of them, or at most so many, evenly, the last one always."""
    step = -(-len(items) // most) or 1
    return list(items[::-1][::step][::-1])


def _axis(values: Sequence[float], *, whole: bool) -> tuple[float, float, list[float]]:
    """Ends of an axis, and where its ticks are."""
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
        pad = max(1.0, abs(low) * 1e-3) if whole else max(1e-6, abs(low) * 0.1)
        low, high = low - pad, high + pad
    ticks = [float(v) for v in MaxNLocator(5, integer=whole).tick_values(low, high)]
    if not whole:
        low, high = min(low, ticks[0]), max(high, ticks[-1])
    return low, high, [round(v, 12) for v in ticks if low <= v <= high]


def _told(points: Sequence[Point], across: str) -> str:
    (first, start), (last, end) = points[0], points[-1]
    if len(points) == 1:
        return f"{start:.4g} at {across} {first:g}"
    return f"from {start:.4g} at {across} {first:g} to {end:.4g} at {across} {last:g}"


@dataclass(frozen=True)
class Interval:
    """Where a score and the ends of its interval lie, in per cent of the width."""

    low: float
    value: float
    high: float


def intervals(rows: Sequence[tuple[float, float, float]]) -> list[Interval]:
    """Low end, value and high end of several scores, on one scale."""
    ends = [value for row in rows for value in row]
    low, width = min(ends), (max(ends) - min(ends)) or 1.0
    return [Interval(*(round(4 + 92 * (v - low) / width, 2) for v in row)) for row in rows]


History = Mapping[str, Sequence[float]]


def read_history(path: Path) -> dict[str, list[float]]:
    """Columns of a history.csv: names to a number an epoch, NaN for what is none; of very many
    epochs every so many, the last one always.

    Raises:
        UserError: if it is missing, too large, no text, or has no epochs.
    """
    try:
        rows = list(csv.reader(io.StringIO(files.read_text(path, MOST_BYTES))))
    except csv.Error as error:
        raise UserError(f"{path}: can't be read as CSV: {error}") from None
    if not rows or "epoch" not in rows[0]:
        raise UserError(f"{path}: expected a header with the column epoch")
    epochs = picked(rows[1:], MOST_EPOCHS)
    return {
        name: [_number(row[place] if place < len(row) else "") for row in epochs]
        for place, name in enumerate(rows[0])
    }


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def points(history: History, name: str) -> list[Point]:
    """The epochs of a history and a column of it."""
    return list(zip(history["epoch"], history[name], strict=True))


def curves(history: History) -> list[Chart]:
    """The loss and every score over the epochs, training and validation in one."""
    named: dict[str, list[Line]] = {}
    for name in history:
        if name not in ("epoch", "seconds", "time", "learning_rate"):
            kind = int(name.startswith("val_"))
            line = Line(KINDS[kind], points(history, name), kind)
            named.setdefault(name.removeprefix("val_"), []).append(line)
    found = (chart(name.replace("_", " "), lines) for name, lines in named.items())
    return [one for one in found if one is not None]
