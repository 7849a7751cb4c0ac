"""The `.ts` format of aeon, sktime and the archives of time series classification: recordings of
one class each. Imports no TensorFlow.

A header of `#` comments and `@` lines, `@data`, and a line for each recording: dimensions
parted by colons, values by commas, the class label last. aeon 1.6 and sktime 1.2 have loaders,
but will not stand beside the pandas 3.1 of this suite, and numba (which aeon brings) not beside
its NumPy 2.4.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common import files
from common.errors import UserError

MOST_DIMENSIONS = 10_000
UNREADABLE = {  # header lines, and what must follow them
    "@timestamps": ("false", "values without time stamps"),
    "@classlabel": ("true", "recordings with a class label"),
    "@targetlabel": ("false", "class labels, not targets of a regression"),
}


@dataclass(frozen=True)
class Recording:
    """One line of a file."""

    name: str
    values: np.ndarray
    """``[time, dimensions]`` float32."""
    label: str


def read(path: Path) -> list[Recording]:
    """All recordings of a file.

    Raises:
        UserError: naming the line, for a header or a line that can't be used, a missing value,
            dimensions of unequal length or number, a label that the header does not name.
    """
    lines = files.lines(path)
    classes = _header(path, lines)
    found: list[Recording] = []
    for number, line in lines:
        if not line.strip() or line.startswith(("#", "%")):
            continue
        *dimensions, label = line.strip().split(":")
        where = f"{path}: line {number}"
        if not dimensions or not label.strip():
            raise UserError(f"{where}: expected values, a colon and a class label")
        if len(dimensions) > MOST_DIMENSIONS:
            raise UserError(
                f"{where}: {len(dimensions):,} dimensions, expected at most {MOST_DIMENSIONS:,}"
            )
        if classes and label.strip() not in classes:
            raise UserError(
                f"{where}: label {label.strip()[:60]!r}, expected one of the header's "
                f"{', '.join(classes)}"
            )
        columns = [_values(cells, where) for cells in dimensions]
        lengths = {len(values) for values in columns}
        if len(lengths) > 1:
            raise UserError(f"{where}: dimensions of {min(lengths)} to {max(lengths)} values")
        if found and len(columns) != found[0].values.shape[1]:
            expected = found[0].values.shape[1]
            raise UserError(f"{where}: {len(columns)} dimensions, expected {expected} as above")
        values = np.stack(columns, axis=1)
        found.append(Recording(f"{path.stem} {len(found) + 1:05d}", values, label.strip()))
    if not found:
        raise UserError(f"{path}: no recordings in it")
    return found


def _header(path: Path, lines: Iterator[tuple[int, str]]) -> dict[str, None]:
    """Reads the header off the lines, and checks it; returns the labels that it names, in order."""
    classes: dict[str, None] = {}
    for number, line in lines:
        words = line.strip().lower().split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "@data":
            return classes
        if not words[0].startswith("@"):
            raise UserError(f"{path}: line {number}: expected an @ line or @data before values")
        wanted, meaning = UNREADABLE.get(words[0], ("", ""))
        if wanted and words[1:2] != [wanted]:
            raise UserError(f"{path}: line {number}: found {line.strip()!r}, expected {meaning}")
        if words[0] == "@classlabel":
            classes = dict.fromkeys(line.split()[2:])
    raise UserError(f"{path}: no @data line in it")


def _values(cells: str, where: str) -> np.ndarray:
    try:
        values = np.array([float(cell) for cell in cells.split(",")])
    except ValueError:
        wrong = next(cell for cell in cells.split(",") if not _is_number(cell))
        raise UserError(f"{where}: found {wrong.strip()[:60]!r}, expected a number") from None
    strange = ~(np.abs(values) <= np.finfo(np.float32).max)
    if strange.any():
        raise UserError(f"{where}: found {values[strange][0]}, expected finite numbers")
    return values.astype(np.float32)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
