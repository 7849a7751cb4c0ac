"""Batches of utterances of like length, in an order and with a sound that the epoch decides."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from apps.speech.alphabet import Alphabet
from apps.speech.config import AugmentConfig
from apps.speech.utterances import Utterance


@dataclass(frozen=True)
class SpeechBatches:
    """Batches as a pure function of (seed, epoch, number), for ``common.training``.

    Args:
        utterances: of one split.
        batch_size: utterances in a batch; the last of an epoch may be smaller.
        augment: how their sound is changed, anew each time; None for validation and test.
        short_first: epochs over which longer and longer utterances join in: an attention
            decoder learns to align on short ones. 0: all of them from the start.
    """

    utterances: Sequence[Utterance]
    alphabet: Alphabet
    batch_size: int
    augment: AugmentConfig | None = None
    seed: int = 0
    short_first: int = 0

    @property
    def steps(self) -> int:
        """Batches in an epoch; the same in every one."""
        raise NotImplementedError

    def epoch(self, epoch: int, start: int = 0) -> tf.data.Dataset:
        """((waveform ``[b, n]`` float32, lengths ``[b]`` int32), (ids ``[b, m]`` int32, id lengths
        ``[b]`` int32)) from batch number `start` of `epoch` on."""
        raise NotImplementedError

    def in_order(self) -> tf.data.Dataset:
        """All utterances once, shortest first, as they are; undo the order with ``restore``."""
        raise NotImplementedError

    def restore(self, rows: Sequence) -> list:
        """Results for each utterance as ``in_order`` gives them, in the order of ``utterances``."""
        raise NotImplementedError


def pad(waveforms: Sequence[np.ndarray], multiple: int = 8000) -> tuple[np.ndarray, np.ndarray]:
    """Waveforms of any lengths side by side: ``[b, n]`` float32 and lengths ``[b]`` int32."""
    raise NotImplementedError
