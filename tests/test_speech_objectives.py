"""CTC and the attention decoder against their equations, and what is learnt from them together."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose

from apps.speech import model, objectives
from apps.speech.attention import NEVER, START, AttentionDecoder, Heard, Memory
from apps.speech.config import SpeechConfig
from apps.speech.decoding import greedy
from common.cells import CELLS
from tests import reference_speech

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(0, 2, (6, 5, 4)).astype(np.float32)
LOG_P = LOGITS - np.log(np.exp(LOGITS).sum(axis=-1, keepdims=True))
STEPS = np.array([5, 4, 5, 3, 5, 2], np.int32)
IDS = np.array([[2, 1, 0], [3, 3, 0], [0, 0, 0], [1, 2, 3], [2, 2, 2], [1, 1, 0]], np.int32)
LENGTHS = np.array([2, 2, 0, 3, 3, 2], np.int32)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_text_is_as_likely_as_all_its_alignments_together(compiled: bool) -> None:
    found = objectives.ctc_log_probability(LOGITS, STEPS, IDS, LENGTHS, compiled).numpy()
    for row, (steps, length) in enumerate(zip(STEPS, LENGTHS, strict=True)):
        log_p = LOG_P[row, :steps].astype(np.float64)
        text = tuple(int(i) for i in IDS[row, :length])
        ways = reference_speech.alignments(log_p).get(text)
        if ways is None:  # [1, 1] in two steps: a blank must stand between
            assert (row, found[row]) == (5, NEVER)
            continue
        expected = np.logaddexp.reduce([score for _, score in ways])
        assert_allclose(found[row], expected, rtol=1e-5)
        assert_allclose(reference_speech.ctc(log_p, text), expected, rtol=1e-10)


def test_texts_without_symbols_or_steps_are_answered() -> None:
    found = objectives.ctc_log_probability(
        LOGITS[:2], tf.constant([0, 3]), tf.zeros([2, 0], tf.int32), tf.constant([0, 0])
    )
    assert_allclose(found, [0.0, LOG_P[1, :3, 0].sum()], rtol=1e-5)


def test_ctc_can_be_learnt_from() -> None:
    logits = tf.Variable(LOGITS)
    with tf.GradientTape() as tape:
        found = objectives.ctc_log_probability(logits, STEPS, IDS, LENGTHS)
        loss = tf.reduce_sum(tf.where(found > NEVER, found, 0))
    gradient = tape.gradient(loss, logits).numpy()
    assert not gradient[5].any()  # of the text that can't be
    step = np.zeros_like(LOGITS)
    step[1, 2, 3] = 1e-2
    around = [
        objectives.ctc_log_probability(LOGITS + way * step, STEPS, IDS, LENGTHS)[1].numpy()
        for way in (1, -1)
    ]
    assert_allclose(gradient[1, 2, 3], (around[0] - around[1]) / 2e-2, rtol=1e-2)


def test_what_the_decoder_is_given_and_what_it_is_to_say() -> None:
    given, wanted = objectives.before_and_after(
        tf.constant([[2, 1, 0], [3, 0, 0]]), tf.constant([2, 1]), 9
    )
    assert given.numpy().tolist() == [[START, 2, 1, 0], [START, 3, 0, 0]]
    assert wanted.numpy().tolist() == [[2, 1, 9, 0], [3, 9, 0, 0]]


def test_smoothed_targets_give_a_share_to_all_symbols() -> None:
    logits = RANDOM.normal(size=(2, 3, 5)).astype(np.float32)
    wanted, lengths, epsilon = np.array([[1, 4, 0], [2, 3, 4]]), np.array([2, 3]), 0.2
    found = objectives.smoothed(logits, wanted, lengths, epsilon).numpy()
    for row, length in enumerate(lengths):
        expected = 0.0
        for u in range(length):
            log_p = np.log(reference_speech.softmax(logits[row, u]))
            target = np.full(5, epsilon / 4)
            target[0] = 0
            target[wanted[row, u]] += 1 - epsilon
            expected -= target @ log_p / length
        assert_allclose(found[row], expected, rtol=1e-5)


def decoder(symbols: int = 4, **settings: Any) -> AttentionDecoder:
    """With random weights everywhere, on states seven wide."""
    keras.utils.set_random_seed(0)
    asked = {"units": 5, "attention": 6, "filters": 3, "reach": 2, **settings}
    made = AttentionDecoder(symbols, **asked)
    made.build((None, None, 7))
    random = np.random.default_rng(1)
    for weight in made.trainable_variables:
        weight.assign(weight.value + random.normal(0, 0.5, weight.shape))
    return made


def memory(of: AttentionDecoder, lengths: tuple[int, ...] = (9, 6)) -> tuple[np.ndarray, Memory]:
    states = np.random.default_rng(2).normal(size=(2, 9, 7)).astype(np.float32)
    mask = np.arange(9) < np.array(lengths)[:, np.newaxis]
    return states, of.look_at(tf.constant(states * mask[..., np.newaxis]), tf.constant(mask))


def test_the_decoder_looks_by_its_equations() -> None:
    made = decoder()
    states, looked_at = memory(made)
    random = np.random.default_rng(3)
    before = random.normal(size=(2, 5)).astype(np.float32)
    looked = reference_speech.softmax(random.normal(size=(2, 9))).astype(np.float32)
    looked[1, 6:] = 0
    found = made.look(Heard([tf.constant(before)], tf.constant(looked)), looked_at).numpy()
    weights = {
        "W": made.query.kernel.numpy(),
        "b": made.query.bias.numpy(),
        "V": made.key.kernel.numpy(),
        "U": made.place.kernel.numpy(),
        "v": made.score.kernel.numpy()[:, 0],
        "F": made.location.kernel.numpy()[:, 0],
        "g": made.location.bias.numpy(),
    }
    for row, length in enumerate((9, 6)):
        alpha, _ = reference_speech.attention(
            before[row], looked[row, :length], states[row, :length], weights
        )
        assert_allclose(found[row, :length], alpha, rtol=1e-4)
        assert not found[row, length:].any()


@pytest.mark.parametrize("cell", CELLS)
def test_a_step_is_a_step_of_its_cell(cell: str) -> None:
    made = decoder(cell=cell)
    _, looked_at = memory(made)
    start = made.start(looked_at)
    logits, after = made.step(tf.constant([2, 3]), start, looked_at)
    context = np.einsum("bt,btw->bw", after.alignment, looked_at.states)
    inputs = np.concatenate([made.embed.embeddings.numpy()[[2, 3]], context], axis=-1)
    output, states = made.cell(tf.constant(inputs, tf.float32), list(start.states))
    expected = made.readout(tf.concat([output, tf.cast(context, tf.float32)], axis=-1)).numpy()
    assert_allclose(logits[:, 1:], expected[:, 1:], rtol=1e-4, atol=1e-5)
    assert (logits[:, START].numpy() < NEVER / 2).all()
    for one, other in zip(after.states, states, strict=True):
        assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_known_texts_are_read_as_step_by_step() -> None:
    made = decoder()
    _, looked_at = memory(made)
    given = tf.constant([[START, 2, 1, 3], [START, 4, 4, 1]])
    logits, looks = made(looked_at, given)
    heard = made.start(looked_at)
    for u in range(4):
        found, heard = made.step(given[:, u], heard, looked_at)
        assert_allclose(logits[:, u], found, rtol=1e-4, atol=1e-5)
        assert_allclose(looks[:, u], heard.alignment, rtol=1e-4, atol=1e-6)


def test_scheduled_sampling_feeds_the_decoder_its_own_symbols() -> None:
    made = decoder()
    _, looked_at = memory(made)
    given = tf.constant([[START, 2, 1, 3], [START, 4, 4, 1]])
    own = tf.constant([[False, True, False, True], [False, False, True, True]])
    logits, _ = made(looked_at, given, own)
    heard, last = made.start(looked_at), given[:, 0]
    for u in range(4):
        last = tf.where(own[:, u], last, given[:, u]) if u else last
        found, heard = made.step(last, heard, looked_at)
        assert_allclose(logits[:, u], found, rtol=1e-4, atol=1e-5)
        last = tf.argmax(found, axis=-1, output_type=tf.int32)
    turns = made.own_turns([400, 30], 0.3).numpy()
    assert not turns[:, 0].any()
    assert abs(turns[:, 1:].mean() - 0.3) < 0.02
    assert not made.own_turns([40, 30], 0.0).numpy().any()


PLAIN: dict[str, Any] = {"tract": 0, "formants": 0, "mel_masks": 0, "time_masks": 0}
PLAIN["dropout"] = 0.0
SMALL: dict[str, Any] = {"units": 6, "width": 8, "filters": 3, "attention": 7, "mels": 20}


def inputs() -> tuple[Any, Any]:
    random = np.random.default_rng(5)
    waveform = random.normal(0, 0.1, (3, 8000)).astype(np.float32)
    sound = (tf.constant(waveform), tf.constant([8000, 5000, 7900]))
    ids = tf.constant([[1, 2, 2], [3, 0, 0], [4, 1, 0]])
    return sound, (ids, tf.constant([3, 1, 2]))


@pytest.mark.parametrize("decoder", ["ctc", "attention", "joint"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_network_of_any_cell_learns_with_all_its_weights(cell: str, decoder: Any) -> None:
    keras.utils.set_random_seed(0)
    network = model.build(SpeechConfig(cell=cell, decoder=decoder, **SMALL), 4)  # type: ignore
    sound, targets = inputs()
    with tf.GradientTape() as tape:
        losses, _ = objectives.recognising(network, lambda: 0.5)(sound, targets)
    weights = network.trainable_variables
    for weight, gradient in zip(weights, tape.gradient(losses, weights), strict=True):
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, weight.path


def test_the_joint_loss_weighs_both_a_symbol() -> None:
    keras.utils.set_random_seed(0)
    network = model.build(SpeechConfig(ctc_weight=0.3, label_smoothing=0.0, **PLAIN, **SMALL), 4)
    sound, (ids, lengths) = inputs()
    losses, metrics = objectives.recognising(network, lambda: 0.0)(sound, (ids, lengths))
    encoded = network(sound)
    log_c = objectives.ctc_log_probability(
        network.ctc_logits(encoded.states), encoded.lengths, ids, lengths
    )
    log_a = objectives.text_log_probability(network, network.memory(encoded), ids, lengths)
    expected = -(0.3 * log_c + 0.7 * log_a) / np.array([4, 2, 3])
    assert_allclose(losses, expected, rtol=1e-4)
    assert_allclose(metrics["ctc"], -log_c / np.array([4, 2, 3]), rtol=1e-4)


def test_a_causal_network_learns_beside_an_attention_decoder_that_does_not_answer() -> None:
    keras.utils.set_random_seed(0)
    config = SpeechConfig(causal=True, ctc_weight=0.3, label_smoothing=0.0, **PLAIN, **SMALL)
    network = model.build(config, 4)
    assert (network.by_ctc, network.by_attention) == (True, False)
    sound, (ids, lengths) = inputs()
    losses, metrics = objectives.recognising(network, lambda: 0.0)(sound, (ids, lengths))
    assert_allclose(losses, 0.3 * metrics["ctc"] + 0.7 * metrics["attention"], rtol=1e-5)
    encoded = network(sound)
    logits = network.ctc_logits(encoded.states)
    texts, log_p = greedy(network, encoded)
    found = objectives.ctc_log_probability(logits, encoded.lengths, *texts)
    assert_allclose(log_p, found, rtol=1e-5)  # the score of what answers: of CTC alone
    alone = model.build(SpeechConfig(causal=True, decoder="ctc", **SMALL), 4)
    assert not hasattr(alone, "decoder")
