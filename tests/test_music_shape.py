"""What a network is made for, from what its corpus is."""

import dataclasses

import numpy as np
import pytest

from apps.music.pieces import Corpus, Note, Piece, frames_of
from apps.music.shape import MOST_VOICES, shape_of, too_many
from common.errors import UserError
from tests.music_pieces import lines, tune


def corpus(*pieces: Piece, articulated: bool = True) -> Corpus:
    """The last two are held out."""
    *train, validation, test = pieces
    return Corpus("", tuple(train), (validation,), (test,), 4, articulated)


def parts(count: int, pieces: int = 5) -> list[Piece]:
    return [lines(count, seed) for seed in range(pieces)]


def test_four_parts_are_voices_melodies_events_and_the_rest_joint() -> None:
    assert shape_of(corpus(*parts(4)), "auto").head == "voices"
    assert shape_of(corpus(*parts(1)), "auto").head == "events"
    assert shape_of(corpus(*parts(3)), "auto").head == "joint"
    random = np.random.default_rng(0)
    assert shape_of(corpus(*(tune(random) for _ in range(4))), "auto").head == "joint"
    for count in (1, 4):
        unarticulated = corpus(*parts(count), articulated=False)
        assert shape_of(unarticulated, "auto").head == "joint"
    found = shape_of(corpus(*parts(3)), "voices")
    assert (found.head, found.voices, found.most) == ("voices", 3, 3)


def test_a_part_that_divides_once_in_training_makes_no_fifth_voice() -> None:
    songs = parts(4, 60)
    divided = songs[0].frames.copy()
    divided[-1, 5] = 1
    songs[0] = dataclasses.replace(songs[0], frames=divided)
    found = shape_of(corpus(*songs), "auto")
    assert (found.head, found.voices, found.most) == ("voices", 4, 5)
    songs[-1] = songs[0]  # in the test part it counts
    assert shape_of(corpus(*songs[1:]), "auto").head == "joint"
    assert shape_of(corpus(*songs[1:]), "voices").voices == 5


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="--head events: 4 keys at once: expected melodies"):
        shape_of(corpus(*parts(4)), "events")
    with pytest.raises(UserError, match="expected a corpus that tells held keys"):
        shape_of(corpus(*parts(1), articulated=False), "events")
    many = frames_of([Note(0, 4, 30 + k) for k in range(MOST_VOICES + 1)], 4)
    with pytest.raises(UserError, match=f"--head voices: {MOST_VOICES + 1} keys at once"):
        shape_of(corpus(*(Piece("", many) for _ in range(3))), "voices")
    with pytest.raises(UserError, match=r"lines 1: 4 keys at once: the run's network has 3 voices"):
        too_many(parts(3)[:1] + parts(4)[1:], "voices", 3)
    too_many(parts(4), "joint", 3)
