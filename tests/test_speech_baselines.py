"""The template matcher: words by dynamic time warping."""

import numpy as np
import pytest

from apps.speech import baselines
from apps.speech.baselines import mfccs, single_words, template_matcher
from apps.speech.utterances import RATE, Utterance, int16

GLIDES = {"up": (300, 1500), "down": (1500, 300), "flat": (700, 700)}


def said(word: str, seed: int, speaker: str = "") -> Utterance:
    """A glide of tones for each word, at a pace and pitch of its own, between silences."""
    random = np.random.default_rng(seed)
    count = int(RATE * random.uniform(0.4, 1.0))
    begin, end = np.array(GLIDES[word]) * random.uniform(0.9, 1.1)
    frequency = begin + (end - begin) * np.linspace(0, 1, count) ** random.uniform(0.7, 1.4)
    phase = 2 * np.pi * np.cumsum(frequency) / RATE
    sound = 0.3 * np.sin(phase) + 0.1 * np.sin(2 * phase) + random.normal(0, 0.002, count)
    silence = np.zeros(int(RATE * random.uniform(0, 0.3)))
    return Utterance(f"{word}{seed}", int16(np.concatenate([silence, sound])), word, speaker)


TRAIN = [said(word, 10 * n + k) for n, word in enumerate(GLIDES) for k in range(6)]
TEST = [said(word, 100 + 10 * n + k) for n, word in enumerate(GLIDES) for k in range(5)]


def test_words_are_told_apart_whatever_their_pace() -> None:
    assert template_matcher(TRAIN, TEST) == [utterance.text for utterance in TEST]


def test_strings_of_words_are_no_templates() -> None:
    strings = [Utterance(u.name, u.samples, "up down", "") for u in TEST]
    assert single_words([*strings, *TRAIN[:2]]) == [len(TEST), len(TEST) + 1]
    assert template_matcher([*strings, *TRAIN], TEST) == [u.text for u in TEST]
    assert template_matcher(strings, TEST) is None


@pytest.mark.parametrize("train", [TRAIN[:6], TRAIN[:3] + TRAIN[6:9], []])
def test_too_few_templates_are_no_baseline(train: list[Utterance]) -> None:
    assert template_matcher(train, TEST) is None


def test_templates_are_of_many_speakers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "TEMPLATES", 3)
    monkeypatch.setattr(baselines, "LEAST", 1)
    heard: list[str] = []
    real = baselines.mfccs

    def noted(utterance: Utterance) -> np.ndarray:
        heard.append(utterance.name)
        return real(utterance)

    monkeypatch.setattr(baselines, "mfccs", noted)
    who = ("a", "a", "a", "b", "a", "c")
    train = [said(w, k, who[k]) for w in ("up", "down") for k in range(6)]
    template_matcher(train, [])
    assert heard == ["down0", "down3", "down5", "up0", "up3", "up5"]


def test_loudness_and_silence_around_do_not_matter() -> None:
    one = TEST[0]
    quiet = np.zeros(4000, np.int16)
    other = Utterance("b", np.concatenate([quiet, one.samples // 4, quiet]), "up")
    assert mfccs(one).shape[0] == mfccs(other).shape[0] == 13
    assert abs(mfccs(one).shape[1] - mfccs(other).shape[1]) <= 4
    assert baselines._cost(mfccs(one), mfccs(other)) < baselines._cost(mfccs(one), mfccs(TEST[5]))


def test_a_recording_shorter_than_a_frame_is_compared_all_the_same() -> None:
    click = Utterance("click", np.full(20, 9000, np.int16), "up")
    assert template_matcher(TRAIN, [click])[0] in GLIDES  # type: ignore[index]
