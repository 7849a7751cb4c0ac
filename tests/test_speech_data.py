"""The packaged tasks as TFDS builders, and speech sets of the catalogue."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from numpy.testing import assert_allclose, assert_array_equal

from apps.speech import data, voices
from apps.speech.alphabet import of_characters
from apps.speech.config import DataConfig
from apps.speech.grammar import COMMANDS, DIGIT_WORDS, DIGITS
from apps.speech.utterances import Corpus
from common.errors import UserError
from tests.speech_sounds import tones

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def few() -> Corpus:
    return data.load(DataConfig(dataset="digits-few"))


# The packaged tasks


def test_the_few_digits_are_utterances_in_three_splits(few: Corpus) -> None:
    assert [len(getattr(few, split)) for split in SPLITS] == [240, 40, 60]
    assert few.words == tuple(sorted(DIGIT_WORDS))
    assert few.grammar == DIGITS
    assert few.skipped == ()
    assert few.alphabet.symbols == tuple(f" {word}" for word in few.words)
    for utterance in few.train + few.validation + few.test:
        assert utterance.samples.dtype == np.int16
        assert utterance.samples.ndim == 1
        assert 0.3 < utterance.seconds < 20
        assert (
            np.abs(utterance.waveform).max() == np.abs(utterance.samples.astype(int)).max() / 2**15
        )
        assert set(utterance.text.split()) <= set(DIGIT_WORDS)


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ({"symbols": "characters"}, set(" efghinorstuvwxz")),
        ({"alphabet": " efghinorstuvwxyz"}, set(" efghinorstuvwxyz")),
    ],
)
def test_digits_can_be_spelt_too(flags: dict[str, Any], wanted: set[str]) -> None:
    assert set(data.load(DataConfig(dataset="digits-few", **flags)).alphabet.symbols) == wanted


def test_no_voice_is_in_two_splits(few: Corpus) -> None:
    found = [
        {voices.family(utterance.speaker) for utterance in getattr(few, split)} for split in SPLITS
    ]
    assert not found[0] & found[1]
    assert not found[0] & found[2]
    assert not found[1] & found[2]
    accents = {utterance.accent for utterance in few.train}
    assert {utterance.accent for utterance in few.test} - accents == set(voices.UNHEARD_ACCENTS)


def test_they_are_made_once(few: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    def again(*words: object) -> None:
        raise AssertionError("made a second time")

    monkeypatch.setattr(data, "synthesise", again)
    other = data.load(DataConfig(dataset="digits-few"))
    assert [u.text for u in other.test] == [u.text for u in few.test]
    assert_array_equal(other.train[7].samples, few.train[7].samples)


def test_tfds_gives_them_by_name(few: Corpus) -> None:
    examples, info = tfds.load("synthesised_speech/digits-few", split="test", with_info=True)
    assert info.features["speech"].sample_rate == 16_000
    assert info.splits["train"].num_examples == 240
    found = next(iter(tfds.as_numpy(examples)))
    assert found["speech"].dtype == np.int16
    assert_array_equal(found["speech"], few.test[0].samples)
    assert found["text"].decode() == few.test[0].text
    names = set(data.SynthesisedSpeech.builder_configs)
    assert names == {"digits", "commands", "digits-few", "commands-few"} == set(data.PACKAGED)


def test_they_take_two_bytes_a_sample(few: Corpus) -> None:
    builder = tfds.builder("synthesised_speech/digits-few")
    size = sum(path.stat().st_size for path in Path(builder.data_dir).glob("*.tfrecord*"))
    samples = sum(len(u.samples) for split in SPLITS for u in getattr(few, split))
    assert size < 2.05 * samples


def test_commands_share_no_order_between_splits() -> None:
    corpus = data.load(DataConfig(dataset="commands-few"))
    orders = []
    for split in SPLITS:
        texts = [utterance.text for utterance in getattr(corpus, split)]
        parts = [part for text in texts for part in text.split(" and ")]
        orders.append({p.removeprefix("please ").removesuffix(" please") for p in parts})
    assert not orders[0] & orders[1]
    assert not orders[0] & orders[2]
    assert not orders[1] & orders[2]
    assert corpus.words == COMMANDS.words()
    assert corpus.grammar == COMMANDS


def test_a_generator_that_fails_is_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = subprocess.run

    def broken(words: list[str], **more: Any) -> Any:
        return real([sys.executable, "-c", "import sys; sys.exit(3)"], **more)

    monkeypatch.setattr(subprocess, "run", broken)
    builder = data.SynthesisedSpeech(config="digits-few", data_dir=tmp_path)
    with pytest.raises(UserError, match="the generator of speech ended with exit code 3"):
        builder.download_and_prepare()
    assert not builder.is_prepared()


def test_a_missing_generator_is_named_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = data.SynthesisedSpeech(config="digits-few", data_dir=tmp_path)
    monkeypatch.setattr(data.catalogue, "find", lambda *words: builder)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"espeakng-loader is missing.*`make speech` installs"):
        data.load(DataConfig(dataset="digits-few"))
    assert list(tmp_path.rglob("*.tfrecord*")) == []


def test_flite_that_came_later_is_pointed_out(
    few: Corpus, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    builder = tfds.builder("synthesised_speech/digits-few")
    spoke = any(utterance.speaker.startswith("flite-") for utterance in few.train)
    assert builder.info.metadata["flite"] == spoke
    for has, installed, said in ((False, "libflite.so.1", True), (True, "x", False)):
        builder.info.metadata["flite"] = has
        monkeypatch.setattr("ctypes.util.find_library", lambda name, found=installed: found)
        data.say_if_flite_came(builder)
        assert ("made before flite was installed" in capsys.readouterr().out) == said


# Other names


@pytest.mark.parametrize("name", ["no_such_speech", "", "digits few"])
def test_an_unknown_name_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(UserError, match=r"expected digits, commands, .*or a name in the TFDS cat"):
        data.load(DataConfig(dataset=name))


@pytest.mark.parametrize("name", data.REAL)
def test_real_recordings_are_not_for_training(name: str) -> None:
    with pytest.raises(UserError, match=f"--dataset {name}: for testing only: evaluate a run"):
        data.load(DataConfig(dataset=name))


def test_a_dataset_without_text_is_refused_with_its_features() -> None:
    with pytest.raises(UserError, match=r"--dataset gtzan: expected one feature of sound, and a t"):
        data.load(DataConfig(dataset="gtzan"))


class Stories(tfds.core.GeneratorBasedBuilder):
    """The features of ``librispeech``, which can't be fetched here, with made-up sounds."""

    VERSION = tfds.core.Version("1.0.0")
    of = "librispeech"
    parts = ("train_clean100", "dev_clean", "test_clean", "test_other")

    def _info(self) -> Any:
        return tfds.core.DatasetInfo(builder=self, features=tfds.builder(self.of).info.features)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {part: self._generate_examples(n) for n, part in enumerate(self.parts, 1)}

    def _generate_examples(self, number: int) -> Any:
        for index in range(4):
            name = f"{number}-{index}"
            yield name, self.example(number, index, name)

    def example(self, number: int, index: int, name: str) -> dict[str, Any]:
        samples = (tones(1 + index) * 32767).astype(np.int16)
        text = f"NUMBER {'ABCD'[index]}, SAID 'X'"
        ids = {"chapter_id": 1, "id": name, "speaker_id": 10 * number + index % 2}
        return {"speech": samples, "text": text, **ids}


