"""What training makes small: the cross entropy of each frame's label."""

from typing import Any

import keras
import tensorflow as tf

from common.losses import over_time
from common.trainer import Objective


def labelling(network: keras.Model) -> Objective:
    """Mean over a piece's labelled frames of -log p(label), nats; labels of -1 don't count."""

    def objective(frames: Any, labels: Any) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        known = labels >= 0
        logits = tf.cast(network(frames, training=True), tf.float32)
        given = tf.where(known, labels, 0)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(given, logits)
        right = tf.cast(tf.argmax(logits, axis=-1, output_type=labels.dtype) == labels, tf.float32)
        return over_time(losses, known), {"frame_accuracy": over_time(right, known)}

    return objective
