r"""Log-mel features in the graph, by librosa's definition; their normalisation; SpecAugment.

A frame is :math:`\log(\varepsilon + \sum_k M_{mk} |\mathrm{FFT}(w x)_k|^2)`: a Hann window w of
25 ms every 10 ms, and triangular mel filters M of unit area on Slaney's scale, as in
``librosa.feature.melspectrogram(..., center=False, power=2.0)``. Nothing is padded at the ends, so
that the frames of a stream are those of the whole, however it is cut into chunks.
"""

import functools
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from apps.speech.utterances import RATE, Utterance

FRAME = 512
"""Samples that one frame is made from; the window of 25 ms stands in the middle of them."""
WINDOW = 400
HOP = 160
FLOOR = 1e-7
"""Added to every energy: about what noise at -77 dB of full scale has."""
ACTIVE = 30.0
"""dB below the loudest frame of an utterance down to which frames count as speech."""
PRIOR = 50.0
"""Frames that the training statistics count for, before a stream has been heard."""
LIMIT = 4.0
"""Normalised features are cut off at so many deviations: silence may be of any depth."""


class LogMel(keras.layers.Layer):
    """Waveform -> logarithm of mel energies, frame by frame, without padding at the ends.

    Args:
        mels: channels.
        low: where the first filter begins, Hz.
        high: where the last one ends, Hz.
    """

    def __init__(
        self, mels: int = 40, low: float = 60.0, high: float = 7600.0, **kwargs: Any
    ) -> None:
        super().__init__(**{"trainable": False, "dtype": "float32", **kwargs})
        self.mels, self.low, self.high = mels, low, high
        self.filters = filters(mels, low, high)

    def call(self, waveform: tf.Tensor, lengths: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(``[batch, samples]`` float32 in -1 to 1, ``[batch]`` int32) ->
        (``[batch, frames, mels]``, ``[batch]`` int32: frames of each). What is shorter than a
        frame gives one frame of padding, and has 0."""
        missing = tf.maximum(0, FRAME - tf.shape(waveform)[1])
        waveform = tf.pad(waveform, [(0, 0), (0, missing)])
        frames = tf.signal.frame(waveform, FRAME, HOP) * window()
        spectrum = tf.signal.rfft(frames)
        power = tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))
        return tf.math.log(tf.matmul(power, self.filters) + FLOOR), frames_of(lengths)

    def get_config(self) -> dict[str, Any]:
        own = {"mels": self.mels, "low": self.low, "high": self.high}
        return {**super().get_config(), **own}


@functools.cache
def window() -> np.ndarray:
    """``[FRAME]``: a periodic Hann window of ``WINDOW``, in the middle as librosa has it."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    side = (FRAME - WINDOW) // 2
    return np.pad(hann, (side, FRAME - WINDOW - side)).astype(np.float32)


@functools.cache
def filters(mels: int, low: float, high: float) -> np.ndarray:
    """``[FRAME // 2 + 1, mels]`` of librosa's triangular filters."""
    from librosa.filters import mel

    return mel(sr=RATE, n_fft=FRAME, n_mels=mels, fmin=low, fmax=high).T


def frames_of(samples: Any) -> Any:
    """Whole frames in so many samples: max(0, 1 + (samples - FRAME) // HOP)."""
    whole = (samples - FRAME + HOP) // HOP
    return tf.maximum(0, whole) if tf.is_tensor(samples) else max(0, whole)


def mask(lengths: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """``[batch, frames, 1]`` float32: 1 where a frame of `like` is inside its utterance."""
    inside = tf.sequence_mask(lengths, tf.shape(like)[1], dtype=tf.float32)
    return inside[:, :, tf.newaxis]


def normalise(log_mel: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Each channel of each utterance to mean 0 and deviation 1 over its active frames (those
    within ``ACTIVE`` dB of its loudest); padding becomes 0.

    Args:
        log_mel: ``[batch, frames, mels]``.
        lengths: ``[batch]``, frames of each utterance.
    """
    inside = mask(lengths, log_mel)
    active = inside * _active(log_mel, inside)
    count = tf.maximum(1.0, tf.reduce_sum(active, 1, keepdims=True))
    mean = tf.reduce_sum(active * log_mel, 1, keepdims=True) / count
    square = tf.reduce_sum(active * tf.square(log_mel - mean), 1, keepdims=True) / count
    normal = (log_mel - mean) * tf.math.rsqrt(square + 1e-2)
    return tf.clip_by_value(normal, -LIMIT, LIMIT) * inside


def _active(log_mel: tf.Tensor, inside: tf.Tensor) -> tf.Tensor:
    loudness = tf.reduce_logsumexp(log_mel, 2, keepdims=True)
    loudest = tf.reduce_max(tf.where(inside > 0, loudness, loudness.dtype.min), 1, keepdims=True)
    return tf.cast(loudness > loudest - ACTIVE / 10 * np.log(10), tf.float32)


State = tuple[tf.Tensor, ...]


def normalise_start(batch: Any, mels: int) -> State:
    """The state of ``normalise_causal`` before the first frame: frames ``[batch, 1]``, summed
    weights ``[batch, 1]``, weighted sums of values and of squares ``[batch, mels]``."""
    return tuple(tf.zeros([batch, width]) for width in (1, 1, mels, mels))


def normalise_causal(
    log_mel: tf.Tensor,
    lengths: tf.Tensor,
    mean: tf.Tensor,
    deviation: tf.Tensor,
    state: State,
) -> tuple[tf.Tensor, State]:
    r"""The same with what has been heard so far: chunk by chunk equals one pass.

    Up to frame t, with weights :math:`w_s`, the square root of the energy of frame s (loud frames
    count more, however loud the stream is as a whole),

    .. math:: \mu_t = \frac{P \bar\mu + t \sum_{s \le t} w_s x_s / \sum_{s \le t} w_s}{P + t}

    and likewise for the mean square; :math:`\bar\mu` is the training mean, which counts for P
    frames.

    Args:
        log_mel: ``[batch, frames, mels]``, the next frames of each stream.
        lengths: ``[batch]``, how many of them are real.
        mean: of the training frames, ``[mels]``: what a stream starts from.
        deviation: likewise.
        state: ``normalise_start(batch, mels)``, or what the chunk before returned.

    Returns:
        The normalised frames, padding being 0, and the state after the real ones.
    """
    inside = mask(lengths, log_mel)
    centred = log_mel - mean  # smaller numbers, smaller rounding
    weight = inside * tf.exp(tf.reduce_logsumexp(log_mel, 2, keepdims=True) / 2)
    frames, weights, values, squares = (
        part[:, tf.newaxis] + tf.cumsum(step, 1)
        for part, step in zip(
            state, (inside, weight, weight * centred, weight * tf.square(centred)), strict=True
        )
    )
    share = frames / (PRIOR + frames)
    total = tf.maximum(weights, 1e-9)
    shift = share * values / total
    square = (1 - share) * tf.square(deviation) + share * squares / total
    normal = (centred - shift) * tf.math.rsqrt(tf.maximum(square - tf.square(shift), 0.0) + 1e-2)
    after = tuple(part[:, -1] for part in (frames, weights, values, squares))
    return tf.clip_by_value(normal, -LIMIT, LIMIT) * inside, after


def statistics(utterances: Iterable[Utterance], layer: LogMel) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of log-mel channels over the active frames of training recordings, each
    ``[mels]`` float32: for ``normalise_causal``."""
    count, total, squares = 0, np.zeros(layer.mels), np.zeros(layer.mels)
    for utterance in utterances:
        waveform = tf.constant(utterance.waveform)[tf.newaxis]
        log_mel, lengths = layer(waveform, tf.constant([len(utterance.samples)]))
        active = _active(log_mel, mask(lengths, log_mel))[0, :, 0].numpy() > 0
        frames = log_mel[0].numpy()[active & (np.arange(len(active)) < lengths[0])]
        frames = frames.astype(np.float64)
        count, total = count + len(frames), total + frames.sum(0)
        squares += np.square(frames).sum(0)
    mean = total / max(count, 1)
    deviation = np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 1e-4))
    return mean.astype(np.float32), deviation.astype(np.float32)


class SpecAugment(keras.layers.Layer):
    """Masks bands of channels and stretches of frames by 0, the mean of normalised features,
    while training (Park et al. 2019, arXiv:1904.08779).

    Args:
        mel_masks: bands.
        mel_width: channels of a band, at most.
        time_masks: stretches.
        time_width: frames of a stretch, at most; and a tenth of the utterance.
    """

    def __init__(
        self, mel_masks: int, mel_width: int, time_masks: int, time_width: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.mel_masks, self.mel_width = mel_masks, mel_width
        self.time_masks, self.time_width = time_masks, time_width
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, features: tf.Tensor, lengths: tf.Tensor, training: bool = False) -> tf.Tensor:
        """``[batch, frames, mels]`` of normalised features -> the same shape."""
        if not training:
            return features
        batch, frames, mels = tf.unstack(tf.shape(features))
        widest = tf.minimum(lengths // 10, self.time_width)
        channels = tf.fill([batch], mels)
        bands = tf.fill([batch], tf.minimum(self.mel_width, mels))
        keep = self._kept(frames, lengths, widest, self.time_masks)[:, :, tf.newaxis]
        keep *= self._kept(mels, channels, bands, self.mel_masks)[:, tf.newaxis]
        return features * tf.cast(keep, features.dtype)

    def _kept(self, size: Any, lengths: tf.Tensor, widest: tf.Tensor, count: int) -> tf.Tensor:
        """``[batch, size]``: 0 inside one of `count` stretches of the first `lengths` places."""
        shape = [tf.shape(lengths)[0], count]
        draw, place = (
            keras.random.uniform(shape, seed=self.seed_generator, dtype="float32") for _ in range(2)
        )
        width = tf.floor(draw * tf.cast(widest + 1, tf.float32)[:, tf.newaxis])
        begin = tf.floor(place * (tf.cast(lengths, tf.float32)[:, tf.newaxis] - width + 1))
        at = tf.cast(tf.range(size), tf.float32)[tf.newaxis, tf.newaxis]
        begin, end = begin[:, :, tf.newaxis], (begin + width)[:, :, tf.newaxis]
        inside = tf.logical_and(at >= begin, at < end)
        return 1.0 - tf.cast(tf.reduce_any(inside, 1), tf.float32)

    def get_config(self) -> dict[str, Any]:
        names = ("mel_masks", "mel_width", "time_masks", "time_width")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
