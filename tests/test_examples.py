"""The examples in plain Python say what the graphs say whose part they take."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from apps.sentiment import model
from apps.speech.features import LogMel
from common import export, warmup
from examples.log_mel import log_mel, text
from examples.word_numbers import word_numbers
from tests.deployment_cases import export_of
from tests.speech_runs import random_run, sound

VOCABULARY = ["a", "bad", "film", "not", "good", "café", "été", "don't", "o'clock", "90's"]
VOCABULARY += ["word3", "i̇", "漢字", "½", "x", "²"]
TEXTS = [
    "It's not a bad film, 😀 but (for all its 2 hours) a dull one!",
    "",
    " \t\n",
    "Don't… 'quote' rock'n'roll o’clock ’tis the 90's",
    "BAD!<br />BAD!<br/>bad <br > ÉTÉ café café\u00a0no-break naïve Straße İ",
    "1,000.50 — “quoted”; A/B_C x² ½ 漢字 हिन्दी",
    "one\x0btwo\x0cthree\r\nfour",
    " ".join(f"word{n} good" for n in range(700)),
]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:12] or "empty")
def test_words_get_the_numbers_that_the_graph_gives_them(text: str) -> None:
    vectorizer = model.vectorizer_of(["", "[UNK]", *VOCABULARY])
    [wanted] = model.encode(vectorizer, [text], 1000)
    assert word_numbers(text, vectorizer.get_vocabulary()) == wanted.tolist()


def test_a_runs_vocabulary_is_read_from_its_file() -> None:
    run = export_of("sentiment").parent.parent
    vocabulary = (run / "vocabulary.txt").read_text(encoding="utf-8").split("\n")[:-1]
    asked = warmup.read(export_of("sentiment"))
    [said] = asked["serving_default"]["text"]
    words = word_numbers(said.decode(), vocabulary)
    assert words == asked["read"]["words"][0, : len(words)].tolist()
    assert words


@pytest.mark.parametrize(("mels", "seconds"), [(40, 1.3), (20, 0.2), (80, 0.01), (40, 0.0)])
def test_frames_are_those_of_the_graph(mels: int, seconds: float) -> None:
    waveform = sound(3, seconds).astype(np.float32) / 32768
    wanted, _ = LogMel(mels)(waveform[np.newaxis], tf.constant([len(waveform)]))
    assert_allclose(log_mel(waveform, mels), wanted, atol=2e-3)


@pytest.mark.parametrize("causal", [False, True])
def test_frames_of_a_recording_lead_to_what_the_model_hears(causal: bool) -> None:
    path = random_run(causal) / "export" / "1"
    loaded, asked = export.load(path), warmup.read(path)
    waveform, mels = asked["serving_default"]["waveform"][0], asked["encode"]["log_mel"].shape[-1]
    assert_allclose(log_mel(waveform, mels), asked["encode"]["log_mel"], atol=2e-3)
    frames = log_mel(np.append(waveform, np.zeros(8_000 * causal, np.float32)), mels)
    sound = {name: tf.constant(value) for name, value in asked["hear"].items()}
    wanted = loaded.signatures["hear"](**sound)["log_p"]
    said = loaded.signatures["encode"](log_mel=tf.constant(frames))["log_p"]
    assert_allclose(said, wanted, atol=2e-2)


def test_the_likeliest_path_is_read_without_repetitions_and_blanks() -> None:
    path = [0, 3, 3, 0, 3, 1, 1, 2, 0, 0]
    log_p = np.log(np.full((1, len(path), 4), 0.1))
    log_p[0, np.arange(len(path)), path] = 0.0
    assert text(log_p, ["a", " ", "c"]) == "cca"


def test_a_recordings_text_is_that_of_the_ctc_decoder() -> None:
    from apps.speech.decoding import best_path

    random = np.random.default_rng(0)
    log_p = random.normal(size=(1, 60, 5)).astype(np.float32)
    found = best_path(tf.constant(log_p), tf.ones([1, 60], tf.bool))
    wanted = "".join("abcd"[number - 1] for number in found.ids[0].numpy())
    assert text(log_p, list("abcd")) == wanted


def test_symbols_stand_in_the_runs_schema() -> None:
    run = Path(export_of("speech")).parent.parent
    alphabet = json.loads((run / "schema.json").read_text())["alphabet"]
    steps = export.load(run / "export" / "1").signatures["encode"].structured_outputs["log_p"]
    assert_array_equal(len(alphabet["symbols"]) + 1, steps.shape[-1])
