r"""What training makes small: CTC, the attention decoder's cross entropy, or both.

**CTC** (Graves et al. 2006). An alignment :math:`\pi` has one symbol or the blank for each step;
:math:`B` takes repetitions out of it, then blanks. A text is as likely as all its alignments
together:

.. math:: p_c(y \mid x) = \sum_{\pi \in B^{-1}(y)} \prod_{j=1}^{T} p_j(\pi_j).

**Attention.** :math:`p_a(y \mid x) = \prod_u p(y_u \mid y_{<u}, h)`, the end of the text being one
of the u. Targets are smoothed: a share :math:`\epsilon` is spread evenly over all symbols (Szegedy
et al. 2016).

**Joint** (Watanabe et al. 2017), with U the symbols of the text, its end counted:

.. math:: L = -\frac{1}{U} \left( \lambda \log p_c + (1 - \lambda) \log p_a \right).
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from apps.speech.attention import NEVER, START
from apps.speech.model import Recogniser
from common.losses import over_time
from common.trainer import Objective


def recognising(network: Recogniser, done: Callable[[], Any]) -> Objective:
    """Nats a symbol, averaged over an utterance.

    Args:
        done: the share of the training that lies behind, from 0 to 1; asked at each step. The
            attention decoder is given its own last symbol the more often.
    """
    settings = network.settings

    def objective(inputs: Any, targets: Any) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        ids, lengths = targets
        symbols = tf.cast(lengths + 1, tf.float32)
        encoded = network(inputs, training=True)
        metrics = {}
        if network.by_ctc:
            logits = network.ctc_logits(encoded.states)
            log_p = ctc_log_probability(logits, encoded.lengths, ids, lengths, settings.jit)
            possible = log_p > NEVER  # a text that is longer than its sound teaches nothing
            metrics["ctc"] = tf.where(possible, -log_p, 0) / symbols
        if settings.attends:
            given, wanted = before_and_after(ids, lengths, network.decoder.end)
            own = network.decoder.own_turns(tf.shape(given), settings.sampling * done())
            logits, _ = network.decoder(network.memory(encoded), given, own, training=True)
            metrics["attention"] = smoothed(logits, wanted, lengths + 1, settings.label_smoothing)
        if len(metrics) == 2:
            weight = settings.ctc_weight
            loss = weight * metrics["ctc"] + (1 - weight) * metrics["attention"]
            return loss, metrics
        return next(iter(metrics.values())), {}

    return objective


def ctc_log_probability(
    logits: Any, steps: Any, ids: Any, lengths: Any, compiled: bool = False
) -> Any:
    r""":math:`\log p_c(y \mid x)`, ``[batch]``.

    Args:
        logits: ``[batch, time, symbols + 1]``, the blank first.
        steps: how many of them each row has, ``[batch]``.
        ids: the text, ``[batch, length]``, padded by 0.
        lengths: symbols of each text, ``[batch]``.
        compiled: uses what XLA can compile, which is slower.

    Returns:
        ``NEVER`` where no alignment is short enough: a symbol needs a step, and two equal ones
        a blank between them.
    """
    time, length = tf.shape(logits)[1], tf.shape(ids)[1]
    known = tf.sequence_mask(lengths, length)
    twice = tf.reduce_sum(tf.cast((ids[:, 1:] == ids[:, :-1]) & known[:, 1:], tf.int32), axis=1)
    possible = steps >= lengths + twice
    asked = possible & (lengths > 0)  # the library's function takes no other text: 1 stands in
    one = tf.one_hot(tf.zeros_like(lengths), tf.maximum(length, 1), dtype=ids.dtype)
    labels = tf.pad(ids, [[0, 0], [0, tf.maximum(1 - length, 0)]])
    labels = tf.where(asked[:, tf.newaxis], labels, one)
    losses = tf.nn.ctc_loss(
        labels if compiled else tf.sparse.from_dense(labels),
        logits,
        tf.where(asked, lengths, 1) if compiled else None,
        tf.maximum(steps, 1),
        logits_time_major=False,
        blank_index=0,
    )
    silent = over_time(tf.nn.log_softmax(logits)[..., 0], tf.sequence_mask(steps, time), "sum")
    return tf.where(asked, -losses, tf.where(possible, silent, NEVER))


def before_and_after(ids: Any, lengths: Any, end: int) -> tuple[Any, Any]:
    """What the attention decoder is given, and what it is to say, ``[batch, length + 1]`` both:
    the start and the text; the text and its end, then zeros."""
    given = tf.pad(ids, [[0, 0], [1, 0]], constant_values=START)
    at_end = tf.one_hot(lengths, tf.shape(ids)[1] + 1, on_value=end, dtype=ids.dtype)
    return given, tf.pad(ids, [[0, 0], [0, 1]]) + at_end


def smoothed(logits: Any, wanted: Any, lengths: Any, epsilon: float) -> Any:
    """Mean over a text of the cross entropy with smoothed targets, ``[batch]``.

    Args:
        logits: ``[batch, length, symbols + 2]``.
        wanted: ``[batch, length]``.
        lengths: how many of them count, ``[batch]``.
        epsilon: share of a target that goes to all symbols (and the end) alike.
    """
    log_p = tf.nn.log_softmax(logits)
    own = tf.gather(log_p, wanted, axis=2, batch_dims=2)
    everywhere = tf.reduce_mean(log_p[..., START + 1 :], axis=-1)
    losses = -(1 - epsilon) * own - epsilon * everywhere
    return over_time(losses, tf.sequence_mask(lengths, tf.shape(wanted)[1]))


def text_log_probability(network: Recogniser, memory: Any, ids: Any, lengths: Any) -> Any:
    r""":math:`\log p_a(y \mid x)` of texts ``[batch, length]``, ``[batch]``."""
    given, wanted = before_and_after(ids, lengths, network.decoder.end)
    logits, _ = network.decoder(memory, given)
    own = tf.gather(tf.nn.log_softmax(logits), wanted, axis=2, batch_dims=2)
    return over_time(own, tf.sequence_mask(lengths + 1, tf.shape(wanted)[1]), "sum")
