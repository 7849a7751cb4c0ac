"""Labels of whole streams out of probabilities."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from apps.gesture.smoothing import (
    Filter,
    learned_transitions,
    segments,
    smoothed,
    viterbi,
    without_short,
)
from tests import reference_streams


def chances(frames: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of each frame, and of each move from class to class."""
    random = np.random.default_rng(seed)
    moves = random.dirichlet(np.full(classes, 0.5), classes) + 0.01
    return random.dirichlet(np.ones(classes), frames), moves / moves.sum(axis=1, keepdims=True)


def probabilities_of(labels: list[int], classes: int = 3) -> np.ndarray:
    return np.eye(classes)[labels] * 0.7 + 0.1


# Viterbi


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("frames", "classes"), [(1, 3), (2, 4), (6, 3), (9, 2)])
def test_viterbi_finds_the_best_of_all_sequences(frames: int, classes: int, seed: int) -> None:
    probabilities, moves = chances(frames, classes, seed)
    found = viterbi(probabilities, moves)
    everything = list(product(range(classes), repeat=frames))
    best = max(everything, key=lambda y: reference_streams.path_score(y, probabilities, moves))
    assert found.tolist() == list(best)
    assert found.dtype == np.int32


def test_viterbi_can_be_another_sequence_than_the_frames_own() -> None:
    differ = 0
    for seed in range(20):
        probabilities, moves = chances(9, 3, seed)
        differ += not np.array_equal(viterbi(probabilities, moves), probabilities.argmax(axis=1))
    assert differ > 10


def test_viterbi_without_preferences_is_the_frames_own() -> None:
    probabilities, _ = chances(200, 5, 0)
    flat = np.full((5, 5), 0.2)
    assert_array_equal(viterbi(probabilities, flat), probabilities.argmax(axis=1))


def test_viterbi_of_a_long_stream_and_of_impossible_frames() -> None:
    stays = np.array([[0.999, 0.001], [0.001, 0.999]])
    labels = np.repeat([0, 1, 0], 4000)
    flips = np.random.default_rng(0).random(12_000) < 0.2
    probabilities = probabilities_of(list(np.where(flips, 1 - labels, labels)), 2)
    found = viterbi(probabilities, stays)
    assert len(segments(found)) == 3
    assert np.abs(found - labels).sum() < 20
    assert_array_equal(viterbi(np.array([[1.0, 0], [0, 1.0]]), np.eye(2)), [0, 0])


# Transitions


def test_transitions_are_counted_with_one_more_of_each() -> None:
    streams = [np.array([0, 0, 0, 1, 1]), np.array([1, 2, -1, 0, 0])]
    wanted = np.array([[3 + 1, 1 + 1, 0 + 1], [0 + 1, 1 + 1, 1 + 1], [1, 1, 1]], float)
    found = learned_transitions(streams, 3)
    assert_allclose(found, wanted / wanted.sum(axis=1, keepdims=True))
    assert_allclose(learned_transitions([], 4), 0.25)


def test_transitions_of_a_chain_are_found_again() -> None:
    _, moves = chances(1, 3, 4)
    random = np.random.default_rng(1)
    labels = [0]
    for _ in range(20_000):
        labels.append(int(random.choice(3, p=moves[labels[-1]])))
    assert_allclose(learned_transitions([np.array(labels)], 3), moves, atol=0.03)


# A least duration


@pytest.mark.parametrize(
    ("labels", "shortest", "wanted"),
    [
        ([0, 0, 0, 1, 0, 0, 0], 2, [0] * 7),
        ([0, 0, 0, 1, 1, 0, 0], 2, [0, 0, 0, 1, 1, 0, 0]),
        ([0, 0, 0, 1, 1, 0, 0], 3, [0] * 7),
        ([1, 0, 0, 0], 2, [0] * 4),
        ([0, 0, 0, 2], 2, [0] * 4),
        ([0, 0, 0, 1, 1, 0, 1, 1, 1], 3, [0, 0, 0, 1, 1, 1, 1, 1, 1]),  # the shortest first
        ([0, 1], 5, [1, 1]),  # one segment is left, however short
        ([2, 2], 5, [2, 2]),
        ([0, 1, 2, 0, 1], 1, [0, 1, 2, 0, 1]),
    ],
)
def test_short_segments_go_by_hand(labels: list[int], shortest: int, wanted: list[int]) -> None:
    given_ = np.array(labels)
    assert_array_equal(without_short(given_, probabilities_of(labels), shortest), wanted)
    assert_array_equal(given_, labels)  # it is left alone


