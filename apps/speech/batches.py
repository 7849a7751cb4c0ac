"""Batches of utterances of like length, in an order and with a sound that the epoch decides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from apps.speech.alphabet import Alphabet
from apps.speech.augment import augmented
from apps.speech.config import AugmentConfig
from apps.speech.utterances import RATE, Utterance
from common.data import SequenceBatches, Shares, stream

MULTIPLE = 8000
"""Samples to whose multiples waveforms are padded: few lengths compile few times under jit."""
SYMBOLS = 8
"""Symbols to whose multiples texts are padded under jit, for the same reason."""
TAIL = (0.2, 1.0)
"""Seconds of silence after an utterance, for a network that must not know where it ends."""
POOL = 20  # batches that are sorted by length together


@dataclass(frozen=True)
class SpeechBatches:
    """Batches as a pure function of (seed, epoch, number), for ``common.training``.

    Args:
        utterances: of one split.
        batch_size: utterances in a batch; the last of an epoch may be smaller.
        augment: how their sound is changed, anew each time; None for validation and test.
        short_first: epochs over which longer and longer utterances join in: an attention
            decoder learns to align on short ones. 0: all of them from the start.
        tail: whether silence of random length, ``TAIL``, follows each utterance, before its sound
            is changed: rooms ring on in it, and noise goes on.
        jit: whether each new shape is going to be compiled, so that few are wanted.
    """

    utterances: Sequence[Utterance]
    alphabet: Alphabet
    batch_size: int
    augment: AugmentConfig | None = None
    seed: int = 0
    short_first: int = 0
    tail: bool = False
    jit: bool = False

    @property
    def steps(self) -> int:
        """Batches in an epoch; the same in every one."""
        return -(-len(self.utterances) // self.batch_size)

    def epoch(self, epoch: int, start: int = 0, shares: Shares | None = None) -> tf.data.Dataset:
        """((waveform ``[b, n]`` float32, lengths ``[b]`` int32), (ids ``[b, m]`` int32, id lengths
        ``[b]`` int32)) from batch number `start` of `epoch` on, both padded by 0; or ``Shares`` of
        them. The sound of each utterance is changed by random numbers of its own."""
        numbers = np.arange(self.steps * self.batch_size).reshape(self.steps, self.batch_size)
        plan = [
            np.stack([places, row[: len(places)]], axis=1)
            for places, row in zip(self.plan(epoch), numbers, strict=True)
        ]

        def make(rows: np.ndarray) -> Any:
            randoms = [np.random.default_rng([self.seed, epoch, number]) for _, number in rows]
            return self._batch(rows[:, 0], randoms)

        return stream(plan[start:], make, _signature(), shares)

    def plan(self, epoch: int) -> list[np.ndarray]:
        """For each batch of `epoch` the places of its utterances, ``[rows]``."""
        joined = np.arange(len(self.utterances))
        if epoch < self.short_first:
            share = (epoch + 1) / (self.short_first + 1)
            by_length = np.argsort([len(u.text) for u in self.utterances], kind="stable")
            shortest = by_length[: max(self.batch_size, int(share * len(by_length)))]
            joined = np.resize(shortest, len(self.utterances))  # more often, to fill the epoch
        sounds = [self.utterances[int(place)].samples for place in joined]
        order = SequenceBatches(sounds, np.zeros(len(sounds)), self.batch_size, self.seed, POOL)
        return [joined[batch] for batch in order.plan(epoch)]

    def in_order(self) -> tf.data.Dataset:
        """All utterances once, shortest first, as they are; undo the order with ``restore``."""

        return stream(self._by_length(), self._batch, _signature())

    def restore(self, rows: Sequence) -> list:
        """Results for each utterance as ``in_order`` gives them, in the order of ``utterances``."""
        restored: list = [None] * len(self.utterances)
        places = np.concatenate(self._by_length())
        for place, row in zip(places, rows, strict=True):
            restored[place] = row
        return restored

    def _by_length(self) -> list[np.ndarray]:
        order = np.argsort([len(u.samples) for u in self.utterances], kind="stable")
        return [order[b : b + self.batch_size] for b in range(0, len(order), self.batch_size)]

    def _batch(self, places: np.ndarray, randoms: Sequence[np.random.Generator] = ()) -> Any:
        chosen = [self.utterances[place] for place in places]
        waveforms = [utterance.waveform for utterance in chosen]
        if randoms and self.tail:
            pairs = zip(waveforms, randoms, strict=True)
            waveforms = [followed_by_silence(waveform, random) for waveform, random in pairs]
        if randoms and self.augment is not None:
            pairs = zip(waveforms, randoms, strict=True)
            waveforms = [augmented(waveform, self.augment, random) for waveform, random in pairs]
        ids = [self.alphabet.encode(utterance.text) for utterance in chosen]
        return pad(waveforms), _side_by_side(ids, SYMBOLS if self.jit else 1, np.int32)


def followed_by_silence(waveform: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """``[n]`` with ``TAIL`` seconds of zeros after it."""
    return np.pad(waveform, (0, int(random.uniform(*TAIL) * RATE)))


def _signature() -> tuple[Any, Any]:
    def spec(*shape: int | None, dtype: tf.DType = tf.int32) -> tf.TensorSpec:
        return tf.TensorSpec(shape, dtype)

    sound = (spec(None, None, dtype=tf.float32), spec(None))
    return sound, (spec(None, None), spec(None))


def pad(waveforms: Sequence[np.ndarray], multiple: int = MULTIPLE) -> tuple[np.ndarray, np.ndarray]:
    """Waveforms of any lengths side by side: ``[b, n]`` float32 and lengths ``[b]`` int32."""
    return _side_by_side(waveforms, multiple, np.float32)


def _side_by_side(
    rows: Sequence[np.ndarray], multiple: int, dtype: type
) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.array([len(row) for row in rows], np.int32)
    longest = max(1, -(-int(lengths.max(initial=1)) // multiple)) * multiple
    padded: np.ndarray = np.zeros((len(rows), longest), dtype)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return padded, lengths
