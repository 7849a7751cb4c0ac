r"""A melody as events: each a pitch, or a rest, and how long it lasts.

With :math:`e_i = (k_i, d_i)` the i-th event, :math:`u_i` what is told where it begins (its place
in the bar and, if told, the key of the piece and the frames left) and E tables,

.. math::
    h_i = \mathrm{cell}([E e_{i-1}, E u_i], h_{i-1}), \qquad
    p(e_i \mid e_{<i}) = p(k_i \mid c_i) \, p(d_i \mid k_i, c_i), \qquad c_i = [h_i, E u_i] \\
    a = \mathrm{relu}(U c + b), \qquad
    \ell^k = V a + \sum_{v=1}^{2} R_v(a)_{k - m_v} + D(a)_{k - \tau}, \qquad
    \ell^d = V' \,\mathrm{relu}(a + N_k + M_{k - m_1})

where :math:`m_1, m_2` are the last two pitches and :math:`\tau` is the tonic. Both are categorical.
The recurrence takes a step a note, not a frame. A rest of more than ``LONGEST`` frames is several;
a note can't be so long.
"""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from apps.music import keys
from apps.music.config import MusicConfig
from apps.music.density import INTERVAL, at_intervals, on_degrees
from apps.music.model import CLOCK, recurrences
from apps.music.pieces import HELD, KEYS, LONGEST_BAR, STRUCK
from apps.music.shape import Shape

LONGEST = 64
"""Frames of an event."""
REST = KEYS
"""The class after the pitches'."""
EARLIER = 2
"""Pitches that intervals are measured from."""
BEGIN = KEYS + 1
"""The event before the first."""


class Events(NamedTuple):
    """Melodies side by side, ``[batch, events]``."""

    places: tf.Tensor
    """The frame in which each begins; -1 where there are fewer."""
    pitches: tf.Tensor
    """0 ... 87, or REST."""
    lengths: tf.Tensor
    """Frames; 0 where there are fewer."""
    begins: tf.Tensor
    """``[batch, time]`` bool: in which frames an event begins."""

    @property
    def there(self) -> tf.Tensor:
        """Where there is an event, ``[batch, events]`` bool."""
        return self.places >= 0


def events_of(frames: tf.Tensor, mask: tf.Tensor) -> Events:
    """Takes melodies apart.

    Args:
        frames: ``[batch, time, 88]``, one key at once; of several the highest is read.
        mask: ``[batch, time]``, true as long as each piece is.
    """
    heights = tf.cast(frames > 0, tf.int32) * tf.range(1, KEYS + 1)
    pitch = tf.reduce_max(heights, axis=2) - 1  # -1: silence
    struck = tf.reduce_any(frames == STRUCK, axis=2)
    before = tf.pad(pitch[:, :-1], [[0, 0], [1, 0]], constant_values=-2)
    begins = (struck | (pitch != before)) & mask
    time = tf.range(tf.shape(frames)[1])
    since = time - _running_max(tf.where(begins, time, 0))
    begins |= (pitch < 0) & (since % LONGEST == 0) & mask
    every = tf.broadcast_to(time, tf.shape(begins))
    places = tf.ragged.boolean_mask(every, begins).to_tensor(default_value=-1)
    ends = tf.pad(places[:, 1:], [[0, 0], [0, 1]], constant_values=-1)
    whole = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1, keepdims=True)
    ends = tf.where(ends >= 0, ends, whole)
    there = places >= 0
    found = tf.gather(pitch, tf.maximum(places, 0), batch_dims=1)
    pitches = tf.where(there & (found >= 0), found, REST)
    return Events(places, pitches, tf.where(there, ends - places, 0), begins)


def _running_max(values: tf.Tensor) -> tf.Tensor:
    """The largest so far, along the last axis, ``[batch, time]``."""
    turned = tf.scan(tf.maximum, tf.transpose(values))
    return tf.transpose(turned)


def roll_of(pitches: tf.Tensor, lengths: tf.Tensor, time: tf.Tensor) -> tf.Tensor:
    """Events as frames, ``[batch, time, 88]`` int32; what goes beyond `time` is cut off.

    Args:
        pitches: ``[batch, events]``, REST among them.
        lengths: ``[batch, events]``; 0 for none.
    """
    ends = tf.cumsum(lengths, axis=1)
    every = tf.tile(tf.range(time)[tf.newaxis], [tf.shape(ends)[0], 1])
    here = tf.searchsorted(ends, every, side="right")
    padded = tf.pad(pitches, [[0, 0], [0, 1]], constant_values=REST)
    begins = tf.gather(tf.pad(ends, [[0, 0], [1, 0]]), here, batch_dims=1) == every
    does = tf.where(begins, STRUCK, HELD)
    sounds = tf.one_hot(tf.gather(padded, here, batch_dims=1), KEYS, dtype=tf.int32)
    return sounds * does[..., tf.newaxis]


