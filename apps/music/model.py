r"""From the frames so far to the density of the next one.

With :math:`x_t` the frame of 88 keys, :math:`k_t` what is told of it (where it stands in its bar
and, if told, the key of the piece and the frames left) and E tables,

.. math::
    h_t = \mathrm{cell}([x_{t-1}, E k_t], h_{t-1}), \qquad x_0 = 0, \; h_0 = 0, \qquad
    p(x_t \mid x_{<t}) = p(x_t \mid [h_t, x_{t-1}, E k_t])

with a density of ``apps.music.density`` (key by key) or ``apps.music.voices`` (voice by voice).
Nothing but the past is read, so that a piece can be drawn from the model frame by frame.
"""

from types import ModuleType
from typing import Any

import keras
import tensorflow as tf

from apps.music import density, keys, voices
from apps.music.config import MusicConfig
from apps.music.density import FrameDensity, Past, features
from apps.music.pieces import KEYS, LONGEST_BAR
from apps.music.shape import Shape
from apps.music.voices import VoiceDensity
from common.cells import make_cell
from common.layers import Recurrent

CLOCK = 16
"""Width of the vectors that say where a frame stands in its bar, and in which key."""


def recurrences(config: MusicConfig) -> list[Recurrent]:
    """The layers that read the past, from below."""
    return [
        Recurrent(
            make_cell(config.cell, config.units),
            truncate=config.truncate,
            name=f"recurrence_{number}",
        )
        for number in range(config.layers)
    ]


class Composer(keras.Model):
    """One network.

    Args:
        config: the run's.
        shape: of the corpus.
    """

    def __init__(self, config: MusicConfig, shape: Shape, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.settings, self.shape = config, shape
        counts = {"places": LONGEST_BAR, "bars": LONGEST_BAR, "left": LONGEST_BAR}
        self.clocks = [
            keras.layers.Embedding(n + 1, CLOCK, name=name) for name, n in counts.items()
        ]
        self.keys = keras.layers.Embedding(keys.COUNT, CLOCK, name="keys")
        self.recurrences = recurrences(config)
        told, drop = shape.articulated, config.density_dropout
        self.way: ModuleType = voices if shape.head == "voices" else density
        if shape.head == "voices":
            self.density = VoiceDensity(config.density_units, shape.voices, told, drop)
        else:
            joint = shape.head == "joint"
            self.density = FrameDensity(
                config.density_units, shape.voices, shape.most, joint, told, drop
            )
        self.drop_input = keras.layers.SpatialDropout1D(config.input_dropout)
        self.drop = keras.layers.Dropout(config.dropout)

    def call(
        self,
        frames: tf.Tensor,
        clock: tf.Tensor,
        key: tf.Tensor,
        mask: tf.Tensor,
        training: Any = False,
    ) -> tf.Tensor:
        """Negative log-likelihood of each frame given those before it, ``[batch, time]`` nats;
        zero where masked.

        Args:
            frames: ``[batch, time, 88]`` int32.
            clock: ``[batch, time, 3]`` int32, of ``pieces.clock``.
            key: ``[batch]`` int32, of ``apps.music.keys``.
            mask: ``[batch, time]`` bool.
        """
        context, past = self.known(frames, clock, key, mask, training)
        rows = tf.reshape(frames, [-1, KEYS])
        each = self.way.nll([(self.density, context)], past, rows, training)
        losses = tf.reshape(each, tf.shape(mask))
        return tf.where(mask, losses, tf.zeros([], losses.dtype))

    def known(
        self,
        frames: tf.Tensor,
        clock: tf.Tensor,
        key: tf.Tensor,
        mask: tf.Tensor | None,
        training: Any = False,
    ) -> tuple[tf.Tensor, Past]:
        """What is known ahead of each frame, ``[batch * time, ...]``: its context, and what was
        before it."""
        time = tf.shape(frames)[1]
        before = tf.pad(frames, [[0, 0], [1, 0], [0, 0]])[:, :-1]
        lines = tf.pad(self.density.lines(frames), [[0, 0], [1, 0], [0, 0]], constant_values=-1)
        seen = features(before, self.shape.articulated, self.compute_dtype)
        told = self._told(clock, tf.tile(key[:, tf.newaxis], [1, time]))
        h = tf.concat([self.drop_input(seen, training=training), told], -1)
        for number, recurrence in enumerate(self.recurrences):
            after = self.drop(recurrence(h, mask=mask, training=training), training=training)
            h = h + after if number else after
        context, before, lines = (
            tf.reshape(part, [-1, part.shape[-1]])
            for part in (tf.concat([h, seen, told], -1), before, lines[:, :-1])
        )
        return context, Past(before, lines, tf.repeat(key, time))

    def advance(
        self, past: Past, clock: tf.Tensor, states: list[list[tf.Tensor]]
    ) -> tuple[tf.Tensor, list[list[tf.Tensor]]]:
        """The context, one frame at a time: ``[batch, width]``, and the states of each layer after
        it.

        Args:
            clock: ``[batch, 3]``, of the frame to come.
        """
        seen = features(past.frames, self.shape.articulated, self.compute_dtype)
        told = self._told(clock, past.key)
        h = tf.concat([seen, told], -1)
        after = []
        for number, (recurrence, held) in enumerate(zip(self.recurrences, states, strict=True)):
            output, new = recurrence.cell(h, held)
            h = h + output if number else output
            after.append(list(new))
        return tf.concat([h, seen, told], -1), after

    def first_states(self, batch: Any) -> list[list[tf.Tensor]]:
        """The states before the first frame, ``[batch, units]`` for each of each layer."""
        return [list(r.cell.get_initial_state(batch)) for r in self.recurrences]

    def _told(self, clock: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
        parts = [table(clock[..., number]) for number, table in enumerate(self.clocks)]
        return tf.concat([*parts, self.keys(key)], -1)


def build(config: MusicConfig, shape: Shape, member: int = 0) -> Composer:
    """A network with its weights made.

    Args:
        member: its number in an ensemble, for its name.
    """
    network = Composer(config, shape, name=f"composer_{member}")
    frames, clock = tf.zeros([1, 2, KEYS], tf.int32), tf.zeros([1, 2, 3], tf.int32)
    network(frames, clock, tf.zeros([1], tf.int32), tf.ones([1, 2], tf.bool))
    return network
