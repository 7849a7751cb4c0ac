"""Draws frames from their density, key by key from the highest down, inside the graph."""

from typing import Any, NamedTuple

import tensorflow as tf

from apps.music.density import END, Asked, Past, mean
from apps.music.pieces import HELD, KEYS, STRUCK

COLD = 1e-4
"""The lowest temperature: the likeliest is chosen."""
DRAWS = 2 * (KEYS + 2)
"""Random numbers that one frame may use, for its seeds to differ from the next one's."""


class Choice(NamedTuple):
    """How to draw; all are scalars."""

    temperature: tf.Tensor
    top_k: tf.Tensor
    """So many of the likeliest next keys; 0: all."""
    top_p: tf.Tensor
    """The likeliest next keys that make up this probability."""
    seed: tf.Tensor
    """``[2]``, int32."""


def next_key(sounds: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
    """Log-probabilities of the next key that sounds, ``[rows, 89]``: ranks 1 to 88, and the end
    of the frame.

    Args:
        sounds: logits of each key in the order of ranks, ``[rows, 88]``.
        last: the rank chosen before, ``[rows]``; 0 for none.
    """
    below = tf.range(1, END) > last[:, tf.newaxis]
    no = tf.where(below, tf.math.log_sigmoid(-sounds), 0.0)
    yes = tf.where(below, tf.math.log_sigmoid(sounds), -float("inf"))
    passed = tf.cumsum(no, axis=1, exclusive=True)
    return tf.concat([yes + passed, tf.reduce_sum(no, axis=1, keepdims=True)], axis=1)


def narrowed(logs: tf.Tensor, choice: Choice) -> tf.Tensor:
    """Log-probabilities ``[rows, n]`` at another temperature, without the unlikely."""
    logs = tf.nn.log_softmax(logs / tf.maximum(choice.temperature, COLD))
    ordered = tf.sort(logs, direction="DESCENDING", axis=-1)
    count = tf.shape(logs)[1]
    kept = tf.where(choice.top_k > 0, tf.minimum(choice.top_k, count), count)
    least = tf.gather(ordered, [kept - 1], axis=1)
    ahead = tf.cumsum(tf.exp(ordered), axis=1, exclusive=True)
    inside = tf.reduce_sum(tf.cast(ahead < choice.top_p, tf.int32), axis=1, keepdims=True)
    least = tf.maximum(least, tf.gather(ordered, tf.maximum(inside - 1, 0), batch_dims=1))
    return tf.where(logs >= least, logs, -float("inf"))


def frame(asked: Asked, past: Past, choice: Choice, given: tf.Tensor | None = None) -> tf.Tensor:
    """One frame for each row, ``[rows, 88]`` int32 of SILENT, STRUCK and HELD.

    Args:
        given: ``[rows, 88]``; where a key sounds in it, the highest such key and what it does is
            taken, and drawing goes on below.
    """
    rows, articulated = tf.shape(past.frames)[0], asked[0][0].articulated
    was = tf.reverse(past.frames, [-1]) > 0
    ranks = tf.range(1, END)
    chance = tf.constant([0, 1], tf.int32)

    def draw(count: Any, last: Any, frame: Any) -> Any:
        known = [frame > 0] + ([frame == HELD] if articulated else [])
        chosen = tf.cast(tf.concat([tf.reverse(part, [-1]) for part in known], -1), tf.float32)
        logits = mean([density(c, past, chosen[:, tf.newaxis]) for density, c in asked])
        seed = choice.seed + tf.stack([0, 2 * count])
        options = narrowed(next_key(logits.sounds[:, 0], last), choice)
        rank = 1 + tf.random.stateless_categorical(options, 1, seed, tf.int32)[:, 0]
        rank = tf.where(last < END, rank, END)
        here = ranks == rank[:, tf.newaxis]
        does = tf.fill([rows, KEYS], STRUCK)
        if logits.struck is not None:
            cool = logits.struck[:, 0] / tf.maximum(choice.temperature, COLD)
            luck = tf.random.stateless_uniform([rows, 1], seed + chance)
            does = tf.where(was & (luck >= tf.sigmoid(cool)), HELD, STRUCK)
        if given is not None:
            sung = tf.reverse(given, [-1])
            top = tf.reduce_min(tf.where(sung > 0, ranks, END), axis=1)
            forced = (count == 0) & (top < END)
            rank = tf.where(forced, top, rank)
            here = ranks == rank[:, tf.newaxis]
            does = tf.where(forced[:, tf.newaxis], sung, does)
        return count + 1, rank, tf.where(here, does, frame)

    start = (tf.constant(0), tf.zeros([rows], tf.int32), tf.zeros([rows, KEYS], tf.int32))
    _, _, drawn = tf.while_loop(
        lambda count, last, _: tf.reduce_any(last < END),
        draw,
        start,
        shape_invariants=(
            tf.TensorShape([]),
            tf.TensorShape([None]),
            tf.TensorShape([None, KEYS]),
        ),
        maximum_iterations=KEYS + 1,
    )
    return tf.ensure_shape(tf.reverse(drawn, [-1]), [None, KEYS])
