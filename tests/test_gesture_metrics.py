"""Scores of labelled streams: by hand, and against the equations in plain NumPy."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from apps.gesture.metrics import (
    by_subject,
    confusion,
    edit_score,
    log_loss,
    onset_latencies,
    scores,
    segmental_f1,
    spread,
)
from apps.gesture.smoothing import segments
from apps.gesture.streams import Stream
from tests import reference_streams

RATE = 10.0  # a label is stable that stands for 5 frames


def stream(labels: np.ndarray, subject: str = "") -> Stream:
    return Stream("", subject, np.zeros((len(labels), 1), np.float32), labels)


def marks(text: str) -> np.ndarray:
    """Labels out of letters: "aab" is 0, 0, 1."""
    return np.array([ord(letter) - ord("a") for letter in text], np.int32)


def some(seed: int, count: int = 4) -> list[tuple[np.ndarray, np.ndarray]]:
    """Streams of 80 frames or so, and what a poor model says of them."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        true = np.repeat(random.integers(0, 4, 8), random.integers(1, 20, 8)).astype(np.int32)
        shifted = np.roll(true, random.integers(-4, 5))
        noise = random.random(len(true)) < 0.1
        found.append((true, np.where(noise, random.integers(0, 5, len(true)), shifted)))
    return found


# All of them


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("lookahead", [0, 7])
def test_every_score_is_the_one_by_its_equation(seed: int, lookahead: int) -> None:
    pairs = some(seed)
    got = scores([stream(t) for t, _ in pairs], [y for _, y in pairs], RATE, lookahead)
    true, said = (np.concatenate(labels) for labels in zip(*pairs, strict=True))
    waits = np.array([wait for t, y in pairs for wait in reference_streams.latencies(t, y, 5)])
    noticed = waits[waits < np.inf]
    assert got == pytest.approx(
        {
            "frame_accuracy": sum(true == said) / len(true),
            "macro_f1": reference_streams.macro_f1(true, said),
            "segmental_f1_10": reference_streams.segmental_f1(pairs, 0.10),
            "segmental_f1_25": reference_streams.segmental_f1(pairs, 0.25),
            "segmental_f1_50": reference_streams.segmental_f1(pairs, 0.50),
            "edit_score": np.mean([reference_streams.edit_score(t, y) for t, y in pairs]),
            "latency": (np.median(noticed) + lookahead) / RATE,
            "missed": 1 - len(noticed) / len(waits),
        }
    )
    assert 0 < got["segmental_f1_50"] < got["segmental_f1_10"] < 1
    assert 0 < got["missed"] < 1


def test_what_is_said_right_has_the_best_scores() -> None:
    true = [t for t, _ in some(0)]
    best = scores([stream(t) for t in true], true, RATE, 3)
    assert best.pop("latency") == pytest.approx(0.3)
    assert best.pop("missed") == 0
    assert set(best.values()) == {1.0}


def test_what_is_never_right_has_the_worst() -> None:
    true = [t for t, _ in some(0)]
    worst = scores([stream(t) for t in true], [t + 4 for t in true], RATE)
    assert math.isnan(worst.pop("latency"))
    assert worst.pop("missed") == 1
    assert set(worst.values()) == {0.0}


def test_scores_of_slow_streams() -> None:
    """At a rate at which half a second is no frame, a single frame is stable."""
    found = scores([stream(marks("aaabbb"))], [marks("aaaabb")], 0.5)
    assert found["latency"] == pytest.approx(1.0)  # medians of 0 and 1 frames, of 2 s each


def test_scores_by_subject_are_those_of_his_streams() -> None:
    pairs = some(1, count=5)
    streams = [stream(t, name) for (t, _), name in zip(pairs, "xyxzy", strict=True)]
    said = [y for _, y in pairs]
    found = by_subject(streams, said, RATE, 2)
    assert list(found) == ["x", "y", "z"]
    assert found["x"] == scores([streams[0], streams[2]], [said[0], said[2]], RATE, 2)
    assert found["z"] == scores([streams[3]], [said[3]], RATE, 2)


def test_the_spread_over_folds() -> None:
    found = spread([{"a": 1.0, "b": 5.0}, {"a": 2.0, "b": 5.0}, {"a": 6.0, "b": 5.0}])
    assert found == pytest.approx(
        {"a": 3, "a_std": 7**0.5, "a_low": 1, "a_high": 6}
        | {"b": 5, "b_std": 0, "b_low": 5, "b_high": 5}
    )
    assert spread([{"a": 4.0}]) == {"a": 4, "a_std": 0, "a_low": 4, "a_high": 4}


# One by one


