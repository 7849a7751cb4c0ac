r"""The joint density of a frame: which of 88 keys sound, given the past.

Independent sigmoids can't sing a chord: each key is drawn without knowing of the others. Here
the keys are decided one after the other, the highest first, each knowing those above it, as in
NADE (Larochelle & Murray 2011) and the RNN-NADE (Boulanger-Lewandowski et al. 2012). With
:math:`x_r` key number r from above, c the context (what the recurrence knows) and
:math:`n_1 < n_2 < \ldots < n_K` the ranks of the keys that sound,

.. math::
    p(x \mid c) &= \prod_{r=1}^{88} p(x_r \mid x_{<r}, c), \qquad
    p(x_r = 1 \mid x_{<r}, c) = \sigma(\ell_{i, r})
        \quad\text{with}\quad i = \#\{r' < r : x_{r'} = 1\} \\
    a_i &= \mathrm{relu}\Big(U c + \sum_{j \le i} W_{n_j} + b\Big), \qquad
    a'_i = a_i + \mathrm{relu}(A a_i) \\
    \ell_{i, r} &= V_r a'_i + V'_r c + \sum_v R_v(a'_i)_{r - m_v} + D(a'_i)_{r - \tau} .

A hidden vector changes only where a key sounds, so that a frame of K keys needs K + 1 of them,
not 88: the likelihood is exact, and a matrix product. Two terms look at intervals:
:math:`m_v` is the v-th key, from above, of the frame before, and :math:`R_v` says how likely
the new key lies so many semitones from it; :math:`\tau` is the tonic, and D, of the mode, says how
likely the new key lies on that degree of the scale (nothing, where the key is not told). What was
learnt in one place holds in every key.

Where held keys are told from struck ones, a key that sounds and sounded before is struck with
:math:`\sigma(Q_r a'_i)`. With ``joint=False`` the sum over W is left out: independent keys.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from apps.music import keys
from apps.music.pieces import HELD, KEYS, LOWEST, STRUCK

END = KEYS + 1
"""The rank after the lowest key's; 1 is the highest key's, 0 is before it."""
INTERVAL = 12
"""Semitones, up and down, that the relative term reaches."""


class Past(NamedTuple):
    """What a frame is decided upon beside the context."""

    frames: tf.Tensor
    """The frame before, ``[rows, 88]``."""
    lines: tf.Tensor
    """The key of each voice in it, the highest first, ``[rows, voices]``; -1 for none."""
    key: tf.Tensor
    """``[rows]``, of ``apps.music.keys``."""


class Logits(NamedTuple):
    """Of each key, in the order of ranks, ``[rows, steps, 88]``."""

    sounds: tf.Tensor
    struck: tf.Tensor | None
    """That it is struck, given that it sounds and did before; None where it is not told."""


class Frames(NamedTuple):
    """Frames taken apart, in the order of ranks."""

    ranks: tf.Tensor
    """``[rows, most]`` of the keys that sound, ascending; END where there are fewer."""
    chosen: tf.Tensor
    """``[rows, most + 1, features]``: what is known after so many of them."""


def features(frames: tf.Tensor, articulated: bool, dtype: Any) -> tf.Tensor:
    """Which keys sound and, if told, which are held: ``[..., 88]`` or ``[..., 176]``."""
    sounding = tf.cast(frames > 0, dtype)
    if not articulated:
        return sounding
    return tf.concat([sounding, tf.cast(frames == HELD, dtype)], axis=-1)


def ranks_of(frames: tf.Tensor, most: Any) -> tf.Tensor:
    """Ranks of the keys that sound, ascending, END where there are fewer: ``[rows, most]``.

    Args:
        frames: ``[rows, 88]``, the lowest key first.
    """
    heights = tf.cast(frames > 0, tf.int32) * tf.range(1, KEYS + 1)
    return END - tf.math.top_k(heights, most).values


def take_apart(frames: tf.Tensor, most: Any, articulated: bool, dtype: Any) -> Frames:
    """``[rows, 88]`` frames of at most `most` keys each."""
    ranks = ranks_of(frames, most)
    each = tf.one_hot(KEYS - ranks, KEYS, dtype=dtype)  # [rows, most, 88], the lowest key first
    if articulated:
        held = each * tf.cast(frames == HELD, dtype)[:, tf.newaxis]
        each = tf.concat([each, held], axis=-1)
    before = tf.pad(tf.cumsum(each, axis=1), [[0, 0], [1, 0], [0, 0]])
    return Frames(ranks, before)


def at_intervals(scores: tf.Tensor, lines: tf.Tensor) -> tf.Tensor:
    r"""Scores of intervals as scores of keys, ``[rows, steps, 88]``:
    :math:`\sum_v s_{v, k - m_v + r}`, where :math:`k - m_v` is from -r to r.

    Shifting and its gradient, shifting back, are gathers: nothing is added up at an index.

    Args:
        scores: ``[rows, steps, voices * (2r + 1)]``.
        lines: :math:`m_v`, ``[rows, voices]``; nothing lies at an interval from -1.
    """
    voices = lines.shape[1]
    span = scores.shape[-1] // voices
    lowest = lines[:, :, tf.newaxis] - span // 2
    there = lines[:, :, tf.newaxis] >= 0

    @tf.custom_gradient
    def shifted(scores: tf.Tensor) -> Any:
        rows, steps = tf.unstack(tf.shape(scores)[:2])
        places = tf.range(KEYS) - lowest  # of each key, in the scores of each voice
        places = tf.where(there & (places >= 0) & (places < span), places, span)
        by_voice = tf.transpose(tf.reshape(scores, [rows, steps, voices, span]), [0, 2, 3, 1])
        padded = tf.pad(by_voice, [[0, 0], [0, 0], [0, 1], [0, 0]])
        found = tf.reduce_sum(tf.gather(padded, places, axis=2, batch_dims=2), axis=1)

        def back(upstream: tf.Tensor) -> tf.Tensor:
            keys = lowest + tf.range(span)  # of each score, the key that it went to
            keys = tf.where(there & (keys >= 0) & (keys < KEYS), keys, KEYS)
            padded = tf.pad(tf.transpose(upstream, [0, 2, 1]), [[0, 0], [0, 1], [0, 0]])
            gone = tf.gather(padded, tf.reshape(keys, [rows, voices * span]), axis=1, batch_dims=1)
            return tf.transpose(gone, [0, 2, 1])

        return tf.transpose(found, [0, 2, 1]), back

    return shifted(scores)


def on_degrees(scores: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Scores of the degrees of the scale as scores of keys, ``[rows, steps, 88]``; zeros where
    the key is not told.

    Args:
        scores: of 12 semitones above the tonic in major, and in minor, ``[rows, steps, 24]``.
        key: ``[rows]``.
    """
    turn = np.zeros((keys.COUNT, 24, 12), np.float32)  # from degrees to C, C# ... B
    for told in range(1, keys.COUNT):
        tonic, mode = keys.parts(told)
        turn[told, 12 * mode + np.arange(12), (np.arange(12) + tonic) % 12] = 1
    classes = np.equal.outer(np.arange(12), (np.arange(KEYS) + LOWEST) % 12).astype(np.float32)
    return tf.matmul(tf.matmul(scores, tf.gather(tf.constant(turn), key)), tf.constant(classes))


