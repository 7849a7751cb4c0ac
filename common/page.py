"""What a run's report is made of: sections of text, tables, pictures and sounds.

``common.report`` turns them into one HTML file. An application says in its ``gallery.py`` what
there is to see and to hear of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Text:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows under a header. Numbers are shown as they are formatted; all cells are text.

    Args:
        caption: what the rows are; read out by screen readers.
        header: names of the columns.
        rows: as many cells a row as there are names.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A PNG file.

    Args:
        path: where it is; it is copied into the page.
        alt: what it shows, in words, for who can't see it.
    """

    path: Path
    alt: str


@dataclass(frozen=True)
class Sound:
    """A sound to play in the page.

    Args:
        caption: what it is.
        samples: ``[samples]`` from -1 to 1, mono.
        rate: samples a second.
    """

    caption: str
    samples: np.ndarray
    rate: int


@dataclass(frozen=True)
class Commands:
    """Lines to paste into a shell."""

    lines: Sequence[str]


TOLD = 20
"""Classes, at most, that a picture's words name."""

Block = Text | Table | Picture | Sound | Commands


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: Sequence[Block]


def confusion_picture(path: Path, counts: np.ndarray, classes: Sequence[str]) -> Picture:
    """The picture of a confusion matrix; in words, how much of each class is right.

    Args:
        path: of the picture.
        counts: ``[classes, classes]``, true by predicted.
    """
    right = [
        f"{name} {row[k] / max(1, row.sum()):.0%} of {row.sum():,}"
        for k, (name, row) in enumerate(zip(classes, counts, strict=True))
    ]
    more = f" and {len(right) - TOLD} more" if len(right) > TOLD else ""
    told = ", ".join(right[:TOLD]) + more
    return Picture(path, f"Confusion matrix of the test part, true by predicted; right are {told}")


def about_data(name: str, own: Path | None, sources: Mapping[str, str]) -> Section:
    """What a run's data is, where it comes from, and its licence.

    Args:
        name: of the dataset.
        own: the user's own file or folder, if that was taken instead.
        sources: what there is to say of each packaged dataset.
    """
    if own is not None:
        said = f"Own data: {own}."
    elif name in sources:
        said = sources[name]
    else:
        said = f"{name} of the TensorFlow Datasets catalogue; its licence is stated there."
    return Section("Data and licence", [Text(said)])


def asking(commands: Sequence[str]) -> Section:
    """How a run is asked and scored."""
    return Section("Ask it", [Commands(commands)])