@pytest.mark.parametrize(
    ("true", "said", "overlap", "f1"),
    [
        ("aaaabbbb", "aaaabbbb", 1.0, 1),
        ("aaaabbbb", "aabbbbbb", 0.5, 1),  # overlaps 2/4 and 4/6
        ("aaaabbbb", "aabbbbbb", 0.51, 1 / 2),
        ("aaaabbbb", "abbbbbbb", 0.5, 1 / 2),  # 1/4 and 4/7
        ("aaaaaaaa", "aabaaaaa", 0.5, 1 / 2),  # 3 said, 1 right; the second a has 5/8
        ("aaaaaaaa", "aaabaaaa", 0.25, 1 / 2),  # both have enough: only one may take it
        ("aabbaabb", "bbaabbaa", 0.1, 0),
        ("aaaa", "bbbb", 0.1, 0),
    ],
)
def test_segmental_f1_by_hand(true: str, said: str, overlap: float, f1: float) -> None:
    pairs = [(segments(marks(true)), segments(marks(said)))]
    assert segmental_f1(pairs, overlap) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("true", "said", "score"),
    [
        ("aaabbb", "abbbbb", 1),  # when it happens does not count
        ("aaabbb", "bbbaaa", 0),
        ("abab", "ab", 1 / 2),
        ("abc", "axc", 2 / 3),
        ("abcd", "bcd", 3 / 4),
        ("aabbcc", "aabbaaccdd", 3 / 5),
        ("a", "b", 0),
    ],
)
def test_the_edit_score_by_hand(true: str, said: str, score: float) -> None:
    assert edit_score(segments(marks(true)), segments(marks(said))) == pytest.approx(score)
    assert edit_score(segments(marks(said)), segments(marks(true))) == pytest.approx(score)


@pytest.mark.parametrize(
    ("true", "said", "stable", "waits"),
    [
        ("aaaabbbb", "aaaabbbb", 3, [0, 0]),
        ("aaaabbbb", "aaaaabbb", 3, [0, 1]),
        ("aaaabbbb", "aaaababb", 3, [0, math.inf]),
        ("aaaabbbb", "aaaababb", 2, [0, 2]),
        ("aaaabbbb", "aaabbbbb", 3, [0, 0]),  # said early is no gain
        ("aaabbbcccc", "aaaaaccccc", 3, [0, math.inf, 0]),
        ("aabb", "aabb", 9, [0, 0]),  # as long as the segment is long enough
        ("aabb", "abbb", 9, [math.inf, 0]),
    ],
)
def test_the_latency_by_hand(true: str, said: str, stable: int, waits: list[float]) -> None:
    assert_array_equal(onset_latencies(marks(true), marks(said), stable), waits)


LABELS = st.lists(st.integers(0, 2), min_size=1, max_size=30).map(np.array)


@settings(deadline=None)
@given(LABELS, st.randoms(use_true_random=False), st.integers(1, 6), st.floats(0.05, 1))
def test_scores_of_segments_of_anything(
    true: np.ndarray, chance: Random, stable: int, overlap: float
) -> None:
    said = np.array([chance.choice([label, 0, 1, 2]) for label in true])
    pair = segments(true), segments(said)
    wanted = reference_streams.segmental_f1([(true, said)], overlap)
    assert segmental_f1([pair], overlap) == pytest.approx(wanted)
    assert edit_score(*pair) == pytest.approx(reference_streams.edit_score(true, said))
    waits = onset_latencies(true, said, stable)
    assert_array_equal(waits, reference_streams.latencies(true, said, stable))


def test_the_confusion_matrix_has_rows_of_truth() -> None:
    streams = [stream(marks("aab")), stream(marks("bd"))]
    counts = confusion(streams, [marks("abb"), marks("cd")], 5)
    wanted = np.zeros((5, 5))
    wanted[0, 0] = wanted[0, 1] = wanted[1, 1] = wanted[1, 2] = wanted[3, 3] = 1
    assert_array_equal(counts, wanted)


def test_the_log_loss_is_that_of_the_true_class() -> None:
    random = np.random.default_rng(0)
    given_ = [random.dirichlet(np.ones(3), size) for size in (4, 6)]
    given_[1][2] = [0, 1, 0]
    true = [random.integers(0, 3, 4), random.integers(0, 3, 6)]
    true[1][2] = 0
    each = [
        np.log(max(p[y], 1e-7))
        for ps, ys in zip(given_, true, strict=True)
        for p, y in zip(ps, ys, strict=True)
    ]
    assert_allclose(log_loss([stream(t) for t in true], given_), -np.mean(each), rtol=1e-6)
