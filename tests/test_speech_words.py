"""Words with their times and confidences, subtitles, and scores of texts."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apps.speech import metrics, plots, predict, words
from apps.speech.utterances import Utterance
from apps.speech.words import Word
from tests import reference_speech


def spoken(time: int, seed: int) -> np.ndarray:
    return np.log(reference_speech.softmax(np.random.default_rng(seed).normal(0, 1.5, (time, 4))))


# Words


@pytest.mark.parametrize("seed", range(5))
def test_the_alignment_is_the_likeliest_one(seed: int) -> None:
    log_p = spoken(6, seed)
    for text, ways in reference_speech.alignments(log_p).items():
        if len(text) not in (1, 2, 3):
            continue
        best = max(ways, key=lambda way: way[1])[0]
        runs = [n for n, symbol in enumerate(best) if symbol and (n == 0 or best[n - 1] != symbol)]
        spans = words.align(log_p, text)
        assert_array_equal(spans[:, 0], runs)
        for (begin, end), symbol in zip(spans, text, strict=True):
            assert set(best[begin : end + 1]) == {symbol}


def test_a_text_too_long_for_its_sound_has_no_alignment() -> None:
    with pytest.raises(ValueError, match="3 symbols in 3 steps"):
        words.align(spoken(3, 0), (1, 1, 2))
    assert words.align(spoken(3, 0), ()).shape == (0, 2)
    assert words.align(np.zeros((0, 4)), ()).shape == (0, 2)


def test_a_symbol_is_as_likely_as_it_is_to_be_said_in_its_place() -> None:
    log_p = spoken(9, 1)
    p = np.exp(log_p)
    spans = np.array([[1, 2], [5, 5]])
    found = words.chances(log_p, (2, 3), spans)
    # Nearer to the first than to the second: steps 0 to 3.
    assert_allclose(found[0], 1 - np.prod(1 - p[:4, 2]))
    assert_allclose(found[1], 1 - np.prod(1 - p[4:, 3]))
    assert words.chances(log_p, (), np.zeros((0, 2), int)).shape == (0,)


def test_words_last_as_long_as_they_sound() -> None:
    loud = np.array([-70, -20, -10, -9, -30, -8, -10, -70, -70, -12, -10, -70], float)
    symbols = ["h", "i", " ", "y", " ", "so"]
    spans = np.array([[2, 2], [3, 3], [4, 4], [5, 5], [7, 7], [10, 10]])
    confidences = np.array([0.9, 0.8, 0.5, 0.7, 0.5, 0.6])
    found = words.words_of(symbols, spans, confidences, loud, 0.1)
    assert [word.text for word in found] == ["hi", "y", "so"]
    assert_allclose([word.confidence for word in found], [0.72, 0.7, 0.6])
    times = [(word.begin, word.end) for word in found]
    assert_allclose(times, [(0.1, 0.4), (0.4, 0.7), (0.9, 1.1)], atol=1e-9)


def test_words_do_not_overlap() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        steps = np.sort(random.choice(40, 6, replace=False))
        spikes = steps.reshape(3, 2)
        found = words.sounding(spikes, random.uniform(-60, 0, 40))
        assert all(0 <= begin < end <= 40 for begin, end in found)
        assert all(a[1] <= b[0] for a, b in pairwise(found))


def test_a_spike_in_the_silence_after_a_word_belongs_to_its_sound() -> None:
    loud = np.full(20, -70.0)
    loud[4:8], loud[12:17] = -10, -5
    assert words.sounding(np.array([[9, 9], [19, 19]]), loud) == [(4, 8), (12, 17)]
    loud[4:8] = -70
    assert words.sounding(np.array([[6, 7], [14, 14]]), loud) == [(6, 8), (12, 17)]


def test_words_that_one_step_looks_at_are_both_somewhere() -> None:
    loud = np.full(20, -70.0)
    loud[4:8] = -10
    spikes = np.array([[5, 5], [5, 5], [5, 6]])
    assert words.sounding(spikes, loud) == [(4, 5), (5, 6), (5, 8)]
    random = np.random.default_rng(3)
    for _ in range(100):
        spikes = np.sort(random.integers(0, 40, 6)).reshape(3, 2)
        found = words.sounding(spikes, random.uniform(-60, 0, 40))
        assert all(0 <= begin < end <= 40 for begin, end in found)


def test_what_is_said_about_its_end_belongs_to_the_sound_there() -> None:
    loud = np.full(40, -60.0)
    loud[:6] = -90  # nothing at all, before anybody speaks
    loud[6:12], loud[14:20], loud[20:30] = -10, -5, -8
    loud[6], loud[20] = -25, -12  # one begins softly, another one without a pause
    for spikes in ([10, 19, 26], [12, 22, 32], [13, 20, 29]):
        places = np.repeat(spikes, 2).reshape(3, 2)
        assert words.sounding(places, loud, (4, 4)) == [(6, 12), (14, 20), (20, 30)]
    random = np.random.default_rng(2)
    for _ in range(200):
        ends = np.sort(random.choice(range(4, 40), 6, replace=False)).reshape(3, 2)
        around = tuple(random.integers(1, 20, 2))
        found = words.sounding(ends, random.uniform(-60, 0, 40), around)
        assert all(0 <= begin < end <= 40 for begin, end in found)
        assert all(a[1] <= b[0] for a, b in pairwise(found))


def test_pieces_make_words_too() -> None:
    spans = np.array([[0, 0], [1, 1], [3, 3]])
    found = words.words_of([" s", "ix", " ten"], spans, np.array([0.5, 0.4, 0.9]), np.zeros(4), 1.0)
    assert [(word.text, round(word.confidence, 3)) for word in found] == [
        ("six", 0.2),
        ("ten", 0.9),
    ]


def test_loudness_is_that_of_each_step() -> None:
    waveform = np.concatenate([np.full(100, 0.5), np.full(50, 0.1), np.zeros(50)])
    found = words.loudness(waveform, 3, 100)
    assert_allclose(found, [10 * np.log10(0.25), 10 * np.log10(0.005), -100], atol=1e-3)


def test_subtitles_break_at_pauses_and_before_they_are_too_long() -> None:
    said = [Word("one", 0.5, 0.9, 1), Word("two", 1.0, 1.25, 1), Word("three", 3661.5, 3662, 1)]
    assert predict.subtitles(said) == (
        "1\n00:00:00,500 --> 00:00:01,250\none two\n\n2\n01:01:01,500 --> 01:01:02,000\nthree\n"
    )
    many = [Word("seventeen", n / 2, n / 2 + 0.4, 1) for n in range(9)]
    lines = [block.splitlines()[2] for block in predict.subtitles(many).split("\n\n")]
    assert max(map(len, lines)) <= predict.LONGEST
    assert " ".join(lines) == " ".join(["seventeen"] * 9)
    assert predict.subtitles([]) == ""


def test_a_picture_has_a_panel_for_each_decoder() -> None:
    log_p, looks = spoken(20, 3), np.random.default_rng(0).random((2, 20))
    sound = np.random.default_rng(0).normal(size=9600)
    for heard, count in (((log_p, looks), 3), ((log_p, None), 2), ((None, looks), 2)):
        figure = plots.heard(
            sound,
            ["a", " ", "b"],
            (1, 3),
            0.03,
            log_p=heard[0],
            looks=heard[1],
            words=[Word("ab", 0.1, 0.4, 0.8)],
        )
        assert len(figure.axes) == count
    assert len(plots.heard(np.zeros(0), list("abc"), (), 0.03, log_p=log_p, looks=None).axes) == 2


# Scores


def utterances(texts: list[str], speakers: str = "") -> list[Utterance]:
    names = speakers or "a" * len(texts)
    sound = np.zeros(10, np.int16)
    return [
        Utterance(str(n), sound, text, who)
        for n, (text, who) in enumerate(zip(texts, names, strict=True))
    ]


SAID = ["one two three", "four", "five six", "seven eight nine oh"]
WRITTEN = ["one too three", "four four", "", "seven eight nine oh"]


def test_errors_are_counted_over_all_words_together() -> None:
    found = metrics.scores(utterances(SAID), WRITTEN)
    assert_allclose(found["wer"], (1 + 1 + 2) / 10)
    assert_allclose(found["substitutions"], 1 / 10)
    assert_allclose(found["insertions"], 1 / 10)
    assert_allclose(found["deletions"], 2 / 10)
    assert_allclose(found["string_accuracy"], 1 / 4)
    assert_allclose(found["cer"], (1 + 5 + 8) / sum(map(len, SAID)))
    for name in ("wer", "cer", "string_accuracy"):
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]
    everything = metrics.scores(utterances(SAID), SAID)
    assert (everything["wer"], everything["wer_high"], everything["string_accuracy"]) == (0, 0, 1)


def test_an_interval_is_over_speakers_where_there_are_enough() -> None:
    random = np.random.default_rng(0)
    speakers = "".join(letter * 40 for letter in "abcdefghij")
    texts = ["one two three four"] * 400
    bad = {letter: random.random() < 0.3 for letter in "abcdefghij"}
    written = ["" if bad[who] else texts[0] for who in speakers]
    over_speakers = metrics.scores(utterances(texts, speakers), written)
    over_utterances = metrics.scores(utterances(texts), written)
    assert over_speakers["wer"] == over_utterances["wer"]
    widths = [s["wer_high"] - s["wer_low"] for s in (over_speakers, over_utterances)]
    assert widths[0] > 3 * widths[1]  # a voice is wrong as a whole


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    random, hits = np.random.default_rng(1), 0
    for _ in range(60):
        errors = random.binomial(4, 0.1, 80).astype(float)
        found = metrics.ratio("wer", errors, np.full(80, 4.0), np.arange(80), 400)
        hits += found["wer_low"] <= 0.1 <= found["wer_high"]
    assert hits >= 50


def test_errors_by_speaker_by_length_and_the_worst() -> None:
    said = utterances(SAID, "abba")
    rows = metrics.by_speaker(said, WRITTEN)
    assert list(rows) == ["b", "a"]
    assert_allclose([rows["b"]["wer"], rows["a"]["wer"]], [3 / 3, 1 / 7])
    assert metrics.by_length(said, WRITTEN) == {1: 1.0, 2: 1.0, 3: 1 / 3, 4: 0.0}
    worst = metrics.worst(said, WRITTEN, 2)
    assert [(row["name"], row["errors"], row["written"]) for row in worst] == [
        ("2", 2, ""),
        ("0", 1, "one too three"),
    ]
    assert metrics.worst(said, SAID) == []
    assert len(plots.errors(metrics.by_length(said, WRITTEN), rows).axes) == 2
