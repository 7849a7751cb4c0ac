r"""The density of a frame voice by voice, for music in so many parts (chorales: four).

A frame is read as the key of each voice, the highest first. With :math:`k_v` the key of voice v,
:math:`m_v` its key in the frame before, c the context and :math:`\tau` the tonic,

.. math::
    p(x \mid c) &= \prod_{v=1}^{V} p(k_v \mid k_{<v}, c), \qquad
    p(k_v = k \mid k_{<v}, c) \propto e^{\ell_{v,k}} \quad\text{for } k \le k_{v-1} \\
    a_v &= \mathrm{relu}\Big(U c + \sum_{j < v} (N_{j, k_j} + M_{j, k_j - m_j}
        + P_{(m_j - m_v) \bmod 12,\, k_j - m_j}) + e_v\Big), \qquad
    a'_v = a_v + \mathrm{relu}(A a_v) \\
    \ell_{v,k} &= V_k a'_v + V'_{v,k} c + \sum_u R_u(a'_v)_{k - m_u}
        + \sum_{j<v} H_j(a'_v)_{k_j - k} + D(a'_v)_{k - \tau} .

P sees how a voice above has moved from which interval: what parallel fifths are told by.
Two voices may be on one key, and the first may choose silence for all of them; no voice can fall
out alone. Where held keys are told from struck ones, the first voice on a key that sounded
before strikes it with :math:`\sigma(Q(a'_v))`, of its own row where the key is its own
(:math:`k = m_v`).

Frames say keys, not voices. They are read by one rule (``assign``): voices do not cross, and where
fewer keys sound than there are voices, those share that have moved least. So that each frame has
one reading, and its likelihood is that of its reading: exact, and at most that of the frame.
"""

from itertools import combinations
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from apps.music.density import Asked, Past, at_intervals, mean_logit, on_degrees, ranks_of
from apps.music.pieces import HELD, KEYS, STRUCK
from apps.music.sampling import COLD, Choice, narrowed

SILENCE = KEYS
"""The class after the keys'."""
LEAP = 13
"""Semitones; moves of more are told as of so many."""
BELOW = 24
"""Semitones below another voice that are told apart."""
NEVER = -1e9


class Logits(NamedTuple):
    """Of each voice."""

    keys: tf.Tensor
    """Log-probabilities ``[rows, voices, 89]``."""
    struck: tf.Tensor | None
    """``[rows, voices, 89]``, given its key; the last, given that it is its own of before."""


def readings(voices: int) -> np.ndarray:
    """How so many voices may share 0 ... `voices` keys, the highest first, without crossing:
    ``[voices + 1, ways, voices]``, the number of a key for each voice."""
    ways = []
    for keys in range(voices + 1):
        cuts = combinations(range(1, voices), max(keys - 1, 0))
        ways.append([[sum(v >= cut for cut in each) for v in range(voices)] for each in cuts])
    most = max(map(len, ways))
    return np.array([way + way[:1] * (most - len(way)) for way in ways], np.int32)