@keras.saving.register_keras_serializable(package="apps.music")
class FrameDensity(keras.layers.Layer):
    """The logits of each key; see the module's docstring.

    Args:
        width: of the hidden vectors a.
        voices: keys of the frame before that intervals are measured from.
        most: keys that sound together, at most.
        joint: if not, keys are independent given the context.
        articulated: whether held keys are told from struck ones.
        dropout: rate of dropout on a.
    """

    def __init__(
        self,
        width: int,
        voices: int,
        most: int,
        joint: bool,
        articulated: bool,
        dropout: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.voices, self.most, self.joint, self.articulated = voices, most, joint, articulated
        self.context = keras.layers.Dense(width, name="context")
        self.deeper = keras.layers.Dense(width, "relu", name="deeper")
        self.sounds = keras.layers.Dense(KEYS, name="sounds", dtype="float32")
        self.direct = keras.layers.Dense(KEYS, use_bias=False, name="direct", dtype="float32")
        reach = voices * (2 * INTERVAL + 1)
        self.interval = keras.layers.Dense(reach, name="interval", dtype="float32")
        self.degree = keras.layers.Dense(24, name="degree", dtype="float32")
        self.drop = keras.layers.Dropout(dropout)
        if joint:
            self.notes = keras.layers.Dense(width, use_bias=False, name="notes")
        if articulated:
            self.struck = keras.layers.Dense(KEYS, name="struck", dtype="float32")
            self.direct_struck = keras.layers.Dense(
                KEYS, use_bias=False, name="direct_struck", dtype="float32"
            )

    def call(
        self, context: tf.Tensor, past: Past, chosen: tf.Tensor, training: Any = False
    ) -> Logits:
        """Logits after so many keys are chosen.

        Args:
            context: ``[rows, width]``.
            chosen: ``[rows, steps, 88 or 176]``, as in ``Frames``.

        Returns:
            ``[rows, steps, 88]``; one step for all if keys are independent.
        """
        hidden = self.context(context)[:, tf.newaxis]
        if self.joint:
            hidden += self.notes(tf.cast(chosen, self.compute_dtype))
        hidden = self.drop(tf.nn.relu(hidden), training=training)
        hidden += self.drop(self.deeper(hidden), training=training)
        sounds = self.sounds(hidden) + self.direct(context)[:, tf.newaxis]
        sounds += at_intervals(self.interval(hidden), past.lines)
        sounds += on_degrees(self.degree(hidden), past.key)
        struck = None
        if self.articulated:
            struck = self.struck(hidden) + self.direct_struck(context)[:, tf.newaxis]
            struck = tf.reverse(struck, [-1])
        return Logits(tf.reverse(sounds, [-1]), struck)

    def lines(self, frames: tf.Tensor) -> tf.Tensor:
        """The highest keys of each frame, ``[batch, time, voices]``."""
        flat = KEYS - ranks_of(tf.reshape(frames, [-1, KEYS]), self.voices)  # -1: no such voice
        return tf.reshape(flat, tf.concat([tf.shape(frames)[:2], [self.voices]], 0))

    def follow(self, frames: tf.Tensor, lines: tf.Tensor) -> tf.Tensor:
        """The same of one frame ``[rows, 88]``, whatever the `lines` before it."""
        return self.lines(frames[:, tf.newaxis])[:, 0]


Asked = Sequence[tuple[Any, tf.Tensor]]
"""Of each member of an ensemble: its density, and its context."""


def nll(asked: Asked, past: Past, frames: tf.Tensor, training: Any = False) -> tf.Tensor:
    """Negative log-likelihood of each frame in nats, ``[rows]``, summed over the keys."""
    first = asked[0][0]
    most = tf.reduce_max(tf.reduce_sum(tf.cast(frames > 0, tf.int32), axis=1))
    most = tf.maximum(most, 0)  # of no frames
    if training:  # of one size, to compile once
        most = first.most
    parts = take_apart(frames, most, first.articulated, tf.float32)
    logits = [density(c, past, parts.chosen, training=training) for density, c in asked]
    return losses(mean(logits), parts.ranks, frames, past.frames)


def mean_logit(each: Sequence[tf.Tensor]) -> tf.Tensor:
    r"""The logit of :math:`\frac{1}{M} \sum_m \sigma(\ell_m)`, of logits ``[...]`` of one shape."""
    stacked = tf.stack(each)
    yes, no = (tf.math.log_sigmoid(sign * stacked) for sign in (1.0, -1.0))
    return tf.reduce_logsumexp(yes, axis=0) - tf.reduce_logsumexp(no, axis=0)


def mean(members: Sequence[Logits]) -> Logits:
    """Networks as one: the mean of their probabilities at every decision, a density again."""
    if len(members) == 1:
        return members[0]
    struck = [each.struck for each in members if each.struck is not None]
    sounds = mean_logit([each.sounds for each in members])
    return Logits(sounds, mean_logit(struck) if struck else None)


def losses(logits: Logits, ranks: tf.Tensor, frames: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
    """Negative log-likelihood of each frame in nats, ``[rows]``.

    Args:
        logits: after none, one, two ... keys.
        ranks: ``[rows, most]``, of ``take_apart``.
        frames: ``[rows, 88]``.
        before: the frame before each, ``[rows, 88]``.
    """
    first = tf.zeros([tf.shape(ranks)[0], 1], tf.int32)  # also where no key sounds in any row
    last = tf.concat([first, ranks], axis=1)[..., tf.newaxis]
    following = tf.concat([ranks, first + END], axis=1)[..., tf.newaxis]
    rank = tf.range(1, END)
    silent = (rank > last) & (rank < following)
    chosen = rank == following
    zero = tf.zeros([])
    no, yes = tf.nn.softplus(logits.sounds), tf.nn.softplus(-logits.sounds)
    each = tf.where(silent, no, zero) + tf.where(chosen, yes, zero)
    if logits.struck is not None:
        open_ = chosen & (tf.reverse(before, [-1]) > 0)[:, tf.newaxis]
        struck = (tf.reverse(frames, [-1]) == STRUCK)[:, tf.newaxis]
        sign = tf.where(struck, -1.0, 1.0)
        each += tf.where(open_, tf.nn.softplus(sign * logits.struck), zero)
    return tf.reduce_sum(each, axis=[1, 2])
