"""Folds by subject, and streams composed of recordings: on the packaged corpus, with each frame
replaced by a code of where it came from."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from apps.gesture.config import TableConfig
from apps.gesture.data import load
from apps.gesture.smoothing import segments
from apps.gesture.streams import (
    PARTS,
    Corpus,
    Stream,
    drawn,
    filled,
    fixed_streams,
    folds_of,
    groups,
    joined,
    resampled,
    split,
)
from common.errors import UserError

RATE = 50
BOUT = (2 * RATE, 15 * RATE)  # frames
FADE = 10  # frames: 0.2 s


@pytest.fixture(scope="module")
def watch() -> Corpus:
    return load("watch", None, TableConfig())


@pytest.fixture(scope="module")
def coded(watch: Corpus) -> Corpus:
    """The packaged corpus with the channels: number of the recording, number of the frame."""
    streams = []
    for number, stream in enumerate(watch.streams):
        frames = np.arange(len(stream))
        values = np.stack([np.full(len(stream), number), frames], axis=1).astype(np.float32)
        streams.append(replace(stream, name=str(number), values=values))
    return replace(watch, streams=tuple(streams), channels=("recording", "frame"))


def made_up(*names: str, frames: int = 400, isolated: bool = True) -> Corpus:
    """Two recordings for each subject, of exercises 0 and 1."""
    streams = [
        Stream(
            f"{name} {label}",
            name,
            np.full((frames, 2), label, np.float32),
            np.full(frames, label, np.int32),
        )
        for name in names
        for label in (0, 1)
    ]
    return Corpus("made up", ("a", "b"), ("x", "y"), RATE, tuple(streams), isolated)


def bouts_of(values: np.ndarray) -> Iterator[tuple[int, int, int, int]]:
    """Stretches of one recording, frame after frame, in a coded stream, without the cross-fades:
    (recording, its first frame, first frame after, where that stands in the stream)."""
    recording, frame = values.astype(np.float64).T
    pure = (np.rint(recording) == recording) & (np.rint(frame) == frame)
    follows = pure[1:] & pure[:-1] & (np.diff(recording) == 0) & (np.diff(frame) == 1)
    ends = [0, *(np.flatnonzero(~follows) + 1), len(values)]
    for begin, end in pairwise(ends):
        if end - begin > FADE:  # a frame inside a fade may look pure by chance
            first = int(frame[begin])
            yield int(recording[begin]), first, first + end - begin, int(begin)


# Folds


def test_no_subject_is_on_two_sides_in_any_fold(coded: Corpus) -> None:
    tested: list[str] = []
    validated: list[str] = []
    for fold in range(5):
        parts = split(coded, fold)
        assert tuple(parts) == PARTS
        who = {part: {stream.subject for stream in parts[part].streams} for part in PARTS}
        assert [len(who[part]) for part in PARTS] == [6, 2, 2]
        assert set.union(*who.values()) == set(coded.subjects)
        names = [stream.name for part in PARTS for stream in parts[part].streams]
        assert sorted(map(int, names)) == list(range(140))
        tested += who["test"]
        validated += who["validation"]
    assert sorted(tested) == sorted(validated) == sorted(coded.subjects)


@pytest.mark.parametrize("fold", range(5))
def test_every_frame_of_a_composed_stream_is_of_its_own_part(coded: Corpus, fold: int) -> None:
    subjects = [stream.subject for stream in coded.streams]
    parts = split(coded, fold)
    found: dict[str, set[str]] = {}
    for part in PARTS:
        pieces = [stream.values for stream in fixed_streams(parts[part])]
        random = np.random.default_rng(fold)
        pieces += [drawn(parts[part], 1000, random)[0] for _ in range(60)]
        found[part] = {subjects[bout[0]] for values in pieces for bout in bouts_of(values)}
        assert found[part] == set(parts[part].subjects)
    assert not found["train"] & found["validation"]
    assert not found["train"] & found["test"]
    assert not found["validation"] & found["test"]


def test_subjects_stand_in_their_order_whatever_the_order_of_streams() -> None:
    corpus = made_up("10", "eve", "2", "01", "ann", "1", "²")
    assert corpus.subjects == ("01", "1", "2", "10", "ann", "eve", "²")
    backwards = replace(corpus, streams=corpus.streams[::-1])
    for fold in range(5):
        for part in PARTS:
            assert split(backwards, fold)[part].subjects == split(corpus, fold)[part].subjects


@pytest.mark.parametrize(("subjects", "folds"), [(3, 3), (4, 4), (5, 5), (6, 5), (11, 5)])
def test_few_subjects_have_as_many_folds(subjects: int, folds: int) -> None:
    corpus = made_up(*map(str, range(subjects)))
    assert folds_of(corpus) == folds
    tested = [s for fold in range(folds) for s in split(corpus, fold)["test"].subjects]
    assert sorted(tested) == sorted(corpus.subjects)
    for fold in range(folds):
        parts = split(corpus, fold)
        assert all(parts[part].streams for part in PARTS)
    with pytest.raises(UserError, match=rf"^--fold {folds}: expected 0 to {folds - 1}, as made up"):
        split(corpus, folds)


def test_two_subjects_are_too_few() -> None:
    with pytest.raises(UserError, match=r"^made up: 2 subject\(s\), expected at least 3"):
        split(made_up("a", "b"), 0)


# Composed streams


def assert_composed(corpus: Corpus, values: np.ndarray, labels: np.ndarray) -> list:
    """Bouts of one subject and place, 2 to 15 s long with their fades, no exercise twice in a
    row, each frame labelled by its own recording."""
    bouts = list(bouts_of(values))
    sources = [corpus.streams[bout[0]] for bout in bouts]
    assert len({(source.subject, source.place) for source in sources}) == 1
    for place, ((_, first, end, at), source) in enumerate(zip(bouts, sources, strict=True)):
        assert_array_equal(labels[at : at + end - first], source.labels[first:end])
        fades = (place > 0) + (place < len(bouts) - 1)
        assert end - first + fades * FADE <= BOUT[1]
        if fades == 2:
            assert end - first + fades * FADE >= BOUT[0]
    for one, other in pairwise(sources):
        assert one.labels[0] != other.labels[0]
    for one, other in pairwise(bouts):
        assert other[3] - (one[3] + one[2] - one[1]) == FADE
    return bouts


def test_fixed_streams_have_every_recorded_frame_once(coded: Corpus) -> None:
    streams = fixed_streams(coded)
    assert [(s.subject, s.place) for s in streams] == [(s, p) for s, p, _ in groups(coded)]
    assert len({stream.name for stream in streams}) == 20
    for stream in streams:
        bouts = assert_composed(coded, stream.values, stream.labels)
        own = [s for s in coded.streams if (s.subject, s.place) == (stream.subject, stream.place)]
        assert len(own) == 7
        frames = {(n, frame) for n, first, end, _ in bouts for frame in range(first, end)}
        assert len(frames) == sum(end - first for _, first, end, _ in bouts)
        faded = 2 * FADE * (len(bouts) - 1)
        assert sum(map(len, own)) == len(frames) + faded
        assert len(stream) == len(frames) + faded / 2


@settings(deadline=None)
@given(st.lists(st.integers(0, 7), min_size=2, max_size=5), st.integers(0, 99))
def test_no_exercise_follows_itself_where_that_can_be(counts: list[int], seed: int) -> None:
    recordings = [
        replace(bout(label, label, 2 * RATE), subject="ann")
        for label, count in enumerate(counts)
        for _ in range(count)
    ]
    if not recordings:
        return
    corpus = replace(made_up("ann"), streams=tuple(recordings))
    (stream,) = fixed_streams(corpus, seed)
    assert len(stream) == len(recordings) * 2 * RATE - (len(recordings) - 1) * FADE
    if 2 * max(counts) <= sum(counts) + 1:
        assert len(segments(stream.labels)) == len(recordings)


def test_fixed_streams_are_the_same_every_time(watch: Corpus) -> None:
    for fold in range(5):
        for part in ("validation", "test"):
            np.random.seed(fold)  # noqa: NPY002
            one, other = (fixed_streams(split(watch, fold)[part]) for _ in range(2))
            for a, b in zip(one, other, strict=True):
                assert a.name == b.name
                assert_array_equal(a.values, b.values)
                assert_array_equal(a.labels, b.labels)
    changed = fixed_streams(split(watch, 0)["test"], seed=1)[0]
    same = fixed_streams(split(watch, 0)["test"])[0]
    assert not np.array_equal(changed.labels[:1000], same.labels[:1000])


def test_drawn_pieces_are_composed_of_bouts_that_begin_anywhere(coded: Corpus) -> None:
    random = np.random.default_rng(3)
    starts, lengths, places = [], [], set()
    for _ in range(300):
        values, labels = drawn(coded, 2000, random)
        assert values.shape == (2000, 2)
        assert values.dtype == np.float32
        assert labels.shape == (2000,)
        bouts = assert_composed(coded, values, labels)
        starts += [first - FADE for _, first, _, _ in bouts[1:]]
        lengths += [end - first + 2 * FADE for _, first, end, _ in bouts[1:-1]]
        places.add((coded.streams[bouts[0][0]].subject, coded.streams[bouts[0][0]].place))
    assert len(places) == 20
    assert min(starts) < 20
    assert max(starts) > 1500
    assert min(lengths) < 2.5 * RATE
    assert max(lengths) > 14 * RATE


def test_a_piece_is_a_function_of_its_generator(watch: Corpus) -> None:
    def piece(*seed: int) -> np.ndarray:
        return drawn(watch, 500, np.random.default_rng(seed))[0]

    assert_array_equal(piece(1, 2), piece(1, 2))
    assert not np.array_equal(piece(1, 2), piece(1, 3))
    assert not np.array_equal(piece(1, 2), piece(2, 2))


def test_recordings_shorter_than_the_fade_are_composed_too() -> None:
    corpus = made_up("ann", frames=3)
    values, labels = drawn(corpus, 100, np.random.default_rng(0))
    assert values.shape == (100, 2)
    assert set(np.diff(np.flatnonzero(np.diff(labels)))) <= {2, 3}
    (stream,) = fixed_streams(corpus)
    assert len(stream) == 3 + 3 - 1


def test_streams_of_ones_own_are_cut_and_not_composed() -> None:
    corpus = made_up("ann", "bob", frames=300, isolated=False)
    assert fixed_streams(corpus) == corpus.streams
    ramp = np.stack([np.arange(300), np.arange(300) % 7], axis=1).astype(np.float32)
    marks = (np.arange(300) // 30).astype(np.int32)
    corpus = replace(corpus, streams=(Stream("one", "ann", ramp, marks),))
    random = np.random.default_rng(0)
    begins = set()
    for _ in range(2000):
        values, labels = drawn(corpus, 250, random)
        begin = int(values[0, 0])
        assert_array_equal(values, ramp[begin : begin + 250])
        assert_array_equal(labels, marks[begin : begin + 250])
        begins.add(begin)
    assert begins == set(range(51))


def test_a_stream_that_is_too_short_is_filled_with_what_has_no_label() -> None:
    corpus = made_up("ann", frames=300, isolated=False)
    values, labels = drawn(corpus, 340, np.random.default_rng(0))
    assert_array_equal(values[300:], np.repeat(values[299:300], 40, axis=0))
    assert_array_equal(labels, [labels[0]] * 300 + [-1] * 40)
    same, marks = filled(values, labels, 340)
    assert_array_equal(same, values)
    assert_array_equal(marks, labels)


# The cross-fade


def bout(value: float, label: int, frames: int) -> Stream:
    return Stream("", "", np.full((frames, 1), value, np.float32), np.full(frames, label, np.int32))


@pytest.mark.parametrize(
    ("fade", "values", "labels"),
    [
        (0, [0, 0, 0, 0, 0, 12, 12, 12, 12], [1] * 5 + [4] * 4),
        (1, [0, 0, 0, 0, 6, 12, 12, 12], [1] * 4 + [4] * 4),
        (2, [0, 0, 0, 4, 8, 12, 12], [1] * 4 + [4] * 3),
        (9, [0, 0, 0, 4, 8, 12, 12], [1] * 4 + [4] * 3),  # at most half of a bout
    ],
)
def test_the_cross_fade_by_hand(fade: int, values: list[float], labels: list[int]) -> None:
    found, marks = joined([bout(0, 1, 5), bout(12, 4, 4)], fade)
    assert_allclose(found[:, 0], values, rtol=1e-6)
    assert_array_equal(marks, labels)


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 15))
def test_a_join_keeps_values_and_labels_side_by_side(sizes: list[int], fade: int) -> None:
    bouts = [bout(n, n, size) for n, size in enumerate(sizes)]
    values, labels = joined(bouts, fade)
    assert len(values) == len(labels) <= sum(sizes)
    assert np.abs(values[:, 0] - labels).max(initial=0) <= 0.5 + 1e-6
    assert np.diff(labels).min(initial=0) >= 0
    if fade == 0:
        assert [end - begin for _, begin, end in segments(labels)] == sizes


# Another rate


def tone(frequency: float, rate: float, frames: int) -> Stream:
    at = np.arange(frames) / rate
    values = np.sin(2 * np.pi * frequency * at)[:, np.newaxis].astype(np.float32)
    return Stream("", "", values, (at // 1).astype(np.int32))


@pytest.mark.parametrize("wanted", [20.0, 25.0, 40.0])
def test_a_slower_rate_keeps_slow_tones_and_loses_those_it_cannot_hold(wanted: float) -> None:
    slow = resampled(tone(2, 50, 500), 50, wanted)
    assert len(slow) == int(499 * wanted / 50) + 1
    expected = tone(2, wanted, len(slow))
    inside = slice(int(wanted), -int(wanted))  # but for a second at both ends
    assert_allclose(slow.values[inside], expected.values[inside], atol=0.06)
    fast = resampled(tone(23.7, 50, 500), 50, wanted)
    assert np.abs(fast.values[inside]).max() < 0.25
    assert np.abs(tone(23.7, 50, 500).values).max() > 0.99


def test_a_faster_rate_interpolates() -> None:
    ramp = Stream("", "", np.arange(5, dtype=np.float32)[:, np.newaxis], np.array([0, 0, 1, 1, 2]))
    found = resampled(ramp, 10, 20)
    assert_allclose(found.values[:, 0], np.arange(9) / 2)
    assert_array_equal(found.labels[::2], ramp.labels)
    assert_array_equal(np.sort(found.labels), found.labels)


def test_labels_stay_at_their_time_at_another_rate() -> None:
    found = resampled(tone(1, 50, 500), 50, 30)
    assert np.abs(found.labels - (np.arange(len(found)) / 30) // 1).sum() <= 10
    assert [round((b - a) / 30, 1) for _, a, b in segments(found.labels)] == [1] * 10


def test_the_same_rate_changes_nothing() -> None:
    stream = tone(3, 50, 30)
    assert resampled(stream, 50, 50) is stream
