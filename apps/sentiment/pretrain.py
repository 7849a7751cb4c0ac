r"""The recurrence learns to read before it learns to judge (Dai & Le 2015, arXiv:1511.01432).

The forward layer says from its state the next word, the backward layer the one before:

.. math::
    \ell = -\frac{1}{n} \sum_t \bigl[ \log p(w_{t+1} \mid \overrightarrow{h}_t)
           + \log p(w_{t-1} \mid \overleftarrow{h}_t) \bigr], \qquad
    p(w \mid h) = \mathrm{softmax}_w(E_w \cdot h P + b_w)

with the output vectors tied to the word vectors E (Press & Wolf 2017). The softmax over the
vocabulary is estimated from sampled words (Jean et al. 2015; ``tf.nn.sampled_softmax_loss``).
Only the training split's texts are read; what validates is the loss on the validation split's.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from apps.sentiment.config import SentimentConfig
from apps.sentiment.model import PADDING, UNKNOWN
from common import runs, training
from common.data import SequenceBatches
from common.monitoring import Monitor, recurrent_layers
from common.trainer import Objective, Trainer

WINDOW = 64  # words read at a time
SAMPLED = 512  # words drawn to estimate a softmax; half of a smaller vocabulary
VALIDATED = 256  # texts of the validation split
LEARNING_RATE = 3e-3
DROPOUT = 0.1
BATCH = 128

Start = dict[str, list[np.ndarray]]
"""Layer -> weights to begin with."""


class LanguageModel(keras.Model):
    """The embedding and the first recurrent layers of a sentiment network, and what they need
    to say words: word numbers ``[batch, time]`` to word vectors ``[n, embedding]``, one for
    each word that has a neighbour to say, and the numbers of those neighbours ``[n]``.

    Args:
        network: of ``model.build``.
    """

    def __init__(self, network: keras.Model) -> None:
        super().__init__(name="language_model")
        self.embedding = network.get_layer("embedding")
        self.readers = [r for r in recurrent_layers(network) if r.name.endswith("_0")]
        width = self.embedding.output_dim
        self.said = [keras.layers.Dense(width, use_bias=False) for _ in self.readers]
        self.input_dropout = keras.layers.SpatialDropout1D(DROPOUT)
        self.dropout = keras.layers.Dropout(DROPOUT)
        self.seeds = keras.random.SeedGenerator()
        self.word_bias = self.add_weight(shape=(self.embedding.input_dim,), name="bias")

    def call(self, numbers: Any, training: bool = False) -> tuple[Any, Any, Any]:
        mask = tf.not_equal(numbers, PADDING)
        vectors = self.input_dropout(self.embedding(numbers), training=training)
        said, neighbours, rows = [], [], []
        for reader, dense in zip(self.readers, self.said, strict=True):
            states = self.dropout(reader(vectors, mask=mask), training=training)
            if reader.reverse:
                states, words = states[:, 1:], numbers[:, :-1]
            else:
                states, words = states[:, :-1], numbers[:, 1:]
            known = tf.where((words > UNKNOWN) & mask[:, 1:])  # whole texts fill their row's left
            said.append(dense(tf.gather_nd(states, known)))
            neighbours.append(tf.gather_nd(words, known))
            rows.append(known[:, 0])
        return tf.concat(said, 0), tf.concat(neighbours, 0), tf.concat(rows, 0)


def sampled_objective(language: LanguageModel, frequency: np.ndarray) -> Objective:
    """Loss of each window, in nats a word, by sampled softmax.

    Args:
        frequency: ``[words]``, how often each word stands in the training texts; words are
            drawn by its power 3/4.
    """
    words = len(frequency)
    log_share = 0.75 * np.log(frequency)
    log_share = (log_share - np.logaddexp.reduce(log_share)).astype(np.float32)
    sampled = min(SAMPLED, -(-words // 2))

    def objective(numbers: Any, _: Any) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        said, neighbours, rows = language(numbers, training=True)
        labels = tf.cast(neighbours, tf.int64)[:, tf.newaxis]
        drawn = draw(labels, sampled, log_share, language.seeds)
        losses = tf.nn.sampled_softmax_loss(
            language.embedding.embeddings.value,
            language.word_bias.value,
            labels,
            tf.cast(said, tf.float32),
            sampled,
            words,
            sampled_values=drawn,
        )
        windows = tf.shape(numbers)[0]
        total = tf.math.unsorted_segment_sum(losses, rows, windows)
        count = tf.math.unsorted_segment_sum(tf.ones_like(losses), rows, windows)
        return total / tf.maximum(count, 1.0), {}

    return objective


def draw(
    labels: tf.Tensor, count: int, log_share: np.ndarray, seeds: keras.random.SeedGenerator
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    r"""Words drawn one after the other, none twice, as ``tf.nn.sampled_softmax_loss`` takes them.

    The `count` largest of :math:`\log p_w + g_w`, with g from the Gumbel distribution, are such a
    sample; with :math:`\kappa` the next largest, w is among them with probability
    :math:`1 - \exp(-\exp(\log p_w - \kappa))` (Kool et al. 2019, arXiv:1903.06059). TensorFlow's
    own sampler keeps its place in the random numbers where no checkpoint can reach it.

    Args:
        labels: ``[n, 1]`` int64.
        log_share: :math:`\log p`, ``[words]``.

    Returns:
        The words ``[count]``, and how often to expect each label ``[n, 1]`` and each word among
        them ``[count]``.
    """
    gumbel = -tf.math.log(-tf.math.log(keras.random.uniform(log_share.shape, seed=seeds)))
    largest = tf.math.top_k(log_share + gumbel, count + 1)
    expected = -tf.math.expm1(-tf.exp(log_share - largest.values[-1]))
    words = tf.cast(largest.indices[:count], tf.int64)
    return words, tf.gather(expected, labels), tf.gather(expected, words)


def nats_a_word(language: LanguageModel) -> Any:
    """A traced function from word numbers to the sum of -log p of all neighbours, over the
    whole vocabulary, and their count."""

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)])
    def sums(numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        said, neighbours, _ = language(numbers, training=False)
        table = tf.convert_to_tensor(language.embedding.embeddings.value)
        logits = tf.matmul(tf.cast(said, tf.float32), table, transpose_b=True)
        logits += language.word_bias.value
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(neighbours, logits)
        return tf.reduce_sum(losses), tf.cast(tf.size(losses), tf.float32)

    return sums


def windows_of(texts: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Texts, ``[words]`` each, in pieces of at most WINDOW words; a piece of one word says
    nothing."""
    for text in texts:
        for begin in range(0, len(text), WINDOW):
            piece = text[begin : begin + WINDOW]
            if len(piece) > 1:
                yield piece


