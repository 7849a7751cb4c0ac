"""Batches of pieces to learn from, fresh in every epoch, and of whole streams to score on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from apps.gesture.augment import Augmentation, augmented, triads, varied
from apps.gesture.streams import Corpus, Stream, drawn, filled
from common.data import Shares, stream

LEAST_STEPS = 50  # batches in an epoch, however small the corpus


@dataclass(frozen=True)
class Pieces:
    """Batches of augmented pieces. Each piece is a function of (seed, epoch, its number) alone.

    An epoch has as many pieces as hold the training frames once, but 50 batches at least.

    Args:
        corpus: the training part.
        length: frames of a piece.
        augmentation: how much of it.
        batch_size: pieces in a batch.
    """

    corpus: Corpus
    length: int
    augmentation: Augmentation
    batch_size: int
    seed: int = 0

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        frames = sum(len(stream) for stream in self.corpus.streams)
        return max(LEAST_STEPS, -(-frames // (self.length * self.batch_size)))

    def epoch(self, epoch: int, start: int = 0, shares: Shares | None = None) -> tf.data.Dataset:
        """(frames ``[batch, length, channels]``, labels ``[batch, length]``) from batch number
        `start` of `epoch` on; or ``Shares`` of them."""
        batch = self.batch_size if shares is None else None
        signature = (
            tf.TensorSpec([batch, self.length, len(self.corpus.channels)], tf.float32),
            tf.TensorSpec([batch, self.length], tf.int32),
        )
        plan = np.arange(self.steps * self.batch_size).reshape(self.steps, self.batch_size)

        def make(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return self.pieces([np.random.default_rng([self.seed, epoch, n]) for n in numbers])

        return stream(list(plan[start:]), make, signature, shares)

    def pieces(self, randoms: Sequence[np.random.Generator]) -> tuple[np.ndarray, np.ndarray]:
        """A piece drawn by each of `randoms`, side by side: ``[pieces, length, channels]``, and the
        labels ``[pieces, length]``."""
        rows = np.concatenate([stream.values for stream in self.corpus.streams])
        moments = rows.mean(axis=0), rows.std(axis=0)
        vectors = triads(self.corpus.channels)
        reach = int(np.ceil(self.length * self.augmentation.reach)) + 1
        pieces = []
        for random in randoms:

            def vary(bout: np.ndarray, random: np.random.Generator = random) -> np.ndarray:
                return varied(bout, self.augmentation, vectors, random)

            values, labels = drawn(self.corpus, reach, random, vary)
            if self.corpus.mirror is not None and random.random() < 0.5:
                values = values * np.array(self.corpus.mirror, np.float32)
            pieces.append(
                augmented(values, labels, self.length, self.augmentation, vectors, *moments, random)
            )
        values, labels = zip(*pieces, strict=True)
        return np.stack(values), np.stack(labels).astype(np.int32)


def padded(streams: Sequence[Stream]) -> tuple[np.ndarray, np.ndarray]:
    """Whole streams side by side: frames ``[streams, time, channels]`` and mask."""
    longest = max(1, *(len(stream) for stream in streams))
    frames = [filled(stream.values, stream.labels, longest)[0] for stream in streams]
    lengths = np.array([len(stream) for stream in streams])
    return np.stack(frames), np.arange(longest) < lengths[:, np.newaxis]
