"""Batches of pieces to learn from, fresh in every epoch, and of whole streams to score on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from apps.gesture.augment import Augmentation, augmented, triads, varied
from apps.gesture.streams import Corpus, Stream, drawn, filled

LEAST_STEPS = 50  # batches in an epoch, however small the corpus


@dataclass(frozen=True)
class Pieces:
    """Batches of augmented pieces. Each is a function of (seed, epoch, its number) alone.

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

    def epoch(self, epoch: int, start: int = 0) -> tf.data.Dataset:
        """(frames ``[batch, length, channels]``, labels ``[batch, length]``) from batch number
        `start` of `epoch` on."""
        batch, channels = self.batch_size, len(self.corpus.channels)
        signature = (
            tf.TensorSpec([batch, self.length, channels], tf.float32),
            tf.TensorSpec([batch, self.length], tf.int32),
        )

        def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for number in range(start, self.steps):
                yield self.batch(np.random.default_rng([self.seed, epoch, number]))

        return tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(4)

    def batch(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """One batch of pieces."""
        rows = np.concatenate([stream.values for stream in self.corpus.streams])
        moments = rows.mean(axis=0), rows.std(axis=0)
        vectors = triads(self.corpus.channels)
        reach = int(np.ceil(self.length * self.augmentation.reach)) + 1
        pieces = []

        def vary(bout: np.ndarray) -> np.ndarray:
            return varied(bout, self.augmentation, vectors, random)

        for _ in range(self.batch_size):
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
