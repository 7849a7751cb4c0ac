"""What a sceptic would use: the commonest class, and a forest over features of windows."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apps.gesture import baselines
from apps.gesture.baselines import Windows, features, fit_all
from apps.gesture.config import TableConfig
from apps.gesture.data import load
from apps.gesture.metrics import scores
from apps.gesture.streams import Stream, fixed_streams, split

RATE = 20.0


def swinging(subject: int, seconds: int = 60) -> Stream:
    """Class k swings at 1 + 2k Hz; class 1 lasts longest."""
    at = np.arange(int(seconds * RATE)) / RATE
    labels = np.array([0, 1, 1, 2])[(at // 5).astype(int) % 4]
    phase = np.random.default_rng(subject).uniform(0, 6)
    noise = np.random.default_rng(subject + 50).normal(0, 0.1, (len(at), 2))
    turns = 2 * np.pi * at * (1 + 2 * labels) + phase
    values = np.stack([np.sin(turns), np.cos(turns)], axis=1) + noise
    return Stream("", str(subject), values.astype(np.float32), labels.astype(np.int32))


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "TREES", 30)


def windows(values: np.ndarray, size: int, every: int, ahead: int) -> np.ndarray:
    return features(Windows(size, every, ahead).cut(values))


TRAIN, TEST = [swinging(0), swinging(1)], [swinging(2), swinging(3, seconds=7)]


def test_the_commonest_class_is_that_of_the_training_frames() -> None:
    for stream, said in zip(TEST, fit_all(TRAIN, TEST, RATE, None, 0)["majority"], strict=True):
        assert_array_equal(said, np.full(len(stream), 1))


@pytest.mark.parametrize("lookahead", [None, 10, 0])
def test_a_forest_tells_swings_apart(lookahead: int | None) -> None:
    said = fit_all(TRAIN, TEST, RATE, lookahead, 0)["random_forest"]
    assert [len(labels) for labels in said] == [len(stream) for stream in TEST]
    found = scores(TEST, said, RATE)
    assert found["frame_accuracy"] > {None: 0.9, 10: 0.9, 0: 0.75}[lookahead]
    again = fit_all(TRAIN, TEST, RATE, lookahead, 0)["random_forest"]
    for labels, same in zip(said, again, strict=True):
        assert_array_equal(labels, same)


def test_features_by_hand() -> None:
    at = np.arange(400) / 50
    steep = np.stack([3 + 2 * np.sin(2 * np.pi * 5 * at), -np.sin(2 * np.pi * 5 * at)], axis=1)
    (found, *_) = windows(steep[100:], 100, 300, 49)
    cut = steep[150 + 100 + 50 - 100 : 150 + 100 + 50]
    mean, deviation, least, low, median, high, most, change, frequency, power = found[:20].reshape(
        10, 2
    )
    assert_allclose(mean, [3, 0], atol=1e-6)
    assert_allclose(deviation, [2**0.5, 0.5**0.5], rtol=1e-6)
    assert_allclose(least, cut.min(axis=0))
    assert_allclose(low, np.quantile(cut, 0.25, axis=0))
    assert_allclose(median, np.median(cut, axis=0))
    assert_allclose(high, np.quantile(cut, 0.75, axis=0))
    assert_allclose(most, cut.max(axis=0))
    assert_allclose(change, np.abs(cut[1:] - cut[:-1]).mean(axis=0))
    assert_array_equal(frequency, [9, 9])  # ten periods in the window; the mean is not counted
    assert_allclose(power, 1 / 2, rtol=1e-6)
    assert_allclose(found[20:], [-1], atol=1e-6)


@pytest.mark.parametrize("ahead", [0, 7, 50])
def test_a_window_reaches_no_further_than_it_may(ahead: int) -> None:
    values = np.random.default_rng(0).normal(size=(300, 2))
    before = windows(values, 40, 10, ahead)
    assert len(before) == 30
    for number in (0, 5, 15, 29):
        frame = 10 * number + 5
        later, at, first, earlier = values.copy(), values.copy(), values.copy(), values.copy()
        later[frame + ahead + 1 :] += 9
        assert_array_equal(windows(later, 40, 10, ahead)[number], before[number])
        if frame + ahead < len(values):
            at[frame + ahead] += 9
            assert not np.array_equal(windows(at, 40, 10, ahead)[number], before[number])
        begin = frame + ahead + 1 - 40
        if 0 < begin < len(values):
            earlier[:begin] += 9
            assert_array_equal(windows(earlier, 40, 10, ahead)[number], before[number])
            first[begin] += 9
            assert not np.array_equal(windows(first, 40, 10, ahead)[number], before[number])


def test_short_streams_have_a_label_a_frame() -> None:
    whole = swinging(4)
    short = [Stream("", "", whole.values[:n], whole.labels[:n]) for n in (1, 3, 4, 5, 41)]
    for said in fit_all(TRAIN, short, RATE, None, 0).values():
        assert [labels.shape for labels in said] == [(1,), (3,), (4,), (5,), (41,)]


def test_the_forest_on_unseen_subjects() -> None:
    corpus = load("watch", None, TableConfig())
    parts = split(corpus, 0)
    train, test = fixed_streams(parts["train"])[::3], fixed_streams(parts["test"])[::2]
    found = {
        name: scores(test, said, corpus.rate)["frame_accuracy"]
        for name, said in fit_all(train, test, corpus.rate, None, 0).items()
    }
    assert found["majority"] < 0.3
    assert found["random_forest"] > 0.6