class FewFigures(Stories):
    """Likewise of ``spoken_digit``, at 8 kHz, with its one split."""

    of = "spoken_digit"
    parts = ("train",)

    def _generate_examples(self, number: int) -> Any:
        for index in range(30):
            samples = (tones(0.5 + index / 100, 8000) * 32767).astype(np.int16)
            file = f"{index % 10}_{('anna', 'ben', 'cleo', 'dan')[index % 4]}_{index}.wav"
            yield file, {"audio": samples, "audio/filename": file, "label": index % 10}


def test_librispeech_is_read_by_its_features() -> None:
    corpus = data.load(DataConfig(dataset="stories"))
    assert [len(getattr(corpus, split)) for split in SPLITS] == [4, 4, 8]
    assert {u.text for u in corpus.train} == {f"number {letter} said x" for letter in "abcd"}
    assert {u.speaker for u in corpus.test} == {"30", "31", "40", "41"}
    longest = max(corpus.train, key=lambda u: u.seconds)
    assert_array_equal(longest.samples, (tones(4) * 32767).astype(np.int16))


def test_transcripts_stay_as_they_are_when_asked() -> None:
    corpus = data.load(DataConfig(dataset="stories", text="as-is"))
    assert {u.text for u in corpus.train} == {f"NUMBER {letter}, SAID 'X'" for letter in "ABCD"}


def test_hours_limit_what_is_held_in_memory() -> None:
    corpus = data.load(DataConfig(dataset="stories", hours=7.5 / 3600))
    for split in SPLITS:
        assert 1 <= sum(u.seconds for u in getattr(corpus, split)) <= 7.5


def test_spoken_digit_says_the_digits_as_words_and_is_split_by_speaker() -> None:
    corpus = data.load(DataConfig(dataset="few_figures"))
    found = [{u.speaker for u in getattr(corpus, split)} for split in SPLITS]
    assert sorted(map(len, found)) == [1, 1, 2]
    assert found[0] | found[1] | found[2] == {"anna", "ben", "cleo", "dan"}
    every = corpus.train + corpus.validation + corpus.test
    assert len(every) == 30
    assert {u.text for u in every} == set(DIGIT_WORDS) - {"oh"}
    first = min(every, key=lambda u: u.seconds)
    assert first.text == "zero"
    assert_allclose(first.samples / 32768, tones(0.5), atol=0.02)  # at 16 kHz


@pytest.mark.parametrize(
    ("name", "rate", "text"), [("librispeech", 16_000, "text"), ("ljspeech", 22_050, "text_norm")]
)
def test_the_real_sets_have_these_features(name: str, rate: int, text: str) -> None:
    reader = data.Reader(tfds.builder(name).info.features, DataConfig(dataset=name))
    assert reader.rate == rate
    assert reader.text.startswith(text)


# Scoring


def test_a_run_is_scored_on_the_test_split_in_its_own_alphabet(few: Corpus) -> None:
    kept, skipped = data.to_score(DataConfig(dataset="digits-few"), few.alphabet)
    assert [u.text for u in kept] == [u.text for u in few.test]
    assert skipped == []
    poor = of_characters(["one nine oh two four five six"])
    kept, skipped = data.to_score(DataConfig(dataset="digits-few"), poor)
    assert len(kept) + len(skipped) == 60
    assert kept
    assert all("is outside the alphabet" in line for line in skipped)
    with pytest.raises(UserError, match=r"\(--strict\)$"):
        data.to_score(DataConfig(dataset="digits-few", strict=True), poor)


def test_nothing_to_score_is_an_error(few: Corpus) -> None:
    with pytest.raises(
        UserError, match=r"digits-few: no recordings to use; left out: 60 outside the"
    ):
        data.to_score(DataConfig(dataset="digits-few"), of_characters(["q"]))
