r"""From what the decoder says of each patch to the quantiles of its rows, which can't cross.

A small network sees r, of the patch, beside :math:`d_t`, what is known of row t itself. The
middle one of its answers a, added to what a linear forecast f says, is the median; the others are
steps away from it, which are positive:

.. math::
    a_t &= A\,\mathrm{relu}(H [\mathrm{relu}(R r), d_t]) \\
    q_t^k &= f_t + a_t^k && \text{k in the middle} \\
    q_t^{k \pm 1} &= q_t^k \pm \mathrm{softplus}(a_t^{k \pm 1} - 2)
"""

from typing import Any

import keras
import tensorflow as tf

from apps.timeseries.config import LEVELS, Loss

ROW = 32  # width of what the decoder says about each row of a patch


class Head(keras.layers.Layer):
    """Answers in the network's unit: quantiles, or a point of a loss that learns one.

    Args:
        loss: that the answers learn from.
        patch: rows of a patch.
    """

    def __init__(self, loss: Loss, patch: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.rows = keras.layers.Dense(patch * ROW, "relu", name="rows")
        self.hidden = keras.layers.Dense(2 * ROW, "relu", name="hidden")
        answers = len(LEVELS) if loss == "pinball" else 1
        self.answer = keras.layers.Dense(
            answers, kernel_initializer="zeros", dtype="float32", name="answer"
        )

    def call(self, said: Any, own: Any, linear: Any) -> Any:
        """``[batch, rows, levels or 1]`` float32.

        Args:
            said: ``[batch, patches, units]``.
            own: ``[batch, rows, features]``, what is known of each row.
            linear: ``[batch, rows, 1]``, a forecast to begin with.
        """
        rows = tf.reshape(self.rows(said), [tf.shape(said)[0], -1, ROW])
        rows = self.hidden(tf.concat([rows, tf.cast(own, rows.dtype)], axis=-1))
        raw = self.answer(rows)
        raw += tf.pad(linear, [[0, 0], [0, 0], [raw.shape[-1] // 2] * 2])
        return rising(raw) if raw.shape[-1] > 1 else raw


def point(answers: Any) -> Any:
    """The middle one of the answers: the median, or the point."""
    return answers[..., answers.shape[-1] // 2]


def rising(raw: tf.Tensor) -> tf.Tensor:
    r"""Numbers to quantiles that can't cross: the middle one stays, and from there
    :math:`q_{k+1} = q_k + \mathrm{softplus}(a_{k+1} - 2)` up, and down likewise.

    Args:
        raw: ``[..., levels]``, an odd number of them.
    """
    middle = raw.shape[-1] // 2
    steps = tf.nn.softplus(raw - 2.0)  # narrow at first
    return outward(raw[..., middle : middle + 1], steps[..., :middle], steps[..., middle + 1 :])


def outward(median: tf.Tensor, below: tf.Tensor, above: tf.Tensor) -> tf.Tensor:
    """Quantiles from the median, ``[..., 1]``, and the steps between neighbours on either side
    of it, in the order of the levels."""
    up = median + tf.cumsum(above, axis=-1)
    down = median - tf.cumsum(below, axis=-1, reverse=True)
    return tf.concat([down, median, up], axis=-1)
