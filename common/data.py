"""Readers of users' own tables, splits, and batches of sequences of like length."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from sklearn.model_selection import train_test_split

from common import files
from common.errors import UserError

CHUNK = 16 * 2**20
"""Bytes of memory that the rows take which are read at a time."""
BYTES_A_CELL = 64
"""What Python keeps beside the characters of a string."""
LONGEST_CELL = 4_000_000
"""Characters: above that it is a quote that nobody closed."""
MOST_COLUMNS = 10_000
"""Above that a table is lying on its side."""
SPARE_CELLS = 2**20
"""So many more cells than bytes may JSON Lines stand for, whose lines may lack keys."""

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}


def read_table(path: Path) -> pd.DataFrame:
    """A CSV, TSV or JSON Lines file, by its suffix, as a table of strings.

    Cells are kept as they stand: "NA" and "null" are words like others, an empty CSV cell is
    the empty string. Rows are counted from 1, the header not counted.

    The table takes as much memory as the file and 8 bytes a cell; what needs less of it than
    that is to take it from ``read_chunks``.

    Raises:
        UserError: as ``read_chunks``.
    """
    return pd.concat(list(read_chunks(path)))


def read_chunks(path: Path) -> Iterator[pd.DataFrame]:
    """The same table in pieces of some ``CHUNK`` bytes of memory, whatever the size of the file.

    Each has the same columns, and goes on with the index where the one before ended.

    Raises:
        UserError: for a missing or empty file, another suffix, bytes that are not UTF-8, rows
            of unequal length, lines that are not JSON objects, more than ``MOST_COLUMNS``
            columns, or a longer line than ``files.LONGEST_LINE`` or cell than ``LONGEST_CELL``.
    """
    files.check(path)
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".tsv", ".jsonl", ".ndjson"):
        raise UserError(f"{path}: expected a .csv, .tsv or .jsonl file")
    if not sum(bool(line.strip()) for _, line in files.lines(path)):  # looks at every line
        raise UserError(f"{path}: the file is empty")
    if suffix in (".jsonl", ".ndjson"):
        rows = _json_lines(path)
    else:
        rows = _separated(path, "\t" if suffix == ".tsv" else ",")
    header = next(rows)
    held: list[list[str]] = []
    size = begin = 0
    for cells in rows:
        held.append(cells)
        size += sum(map(len, cells)) + BYTES_A_CELL * len(cells)
        if size > CHUNK:
            yield _chunk(header, held, begin)
            begin += len(held)
            held, size = [], 0
    if held and header:
        yield _chunk(header, held, begin)
        begin += len(held)
    if not begin:
        raise UserError(f"{path}: no rows in it")


def _chunk(header: list[str], rows: list[list[str]], begin: int) -> pd.DataFrame:
    columns = {n: pd.array(cells, "str") for n, cells in enumerate(zip(*rows, strict=True))}
    table = pd.DataFrame(columns, index=pd.RangeIndex(begin, begin + len(rows)))
    table.columns = pd.Index(header, dtype=object)
    return table


def _separated(path: Path, separator: str) -> Iterator[list[str]]:
    """The header, then the rows."""
    csv.field_size_limit(LONGEST_CELL)
    header: list[str] = []
    begin = 1  # the line that a row begins on: quoted cells may run over several
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, delimiter=separator, strict=True)
        try:
            for cells in reader:
                if cells and not header:
                    header = cells = _named(cells, path)
                elif cells and len(cells) != len(header):
                    raise UserError(
                        f"{path}: line {begin}: {len(cells)} cells, expected as many as the "
                        f"header has ({len(header)}); quote cells that hold the separator"
                    )
                if cells:  # a blank line has none
                    yield cells
                begin = reader.line_num + 1
        except csv.Error as error:
            raise UserError(f"{path}: line {begin}: not a row of cells: {error}") from None
    if not header:
        yield []


def _named(header: Sequence[str], path: Path) -> list[str]:
    """The header with names for the columns that have none, but for the first of them."""
    if len(header) > MOST_COLUMNS:
        raise UserError(f"{path}: {len(header):,} columns, expected at most {MOST_COLUMNS:,}")
    nameless = [n for n, name in enumerate(header) if not name][1:]
    named = [f"Unnamed: {n}" if n in nameless else name for n, name in enumerate(header)]
    twice = [name for name, count in Counter(named).items() if count > 1]
    if twice:
        raise UserError(f"{path}: the header has {twice[0][:60]!r} more than once")
    return named


def _json_lines(path: Path) -> Iterator[list[str]]:
    """The keys of all lines, then the rows: read twice, so that all have the same columns."""
    header: dict[str, None] = {}
    count = 0
    for row in _objects(path):
        count += 1
        header |= dict.fromkeys(row)
        if len(header) > MOST_COLUMNS:
            break
    names = _named(list(header), path)
    if count * len(names) > SPARE_CELLS + path.stat().st_size:
        raise UserError(
            f"{path}: {len(names):,} keys over {count:,} lines, most of which lack most of them; "
            f"expected lines of like keys"
        )
    yield names
    for row in _objects(path):
        yield [row.get(key, "") for key in header]


def _objects(path: Path) -> Iterator[dict[str, str]]:
    for number, line in files.lines(path):
        if not line.strip():
            continue
        try:
            cells = {key: _as_text(value) for key, value in json.loads(line).items()}
        except (ValueError, RecursionError, AttributeError):  # or no object
            raise UserError(f"{path}: line {number}: expected a JSON object") from None
        try:
            "".join([*cells, *cells.values()]).encode()
        except UnicodeEncodeError:  # JSON can write down half of a surrogate pair
            raise UserError(f"{path}: line {number}: expected Unicode text") from None
        yield cells


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def column(table: pd.DataFrame, name: str, path: Path, flag: str) -> list[str]:
    """The cells of one column.

    Raises:
        UserError: if there is no such column, naming those there are and the flag to use.
    """
    if name not in table.columns:
        found = ", ".join(map(repr, table.columns[:12]))
        raise UserError(f"{path}: no column {name!r} among {found}; name another with {flag}")
    return table[name].tolist()


def split_rows(labels: np.ndarray, share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the rows kept and of a `share` of them set aside, each label of ``[rows]`` in its
    proportion. Function of `labels`, `share` and `seed` alone.

    Raises:
        UserError: if some label is too rare to stand on both sides.
    """
    rows = np.arange(len(labels))
    try:
        kept, aside = train_test_split(rows, test_size=share, random_state=seed, stratify=labels)
    except ValueError as error:
        raise UserError(f"too few rows to set {share:.0%} of them aside: {error}") from None
    return kept, aside


