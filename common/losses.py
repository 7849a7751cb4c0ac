r"""Loss over time: from the loss of each step to the loss of a sequence, and its gradient.

With :math:`\ell_t` the loss of step t and :math:`m_t` its mask,

.. math:: L = \sum_t m_t \ell_t \qquad\text{or}\qquad L = \frac{\sum_t m_t \ell_t}{\sum_t m_t}.

The sum weighs every step alike over the whole corpus; the mean weighs every sequence alike,
however long. Either way a padded step has no part in it.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import tensorflow as tf

Reduction = Literal["mean", "sum"]
WindowLoss = Callable[[Any, list[tf.Tensor]], tuple[tf.Tensor, list[tf.Tensor]]]
"""(a window of the streams, states before it) -> (its loss, a scalar; states after it)."""


def over_time(
    losses: tf.Tensor, mask: tf.Tensor | None = None, reduction: Reduction = "mean"
) -> tf.Tensor:
    """The loss of each sequence.

    Args:
        losses: of each step, ``[batch, time]``. What stands at a masked step is not read, be it
            infinite.
        mask: ``[batch, time]``, true where a step counts; all of them if not given.
        reduction: "mean" over the steps that count, or "sum".

    Returns:
        ``[batch]``; zero for a sequence without steps. Half precision is summed in float32.

    Raises:
        ValueError: for another reduction.
    """
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction {reduction!r}: expected 'mean' or 'sum'")
    if losses.dtype in (tf.float16, tf.bfloat16):
        losses = tf.cast(losses, tf.float32)
    keep = tf.ones_like(losses, tf.bool) if mask is None else tf.cast(mask, tf.bool)
    total = tf.reduce_sum(tf.where(keep, losses, tf.zeros([], losses.dtype)), axis=1)
    if reduction == "sum":
        return total
    return total / tf.maximum(tf.reduce_sum(tf.cast(keep, losses.dtype), axis=1), 1)


def truncated_gradients(
    loss_of: WindowLoss,
    streams: Any,
    states: list[tf.Tensor],
    weights: Sequence[tf.Variable],
    *,
    window: int,
) -> tuple[tf.Tensor, list[tf.Tensor], list[tf.Tensor]]:
    r"""Truncated back-propagation through time (Williams & Peng 1990) over a long stream.

    The stream is read in windows; the state goes from each to the next, the gradient does not.
    Memory is that of one window, however long the stream. The sum of the windows' gradients is
    that of :math:`L` with :math:`\partial s_{t+1}/\partial s_t = 0` at the cuts.

    Args:
        loss_of: the loss of one window, given the states before it. A ``tf.function`` is
            traced once for all windows of one length.
        streams: inputs and targets, ``[batch, time, ...]`` each, in any nest that loss_of takes.
        states: before the first window.
        weights: what to differentiate with respect to.
        window: steps; the last window may be shorter.

    Returns:
        The sum of the windows' losses, its gradients, and the states after the last window, to
        go on from.

    Raises:
        ValueError: if `window` is not positive.
    """
    if window < 1:
        raise ValueError(f"window must be a positive number of steps, got {window}")
    time = tf.nest.flatten(streams)[0].shape[1]
    total = tf.zeros([])
    sums = [tf.zeros_like(weight) for weight in weights]
    for start in range(0, time, window):
        part = tf.nest.map_structure(lambda s, at=start: s[:, at : at + window], streams)
        states = [tf.stop_gradient(state) for state in states]
        with tf.GradientTape() as tape:
            loss, states = loss_of(part, states)
        gradients = tape.gradient(loss, weights, unconnected_gradients="zero")
        sums = [s + tf.convert_to_tensor(g) for s, g in zip(sums, gradients, strict=True)]
        total += tf.cast(loss, total.dtype)
    return total, sums, states
