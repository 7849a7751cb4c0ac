"""The network: what an answer may depend on, greedy decoding, and sound that comes in chunks."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from apps.speech import decoding, features, model
from apps.speech.config import SpeechConfig
from apps.speech.decoding import Texts
from apps.speech.serving import Serving
from common import export
from common.cells import CELLS
from common.errors import UserError
from tests import reference_speech

SYMBOLS = tuple(" abcde")
SMALL = SpeechConfig(units=6, width=8, filters=3, attention=7, mels=20)
CAUSAL = dataclasses.replace(SMALL, causal=True, lookahead=0.09, decoder="ctc")
RANDOM = np.random.default_rng(0)
SOUND = (RANDOM.normal(0, 0.1, (2, 24_000)) * np.sin(np.arange(24_000) / 900)).astype(np.float32)


def network(config: SpeechConfig = SMALL, seed: int = 1, **settings: Any) -> model.Recogniser:
    """With random weights everywhere, biases too: what starts at zero hides what is wrong."""
    keras.utils.set_random_seed(0)
    made = model.build(dataclasses.replace(config, **settings), len(SYMBOLS))
    random = np.random.default_rng(seed)
    for weight in made.trainable_variables:
        weight.assign(weight.value + random.normal(0, 0.3, weight.shape))
    if made.by_ctc:  # sure enough of itself to say something
        made.readout.kernel.assign(made.readout.kernel * 4)
    if config.causal:
        made.measure(random.normal(-6, 1, 20), random.uniform(1, 2, 20))
    return made


def log_p(of: model.Recogniser, sound: np.ndarray, lengths: Any = None) -> np.ndarray:
    lengths = [sound.shape[1]] * len(sound) if lengths is None else lengths
    encoded = of((tf.constant(sound), tf.constant(lengths, tf.int32)))
    return tf.nn.log_softmax(of.ctc_logits(encoded.states)).numpy()


# The encoder


@pytest.mark.parametrize("settings", [{}, {"causal": True}, {"pyramid": 1, "hop": 2}])
@pytest.mark.parametrize("length", [600, 3000, 17_003])
def test_what_pads_an_utterance_changes_nothing(settings: dict[str, Any], length: int) -> None:
    made = network(**settings, decoder="ctc")
    alone = log_p(made, SOUND[:1, :length])
    beside = SOUND.copy()
    beside[0, length:] = 0.9
    both = log_p(made, beside, [length, 24_000])
    assert_allclose(both[0, : alone.shape[1]], alone[0], rtol=1e-3, atol=1e-4)


def test_a_pyramid_makes_one_step_of_two() -> None:
    plain, halved = network(), network(pyramid=1)
    inputs = (tf.constant(SOUND), tf.constant([24_000, 12_000]))
    before, after = plain(inputs), halved(inputs)
    assert_array_equal(after.lengths, -(-before.lengths.numpy() // 2))
    assert halved.settings.seconds_a_step == 2 * plain.settings.seconds_a_step
    h = tf.constant(RANDOM.normal(size=(1, 3, 2)), tf.float32)
    pairs, mask = model.paired(h, tf.constant([[True, True, True]]))
    assert_allclose(pairs[0], [[*h[0, 0], *h[0, 1]], [*h[0, 2], 0, 0]])
    assert mask.numpy().tolist() == [[True, True]]


@pytest.mark.parametrize("lookahead", [0.0, 0.03, 0.24])
def test_a_causal_answer_sees_its_look_ahead_and_no_further(lookahead: float) -> None:
    made = network(CAUSAL, lookahead=lookahead)
    delay = made.settings.delay
    assert delay == round(lookahead / 0.03)
    whole = log_p(made, SOUND[:1])
    changed = SOUND[:1].copy()
    changed[:, 16_000:] *= -0.5
    differ = np.flatnonzero((np.abs(log_p(made, changed) - whole) > 1e-5).any(axis=(0, 2)))
    first = 1 + (16_000 - features.FRAME) // features.HOP  # the first frame with a changed sample
    assert differ[0] >= first // made.hop - delay
    assert differ[0] <= first // made.hop - delay + 1


def test_steps_that_lack_what_lies_ahead_are_not_learnt_from() -> None:
    made = network(CAUSAL)
    lengths = np.array([24_000, 15_000])
    heard, learnt = (made((SOUND, lengths), training=t).lengths.numpy() for t in (False, True))
    frames = 1 + (lengths - features.FRAME) // features.HOP
    assert (learnt == frames // made.hop - made.settings.delay).all()
    frames = 1 + (lengths + made.tail - features.FRAME) // features.HOP
    assert (heard == frames // made.hop - made.settings.delay).all()
    assert made((SOUND[:, :600], np.array([600, 0])), training=True).lengths.numpy().sum() == 0


def test_the_row_convolution_is_its_equation() -> None:
    made = network(CAUSAL)
    states = RANDOM.normal(size=(2, 9, 6)).astype(np.float32)
    found = made.look_ahead(tf.constant(states)).numpy()
    for row in range(2):
        expected = reference_speech.row_convolution(states[row], made.ahead.numpy())
        assert_allclose(found[row], expected, rtol=1e-4, atol=1e-5)


def test_a_bidirectional_answer_depends_on_all_of_the_utterance() -> None:
    made = network(decoder="ctc")
    changed = SOUND[:1].copy()
    changed[:, -2000:] *= 0.3
    assert (log_p(made, changed) != log_p(made, SOUND[:1])).any(axis=(0, 2)).all()


def test_flags_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(UserError, match="--decoder joint with --causal"):
        SpeechConfig(causal=True, decoder="joint")
    with pytest.raises(UserError, match="--jit goes with --decoder ctc"):
        SpeechConfig(jit=True)
    with pytest.raises(UserError, match="--pieces 24 with --symbols characters: drop one"):
        SpeechConfig(pieces=24, symbols="characters")
    with pytest.raises(UserError, match="--alphabet with --symbols words"):
        SpeechConfig(alphabet="abc", symbols="words")
    with pytest.raises(UserError, match="--pyramid with --causal"):
        SpeechConfig(causal=True, pyramid=1)
    with pytest.raises(UserError, match="--pyramid 2: expected a value from 0"):
        SpeechConfig(pyramid=2)
    assert SpeechConfig().decodes == "joint"
    assert SpeechConfig(causal=True).decodes == "ctc"
    assert [SpeechConfig().curriculum(words) for words in (False, True)] == [4, 0]
    assert SpeechConfig(causal=True).curriculum(False) == 0
    assert SpeechConfig(causal=True, short_first=2).curriculum(True) == 2


# Greedy decoding


def test_the_best_path_is_collapsed() -> None:
    logits = RANDOM.normal(size=(3, 11, 4)).astype(np.float32)
    lengths = [11, 6, 0]
    texts = decoding.best_path(tf.constant(logits), tf.sequence_mask(lengths, 11))
    for row, length in enumerate(lengths):
        expected = reference_speech.collapsed(tuple(logits[row, :length].argmax(axis=-1)))
        found = texts.ids[row, : texts.lengths[row]].numpy()
        assert tuple(found) == expected
        assert not texts.ids[row, len(expected) :].numpy().any()


def test_the_decoder_is_given_what_it_said_until_it_ends() -> None:
    made = network(decoder="attention")
    bias = made.decoder.readout.bias
    bias.assign(bias.value + tf.one_hot(made.decoder.end, bias.shape[0]) * 0.5)
    encoded = made((tf.constant(SOUND), tf.constant([24_000, 9_000])))
    memory = made.memory(encoded)
    texts = decoding.read_out(made.decoder, memory, encoded.lengths)
    heard, last, said = made.decoder.start(memory), tf.zeros([2], tf.int32), []
    for _ in range(int(tf.reduce_max(encoded.lengths))):
        logits, heard = made.decoder.step(last, heard, memory)
        last = tf.argmax(logits, axis=-1, output_type=tf.int32)
        said.append(last.numpy())
    for row, column in enumerate(np.transpose(said)):
        ends = np.flatnonzero(column == made.decoder.end)
        limit = int(encoded.lengths[row])
        expected = column[: min(limit, ends[0] if len(ends) else limit)]
        assert_array_equal(texts.ids[row, : texts.lengths[row]], expected)


def test_the_joint_text_is_the_one_that_both_find_likelier() -> None:
    made = network()
    encoded = made((tf.constant(SOUND), tf.constant([24_000, 9_000])))
    candidates = [
        decoding.best_path(made.ctc_logits(encoded.states), encoded.mask),
        decoding.read_out(made.decoder, made.memory(encoded), encoded.lengths),
    ]
    scores = np.array([decoding.score(made, encoded, texts) for texts in candidates])
    texts, log_p = decoding.greedy(made, encoded)
    assert_allclose(log_p, scores.max(axis=0), rtol=1e-4)
    for row, winner in enumerate(scores.argmax(axis=0)):
        expected = candidates[winner].ids[row, : candidates[winner].lengths[row]]
        assert_array_equal(texts.ids[row, : texts.lengths[row]], expected)


def test_of_two_texts_the_better_one_is_taken_row_by_row() -> None:
    one = Texts(tf.constant([[1, 2], [3, 0]]), tf.constant([2, 1]))
    other = Texts(tf.constant([[4, 4, 4], [5, 5, 0]]), tf.constant([3, 2]))
    texts, scores = decoding.better(
        [one, other], [tf.constant([-3.0, -1]), tf.constant([-2.0, -5])]
    )
    assert texts.ids.numpy().tolist() == [[4, 4, 4], [3, 0, 0]]
    assert texts.lengths.numpy().tolist() == [3, 1]
    assert scores.numpy().tolist() == [-2, -1]


# The export


@pytest.fixture(scope="module")
def causal(tmp_path_factory: Any) -> tuple[Serving, Path]:
    made = Serving(network(CAUSAL, seed=2, layers=2, cell="lstm", decoder="ctc"), SYMBOLS)
    path = tmp_path_factory.mktemp("export") / "1"
    export.write([made.network], made.signatures(), path)
    return made, path


def in_chunks(endpoint: Any, sizes: list[int], sound: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """What all steps answer together: log-probabilities, and texts strung together."""
    state = endpoint("start", batch=tf.constant(len(sound)))
    parts, texts, begin = [], [""] * len(sound), 0
    for size in [*sizes, None]:
        if size is None:
            said = endpoint("finish", **state)
        else:
            said = endpoint("step", waveform=tf.constant(sound[:, begin : begin + size]), **state)
            begin += size
        parts.append(said["log_p"].numpy())
        texts = [t + new.decode() for t, new in zip(texts, said["text"].numpy(), strict=True)]
        state = {name: value for name, value in said.items() if name.startswith("state_")}
    return np.concatenate(parts, axis=1), texts


def endpoints(path: Path) -> Any:
    loaded = export.load(path)
    return lambda name, **inputs: loaded.signatures[name](**inputs)


def greedy(serving: Serving, sound: np.ndarray) -> list[str]:
    lengths = tf.fill([len(sound)], sound.shape[1])
    found = serving.whole({"waveform": tf.constant(sound), "length": lengths})
    return [text.decode() for text in found["text"].numpy()]


@pytest.mark.parametrize("size", [160, 777, 5_000, 16_000, 24_000])
def test_chunks_of_any_size_give_what_one_pass_gives(
    causal: tuple[Serving, Path], size: int
) -> None:
    serving, path = causal
    found, texts = in_chunks(endpoints(path), [size] * -(-24_000 // size), SOUND)
    expected = log_p(serving.network, SOUND)
    assert found.shape == expected.shape
    assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert [text.strip() for text in texts] == greedy(serving, SOUND)
    assert min(map(len, greedy(serving, SOUND))) > 3  # there was something to say


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_steps_as_if_it_heard_all_at_once(cell: str) -> None:
    serving = Serving(network(CAUSAL, cell=cell, hop=2), SYMBOLS)
    sound = SOUND[:, :7_000]
    run = lambda name, **inputs: getattr(serving, name)(inputs)  # noqa: E731
    found, texts = in_chunks(run, [1500, 0, 1, 3000, 2499], sound)
    assert_allclose(found, log_p(serving.network, sound), rtol=1e-3, atol=1e-4)
    assert [text.strip() for text in texts] == greedy(serving, sound)


@pytest.mark.parametrize("length", [0, 1, 511, 512, 1500])
def test_short_sound_is_answered_whole_and_in_chunks(
    causal: tuple[Serving, Path], length: int
) -> None:
    serving, path = causal
    found, texts = in_chunks(endpoints(path), [length], SOUND[:, :length])
    made = serving.network
    frames = 1 + (length + made.tail - features.FRAME) // features.HOP
    steps = frames // made.hop - made.settings.delay if length else 0
    assert found.shape == (2, steps, len(SYMBOLS) + 1)
    assert [text.strip() for text in texts] == greedy(serving, SOUND[:, :length])


@pytest.mark.parametrize("decoder", ["ctc", "attention", "joint"])
def test_an_export_gives_the_same_answers(decoder: Any, tmp_path: Path) -> None:
    serving = Serving(network(decoder=decoder), SYMBOLS)
    path = tmp_path / "1"
    export.write([serving.network], serving.signatures(), path)
    given = {"waveform": SOUND, "length": np.array([24_000, 9_000], np.int32)}
    here = serving.whole({name: tf.constant(value) for name, value in given.items()})
    if decoder == "joint":
        found = export.answer_in_clean_process(path, "serving_default", given)
    else:
        found = endpoints(path)("serving_default", **{k: tf.constant(v) for k, v in given.items()})
    assert np.array(found["text"], bytes).tolist() == np.array(here["text"], bytes).tolist()
    assert_allclose(found["confidence"], here["confidence"], rtol=1e-3)
    assert all(np.array(here["text"], bytes))
    nothing = endpoints(path)(
        "serving_default", waveform=tf.zeros([2, 0]), length=tf.constant([0, 0])
    )
    assert nothing["text"].numpy().tolist() == [b"", b""]
    assert ("say" in serving.signatures()) == (decoder != "ctc")
    assert "step" not in serving.signatures()


def test_what_is_heard_and_said_step_by_step_is_what_greedy_decoding_says(tmp_path: Path) -> None:
    serving = Serving(network(decoder="attention"), SYMBOLS)
    sound = {"waveform": tf.constant(SOUND), "length": tf.constant([24_000, 9_000])}
    heard, whole = serving.hear(sound), serving.whole(sound)
    state = {"alignment": tf.zeros(heard["states"].shape[:2]), "state_0": tf.zeros([2, 6])}
    last, total = tf.zeros([2], tf.int32), np.zeros(2)
    for u in range(whole["ids"].shape[1]):
        said = serving.say({"last": last, **heard, **state})
        log_p = said.pop("log_p").numpy()
        going = u < np.count_nonzero(whole["ids"], axis=1)
        assert_array_equal(log_p.argmax(axis=1)[going], whole["ids"][:, u].numpy()[going])
        last, state = whole["ids"][:, u], said
        total += np.where(going, log_p[np.arange(2), last], 0)
    assert (total < 0).all()
    assert_allclose(tf.reduce_sum(state["alignment"], axis=1), 1, rtol=1e-5)
