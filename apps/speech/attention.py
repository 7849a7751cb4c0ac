r"""The attention decoder: text symbol by symbol, each from what it looks at.

With :math:`h_1 \ldots h_T` the encoder's states, :math:`y_u` the u-th symbol (:math:`y_0` the
start), :math:`s_u` the decoder's state and :math:`*` a convolution over time (Bahdanau et al.
2015; the term of :math:`f`, which tells where the decoder looked before, is that of Chorowski et
al. 2015):

.. math::
    f_u &= F * \alpha_{u-1} \\
    e_{u,t} &= v^\top \tanh(W s_{u-1} + V h_t + U f_{u,t} + b) \\
    \alpha_u &= \mathrm{softmax}_t(e_u) \qquad c_u = \sum_t \alpha_{u,t} h_t \\
    s_u &= \mathrm{cell}([E y_{u-1}; c_u], s_{u-1}) \\
    p(y_u \mid y_{<u}, h) &= \mathrm{softmax}(W_o [s_u; c_u] + b_o) .

Symbols have ids 1 to K. Id 0, which is the blank of CTC, is the start here and never comes out;
K + 1 is the end.
"""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from common.cells import make_cell
from common.loops import by_time, history, loop

START = 0
NEVER = -1e9  # the logit of what can't be


class Memory(NamedTuple):
    """What the decoder looks at, the same at each symbol."""

    states: Any
    """Of the encoder, ``[batch, time, width]``."""
    keys: Any
    """:math:`V h_t`, ``[batch, time, attention]``."""
    mask: Any
    """``[batch, time]``, true where there is a state; at least once in each row."""


class Heard(NamedTuple):
    """The decoder between two symbols."""

    states: list[Any]
    """Of its cell, ``[batch, units]`` each."""
    alignment: Any
    r""":math:`\alpha`, where it looked last, ``[batch, time]``."""


