"""Batches of pieces for training and scoring."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from apps.music.pieces import KEYS, Piece, clock, reach, transposed

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
    """

    pieces: Sequence[Piece]
    batch_size: int
    transpose: int = 0
    seed: int = 0
    multiple: int = 1

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.pieces) // self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> tf.data.Dataset:
        """The batches of `epoch` from batch number `start` on: (inputs, frames in each piece).

        Inputs: ``frames`` ``[batch, time, 88]`` and ``clock`` ``[batch, time, 2]``, int32, and
        ``mask`` ``[batch, time]``.
        """
        random = np.random.default_rng([self.seed, epoch])
        lengths = np.array([len(piece) for piece in self.pieces])
        near = lengths * random.uniform(0.85, 1.15, len(lengths))  # other neighbours each time
        plan = self._cut(np.argsort(near, kind="stable"))
        plan = [plan[place] for place in random.permutation(len(plan))]
        shifts = random.uniform(size=len(self.pieces))
        return self._dataset(plan[start:], shifts)

    def in_order(self) -> tf.data.Dataset:
        """All pieces as they are, the shortest first (``lengths`` says which is which)."""
        return self._dataset(self._by_length(), None)

    def restore(self, rows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """One array for each piece as ``in_order`` gives them, in the pieces' own order."""
        places = np.concatenate(self._by_length())
        restored: list[np.ndarray] = [np.empty(0)] * len(places)
        for place, row in zip(places, rows, strict=True):
            restored[place] = row
        return restored

    def _by_length(self) -> list[np.ndarray]:
        return self._cut(np.argsort([len(piece) for piece in self.pieces], kind="stable"))

    def _cut(self, order: np.ndarray) -> list[np.ndarray]:
        return [order[b : b + self.batch_size] for b in range(0, len(order), self.batch_size)]

    def _dataset(self, plan: Sequence[np.ndarray], shifts: np.ndarray | None) -> tf.data.Dataset:
        inputs = {
            "frames": tf.TensorSpec([None, None, KEYS], tf.int32),
            "clock": tf.TensorSpec([None, None, 2], tf.int32),
            "mask": tf.TensorSpec([None, None], tf.bool),
        }

        def batches() -> Iterator[tuple[Inputs, np.ndarray]]:
            for places in plan:
                chosen = [self.pieces[place] for place in places]
                moves = [0] * len(chosen)
                if shifts is not None and self.transpose:
                    moves = [self._move(self.pieces[p], shifts[p]) for p in places]
                yield padded(chosen, moves, self.multiple), np.array([len(p) for p in chosen])

        signature = (inputs, tf.TensorSpec([None], tf.int64))
        return tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(4)

    def _move(self, piece: Piece, chance: float) -> int:
        lowest, highest = reach([piece])
        least, most = max(-self.transpose, -lowest), min(self.transpose, KEYS - 1 - highest)
        return least + int(chance * (most - least + 1))


def padded(pieces: Sequence[Piece], moves: Sequence[int], multiple: int = 1) -> Inputs:
    """Pieces side by side, each moved by its semitones."""
    longest = -(-max(map(len, pieces)) // multiple) * multiple
    frames = np.zeros((len(pieces), longest, KEYS), np.int32)
    clocks = np.zeros((len(pieces), longest, 2), np.int32)
    mask = np.zeros((len(pieces), longest), bool)
    for row, (piece, move) in enumerate(zip(pieces, moves, strict=True)):
        frames[row, : len(piece)] = transposed(piece.frames, move)
        clocks[row, : len(piece)] = clock(piece)
        mask[row, : len(piece)] = True
    return {"frames": frames, "clock": clocks, "mask": mask}