def assign(frames: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
    """The key of each voice, ``[rows, voices]``; -1 in silence. Of more keys than voices, the
    lowest and the highest others are read.

    Args:
        frames: ``[rows, 88]``.
        before: the same of the frame before.
    """
    return _assign(*_sorted(frames, before.shape[1]), before)


def _sorted(frames: tf.Tensor, voices: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The keys that sound, from the highest, and how many they are."""
    keys = KEYS - ranks_of(frames, voices)
    count = tf.reduce_sum(tf.cast(frames > 0, tf.int32), axis=1)
    lowest = tf.argmax(frames > 0, axis=1, output_type=tf.int32)
    last = tf.where(count > voices, lowest, keys[:, -1])
    keys = tf.concat([keys[:, :-1], last[:, tf.newaxis]], axis=1)
    return keys, tf.minimum(count, voices)


def _assign(keys: tf.Tensor, count: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
    ways = tf.gather(tf.constant(readings(before.shape[1])), count)  # [rows, ways, voices]
    options = tf.gather(keys, ways, batch_dims=1)
    moves = tf.abs(options - before[:, tf.newaxis])
    moves = tf.where(before[:, tf.newaxis] >= 0, moves, 0)
    best = tf.argmin(tf.reduce_sum(moves, axis=2), axis=1, output_type=tf.int32)
    return tf.gather(options, best, batch_dims=1)  # in silence all keys are -1


@keras.saving.register_keras_serializable(package="apps.music")
class VoiceDensity(keras.layers.Layer):
    """The distribution of each voice; see the module's docstring.

    Args:
        width: of the hidden vectors a.
        voices: how many.
        articulated: whether held keys are told from struck ones.
        dropout: rate of dropout on a.
    """

    def __init__(
        self, width: int, voices: int, articulated: bool, dropout: float, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.voices, self.articulated = voices, articulated
        wide = {"dtype": "float32"}
        self.context = keras.layers.Dense(width, name="context")
        self.notes = keras.layers.Embedding(voices * (KEYS + 1), width, name="notes")
        self.moves = keras.layers.Embedding(voices * (2 * LEAP + 2), width, name="moves")
        self.pairs = keras.layers.Embedding(12 * (2 * LEAP + 2) + 1, width, name="pairs")
        self.voice = keras.layers.Embedding(voices, width, name="voice")
        self.deeper = keras.layers.Dense(width, "relu", name="deeper")
        self.sounds = keras.layers.Dense(KEYS + 1, name="sounds", **wide)
        self.direct = keras.layers.Dense(voices * (KEYS + 1), name="direct", **wide)
        self.interval = keras.layers.Dense(voices * 25, name="interval", **wide)
        self.harmony = keras.layers.Dense(voices * (2 * BELOW + 1), name="harmony", **wide)
        self.degree = keras.layers.Dense(24, name="degree", **wide)
        self.drop = keras.layers.Dropout(dropout)
        if articulated:
            self.struck = keras.layers.Dense(KEYS + 1, name="struck", **wide)

    def call(
        self,
        context: tf.Tensor,
        past: Past,
        lines: tf.Tensor,
        held: tf.Tensor,
        training: Any = False,
    ) -> Logits:
        """What each voice may do, given those above it.

        Args:
            context: ``[rows, width]``.
            lines: the key of each voice, ``[rows, voices]``; what a voice and those below it have
                here does not matter to it.
            held: whether it holds that key, ``[rows, voices]`` bool.
        """
        numbers = tf.range(self.voices)
        moves = tf.clip_by_value(lines - past.lines, -LEAP, LEAP) + LEAP
        moves = tf.where(held, 2 * LEAP + 1, tf.where(past.lines >= 0, moves, LEAP))
        above = self.notes(numbers * (KEYS + 1) + lines + 1)
        above += self.moves(numbers * (2 * LEAP + 2) + moves)
        above = tf.cumsum(above, axis=1, exclusive=True) + self._counterpoint(past.lines, moves)
        hidden = self.context(context)[:, tf.newaxis] + above + self.voice(numbers)
        hidden = self.drop(tf.nn.relu(hidden), training=training)
        hidden += self.drop(self.deeper(hidden), training=training)
        logits = at_intervals(self.interval(hidden), past.lines)
        logits += at_intervals(self._harmony(hidden), lines)
        logits += on_degrees(self.degree(hidden), past.key)
        logits = tf.pad(logits, [[0, 0], [0, 0], [0, 1]]) + self.sounds(hidden)
        logits += tf.reshape(self.direct(context), [-1, self.voices, KEYS + 1])
        logits = tf.where(self._open(lines), logits, NEVER)
        struck = self.struck(hidden) if self.articulated else None
        return Logits(tf.nn.log_softmax(logits), struck)

    def _counterpoint(self, before: tf.Tensor, moves: tf.Tensor) -> tf.Tensor:
        """P, summed over the voices above each, ``[rows, voices, width]``."""
        found = [tf.zeros_like(self.pairs(moves[:, 0]))]
        for voice in range(1, self.voices):
            upper, own = before[:, :voice], before[:, voice : voice + 1]
            pairs = (upper - own) % 12 * (2 * LEAP + 2) + moves[:, :voice]
            pairs = tf.where((upper >= 0) & (own >= 0), pairs, 12 * (2 * LEAP + 2))
            found.append(tf.reduce_sum(self.pairs(pairs), axis=1))
        return tf.stack(found, axis=1)

    def _harmony(self, hidden: tf.Tensor) -> tf.Tensor:
        """Of each voice, at the intervals from those above it alone."""
        span = 2 * BELOW + 1
        known = np.tril(np.ones((self.voices, self.voices), np.float32), -1)
        return self.harmony(hidden) * np.repeat(known, span, axis=1)

    def _open(self, lines: tf.Tensor) -> tf.Tensor:
        """What each voice may choose, ``[rows, voices, 89]``: no key above the next voice's, and
        silence only the first."""
        highest = tf.pad(lines[:, :-1], [[0, 0], [1, 0]], constant_values=SILENCE)
        return tf.range(KEYS + 1) <= highest[..., tf.newaxis]

    def lines(self, frames: tf.Tensor) -> tf.Tensor:
        """The key of each voice in each frame, ``[batch, time, voices]``."""
        batch, time = tf.unstack(tf.shape(frames)[:2])
        turned = tf.reshape(tf.transpose(frames, [1, 0, 2]), [-1, KEYS])
        keys, count = _sorted(turned, self.voices)
        keys, count = tf.reshape(keys, [time, batch, self.voices]), tf.reshape(count, [time, batch])
        nothing = tf.fill([batch, self.voices], -1)
        found = tf.scan(lambda before, now: _assign(now[0], now[1], before), (keys, count), nothing)
        return tf.ensure_shape(tf.transpose(found, [1, 0, 2]), [None, None, self.voices])

    def follow(self, frames: tf.Tensor, lines: tf.Tensor) -> tf.Tensor:
        """The same of one frame ``[rows, 88]``, after the `lines` before it."""
        return assign(frames, lines)


def nll(asked: Asked, past: Past, frames: tf.Tensor, training: Any = False) -> tf.Tensor:
    """Negative log-likelihood of each frame in nats, ``[rows]``, summed over the voices; infinite
    where more keys sound than there are voices (while training, of what is read of it)."""
    lines = assign(frames, past.lines)
    here = tf.gather(frames, tf.maximum(lines, 0), batch_dims=1)
    held = (here == HELD) & (lines >= 0)
    logits = _mean([density(c, past, lines, held, training=training) for density, c in asked])
    chosen = tf.where(lines >= 0, lines, SILENCE)
    each = -tf.gather(logits.keys, chosen, batch_dims=2)
    sung = tf.pad(lines[:, 1:] >= 0, [[0, 0], [1, 0]], constant_values=True)
    each = tf.where(sung, each, 0.0)  # in silence only the first has chosen
    if logits.struck is not None:
        each += tf.where(
            _undecided(lines, past.frames),
            tf.nn.softplus(tf.where(here == STRUCK, -1.0, 1.0) * _own(logits.struck, lines, past)),
            0.0,
        )
    total = tf.reduce_sum(each, axis=1)
    if training:
        return total
    count = tf.reduce_sum(tf.cast(frames > 0, tf.int32), axis=1)
    return tf.where(count > lines.shape[1], float("inf"), total)


def _undecided(lines: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
    """Which voice decides whether its key is struck again: the first on one that sounded."""
    sounded = tf.gather(before, tf.maximum(lines, 0), batch_dims=1) > 0
    first = tf.pad(lines[:, 1:] != lines[:, :-1], [[0, 0], [1, 0]], constant_values=True)
    return sounded & first & (lines >= 0)


def _own(struck: tf.Tensor, lines: tf.Tensor, past: Past) -> tf.Tensor:
    """The logit of striking, for the key that each voice has."""
    place = tf.where(lines == past.lines, KEYS, tf.maximum(lines, 0))
    return tf.gather(struck, place, batch_dims=2)


def _mean(members: list[Logits]) -> Logits:
    """Networks as one: the mean of their probabilities at every decision."""
    if len(members) == 1:
        return members[0]
    keys = tf.reduce_logsumexp(tf.stack([each.keys for each in members]), axis=0)
    struck = [each.struck for each in members if each.struck is not None]
    return Logits(keys - np.log(len(members)), mean_logit(struck) if struck else None)


def frame(asked: Asked, past: Past, choice: Choice, given: tf.Tensor | None = None) -> tf.Tensor:
    """One frame for each row, ``[rows, 88]``, drawn voice by voice; as ``sampling.frame``."""
    voices, rows = asked[0][0].voices, tf.shape(past.frames)[0]
    lines, held = tf.fill([rows, voices], -1), tf.zeros([rows, voices], tf.bool)
    drawn = tf.zeros([rows, KEYS], tf.int32)
    top = tf.fill([rows], -1) if given is None else KEYS - ranks_of(given, 1)[:, 0]
    for voice in range(voices):
        logits = _mean([density(c, past, lines, held) for density, c in asked])
        how = choice._replace(seed=choice.seed + tf.constant([0, 2 * voice]))
        options = narrowed(logits.keys[:, voice], how)
        key = tf.random.stateless_categorical(options, 1, how.seed, tf.int32)[:, 0]
        key = tf.where(key == SILENCE, -1, key)
        led = top >= 0 if not voice else tf.zeros([rows], tf.bool)
        silent = lines[:, 0] < 0 if voice else tf.zeros([rows], tf.bool)  # then all are
        key = tf.where(led, top, tf.where(silent, -1, key))
        here = tf.range(voices) == voice
        lines = tf.where(here, key[:, tf.newaxis], lines)
        does = _does(logits, lines, past, how)[:, voice]
        does = tf.where(led, _at(given, key), does) if given is not None else does
        taken = _at(drawn, key)
        does = tf.where(taken > 0, taken, does)  # two voices on a key do the same
        held |= here & (does == HELD)[:, tf.newaxis]
        drawn = tf.where(tf.range(KEYS) == key[:, tf.newaxis], does[:, tf.newaxis], drawn)
    return tf.ensure_shape(drawn, [None, KEYS])


def _does(logits: Logits, lines: tf.Tensor, past: Past, choice: Choice) -> tf.Tensor:
    """STRUCK or HELD, for the key of each voice, ``[rows, voices]``."""
    if logits.struck is None:
        return tf.fill(tf.shape(lines), STRUCK)
    chance = tf.sigmoid(_own(logits.struck, lines, past) / tf.maximum(choice.temperature, COLD))
    luck = tf.random.stateless_uniform([tf.shape(lines)[0], 1], choice.seed + tf.constant([0, 1]))
    return tf.where(_undecided(lines, past.frames) & (luck >= chance), HELD, STRUCK)


def _at(frames: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """What one key of each frame does, ``[rows]``; nothing, of -1."""
    return tf.where(keys >= 0, tf.gather(frames, tf.maximum(keys, 0), batch_dims=1), 0)
