"""Pictures of pieces. Each returns a matplotlib figure. Imports no TensorFlow."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from apps.music.pieces import KEYS, LOWEST, Piece, notes_of, reach
from common.plots import plain

OCTAVES = {key: f"C{(key + LOWEST) // 12 - 1}" for key in range(3, KEYS, 12)}
NEW, GIVEN = "#1764ab", "#8c8c8c"


def piano_roll(
    piece: Piece, resolution: int, articulated: bool, *, given: int = 0, title: str = ""
) -> Figure:
    """The notes of a piece against quarter notes.

    Args:
        given: so many frames at the beginning were not composed; they are grey.
    """
    width = min(24.0, max(7.0, len(piece) / resolution / 5))
    figure = Figure(figsize=(width, 3.8), layout="constrained")
    axes = figure.subplots()
    _roll(axes, piece, resolution, articulated, given)
    axes.set(title=plain(title or piece.name), xlabel="quarter notes")
    return figure


def _roll(axes: Axes, piece: Piece, resolution: int, articulated: bool, given: int) -> None:
    boxes, colours = [], []
    for begin, end, key in notes_of(piece.frames, articulated):
        left, length = begin / resolution, (end - begin) / resolution
        boxes.append(Rectangle((left, key - 0.42), length * 0.97, 0.84))
        colours.append(GIVEN if begin < given else NEW)
    axes.add_collection(PatchCollection(boxes, facecolors=colours, linewidths=0))
    lowest, highest = reach([piece]) if boxes else (39, 51)
    axes.set(xlim=(0, len(piece) / resolution), ylim=(lowest - 2, highest + 2))
    ticks = [key for key in OCTAVES if lowest - 2 <= key <= highest + 2]
    axes.set_yticks(ticks, [OCTAVES[key] for key in ticks])
    axes.grid(axis="y", alpha=0.4)
    if piece.bar:
        first = (-piece.offset) % piece.bar
        for frame in range(first, len(piece), piece.bar):
            axes.axvline(frame / resolution, color="grey", linewidth=0.5, alpha=0.6, zorder=0)


def distributions(tables: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Shares side by side: a panel for each statistic, a colour for each source.

    Args:
        tables: statistic -> source -> ``[values]``.
    """
    figure = Figure(figsize=(4.6 * len(tables), 3.6), layout="constrained")
    grid = figure.subplots(1, len(tables), squeeze=False)[0]
    for axes, (name, sources) in zip(grid, tables.items(), strict=True):
        width = 0.8 / len(sources)
        for number, (source, shares) in enumerate(sources.items()):
            places = np.arange(len(shares)) + (number - (len(sources) - 1) / 2) * width
            axes.bar(places, shares, width, label=source)
        axes.set(title=name, ylabel="share")
        axes.grid(axis="y", alpha=0.3)
    grid[0].legend()
    return figure
