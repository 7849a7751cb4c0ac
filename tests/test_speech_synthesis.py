"""The generator, in a process of its own, and what it says."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from apps.speech import voices
from apps.speech.grammar import COMMANDS, DIGIT_WORDS
from apps.speech.synthesise import (
    Cast,
    SynthesiseConfig,
    command,
    digits,
    phrases_of,
    run,
    split_of_order,
    spoken,
)
from common.errors import UserError
from tests.commands import Answer, child, refusal

SPLITS = ("train", "validation", "test")
MODULE = "apps.speech.synthesise"


def generated(out: Path, *words: object) -> Answer:
    return child("-m", MODULE, "--out", out, *words)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


COUNTS = ("--train", 24, "--validation", 8, "--test", 30)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "digits"
    answer = generated(folder, *COUNTS)
    assert answer.code == 0, answer.err
    return folder


def test_the_generator_writes_sounds_and_a_manifest(made: Path) -> None:
    rows = table(made)
    assert [row["split"] for row in rows] == ["train"] * 24 + ["validation"] * 8 + ["test"] * 30
    assert {path.relative_to(made).as_posix() for path in made.rglob("*.wav")} == {
        row["path"] for row in rows
    }
    for row in rows:
        words = row["text"].split()
        assert 1 <= len(words) <= 7
        assert set(words) <= set(DIGIT_WORDS)
        samples, rate = soundfile.read(made / row["path"], dtype="float32")
        assert (rate, samples.ndim) == (16_000, 1)
        assert 0.15 * len(words) < len(samples) / rate < 2 * len(words) + 1.2
        assert 0.15 < np.abs(samples).max() < 0.85  # loud, and never clipped
        assert not samples[:790].any()  # 50 ms of silence at both ends
        assert not samples[-790:].any()


def test_no_voice_is_in_two_splits_and_the_test_has_accents_more(made: Path) -> None:
    persons = {split: set[str]() for split in SPLITS}
    accents = {split: set[str]() for split in SPLITS}
    for row in table(made):
        persons[row["split"]].add(voices.family(row["speaker"]))
        accents[row["split"]].add(row["accent"])
    assert not persons["train"] & persons["test"]
    assert not persons["train"] & persons["validation"]
    assert not persons["validation"] & persons["test"]
    assert accents["test"] & set(voices.UNHEARD_ACCENTS)
    assert not (accents["train"] | accents["validation"]) & set(voices.UNHEARD_ACCENTS)


def test_the_same_seed_gives_the_same_files(made: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again", tmp_path / "other"
    assert generated(again, *COUNTS).code == 0
    assert generated(other, *COUNTS, "--seed", 1).code == 0
    files = sorted(path.relative_to(made) for path in made.rglob("*.*"))
    assert len(files) == 63
    assert all((made / file).read_bytes() == (again / file).read_bytes() for file in files)
    differ = [(made / file).read_bytes() != (other / file).read_bytes() for file in files]
    assert sum(differ) > 60


def test_phrases_of_ones_own_are_spoken(tmp_path: Path) -> None:
    phrases = tmp_path / "phrases.txt"
    phrases.write_text("raise the  anchor\n\nlower the sails\n", encoding="utf-8")
    counts = ("--train", 6, "--validation", 0, "--test", 0)
    assert generated(tmp_path / "out", "--phrases", phrases, *counts).code == 0
    rows = table(tmp_path / "out")
    assert {row["text"] for row in rows} == {"raise the anchor", "lower the sails"}
    assert len(list((tmp_path / "out").rglob("*.wav"))) == 6


# What can't be done is said in a line


def test_a_folder_with_files_in_it_is_refused(made: Path) -> None:
    before = sorted(made.rglob("*"))
    message = refusal(generated(made, *COUNTS))
    assert message.endswith(f"--out {made}: expected a new or empty folder")
    assert sorted(made.rglob("*")) == before


def test_a_generator_that_is_stopped_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = []

    def stopped(*words: object) -> np.ndarray:
        heard.append(words)
        if len(heard) == 3:
            raise KeyboardInterrupt
        return np.ones(800, np.int16)

    monkeypatch.setattr("apps.speech.synthesise.spoken", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(SynthesiseConfig(tmp_path / "out", train=5))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").mkdir()  # an empty folder may be there
    path = run(SynthesiseConfig(tmp_path / "out", train=2, validation=0, test=0))
    assert len(path.read_text().splitlines()) == 3
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_phrases_that_are_not_there_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    out = tmp_path / "out"
    message = refusal(generated(out, "--phrases", tmp_path / "none.txt"))
    assert "none.txt: no such file" in message
    assert not out.exists()
    (tmp_path / "empty.txt").write_text(" \n")
    message = refusal(generated(out, "--phrases", tmp_path / "empty.txt"))
    assert message.endswith("empty.txt: no phrases in it")


@pytest.mark.parametrize("split", SPLITS)
def test_a_negative_number_of_utterances_is_refused(split: str) -> None:
    with pytest.raises(UserError, match=f"--{split} -1: expected a value at least 0"):
        SynthesiseConfig(Path("out"), **{split: -1})


# Phrases


def test_digit_strings_have_one_to_seven_digits_equally_often() -> None:
    random = np.random.default_rng(1)
    texts = [digits("train", random).split() for _ in range(2000)]
    lengths = np.bincount([len(text) for text in texts], minlength=8)[1:]
    assert lengths.min() > 0.8 * 2000 / 7
    words = [word for text in texts for word in text]
    assert min(words.count(word) for word in DIGIT_WORDS) > 0.85 * len(words) / 11


def test_no_order_is_given_in_two_splits() -> None:
    random = np.random.default_rng(2)
    orders: dict[str, set[str]] = {}
    for split in SPLITS:
        texts = [command(split, random) for _ in range(400)]
        assert any(" and " in text for text in texts)
        parts = [part for text in texts for part in text.split(" and ")]
        orders[split] = {part.removeprefix("please ").removesuffix(" please") for part in parts}
        assert {split_of_order(order) for order in orders[split]} == {split}
        assert len(orders[split]) > 40
    assert {word for text in orders["train"] for word in text.split()} >= set(COMMANDS.words()) - {
        "and",
        "please",
    }  # no word is heard in the test for the first time


def test_the_task_decides_what_is_said() -> None:
    random = np.random.default_rng(4)
    said = phrases_of(SynthesiseConfig(Path("out"), task="commands"))("test", random)
    assert not set(said.split()) <= set(DIGIT_WORDS)


# Voices


@pytest.fixture(scope="module")
def espeak() -> voices.Espeak:
    return voices.Espeak()


PLAIN = voices.Manner(pace=1.0, pitch=0.0, liveliness=0.5)


def test_every_person_can_speak_every_accent(espeak: voices.Espeak) -> None:
    variants = espeak.variants()
    assert len(variants) > 80
    assert not [name for name in variants if "robo" in name.lower() or "whisper" in name]
    for number, accent in enumerate(voices.ACCENTS + voices.UNHEARD_ACCENTS):
        samples = espeak.voice(variants[number], accent).say("nine", PLAIN, 1)
        assert 0.2 < len(samples) / espeak.rate < 1.5
        assert np.abs(samples).max() > 2000


def test_an_unknown_voice_is_an_error(espeak: voices.Espeak) -> None:
    with pytest.raises(UserError, match=r"espeak-ng has no voice en-gb\+f3"):
        espeak.voice("f3", "en-gb").say("nine", PLAIN, 1)


def pitch(samples: np.ndarray, rate: int) -> float:
    """Hz, of the strongest repetition between 60 and 400 Hz."""
    samples = samples.astype(float)
    echo = np.fft.irfft(np.abs(np.fft.rfft(samples, 2 * len(samples))) ** 2)
    lags = np.arange(rate // 400, rate // 60)
    return rate / lags[echo[lags].argmax()]


def test_manners_change_pace_pitch_and_gaps(espeak: voices.Espeak) -> None:
    voice = espeak.voice("m1", "en")

    def said(manner: voices.Manner) -> np.ndarray:
        return voice.say("one nine one nine", manner, 1)

    plain = said(PLAIN)
    slow, fast = said(voices.Manner(0.6, 0, 0.5)), said(voices.Manner(1.5, 0, 0.5))
    assert len(slow) > 1.3 * len(plain) > 1.6 * len(fast)
    apart = said(voices.Manner(1, 0, 0.5, gap=0.3))
    assert 0.7 < (len(apart) - len(plain)) / espeak.rate < 1.8  # three of them
    low, high = (said(voices.Manner(1, level, 0)) for level in (-1, 1))
    assert pitch(high, espeak.rate) > 1.3 * pitch(low, espeak.rate)


def test_a_long_tract_lowers_all_frequencies(espeak: voices.Espeak) -> None:
    random = np.random.default_rng(0)
    person = Cast(espeak, []).drawn("train", random)
    same = {"voice": person.voice, "manner": person.manner}
    short, long = (type(person)(**same, tract=tract).say("nine", random) for tract in (0.9, 1.1))
    assert len(long) / len(short) == pytest.approx(1.1 / 0.9, rel=0.05)


def test_words_said_one_by_one_have_pauses(espeak: voices.Espeak) -> None:
    def quiet(slow: float) -> float:
        """Seconds without any sound between the first and the last word."""
        found = 0.0
        for seed in range(8):
            random = np.random.default_rng(seed)
            person = Cast(espeak, []).drawn("train", random)
            samples = spoken("one nine oh five", person, slow, random)
            loud = np.flatnonzero(samples)
            assert samples.dtype == np.int16
            found += float((samples[loud[0] : loud[-1]] == 0).sum()) / 16_000
        return found

    assert quiet(1.0) > quiet(0.0) + 1


def test_what_takes_too_long_is_left_to_somebody_else(
    espeak: voices.Espeak, monkeypatch: pytest.MonkeyPatch
) -> None:
    cast = Cast(espeak, [])
    lengths = [
        len(cast.said("one two", "test", 1.0, np.random.default_rng(n))[1]) for n in range(12)
    ]
    limit = float(np.median(lengths)) / 16_000
    monkeypatch.setattr("apps.speech.synthesise.LONGEST", limit)
    random = [np.random.default_rng(n) for n in range(12)]
    again = [len(cast.said("one two", "test", 1.0, r)[1]) for r in random]
    assert max(again) <= limit * 16_000 < max(lengths)
    monkeypatch.setattr("apps.speech.synthesise.LONGEST", 0.001)
    assert len(cast.said("one two", "test", 1.0, random[0])[1]) > 1000  # nobody can: said at last


def test_variants_of_one_person_stay_together() -> None:
    assert voices.family("klatt4") == voices.family("klatt") == "klatt"
    assert voices.family("Gene2") == "Gene"
    assert voices.family("f1") != voices.family("f2")
    names = [f"{letter}{number}" for letter in "fm" for number in range(1, 9)]
    assert len({voices.split_of(name) for name in names}) == 3


def test_flite_is_optional(monkeypatch: pytest.MonkeyPatch, espeak: voices.Espeak) -> None:
    def missing(*words: object, **more: object) -> None:
        raise OSError("cannot open shared object file")

    monkeypatch.setattr("ctypes.CDLL", missing)
    assert voices.flite_voices() == []
    random = np.random.default_rng(0)
    cast = Cast(espeak, voices.flite_voices())
    assert {cast.drawn("train", random).voice.engine for _ in range(30)} == {"espeak"}


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "espeakng_loader", None)
    with pytest.raises(UserError, match=r"espeakng-loader is missing: pip install -c constr"):
        voices.Espeak()
