"""What training makes small: the cross entropy of the labels, if asked for adversarially, and
that of the next word."""

from typing import Any

import keras
import tensorflow as tf

from apps.sentiment.config import SentimentConfig
from apps.sentiment.model import PADDING
from common.trainer import Objective


def classification(network: keras.Model, config: SentimentConfig) -> Objective:
    r"""Cross entropy of the labels, in nats; of hidden words as ``word_dropout`` says.

    With ``adversarial`` :math:`= \epsilon > 0` the mean of it and of the cross entropy under
    the perturbation of the word vectors that hurts most, to first order (Miyato, Dai &
    Goodfellow 2017, arXiv:1605.07725):

    .. math:: r = \epsilon\, g / \lVert g \rVert_2, \qquad
              g = \nabla_{e} \ell(y \mid e)

    with :math:`e` all word vectors of one text together; :math:`\epsilon` is measured in
    their unit, and g counts as a constant.
    """
    hidden, embedding, reader = map(network.get_layer, ("hidden", "embedding", "reader"))

    def objective(numbers: Any, labels: Any) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        mask = tf.not_equal(numbers, PADDING)
        vectors = embedding(hidden(numbers, training=True))

        def losses_at(vectors: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            logits = reader([vectors, mask], training=True)
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits), logits

        if config.adversarial:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(vectors)
                losses, logits = losses_at(vectors)
                total = tf.reduce_sum(losses)
            slope = tf.stop_gradient(tape.gradient(total, vectors))
            size = tf.sqrt(tf.reduce_sum(tf.square(slope), axis=[1, 2], keepdims=True))
            worst, _ = losses_at(vectors + config.adversarial * slope / (size + 1e-12))
            losses = (losses + worst) / 2
        else:
            losses, logits = losses_at(vectors)
        right = tf.equal(tf.argmax(logits, axis=-1, output_type=labels.dtype), labels)
        return losses, {"accuracy": right}

    return objective
