"""Batches of pieces for training and scoring."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from apps.music import keys
from apps.music.pieces import KEYS, Piece, clock, reach, transposed
from common.data import Shares, stream

Inputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class RollBatches:
    """Batches of whole pieces of like length, in an order and in keys that depend on
    (seed, epoch) alone.

    Args:
        pieces: at least one.
        batch_size: pieces in a batch; the last of an epoch may be smaller.
        transpose: semitones that a piece may move up or down, as far as the 88 keys reach.
        multiple: lengths are padded to a multiple of this (few lengths compile fewer times).
        told: share of the pieces whose key is told, and of those whose end is (drawn anew for
            each, in each epoch).
    """

    pieces: Sequence[Piece]
    batch_size: int
    transpose: int = 0
    seed: int = 0
    multiple: int = 1
    told: float = 0.0

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.pieces) // self.batch_size)

    def epoch(self, epoch: int, start: int = 0, shares: Shares | None = None) -> tf.data.Dataset:
        """The batches of `epoch` from batch number `start` on: (inputs, frames in each piece); or
        ``Shares`` of them.

        Inputs: ``frames`` ``[batch, time, 88]``, ``clock`` ``[batch, time, 3]`` and ``key``
        ``[batch]``, int32, and ``mask`` ``[batch, time]``.
        """
        random = np.random.default_rng([self.seed, epoch])
        lengths = np.array([len(piece) for piece in self.pieces])
        near = lengths * random.uniform(0.85, 1.15, len(lengths))  # other neighbours each time
        plan = self._cut(np.argsort(near, kind="stable"))
        plan = [plan[place] for place in random.permutation(len(plan))]
        luck = random.uniform(size=(len(self.pieces), 3))
        return self._dataset(plan[start:], luck, shares)

    def in_order(self) -> tf.data.Dataset:
        """All pieces as they are and nothing told of them, the shortest first."""
        return self._dataset(self._by_length(), None)

    def each(self, function: Callable[..., tf.Tensor]) -> list[np.ndarray]:
        """What `function` says of each piece, from (frames, clock, key, mask): ``[time, ...]``."""
        found: list[np.ndarray] = []
        for inputs, lengths in self.in_order():
            asked = (inputs[name] for name in ("frames", "clock", "key", "mask"))
            rows = function(*asked).numpy()
            found += [row[:length] for row, length in zip(rows, lengths.numpy(), strict=True)]
        places = np.concatenate(self._by_length())
        return [found[place] for place in np.argsort(places)]

    def _by_length(self) -> list[np.ndarray]:
        return self._cut(np.argsort([len(piece) for piece in self.pieces], kind="stable"))

    def _cut(self, order: np.ndarray) -> list[np.ndarray]:
        return [order[b : b + self.batch_size] for b in range(0, len(order), self.batch_size)]

    def _dataset(
        self,
        plan: Sequence[np.ndarray],
        luck: np.ndarray | None,
        shares: Shares | None = None,
    ) -> tf.data.Dataset:
        inputs = {
            "frames": tf.TensorSpec([None, None, KEYS], tf.int32),
            "clock": tf.TensorSpec([None, None, 3], tf.int32),
            "key": tf.TensorSpec([None], tf.int32),
            "mask": tf.TensorSpec([None, None], tf.bool),
        }

        def make(places: np.ndarray) -> tuple[Inputs, np.ndarray]:
            rows = [Row(self.pieces[place]) for place in places]
            if luck is not None:
                rows = [self._row(self.pieces[place], luck[place]) for place in places]
            return padded(rows, self.multiple), np.array([len(row.piece) for row in rows])

        return stream(plan, make, (inputs, tf.TensorSpec([None], tf.int64)), shares)

    def _row(self, piece: Piece, luck: np.ndarray) -> "Row":
        lowest, highest = reach([piece])
        least, most = max(-self.transpose, -lowest), min(self.transpose, KEYS - 1 - highest)
        move = least + int(luck[0] * (most - least + 1))
        key = keys.moved(keys.of(piece), move) if luck[1] < self.told else 0
        return Row(piece, move, key, bool(luck[2] < self.told))


class Row(NamedTuple):
    """A piece, and how it goes into a batch."""

    piece: Piece
    move: int = 0
    """Semitones upwards."""
    key: int = 0
    """That is told, of the piece as moved."""
    ending: bool = False
    """Whether its end is told."""


def padded(rows: Sequence[Row], multiple: int = 1) -> Inputs:
    """Pieces side by side."""
    longest = -(-max(len(row.piece) for row in rows) // multiple) * multiple
    frames = np.zeros((len(rows), longest, KEYS), np.int32)
    clocks = np.zeros((len(rows), longest, 3), np.int32)
    mask = np.zeros((len(rows), longest), bool)
    for number, (piece, move, _, ending) in enumerate(rows):
        frames[number, : len(piece)] = transposed(piece.frames, move)
        clocks[number, : len(piece)] = clock(piece, ending=ending)
        mask[number, : len(piece)] = True
    told = np.array([row.key for row in rows], np.int32)
    return {"frames": frames, "clock": clocks, "key": told, "mask": mask}