class Before(NamedTuple):
    """What an event is decided upon beside the state, ``[rows]`` each."""

    pitch: tf.Tensor
    """Of the event before; BEGIN of the first."""
    length: tf.Tensor
    lines: tf.Tensor
    """The last pitches, the latest first, ``[rows, EARLIER]``; -1 where there were fewer."""
    clock: tf.Tensor
    """``[rows, 3]``, of ``pieces.clock``."""
    key: tf.Tensor
    """Of ``apps.music.keys``."""


def after(lines: tf.Tensor, pitch: tf.Tensor) -> tf.Tensor:
    """``Before.lines`` ``[rows, EARLIER]`` once a pitch, or a rest, ``[rows]``, has followed."""
    sung = (pitch < KEYS)[..., tf.newaxis]
    return tf.where(sung, tf.concat([pitch[..., tf.newaxis], lines[..., :-1]], -1), lines)


class Melodist(keras.Model):
    """One network.

    Args:
        config: the run's.
        shape: of the corpus.
    """

    def __init__(self, config: MusicConfig, shape: Shape, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.settings, self.shape = config, shape
        width, wide = config.density_units, {"dtype": "float32"}
        sizes = {"places": LONGEST_BAR, "bars": LONGEST_BAR, "left": LONGEST_BAR}
        tables = {**sizes, "keys": keys.COUNT - 1, "lengths": LONGEST}
        self.tables = {
            name: keras.layers.Embedding(count + 1, CLOCK, name=name)
            for name, count in tables.items()
        }
        self.pitches = keras.layers.Embedding(KEYS + 2, 4 * CLOCK, name="pitches")
        self.recurrences = recurrences(config)
        self.context = keras.layers.Dense(width, name="context")
        self.sounds = keras.layers.Dense(KEYS + 1, name="sounds", **wide)
        self.interval = keras.layers.Dense(EARLIER * (2 * INTERVAL + 1), name="interval", **wide)
        self.degree = keras.layers.Dense(24, name="degree", **wide)
        self.notes = keras.layers.Embedding(KEYS + 1, width, name="notes")
        self.moves = keras.layers.Embedding(2 * INTERVAL + 3, width, name="moves")
        self.lasts = keras.layers.Dense(LONGEST, name="lasts", **wide)
        self.drop_input = keras.layers.Dropout(config.input_dropout)
        self.drop = keras.layers.Dropout(config.dropout)
        self.drop_density = keras.layers.Dropout(config.density_dropout)

    def call(
        self,
        frames: tf.Tensor,
        clock: tf.Tensor,
        key: tf.Tensor,
        mask: tf.Tensor,
        training: Any = False,
    ) -> tf.Tensor:
        """As ``model.Composer``: nats of each frame, ``[batch, time]``. Those of an event stand at
        the frame in which it begins, and all others have none."""
        events = events_of(frames, mask)
        context, before = self.known(events, clock, key, training)
        pitches = tf.reshape(events.pitches, [-1])
        lengths = tf.clip_by_value(tf.reshape(events.lengths, [-1]), 1, LONGEST)
        logs = (
            self.pitch(context, before, training),
            self.length(context, before, pitches, training),
        )
        each = -tf.gather(logs[0], pitches, batch_dims=1)
        each -= tf.gather(logs[1], lengths - 1, batch_dims=1)
        return on_frames(each, events, strict=not training)

    def known(
        self, events: Events, clock: tf.Tensor, key: tf.Tensor, training: Any = False
    ) -> tuple[tf.Tensor, Before]:
        """Of each event ``[batch * events, ...]``: its context, and what was before it."""
        count = tf.shape(events.pitches)[1]
        first = [[0, 0], [1, 0]]
        pitches = tf.pad(events.pitches, first, constant_values=BEGIN)[:, :-1]
        lengths = tf.minimum(tf.pad(events.lengths, first)[:, :-1], LONGEST)
        told = tf.gather(clock, tf.maximum(events.places, 0), batch_dims=1)
        keys_ = tf.tile(key[:, tf.newaxis], [1, count])
        before = Before(pitches, lengths, self._lines(events), told, keys_)
        seen, told_ = self._seen(before)
        h = tf.concat([self.drop_input(seen, training=training), told_], -1)
        for number, recurrence in enumerate(self.recurrences):
            output = recurrence(h, mask=events.there, training=training)
            output = self.drop(output, training=training)
            h = h + output if number else output
        context = tf.concat([h, told_], -1)
        flat = [tf.reshape(part, tf.concat([[-1], tf.shape(part)[2:]], 0)) for part in before]
        return tf.reshape(context, [-1, context.shape[-1]]), Before(*flat)

    def _lines(self, events: Events) -> tf.Tensor:
        """The last pitches before each event, ``[batch, events, EARLIER]``."""
        nothing = tf.fill([tf.shape(events.pitches)[0], EARLIER], -1)
        found = tf.scan(after, tf.transpose(events.pitches), nothing)
        found = tf.concat([nothing[tf.newaxis], found[:-1]], axis=0)
        return tf.ensure_shape(tf.transpose(found, [1, 0, 2]), [None, None, EARLIER])

    def _seen(self, before: Before) -> tuple[tf.Tensor, tf.Tensor]:
        """The event before, and what is told."""
        seen = tf.concat([self.pitches(before.pitch), self.tables["lengths"](before.length)], -1)
        told = [
            self.tables[n](before.clock[..., i]) for i, n in enumerate(("places", "bars", "left"))
        ]
        return seen, tf.concat([*told, self.tables["keys"](before.key)], -1)

    def advance(
        self, before: Before, states: list[list[tf.Tensor]]
    ) -> tuple[tf.Tensor, list[list[tf.Tensor]]]:
        """The context, one event at a time: ``[rows, width]``, and the states after it."""
        seen, told = self._seen(before)
        h = tf.concat([seen, told], -1)
        new = []
        for number, (recurrence, held) in enumerate(zip(self.recurrences, states, strict=True)):
            output, each = recurrence.cell(h, held)
            h = h + output if number else output
            new.append(list(each))
        return tf.concat([h, told], -1), new

    def first_states(self, batch: Any) -> list[list[tf.Tensor]]:
        """The states before the first event, ``[batch, units]`` for each of each layer."""
        return [list(r.cell.get_initial_state(batch)) for r in self.recurrences]

    def pitch(self, context: tf.Tensor, before: Before, training: Any = False) -> tf.Tensor:
        """Log-probabilities of pitches and rest, ``[rows, 89]``."""
        a = self.drop_density(tf.nn.relu(self.context(context)), training=training)[:, tf.newaxis]
        logits = at_intervals(self.interval(a), before.lines)
        logits += on_degrees(self.degree(a), before.key)
        return tf.nn.log_softmax((tf.pad(logits, [[0, 0], [0, 0], [0, 1]]) + self.sounds(a))[:, 0])

    def length(
        self, context: tf.Tensor, before: Before, pitch: tf.Tensor, training: Any = False
    ) -> tf.Tensor:
        """Log-probabilities of 1 ... LONGEST frames, given the pitch, ``[rows, LONGEST]``."""
        latest = before.lines[:, 0]
        moves = tf.clip_by_value(pitch - latest, -INTERVAL, INTERVAL) + INTERVAL
        moves = tf.where(latest < 0, 2 * INTERVAL + 1, moves)
        moves = tf.where(pitch == REST, 2 * INTERVAL + 2, moves)
        a = tf.nn.relu(self.context(context))
        a = tf.nn.relu(a + self.notes(pitch) + self.moves(moves))
        return tf.nn.log_softmax(self.lasts(self.drop_density(a, training=training)))


def on_frames(each: tf.Tensor, events: Events, *, strict: bool) -> tf.Tensor:
    """Nats of events, ``[batch * events]``, at the frames in which these begin, ``[batch, time]``;
    if `strict`, infinite for a note that is too long."""
    each = tf.reshape(each, tf.shape(events.pitches))
    if strict:
        each = tf.where(events.lengths > LONGEST, float("inf"), each)
    number = tf.maximum(tf.cumsum(tf.cast(events.begins, tf.int32), axis=1) - 1, 0)
    return tf.where(events.begins, tf.gather(each, number, batch_dims=1), 0.0)


def build(config: MusicConfig, shape: Shape, member: int = 0) -> Melodist:
    """A network with its weights made."""
    network = Melodist(config, shape, name=f"melodist_{member}")
    frames = tf.zeros([1, 2, KEYS], tf.int32)
    clock = tf.zeros([1, 2, 3], tf.int32)
    network(frames, clock, tf.zeros([1], tf.int32), tf.ones([1, 2], tf.bool))
    return network
