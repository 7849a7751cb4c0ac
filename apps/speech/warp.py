r"""Other speakers than those that were recorded: spectra stretched along their frequencies.

A shorter vocal tract has all its resonances higher by one factor (Jaitly & Hinton 2013, "Vocal
tract length perturbation improves speech recognition"); people's tracts differ in shape as well, so
that each formant moves a little on its own. A training utterance gets

.. math::
    x'(f) = x(f / g(f)), \qquad
    \log g(f) = a + \sum_k b_k \phi_k(\log f), \qquad
    a \sim U(-\log(1 + w), \log(1 + w)), \quad b_k \sim N(0, \sigma^2)

with w the largest change of length, and :math:`\phi_k` the hat functions that interpolate between
``FORMANTS``. Spectra are interpolated between mel channels; beyond the ends the outermost channel
stands in.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

FORMANTS = (400.0, 1100.0, 2100.0, 3300.0)
"""Hz: about where the first four move."""


class Warp(keras.layers.Layer):
    """Log-mel frames as another vocal tract would have made them, anew for each utterance, while
    training.

    Args:
        mels: channels.
        low: where the first filter begins, Hz.
        high: where the last one ends, Hz.
        width: largest change of the tract's length, as a share; 0: none.
        shape: deviation of each formant's own change, of the logarithm; 0: none.
    """

    def __init__(
        self, mels: int, low: float, high: float, width: float, shape: float, **kwargs: Any
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.mels, self.low, self.high, self.width, self.shape = mels, low, high, width, shape
        self.seed_generator = keras.random.SeedGenerator()
        from librosa import hz_to_mel, mel_frequencies  # slow to import

        edges = mel_frequencies(mels + 2, fmin=low, fmax=high)
        self.centres = edges[1:-1].astype(np.float32)
        self.hats = np.stack(
            [np.interp(np.log(self.centres), np.log(FORMANTS), hat) for hat in np.eye(4)], axis=1
        ).astype(np.float32)
        self.first, self.spacing = (float(m) for m in _line(hz_to_mel(edges)))

    def call(self, log_mel: Any, training: bool = False) -> Any:
        """``[batch, frames, mels]`` -> the same shape."""
        if not training or not (self.width or self.shape):
            return log_mel
        batch = tf.shape(log_mel)[0]
        most = float(np.log1p(self.width))
        a = keras.random.uniform([batch, 1], -most, most, seed=self.seed_generator)
        b = self.shape * keras.random.normal([batch, len(FORMANTS)], seed=self.seed_generator)
        return self.stretched(log_mel, a + tf.matmul(b, self.hats, transpose_b=True))

    def stretched(self, log_mel: Any, log_g: Any) -> Any:
        """The frames, each utterance by its own log g ``[batch, mels]``, or ``[batch, 1]``."""
        place = (_mel(self.centres * tf.exp(-log_g)) - self.first) / self.spacing
        place = tf.clip_by_value(place, 0.0, self.mels - 1.0)
        distance = tf.abs(place[..., tf.newaxis] - tf.range(self.mels, dtype=tf.float32))
        return tf.matmul(log_mel, tf.nn.relu(1.0 - distance), transpose_b=True)

    def get_config(self) -> dict[str, Any]:
        names = ("mels", "low", "high", "width", "shape")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _line(mel: np.ndarray) -> tuple[float, float]:
    """The first channel's centre and the distance to the next, mel."""
    return mel[1], mel[2] - mel[1]


def _mel(hz: Any) -> Any:
    """Slaney's scale, as librosa has it: linear up to 1 kHz, logarithmic above."""
    above = tf.maximum(hz, 1000.0) / 1000.0
    return tf.minimum(hz, 1000.0) * 3 / 200 + tf.math.log(above) * float(27 / np.log(6.4))
