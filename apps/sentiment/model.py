"""From a string to class probabilities: words, vectors, recurrence, pooling, readout."""

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from apps.sentiment.config import SentimentConfig
from common import plain
from common.export import Signature
from common.layers import MaskedPooling, recurrent_stack

PADDING, UNKNOWN = 0, 1  # as keras.layers.TextVectorization numbers them


@keras.saving.register_keras_serializable(package="apps.sentiment")
def normalise(text: Any) -> Any:
    """Lower case; line breaks of HTML out; every sign that is not part of a word on its own.

    Apostrophes inside a word stay ("don't"). Bytes that are not UTF-8 become U+FFFD.
    """
    text = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")
    text = tf.strings.lower(text, encoding="utf-8")
    text = tf.strings.regex_replace(text, r"<br\s*/?>", " ")
    text = tf.strings.regex_replace(text, "’", "'")
    for _ in range(2):  # the letter between two apostrophes belongs to both
        text = tf.strings.regex_replace(text, r"(\pL)'(\pL)", r"\1’\2")
    text = tf.strings.regex_replace(text, r"([^\pL\pN\pM\s’])", r" \1 ")
    return tf.strings.regex_replace(text, "’", "'")


def make_vectorizer(size: int, texts: Sequence[str]) -> keras.layers.TextVectorization:
    """Words to numbers: the `size` most frequent words of `texts`, the training split's."""
    vectorizer = _vectorizer(max_tokens=size)
    batches = tf.data.Dataset.from_generator(  # from a tensor, all texts would be copied
        lambda: (list(texts[i : i + 256]) for i in range(0, len(texts), 256)),
        output_signature=tf.TensorSpec([None], tf.string),
    )
    vectorizer.adapt(batches)
    return vectorizer


def vectorizer_of(vocabulary: Sequence[str]) -> keras.layers.TextVectorization:
    """The vectoriser of another run: its vocabulary, padding and unknown word included."""
    return _vectorizer(vocabulary=list(vocabulary[2:]))


def _vectorizer(**kwargs: Any) -> keras.layers.TextVectorization:
    return keras.layers.TextVectorization(
        standardize=normalise, split="whitespace", ragged=True, name="words", **kwargs
    )


def cut(words: tf.RaggedTensor, longest: int) -> tf.RaggedTensor:
    """Rows of more than `longest` words keep their first and last halves: verdicts stand at
    the beginning and at the end."""
    first = longest // 2
    rest = words[:, first:]
    return tf.concat([words[:, :first], rest[:, first - longest :]], axis=1)


def encode(
    vectorizer: keras.layers.TextVectorization, texts: Sequence[str], longest: int
) -> list[np.ndarray]:
    """Texts as arrays of word numbers, ``[words]`` int32, each cut to `longest`."""
    batches = [texts[i : i + 512] for i in range(0, len(texts), 512)]
    rows: list[np.ndarray] = []
    for batch in batches:
        words = cut(vectorizer(tf.constant(list(batch))), longest)
        numbers = words.values.numpy().astype(np.int32)
        rows += np.split(numbers, words.row_splits.numpy()[1:-1])
    return rows


@keras.saving.register_keras_serializable(package="apps.sentiment")
class HiddenWords(keras.layers.Layer):
    """Makes a share `rate` of the words ``[batch, time]`` unknown ones, in training."""

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.seeds = keras.random.SeedGenerator()

    def call(self, numbers: Any, training: bool = False) -> Any:
        if not training or not self.rate:
            return numbers
        drawn = keras.random.uniform(tf.shape(numbers), dtype="float32", seed=self.seeds)
        return tf.where((drawn < self.rate) & tf.not_equal(numbers, PADDING), UNKNOWN, numbers)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate}


def build(config: SentimentConfig, words: int, classes: int, member: int = 0) -> keras.Model:
    """The network over word numbers.

    .. math::
        e_t = E_{w_t}, \\qquad h_t = \\mathrm{cell}(e_t, h_{t-1}), \\qquad
        y = \\mathrm{softmax}([\\max_t h_t, \\mathrm{mean}_t h_t] W_{hy} + b_y)

    Args:
        words: rows of the embedding, padding and unknown word included.
        classes: width of the answer.
        member: its number in an ensemble, for its name.

    Returns:
        A model from word numbers ``[batch, time]``, 0 where there is no word, to logits
        ``[batch, classes]``. Its layers ``hidden``, ``embedding`` and ``reader`` (word vectors
        ``[batch, time, embedding]`` and mask ``[batch, time]`` to logits) can be called apart.
    """
    numbers = keras.Input((None,), dtype="int32", name="words")
    embedding = keras.layers.Embedding(words, config.embedding, name="embedding")
    mask = keras.ops.not_equal(numbers, PADDING)
    seen = HiddenWords(config.word_dropout, name="hidden")(numbers)
    logits = _reader(config, classes)([embedding(seen), mask])
    return keras.Model(numbers, logits, name=f"sentiment_{member}")


def together(networks: Sequence[keras.Model]) -> keras.Model:
    r"""Networks as one, :math:`p = \frac{1}{K} \sum_k \mathrm{softmax}(y_k)`, its logits being
    :math:`\log p`. One network is itself."""
    if len(networks) == 1:
        return networks[0]
    numbers = keras.Input((None,), dtype="int32", name="words")
    answers = [keras.ops.softmax(network(numbers)) for network in networks]
    mean = keras.layers.Average(dtype="float32", name="mean")(answers)
    logits = keras.ops.log(keras.ops.maximum(mean, 1e-30))
    return keras.Model(numbers, logits, name="ensemble")


