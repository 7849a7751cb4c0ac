"""Real recordings: files where Debian's packages put them, and sentences on a telephone."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import soundfile
from G722 import G722
from numpy.testing import assert_allclose

from apps.speech import data, real
from apps.speech.grammar import DIGIT_WORDS
from apps.speech.utterances import RATE, int16
from common.errors import UserError
from tests.speech_sounds import tones

FIGURES = [*map(str, range(10)), "oh"]
LISTED = """; Sounds of a made-up exchange

hello: Hello, caller.
menu: Press 1 to speak, or 20 to wait; it's free.
beep: [this is a simple beep tone]
silence/1: one second of silence
lost: This one is not there.
"""


def seconds_of(figure: str) -> float:
    return 0.3 + 0.02 * FIGURES.index(figure)


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of the packages' names and kinds, with tones of lengths that tell digits apart."""
    monkeypatch.setattr(real, "DEBIAN", tmp_path)
    prompts = tmp_path / real.PROMPTS
    for folder in (prompts / "digits", prompts / "silence", tmp_path / real.SAYTIME):
        folder.mkdir(parents=True)
    coder = G722(RATE, 64_000)
    for figure in FIGURES:
        sound = tones(seconds_of(figure), 8000)
        soundfile.write(prompts / "digits" / f"{figure}.wav", sound, 8000)
        soundfile.write(tmp_path / real.SAYTIME / f"{figure}.au", sound, 8000, subtype="ULAW")
        wide = int16(tones(seconds_of(figure), RATE))
        (prompts / "digits" / f"{figure}.g722").write_bytes(coder.encode(wide))
    for name in ("hello", "menu", "beep", "silence/1"):
        soundfile.write(prompts / f"{name}.wav", tones(1, 8000), 8000)
    listed = tmp_path / real.LIST
    listed.parent.mkdir(parents=True)
    listed.write_bytes(gzip.compress(LISTED.encode()))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "speakers"),
    [("real-digits", {"prompts", "saytime"}), ("real-digits-wide", {"prompts"})],
)
def test_strings_are_made_of_recorded_digits(debian: Path, name: str, speakers: set[str]) -> None:
    found = data.load_test(name)
    assert {utterance.speaker for utterance in found} == speakers
    assert len(found) == 300 * len(speakers)
    assert len({utterance.name for utterance in found}) == len(found)
    for utterance in found:
        words = utterance.text.split()
        assert 1 <= len(words) <= 7
        recorded = sum(seconds_of(real.FILES[word]) for word in words)
        pauses = utterance.seconds - recorded
        assert -0.01 < pauses < 0.25 * len(words) + 0.01
        assert utterance.samples.dtype == np.int16
    every = [word for utterance in found for word in utterance.text.split()]
    assert set(every) == set(DIGIT_WORDS)
    again = data.load_test(name)
    assert all((a.samples == b.samples).all() for a, b in zip(found, again, strict=True))


@pytest.mark.parametrize("name", ["real-digits", "real-digits-wide"])
def test_a_recorded_digit_sounds_as_it_does_in_its_file(debian: Path, name: str) -> None:
    single = next(u for u in data.load_test(name) if u.text == "seven")
    wanted = tones(seconds_of("7"))
    found = single.samples[-len(wanted) :] / 32768
    power = np.abs(np.fft.rfft(found * np.hanning(len(found))))
    assert power.argmax() * RATE / len(found) == pytest.approx(440, abs=5)
    swell = np.sqrt(np.mean(np.square(found[-2000:]))) / np.sqrt(np.mean(np.square(wanted[-2000:])))
    assert swell == pytest.approx(1, abs=0.1)


def test_prompts_have_their_transcripts_in_words(debian: Path) -> None:
    found = {utterance.name: utterance for utterance in data.load_test("prompts")}
    assert set(found) == {"hello", "menu"}  # no beeps, no silence, nothing without a file
    assert found["hello"].text == "hello caller"
    assert found["menu"].text == "press one to speak or two zero to wait it's free"
    assert_allclose(found["hello"].samples[800:15_000] / 32768, tones(1)[800:15_000], atol=0.01)


def test_every_figure_has_its_word() -> None:
    assert real.FILES == {
        "zero": "0", "oh": "oh", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5",
        "six": "6", "seven": "7", "eight": "8", "nine": "9",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("prompts", "asterisk-core-sounds-en-wav"),
        ("real-digits", "asterisk-core-sounds-en-wav"),
        ("real-digits-wide", "asterisk-core-sounds-en-g722"),
    ],
)
def test_a_package_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    monkeypatch.setattr(real, "DEBIAN", tmp_path)
    with pytest.raises(UserError) as error:
        data.load_test(name)
    wanted = f"Debian's package {package} is not installed: apt-get install {package}"
    assert str(error.value) == f"{name}: {wanted}"


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UserError, match="expected prompts, real-digits, real-digits-wide"):
        data.load_test("real-letters")
