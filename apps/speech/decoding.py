"""Greedy decoding in the graph: the likeliest symbol at each step, and how likely the whole is."""

from typing import Any, NamedTuple

import tensorflow as tf

from apps.speech.attention import START, AttentionDecoder, Memory
from apps.speech.model import Encoded, Recogniser
from apps.speech.objectives import ctc_log_probability, text_log_probability
from common.loops import history


class Texts(NamedTuple):
    """A text for each utterance of a batch."""

    ids: Any
    """``[batch, length]`` int32, padded by 0."""
    lengths: Any
    """``[batch]`` int32."""


def greedy(network: Recogniser, encoded: Encoded) -> tuple[Texts, Any]:
    r"""The text of each utterance, and its log-probability.

    By ``ctc`` the likeliest alignment's text, with :math:`\log p_c` of it, all its alignments
    counted; by ``attention`` the likeliest symbol after each other, with :math:`\log p_a`; by
    ``joint`` that one of the two for which :math:`\lambda \log p_c + (1 - \lambda) \log p_a` is
    larger, which also keeps the decoder from looping or stopping early.
    """
    found = []
    if network.by_ctc:
        found.append(best_path(network.ctc_logits(encoded.states), encoded.mask))
    if network.by_attention:
        memory = network.memory(encoded)
        found.append(read_out(network.decoder, memory, encoded.lengths))  # a symbol needs a step
    scores = [score(network, encoded, texts) for texts in found]
    return better(found, scores) if len(found) == 2 else (found[0], scores[0])


def score(network: Recogniser, encoded: Encoded, texts: Texts) -> Any:
    """The log-probability of texts by the network's decoder, ``[batch]``, as above."""
    weight = {"ctc": 1.0, "attention": 0.0, "joint": network.settings.ctc_weight}
    share = weight[network.settings.decodes]
    total = tf.zeros(tf.shape(texts.lengths))
    if network.by_ctc:
        logits = network.ctc_logits(encoded.states)
        total += share * ctc_log_probability(logits, encoded.lengths, *texts)
    if network.by_attention:
        total += (1 - share) * text_log_probability(network, network.memory(encoded), *texts)
    return total


def best_path(logits: Any, mask: Any) -> Texts:
    """The text of the likeliest symbols, repetitions and then blanks taken out.

    Args:
        logits: ``[batch, time, symbols + 1]``, the blank first.
        mask: ``[batch, time]``.
    """
    ids = tf.where(mask, tf.argmax(logits, axis=-1, output_type=tf.int32), 0)
    before = tf.pad(ids[:, :-1], [[0, 0], [1, 0]])
    kept = tf.ragged.boolean_mask(ids, (ids != 0) & (ids != before))
    return Texts(kept.to_tensor(), tf.cast(kept.row_lengths(), tf.int32))


def read_out(decoder: AttentionDecoder, memory: Memory, limits: Any) -> Texts:
    """The attention decoder's own text: the likeliest symbol, given to it again, until it ends
    the text or has said as many symbols as `limits` ``[batch]`` allow."""
    batch, limit = tf.shape(limits)[0], tf.maximum(tf.reduce_max(limits), 1)

    def goes_on(u: Any, heard: Any, last: Any, done: Any, said: Any) -> Any:
        return (u < limit) & ~tf.reduce_all(done)

    def body(u: Any, heard: Any, last: Any, done: Any, said: Any) -> Any:
        logits, heard = decoder.step(last, heard, memory)
        last = tf.argmax(logits, axis=-1, output_type=tf.int32)
        done = done | (last == decoder.end) | (u >= limits)
        last = tf.where(done, 0, last)
        return u + 1, heard, last, done, said.write(u, last)

    said = history(tf.int32, limit, [None])
    first = (tf.zeros([], tf.int32), decoder.start(memory), tf.fill([batch], START))
    count, _, _, _, said = tf.while_loop(goes_on, body, (*first, tf.zeros([batch], tf.bool), said))
    ids = tf.transpose(said.stack()[:count])
    return Texts(ids, tf.reduce_sum(tf.cast(ids != 0, tf.int32), axis=1))


def better(texts: list[Texts], scores: list[Any]) -> tuple[Texts, Any]:
    """Of two texts for each utterance the one with the higher score, and that score."""
    length = tf.maximum(tf.shape(texts[0].ids)[1], tf.shape(texts[1].ids)[1])
    first, second = (tf.pad(t.ids, [[0, 0], [0, length - tf.shape(t.ids)[1]]]) for t in texts)
    wins = scores[0] >= scores[1]
    chosen = Texts(
        tf.where(wins[:, tf.newaxis], first, second),
        tf.where(wins, texts[0].lengths, texts[1].lengths),
    )
    return chosen, tf.maximum(*scores)