def pretrain(
    network: keras.Model,
    train: SequenceBatches,
    validation: SequenceBatches,
    config: SentimentConfig,
    strategy: tf.distribute.Strategy,
    run: runs.Run,
) -> tuple[Start, float]:
    """Trains `network`'s embedding and first recurrent layers as a language model.

    Returns:
        The weights to start networks of the same shapes from, and the seconds it took.
    """
    config = dataclasses.replace(
        config, learning_rate=LEARNING_RATE, batch_size=BATCH, average=0.0, warmup=0.03
    )

    def batches(texts: Sequence[np.ndarray]) -> SequenceBatches:
        pieces = list(windows_of(texts))
        nothing = np.zeros(len(pieces), np.int32)
        return SequenceBatches(pieces, nothing, BATCH, config.seed, multiple=train.multiple)

    pieces = batches(train.sequences)
    random = np.random.default_rng(config.seed)
    some = random.permutation(len(validation.sequences))[:VALIDATED]
    checked = batches([validation.sequences[i] for i in some])
    with strategy.scope():
        language = LanguageModel(network)
        language(pieces.pad_batch(np.arange(2)))
    words = language.embedding.input_dim
    frequency = np.bincount(np.concatenate(list(pieces.sequences)), minlength=words)
    frequency[: UNKNOWN + 1] = 0
    sums = nats_a_word(language)

    def validate(step: int) -> dict[str, float]:
        parts = [[float(part) for part in sums(numbers)] for numbers, _ in checked.in_order()]
        total, count = np.sum(parts, axis=0)
        return {"loss": float(total / max(count, 1.0))}

    fitted = training.fit(
        Trainer(
            language,
            sampled_objective(language, np.maximum(frequency, 1e-3)),
            config,
            steps=config.pretrain_epochs * pieces.steps,
            strategy=strategy,
        ),
        pieces,
        epochs=config.pretrain_epochs,
        validate=validate,
        monitor="loss",
        lower_is_better=True,
        weights=run.path / "checkpoints" / "language_model.weights.h5",
        history=run.path / "history_language_model.csv",
        board=Monitor(run.tensorboard / "language_model"),
        label="language model",
    )
    if fitted.interrupted:  # there is no classifier yet that could be kept
        raise KeyboardInterrupt
    layers = (language.embedding, *language.readers)
    return {layer.name: layer.get_weights() for layer in layers}, fitted.seconds


def apply(start: Start, network: keras.Model) -> None:
    """Gives layers of `network` the weights to begin with."""
    layers = [network.get_layer("embedding"), *recurrent_layers(network)]
    for layer in layers:
        if layer.name in start:
            layer.set_weights(start[layer.name])