def _reader(config: SentimentConfig, classes: int) -> keras.Model:
    vectors = keras.Input((None, config.embedding), name="vectors")
    mask = keras.Input((None,), dtype="bool", name="mask")
    states = recurrent_stack(
        vectors,
        mask,
        cell=config.cell,
        units=config.units,
        layers=config.layers,
        direction=config.direction,
        input_dropout=config.input_dropout,
        dropout=config.dropout,
        residual=config.residual,
        segment=config.segment,
        truncate=config.truncate,
    )
    pooled = MaskedPooling(("max", "mean"), name="pooling")(states, mask=mask)
    pooled = keras.layers.Dropout(config.readout_dropout, name="dropout")(pooled)
    logits = keras.layers.Dense(classes, dtype="float32", name="readout")(pooled)
    return keras.Model([vectors, mask], logits, name="reader")


def compiled(network: keras.Model) -> Any:
    """`network` as a traced function from word numbers ``[batch, time]`` to class
    probabilities ``[batch, classes]``, for batches of any size and length."""

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)])
    def probabilities(numbers: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(tf.cast(network(numbers, training=False), tf.float32))

    return probabilities


class Answers:
    """What the exported model does, from strings; every function can be traced by itself.

    Args:
        model: of ``build``.
        vectorizer: words to numbers.
        classes: names, in the order of the logits.
        longest: words read of a text.
    """

    PREFIXES = 64  # read at a time by `trajectory`
    PORTABLE: ClassVar = {"read": ("onnx",)}

    def __init__(
        self,
        model: keras.Model,
        vectorizer: keras.layers.TextVectorization,
        classes: Sequence[str],
        longest: int,
    ) -> None:
        self.model, self.answer = model, compiled(model)
        self.vectorizer = vectorizer
        self.classes = tf.constant(list(classes))
        self.longest = longest

    def label(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Strings ``[batch]`` to ``probabilities`` ``[batch, classes]``, ``label`` ``[batch]``
        and, the same for every batch, ``classes`` ``[classes]``."""
        numbers = cut(self.vectorizer(text), self.longest).to_tensor()
        probabilities = self._probabilities(numbers)
        best = tf.argmax(probabilities, axis=-1)
        label = tf.gather(self.classes, best)
        return {"probabilities": probabilities, "label": label, "classes": self.classes}

    def trajectory(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """How the answer comes about: the model's answer to each prefix of each text.

        Strings ``[batch]`` to ``tokens`` ``[batch, time]`` (empty where a text has ended) and
        ``probabilities`` ``[batch, time, classes]`` (zero there): after the first word, after
        the first two, and so on. The last is the answer to the whole text.
        """
        split = cut(tf.strings.split(normalise(text)), self.longest)
        numbers = tf.cast(cut(self.vectorizer(text), self.longest), tf.int32)
        rows = numbers.value_rowids()  # a prefix for each word, in the order of the words
        lengths = tf.ragged.range(1, numbers.row_lengths() + 1).values
        padded = _at_least_one_step(numbers.to_tensor())
        total = tf.shape(rows)[0]
        width = len(self.classes)

        def read(begin: Any, answers: Any) -> Any:
            chunk = slice(begin, begin + self.PREFIXES)
            prefixes = tf.gather(padded, rows[chunk])[:, : tf.reduce_max(lengths[chunk])]
            inside = tf.sequence_mask(lengths[chunk], tf.shape(prefixes)[1])
            some = self._probabilities(tf.where(inside, prefixes, PADDING))
            return begin + self.PREFIXES, tf.concat([answers, some], axis=0)

        _, answers = tf.while_loop(
            lambda begin, _: begin < total,
            read,
            (tf.constant(0), tf.zeros([0, width])),
            shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, width])),
            parallel_iterations=1,
        )
        probabilities = tf.RaggedTensor.from_row_splits(answers, numbers.row_splits)
        return {"tokens": split.to_tensor(), "probabilities": probabilities.to_tensor()}

    def read(self, words: tf.Tensor) -> dict[str, tf.Tensor]:
        """For runtimes without strings: word numbers ``[batch, time]``, padded by 0, to
        ``probabilities`` ``[batch, classes]``."""
        with plain.recurrences():
            logits = self.model(_at_least_one_step(words), training=False)
        return {"probabilities": tf.nn.softmax(tf.cast(logits, tf.float32))}

    def signatures(self) -> dict[str, Signature]:
        """What ``common.export.write`` writes."""
        strings = tf.TensorSpec([None], tf.string, "text")
        words = tf.TensorSpec([None, None], tf.int32, "words")
        return {
            "serving_default": (self.label, [strings]),
            "trajectory": (self.trajectory, [strings]),
            "read": (self.read, [words]),
        }

    def examples(self, texts: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
        """A request to each of them: ``text`` ``[1]``, the first, and of all ``words`` ``[texts,
        longest]``, by their numbers."""
        numbers = encode(self.vectorizer, texts, self.longest)
        words = np.zeros([len(texts), max(map(len, numbers))], np.int32)
        for row, found in zip(words, numbers, strict=True):
            row[: len(found)] = found
        strings = {"text": np.array(texts[:1])}
        return {"serving_default": strings, "trajectory": strings, "read": {"words": words}}

    def _probabilities(self, numbers: tf.Tensor) -> tf.Tensor:
        return self.answer(tf.cast(_at_least_one_step(numbers), tf.int32))


def _at_least_one_step(numbers: tf.Tensor) -> tf.Tensor:
    """Texts without words get one masked step: a recurrence needs something to run over."""
    missing = tf.maximum(1 - tf.shape(numbers)[1], 0)
    return tf.pad(numbers, [[0, 0], [0, missing]], constant_values=PADDING)
