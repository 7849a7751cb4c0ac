"""Log-mel features in the graph, by librosa's definition; their normalisation; SpecAugment."""

from typing import Any

import keras
import tensorflow as tf

FRAME = 512
"""Samples that one frame is made from; the window of 25 ms stands in the middle of them."""
WINDOW = 400
HOP = 160


class LogMel(keras.layers.Layer):
    r"""Waveform -> logarithm of mel energies, frame by frame, without padding at the ends."""

    def __init__(self, mels: int = 40, low: float = 60.0, high: float = 7600.0, **kwargs: Any):
        super().__init__(**kwargs)

    def call(self, waveform: tf.Tensor, lengths: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(``[batch, samples]`` float32 in -1 to 1, ``[batch]`` int32) ->
        (``[batch, frames, mels]``, ``[batch]`` int32: frames of each)."""
        raise NotImplementedError


def frames_of(samples: Any) -> Any:
    """Whole frames in so many samples: max(0, 1 + (samples - FRAME) // HOP)."""
    raise NotImplementedError


def normalise(log_mel: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Each channel of each utterance to mean 0 and deviation 1 over its active frames (those
    within 30 dB of its loudest); padding becomes 0. ``[batch, frames, mels]`` both."""
    raise NotImplementedError


def normalise_causal(
    log_mel: tf.Tensor,
    lengths: tf.Tensor,
    mean: tf.Tensor,
    deviation: tf.Tensor,
    state: tuple[tf.Tensor, ...],
) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
    """The same with what has been heard so far: chunk by chunk equals one pass.

    Args:
        log_mel: ``[batch, frames, mels]``, the next frames of each stream.
        mean: of the training frames, ``[mels]``: what a stream starts from.
        deviation: likewise.
        state: ``normalise_start(batch, mels)``, or what the chunk before returned.

    Returns:
        The normalised frames, and the state after them.
    """
    raise NotImplementedError


def normalise_start(batch: Any, mels: int) -> tuple[tf.Tensor, ...]:
    """The state of ``normalise_causal`` before the first frame: frames ``[batch, 1]``, summed
    weights ``[batch, 1]``, weighted sums of values and of squares ``[batch, mels]``."""
    raise NotImplementedError


def statistics(waveforms: Any) -> tuple[Any, Any]:
    """Mean and deviation of log-mel channels over the active frames of training recordings, each
    ``[mels]`` float32 NumPy: for ``normalise_causal``."""
    raise NotImplementedError


class SpecAugment(keras.layers.Layer):
    """Masks bands of channels and stretches of frames by 0, the mean of normalised features,
    while training (Park et al. 2019, arXiv:1904.08779)."""

    def __init__(
        self, mel_masks: int, mel_width: int, time_masks: int, time_width: int, **kwargs: Any
    ):
        super().__init__(**kwargs)

    def call(self, features: tf.Tensor, lengths: tf.Tensor, training: bool = False) -> tf.Tensor:
        """``[batch, frames, mels]`` of normalised features -> the same shape."""
        raise NotImplementedError