def test_a_short_segment_gets_the_likelier_neighbour() -> None:
    labels = np.array([0, 0, 0, 2, 1, 1, 1])
    probabilities = probabilities_of(labels.tolist())
    probabilities[3] = [0.3, 0.2, 0.5]
    assert_array_equal(without_short(labels, probabilities, 2), [0, 0, 0, 0, 1, 1, 1])
    probabilities[3] = [0.2, 0.3, 0.5]
    assert_array_equal(without_short(labels, probabilities, 2), [0, 0, 0, 1, 1, 1, 1])
    probabilities[2] = [0.9, 0.05, 0.05]  # of another segment: it has no say
    assert_array_equal(without_short(labels, probabilities, 2), [0, 0, 0, 1, 1, 1, 1])


@settings(deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=40), st.integers(1, 8), st.integers(0, 9))
def test_what_is_left_lasts_long_enough(labels: list[int], shortest: int, seed: int) -> None:
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(3), len(labels))
    found = segments(without_short(np.array(labels), probabilities, shortest))
    assert len(found) == 1 or min(end - begin for _, begin, end in found) >= shortest
    assert {label for label, _, _ in found} <= set(labels)


# Filter


@pytest.mark.parametrize("seed", range(8))
def test_a_filter_believes_what_the_sum_over_all_pasts_says(seed: int) -> None:
    probabilities, moves = chances(6, 3, seed)
    weigh = Filter(moves)
    for last in range(6):
        label = weigh(probabilities[last])
        chance = np.zeros(3)
        for y in product(range(3), repeat=last + 1):
            chance[y[-1]] += np.exp(reference_streams.path_score(y, probabilities, moves))
        assert_allclose(weigh.belief, chance / chance.sum(), rtol=1e-9)
        assert label == chance.argmax()


def test_a_filter_changes_its_mind_when_the_odds_have_turned() -> None:
    stays = np.array([[0.99, 0.01], [0.01, 0.99]])
    frames = np.array([[0.9, 0.1]] * 3 + [[0.4, 0.6]] * 30)
    odds, wanted = 9.0, [0]
    for first, second in frames[1:]:
        odds = first / second * (0.99 * odds + 0.01) / (0.01 * odds + 0.99)
        wanted.append(int(odds < 1))
    labels = smoothed(frames, "filter", stays, 0)
    assert_array_equal(labels, wanted)
    assert wanted.index(1) > 8  # the frames alone would turn at 3
    assert labels.dtype == np.int32


# All of them


@given(st.lists(st.integers(-1, 3), max_size=30))
def test_segments_are_the_labels(labels: list[int]) -> None:
    found = segments(np.array(labels, np.int32))
    assert [label for label, begin, end in found for _ in range(begin, end)] == labels
    assert all(one[0] != other[0] for one, other in pairwise(found))


def test_each_way_to_smooth_is_its_own() -> None:
    probabilities, moves = chances(60, 3, 2)
    plain = probabilities.argmax(axis=1)
    assert_array_equal(smoothed(probabilities, "none", moves, 4), plain)
    minimum = smoothed(probabilities, "minimum", moves, 4)
    assert_array_equal(minimum, without_short(plain, probabilities, 4))
    likeliest = smoothed(probabilities, "viterbi", moves, 4)
    assert_array_equal(likeliest, viterbi(probabilities, moves))
    weighed = smoothed(probabilities, "filter", moves, 4)
    ways = (plain.astype(np.int32), minimum, likeliest, weighed)
    assert len({labels.tobytes() for labels in ways}) == 4
    assert minimum.dtype == likeliest.dtype == np.int32


@pytest.mark.parametrize("how", ["none", "minimum", "viterbi", "filter"])
def test_a_stream_without_frames_has_no_labels(how: str) -> None:
    assert len(smoothed(np.zeros((0, 3)), how, np.full((3, 3), 1 / 3), 4)) == 0  # type: ignore[arg-type]
