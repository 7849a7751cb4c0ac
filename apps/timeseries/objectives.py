r"""What a forecaster learns from: the error of each row of the horizon, over the rows whose
truth is known.

.. math::
    \ell_\tau(y, q) &= \max(\tau (y - q), (\tau - 1)(y - q)) && \text{pinball, Koenker 1978} \\
    L &= \frac{1}{\sum_h m_h} \sum_h m_h \, \frac{2}{|T|} \sum_{\tau \in T} \ell_\tau(y_h, q_h^\tau)

The pinball loss of a level is least at that quantile; twice its mean over levels nears the CRPS.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from apps.timeseries.config import LEVELS, Loss
from common.losses import over_time
from common.trainer import Objective


def errors(kind: Loss, answers: tf.Tensor, truth: tf.Tensor) -> tf.Tensor:
    """Of each row, ``[..., horizon, targets]``.

    Args:
        answers: ``[..., horizon, targets, levels]``, of 1 level for "mae" and "mse".
        truth: ``[..., horizon, targets]``.
    """
    difference = truth[..., tf.newaxis] - answers
    if kind == "mse":
        return tf.square(difference)[..., 0]
    if kind == "mae":
        return tf.abs(difference)[..., 0]
    levels = tf.constant(LEVELS)
    return 2 * tf.reduce_mean(tf.maximum(levels * difference, (levels - 1) * difference), axis=-1)


def forecasting(network: Any, kind: Loss) -> Objective:
    """The objective of training, in the network's unit; ``loss`` is its only metric.

    Truth that is NaN has no part in it.
    """

    def objective(inputs: Any, truth: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        said = network(inputs, training=True)
        z = (truth - said["centre"]) / said["scale"]
        known = tf.math.is_finite(z)
        each = errors(kind, said["answers"], tf.where(known, z, 0.0))
        flat = [tf.reshape(part, [tf.shape(z)[0], -1]) for part in (each, known)]
        return over_time(*flat), {}

    return objective


def scores(
    kind: Loss, answers: np.ndarray, truth: np.ndarray, unit: np.ndarray
) -> dict[str, float]:
    """Of answers in the targets' unit, over all that is known of the truth.

    Args:
        answers: ``[windows, horizon, targets, levels or 1]``.
        truth: ``[windows, horizon, targets]``.
        unit: the training part's deviation of each target, ``[targets]``.

    Returns:
        ``loss``, the training's own but with errors in that unit, and ``mae`` in the target's.
    """
    known = np.isfinite(truth)
    each = errors(kind, answers / unit[:, np.newaxis], np.where(known, truth, 0) / unit).numpy()
    point = answers[..., answers.shape[-1] // 2]
    return {
        "loss": float(each[known].mean()),
        "mae": float(np.abs(truth - point)[known].mean()),
    }