@dataclass(frozen=True)
class Shares:
    """Which rows of every batch are made here, where several replicas train on its parts: with n
    of them replica r has rows r, r + n, r + 2n, ...

    Args:
        first: the first replica that is fed here.
        here: how many are.
        count: how many there are in all.
    """

    first: int = 0
    here: int = 1
    count: int = 1

    def of(self, batch: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each replica that is fed here, its rows of a batch ``[rows]`` and what each of them
        counts: 1. A replica that a short batch has no row for gets the first, which counts 0:
        networks need not know what to do with nothing."""
        for replica in range(self.first, self.first + self.here):
            rows = batch[replica :: self.count]
            chosen = rows if len(rows) else batch[:1]
            yield chosen, np.full(len(chosen), float(len(rows) > 0), np.float32)


def stream(
    plan: Sequence[np.ndarray],
    make: Callable[[np.ndarray], tuple[Any, Any]],
    signature: tuple[Any, Any],
    shares: Shares | None = None,
) -> tf.data.Dataset:
    """What `make` makes of each batch of a plan, made ahead of time: (inputs, targets). With
    `shares` the parts of each batch that are trained on here, one after the other: (inputs,
    targets, what each row counts ``[rows]``).

    Args:
        plan: for each batch its rows: numbers along the first axis.
        make: (rows) -> (inputs, targets).
        signature: of what it makes.
    """

    def parts() -> Iterator[tuple[Any, ...]]:
        for batch in plan:
            if shares is None:
                yield make(batch)
                continue
            for rows, counted in shares.of(batch):
                yield (*make(rows), counted)

    whole: tuple[Any, ...] = signature
    if shares is not None:
        whole = (*signature, tf.TensorSpec([None], tf.float32))
    return tf.data.Dataset.from_generator(parts, output_signature=whole).prefetch(4)


@dataclass(frozen=True)
class SequenceBatches:
    """Batches of sequences of like length, in an order that depends on (seed, epoch) alone.

    Shuffled sequences are taken in pools of `pool` batches; each pool is sorted by length and
    cut into batches, and the batches are shuffled, so that short sequences are not padded to
    the length of long ones and the order still changes with every epoch. As the order is a
    pure function, any position inside an epoch can be returned to: ``epoch(7, start=120)``.

    Args:
        sequences: integer arrays of one dimension, 0 being kept for padding.
        targets: one for each sequence, along the first axis.
        batch_size: sequences in a batch; the last of an epoch may be smaller.
        multiple: pad to a multiple of this length (few lengths compile fewer times under jit).
    """

    sequences: Sequence[np.ndarray]
    targets: np.ndarray
    batch_size: int
    seed: int = 0
    pool: int = 50
    multiple: int = 1

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.sequences) // self.batch_size)

    def plan(self, epoch: int) -> list[np.ndarray]:
        """For each batch of `epoch` the indices of its sequences, ``[rows]``."""
        random = np.random.default_rng([self.seed, epoch])
        lengths = np.fromiter(map(len, self.sequences), dtype=np.int64)
        order = random.permutation(len(lengths))
        size = self.pool * self.batch_size
        batches = []
        for begin in range(0, len(order), size):
            chunk = order[begin : begin + size]
            chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
            batches += [
                chunk[b : b + self.batch_size] for b in range(0, len(chunk), self.batch_size)
            ]
        return [batches[b] for b in random.permutation(len(batches))]

    def in_order(self) -> tf.data.Dataset:
        """All sequences, longest last; undo the order of the results with ``restore``."""
        return self._dataset(self._by_length())

    def restore(self, rows: np.ndarray) -> np.ndarray:
        """Rows ``[sequences, ...]`` as ``in_order`` gives them, back in the order of
        ``sequences``."""
        restored = np.empty_like(rows)
        restored[np.concatenate(self._by_length())] = rows
        return restored

    def epoch(self, epoch: int, start: int = 0, shares: Shares | None = None) -> tf.data.Dataset:
        """The batches of `epoch` from batch number `start` on: (sequences, targets); or ``Shares``
        of them."""
        return self._dataset(self.plan(epoch)[start:], shares)

    def _by_length(self) -> list[np.ndarray]:
        order = np.argsort([len(s) for s in self.sequences], kind="stable")
        return [order[b : b + self.batch_size] for b in range(0, len(order), self.batch_size)]

    def _dataset(self, plan: list[np.ndarray], shares: Shares | None = None) -> tf.data.Dataset:
        signature = (
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([None, *self.targets.shape[1:]], self.targets.dtype),
        )

        def make(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return self.pad_batch(batch), self.targets[batch]

        return stream(plan, make, signature, shares)

    def pad_batch(self, batch: np.ndarray) -> np.ndarray:
        """The sequences of those indices as one array ``[batch, time]``, padded by 0."""
        longest = max(1, *(len(self.sequences[i]) for i in batch))  # at least one, masked, step
        longest = -(-longest // self.multiple) * self.multiple
        padded = np.zeros((len(batch), longest), np.int32)
        for row, i in enumerate(batch):
            padded[row, : len(self.sequences[i])] = self.sequences[i]
        return padded
