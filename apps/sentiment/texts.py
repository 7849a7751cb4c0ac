"""Labelled texts and the user's own files of them."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from common.data import SPLIT_NAMES, column, read_chunks, read_table, split_rows
from common.errors import UserError

LONGEST = 200_000  # characters in one text: above that it is a book, or a broken quote
ROWS_AT_LEAST = 20
ROWS_OF_A_CLASS = 3


@dataclass(frozen=True)
class Labelled:
    """Texts and their classes, as indices."""

    texts: list[str]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    def rows(self, chosen: np.ndarray) -> "Labelled":
        """Those at the places ``[n]``, in their order."""
        return Labelled([self.texts[i] for i in chosen], self.labels[chosen])


@dataclass(frozen=True)
class Splits:
    """A labelled corpus in three parts that share no row."""

    name: str
    classes: tuple[str, ...]
    train: Labelled
    validation: Labelled
    test: Labelled


NOTHING = Labelled([], np.zeros(0, np.int32))
NO_PARTS = {"train": NOTHING, "validation": NOTHING, "test": NOTHING}


def complete(splits: Splits, where: str) -> Splits:
    """Cuts a tenth of the training part for each of validation and test that is empty.

    Raises:
        UserError: if a class is too rare to stand in all three parts.
    """
    tenths = 10  # of the whole, that are left for training
    for name in ("test", "validation"):
        if not len(getattr(splits, name)):
            share, tenths = 1 / tenths, tenths - 1
            try:
                kept, aside = split_rows(splits.train.labels, share)
            except UserError as error:
                raise UserError(f"{where}: {error}") from None
            part, train = splits.train.rows(aside), splits.train.rows(kept)
            if name == "test":
                splits = replace(splits, train=train, test=part)
            else:
                splits = replace(splits, train=train, validation=part)
    return splits


def read_texts(path: Path, text_column: str) -> tuple[pd.DataFrame, list[str]]:
    """The user's table and the texts in it; empty ones are kept.

    Raises:
        UserError: see ``common.data.read_table``; for a missing column; for a text longer
            than ``LONGEST`` characters.
    """
    table = read_table(path)
    texts = column(table, text_column, path, "--text-column")
    for row, text in enumerate(texts, 1):
        check_length(text, f"{path}: row {row}")
    return table, texts


def check_length(text: str, where: str) -> None:
    """Raises UserError for a text of more than ``LONGEST`` characters."""
    if len(text) > LONGEST:
        raise UserError(
            f"{where}: a text of {len(text):,} characters, expected at most {LONGEST:,}"
        )


def read_labelled(
    path: Path, text_column: str, label_column: str
) -> tuple[list[str], list[str], list[str] | None]:
    """The texts of the user's table, their labels, none of them empty, and the cells of its column
    ``split``, if it has one. Memory: of the texts themselves, and of no other column.

    Raises:
        UserError: as ``read_texts``, and for an empty text or label, naming its row.
    """
    texts: list[str] = []
    labels: list[str] = []
    parts: list[str] = []
    same: dict[str, str] = {}  # each label and part stands in memory once
    for chunk in read_chunks(path):
        found = column(chunk, text_column, path, "--text-column")
        for row, text in enumerate(found, len(texts) + 1):
            check_length(text, f"{path}: row {row}")
        texts += found
        names = (label.strip() for label in column(chunk, label_column, path, "--label-column"))
        labels += [same.setdefault(name, name) for name in names]
        if "split" in chunk.columns:
            parts += [same.setdefault(cell, cell) for cell in chunk["split"].tolist()]
    for kind, cells in (("text", texts), ("label", labels)):
        empty = [row for row, cell in enumerate(cells, 1) if not cell or cell.isspace()]
        if empty:
            more = f" (and {len(empty) - 1:,} more rows)" if len(empty) > 1 else ""
            raise UserError(f"{path}: row {empty[0]}: the {kind} is empty{more}")
    return texts, labels, parts or None


def split_file(path: Path, text_column: str, label_column: str) -> Splits:
    """The user's labelled file as three parts: by its column ``split`` if it has one; exact
    duplicates dropped, then 80/10/10 otherwise.

    Raises:
        UserError: as ``read_labelled``; for fewer than two classes, too few rows, or a class
            that the training part lacks.
    """
    texts, names, cells = read_labelled(path, text_column, label_column)
    classes = sorted_classes(names)
    if len(classes) < 2:
        raise UserError(f"{path}: one class only ({classes[0]!r}); expected two or more")
    if len(classes) > 20 and len(classes) > len(names) / 2:
        raise UserError(
            f"{path}: {len(classes):,} classes in {len(names):,} rows of column "
            f"{label_column!r}: expected few classes of many rows; name another with "
            f"--label-column"
        )
    number = {name: index for index, name in enumerate(classes)}
    indices = np.array([number[name] for name in names], np.int32)
    everything = Labelled(texts, indices)
    if cells is not None:
        splits = _by_column(path, cells, everything, classes)
    else:
        if len(names) < ROWS_AT_LEAST:
            raise UserError(f"{path}: {len(names)} rows; expected at least {ROWS_AT_LEAST}")
        once = everything.rows(_first_of_each(texts))
        counts = np.bincount(once.labels, minlength=len(classes))
        if counts.min() < ROWS_OF_A_CLASS:
            rarest = int(counts.argmin())
            raise UserError(
                f"{path}: class {classes[rarest]!r} has {counts[rarest]} different text(s); "
                f"expected at least {ROWS_OF_A_CLASS}, to train, validate and test on"
            )
        splits = Splits(path.name, classes, once, NOTHING, NOTHING)
    splits = complete(splits, str(path))
    if len(np.unique(splits.train.labels)) < len(classes):
        lacking = set(range(len(classes))) - set(splits.train.labels.tolist())
        names_lacking = ", ".join(repr(classes[i]) for i in sorted(lacking))
        raise UserError(f"{path}: no training row of class {names_lacking}")
    return splits


def _first_of_each(texts: list[str]) -> np.ndarray:
    """The rows of texts that, but for white space at their ends, stand in no row before."""
    seen: set[str] = set()
    rows = []
    for row, text in enumerate(texts):
        bare = text.strip()  # the very string, where there is nothing to strip
        if bare not in seen:
            seen.add(bare)
            rows.append(row)
    return np.array(rows)


def sorted_classes(names: list[str]) -> tuple[str, ...]:
    """The distinct labels: as numbers if all are, else by name."""
    distinct = sorted(set(names))
    try:
        return tuple(sorted(distinct, key=float))
    except ValueError:
        return tuple(distinct)


def split_parts(path: Path, cells: list[str]) -> np.ndarray:
    """The part that each row of a column ``split`` names, ``[rows]``: train, validation or test.

    Raises:
        UserError: for a cell that names none, with its row.
    """
    for row, cell in enumerate(cells, 1):
        if cell.strip().lower() not in SPLIT_NAMES:
            raise UserError(
                f"{path}: row {row}: split {cell!r}, expected train, validation or test"
            )
    return np.array([SPLIT_NAMES[cell.strip().lower()] for cell in cells])


def _by_column(
    path: Path, cells: list[str], everything: Labelled, classes: tuple[str, ...]
) -> Splits:
    parts = split_parts(path, cells)
    pairs = set(zip(everything.texts, parts.tolist(), strict=True))
    shared = len(pairs) - len(set(everything.texts))
    if shared:
        print(
            f"{path}: note: {shared:,} text(s) stand in more than one part; scores on them say "
            f"little about new texts",
            file=sys.stderr,
        )
    rows = {name: everything.rows(np.flatnonzero(parts == name)) for name in NO_PARTS}
    if not len(rows["train"]):
        raise UserError(f"{path}: no row with split train")
    return Splits(path.name, classes, **rows)