@keras.saving.register_keras_serializable(package="apps.speech")
class AttentionDecoder(keras.layers.Layer):
    """One recurrent layer that looks at the encoder's states.

    Args:
        symbols: K, how many there are, start and end not counted.
        cell: a name in ``CELLS``.
        units: width of the decoder's state.
        attention: width of the space in which states are compared.
        filters: channels of F.
        reach: encoder states to either side that F sees.
        dropout: rate before the readout.
    """

    def __init__(
        self,
        symbols: int,
        *,
        cell: str = "gru",
        units: int = 128,
        attention: int = 128,
        filters: int = 8,
        reach: int = 7,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.symbols, self.cell_name, self.units = symbols, cell, units
        self.attention, self.filters, self.reach, self.dropout = attention, filters, reach, dropout
        self.seeds = keras.random.SeedGenerator()
        self.embed = keras.layers.Embedding(symbols + 2, units, name="embedding")
        self.cell = make_cell(cell, units, name="cell")
        self.query = keras.layers.Dense(attention, name="query")
        self.key = keras.layers.Dense(attention, use_bias=False, name="key")
        width = 2 * reach + 1
        self.location = keras.layers.Conv1D(filters, width, padding="same", name="location")
        self.place = keras.layers.Dense(attention, use_bias=False, name="place")
        self.score = keras.layers.Dense(1, use_bias=False, name="score")
        self.drop = keras.layers.Dropout(dropout)
        self.readout = keras.layers.Dense(symbols + 2, dtype="float32", name="readout")

    @property
    def end(self) -> int:
        """The id that ends a text."""
        return self.symbols + 1

    def build(self, input_shape: Any) -> None:
        """From the shape of the encoder's states, or of a ``Memory`` that has them first."""
        width = input_shape[0][-1] if isinstance(input_shape[0], tuple) else input_shape[-1]
        self.embed.build(None)
        self.cell.build((None, self.units + width))
        self.query.build((None, self.units))
        self.key.build((None, None, width))
        self.location.build((None, None, 1))
        self.place.build((None, None, self.filters))
        self.score.build((None, None, self.attention))
        self.readout.build((None, self.units + width))

    def look_at(self, states: Any, mask: Any) -> Memory:
        """Encoder states ``[batch, time, width]`` and where there are any, ``[batch, time]``. A
        row without one is given its first place, where the states are zero."""
        first = tf.range(tf.shape(mask)[1]) == 0
        mask = mask | (first & ~tf.reduce_any(mask, axis=1, keepdims=True))
        return Memory(states, self.key(states), mask)

    def start(self, memory: Memory) -> Heard:
        """Before the first symbol."""
        batch = tf.shape(memory.states)[0]
        states = [tf.cast(s, tf.float32) for s in self.cell.get_initial_state(batch)]
        return Heard(states, tf.zeros_like(memory.mask, tf.float32))

    def step(
        self, ids: Any, before: Heard, memory: Memory, training: bool = False
    ) -> tuple[Any, Heard]:
        """The next symbol's logits ``[batch, symbols + 2]``, float32, from the symbols before it
        ``[batch]`` and the decoder after these."""
        alignment = self.look(before, memory)
        read = tf.matmul(tf.cast(alignment, self.compute_dtype)[:, tf.newaxis], memory.states)
        context = tf.squeeze(read, 1)
        inputs = tf.concat([tf.cast(self.embed(ids), self.compute_dtype), context], axis=-1)
        output, states = self.cell(inputs, list(before.states))
        seen = tf.concat([tf.cast(output, self.compute_dtype), context], axis=-1)
        logits = self.readout(self.drop(seen, training=training))
        blank = tf.one_hot(START, self.symbols + 2, on_value=NEVER)
        after = Heard([tf.cast(s, tf.float32) for s in states], alignment)
        return tf.cast(logits, tf.float32) + blank, after

    def look(self, before: Heard, memory: Memory) -> Any:
        r""":math:`\alpha_u`, ``[batch, time]``, float32."""
        where = self.location(tf.cast(before.alignment, self.compute_dtype)[..., tf.newaxis])
        asked = self.query(tf.cast(before.states[0], self.compute_dtype))[:, tf.newaxis]
        scores = self.score(tf.tanh(asked + memory.keys + self.place(where)))[..., 0]
        return tf.nn.softmax(tf.where(memory.mask, tf.cast(scores, tf.float32), NEVER))

    def call(
        self,
        memory: Memory,
        given: Any,
        own: Any = None,
        training: bool = False,
    ) -> tuple[Any, Any]:
        """The logits of every symbol of texts that are known.

        Args:
            memory: of ``look_at``.
            given: the symbols before each, ``[batch, length]``: the start, then the text.
            own: scheduled sampling (Bengio et al. 2015): where true, ``[batch, length]``, the
                decoder is not given that symbol but what it thought likeliest itself.
            training: whether dropout is on.

        Returns:
            Logits ``[batch, length, symbols + 2]`` and alignments ``[batch, length, time]``.
        """
        length = tf.shape(given)[1]
        own = tf.zeros_like(given, tf.bool) if own is None else own
        read_given = by_time(tf.transpose(given))
        read_own = by_time(tf.transpose(own))
        logits = history(tf.float32, length, [None, self.symbols + 2])
        looks = history(tf.float32, length, [None, None])

        def body(u: Any, heard: Heard, said: Any, logits: Any, looks: Any) -> Any:
            ids = tf.where(read_own.read(u), said, read_given.read(u))
            found, after = self.step(ids, heard, memory, training)
            said = tf.argmax(found, axis=-1, output_type=tf.int32)
            return u + 1, after, said, logits.write(u, found), looks.write(u, after.alignment)

        carried = (self.start(memory), tf.zeros_like(given[:, 0]), logits, looks)
        _, _, _, logits, looks = loop(body, length, carried)
        return tf.transpose(logits.stack(), [1, 0, 2]), tf.transpose(looks.stack(), [1, 0, 2])

    def own_turns(self, shape: Any, share: Any) -> Any:
        """Which symbols of texts of that shape are the decoder's own: a `share` of them, at random,
        but never the first."""
        drawn = keras.random.uniform(shape, seed=self.seeds)
        return (drawn < share) & (tf.range(shape[1]) > 0)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "symbols": self.symbols,
            "cell": self.cell_name,
            "units": self.units,
            "attention": self.attention,
            "filters": self.filters,
            "reach": self.reach,
            "dropout": self.dropout,
        }
