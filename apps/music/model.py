r"""From the frames so far to the density of the next one.

With :math:`x_t` the frame of 88 keys, :math:`k_t` where it stands in its bar and E a table,

.. math::
    h_t = \mathrm{cell}([x_{t-1}, E k_t], h_{t-1}), \qquad x_0 = 0, \; h_0 = 0, \qquad
    p(x_t \mid x_{<t}) = p(x_t \mid [h_t, x_{t-1}])

with the density of ``apps.music.density``. Nothing but the past is read, so that a piece can be
drawn from the model frame by frame.
"""

from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from apps.music.config import MusicConfig
from apps.music.density import FrameDensity, features
from apps.music.pieces import KEYS, LONGEST_BAR, Corpus
from common.cells import make_cell
from common.layers import Recurrent

CLOCK = 16
"""Width of the vectors that say where a frame stands in its bar."""
MOST_VOICES = 8


@dataclass(frozen=True)
class Shape:
    """What a network must know of its corpus."""

    articulated: bool
    most: int
    """Keys that sound together, at most, in the corpus."""

    @property
    def voices(self) -> int:
        """Keys of the frame before that intervals are measured from."""
        return min(self.most, MOST_VOICES)


def shape_of(corpus: Corpus) -> Shape:
    """The shape that holds all pieces of the corpus."""
    pieces = (*corpus.train, *corpus.validation, *corpus.test)
    most = max(int(piece.sounding.sum(axis=1).max()) for piece in pieces)
    return Shape(corpus.articulated, max(most, 1))


class Composer(keras.Model):
    """One network.

    Args:
        config: the run's.
        shape: of the corpus.
    """

    def __init__(self, config: MusicConfig, shape: Shape, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.settings, self.shape = config, shape
        self.places = keras.layers.Embedding(LONGEST_BAR + 1, CLOCK, name="places")
        self.bars = keras.layers.Embedding(LONGEST_BAR + 1, CLOCK, name="bars")
        self.recurrences = [
            Recurrent(
                make_cell(config.cell, config.units),
                truncate=config.truncate,
                name=f"recurrence_{number}",
            )
            for number in range(config.layers)
        ]
        self.density = FrameDensity(
            config.density_units,
            shape.voices,
            config.head == "joint",
            shape.articulated,
            config.density_dropout,
            name="density",
        )
        self.drop_input = keras.layers.SpatialDropout1D(config.input_dropout)
        self.drop = keras.layers.Dropout(config.dropout)

    def call(
        self, frames: tf.Tensor, clock: tf.Tensor, mask: tf.Tensor, training: Any = False
    ) -> tf.Tensor:
        """Negative log-likelihood of each frame given those before it, ``[batch, time]`` nats;
        zero where masked.

        Args:
            frames: ``[batch, time, 88]`` int32.
            clock: ``[batch, time, 2]`` int32, of ``pieces.clock``.
            mask: ``[batch, time]`` bool.
        """
        before = tf.pad(frames, [[0, 0], [1, 0], [0, 0]])[:, :-1]
        context = self.contexts(before, clock, mask, training)
        rows = [tf.reshape(part, [-1, part.shape[-1]]) for part in (context, before, frames)]
        each = self.density.nll(rows[0], rows[1], rows[2], self.shape.most, training)
        losses = tf.reshape(each, tf.shape(mask))
        return tf.where(mask, losses, tf.zeros([], losses.dtype))

    def contexts(
        self, before: tf.Tensor, clock: tf.Tensor, mask: tf.Tensor | None, training: Any = False
    ) -> tf.Tensor:
        """What is known ahead of each frame, ``[batch, time, width]``."""
        known = features(before, self.shape.articulated, self.compute_dtype)
        h = tf.concat([self.drop_input(known, training=training), self._told(clock)], -1)
        for number, recurrence in enumerate(self.recurrences):
            after = self.drop(recurrence(h, mask=mask, training=training), training=training)
            h = h + after if number else after
        return tf.concat([h, known], -1)

    def advance(
        self, before: tf.Tensor, clock: tf.Tensor, states: list[list[tf.Tensor]]
    ) -> tuple[tf.Tensor, list[list[tf.Tensor]]]:
        """``contexts``, one frame at a time: the context ``[batch, width]``, and the states of
        each layer after it.

        Args:
            before: ``[batch, 88]``.
            clock: ``[batch, 2]``, of the frame to come.
        """
        known = features(before, self.shape.articulated, self.compute_dtype)
        h = tf.concat([known, self._told(clock)], -1)
        after = []
        for number, (recurrence, held) in enumerate(zip(self.recurrences, states, strict=True)):
            output, new = recurrence.cell(h, held)
            h = h + output if number else output
            after.append(list(new))
        return tf.concat([h, known], -1), after

    def first_states(self, batch: Any) -> list[list[tf.Tensor]]:
        """The states before the first frame."""
        return [list(r.cell.get_initial_state(batch)) for r in self.recurrences]

    def _told(self, clock: tf.Tensor) -> tf.Tensor:
        return tf.concat([self.places(clock[..., 0]), self.bars(clock[..., 1])], -1)


def build(config: MusicConfig, shape: Shape, member: int = 0) -> Composer:
    """A network with its weights made.

    Args:
        member: its number in an ensemble, for its name.
    """
    network = Composer(config, shape, name=f"composer_{member}")
    frames = tf.zeros([1, 2, KEYS], tf.int32)
    network(frames, tf.zeros([1, 2, 2], tf.int32), tf.ones([1, 2], tf.bool))
    return network
