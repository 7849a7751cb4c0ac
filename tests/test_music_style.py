"""What pieces are made of, what is copied, and the baselines' likelihood."""

import numpy as np
import pytest

from apps.music import baselines, keys, metrics, render, style
from apps.music.pieces import KEYS, Note, Piece, frames_of, transposed
from common.errors import UserError
from tests.music_pieces import lines, tune

C4 = 60 - 21


def piece(*notes: tuple[int, int, int]) -> Piece:
    """Notes as (first frame, last frame + 1, semitones above C4)."""
    found = [Note(begin, end, C4 + key) for begin, end, key in notes]
    return Piece("", frames_of(found, max(note.end for note in found)))


def scale(steps: tuple[int, ...]) -> Piece:
    return piece(*((n, n + 1, s) for n, s in enumerate(steps)))


@pytest.mark.parametrize("tonic", [0, 5, 10])
def test_the_key_is_found_and_what_is_outside_it_counted(tonic: int) -> None:
    major = tuple(tonic + s for s in (0, 4, 7, 2, 11, 12, 5, 9, 7, 4, 0, 0))
    assert keys.of(scale(major)) == 1 + tonic
    assert keys.of(Piece("", transposed(scale(major).frames, 3))) == keys.moved(1 + tonic, 3)
    assert style.out_of_key([scale(major)]) == 0
    wrong = (*major[:-1], tonic + 1)
    assert style.out_of_key([scale(wrong)]) == pytest.approx(1 / 12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("C major", "C major"),
        ("f# minor", "F# minor"),
        ("Bb", "Bb major"),
        ("bb", "Bb minor"),
        ("a", "A minor"),
        ("Cb major", "B major"),
        ("G-min", "G minor"),
    ],
)
def test_keys_have_names(text: str, expected: str) -> None:
    assert keys.name(keys.read(text)) == expected


@pytest.mark.parametrize("text", ["", "H", "C sharp", "major", "C minor major"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="expected a key such as"):
        keys.read(text)


def test_shares_are_counted_from_notes() -> None:
    found = style.distributions([piece((0, 2, 0), (2, 6, 4), (6, 8, 2), (0, 8, -24))], True)
    assert found["note_length"][[1, 3, 7]].tolist() == [0.5, 0.25, 0.25]
    assert found["interval"][[12 + 4, 12 - 2]].tolist() == [0.5, 0.5]
    assert found["pitch_class"].sum() == pytest.approx(1)
    assert style.distance(np.array([1.0, 0]), np.array([0.25, 0.75])) == 0.75


def test_a_phrase_that_comes_again_is_counted() -> None:
    theme = (0, 2, 4, 5, 7, 9, 11, 12, 7)
    assert style.repetition([scale(theme)], True) == 0
    assert style.repetition([scale((*theme, *theme))], True) > 0


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        ((0, 2), (7, 9), 100),  # fifths, both upwards
        ((0, 2), (12, 14), 100),  # octaves
        ((0, 2), (4, 6), 0),  # thirds
        ((0, 0), (7, 9), 0),  # one voice stands still
        ((2, 0), (7, 12), 0),  # contrary motion
    ],
)
def test_parallels_are_found(lower: tuple, upper: tuple, expected: float) -> None:
    notes = [(n, n + 1, key) for line in (lower, upper) for n, key in enumerate(line)]
    assert style.parallels([piece(*notes)]) == expected


def test_a_passage_is_known_again_in_another_key() -> None:
    known = tune(np.random.default_rng(0))
    other = tune(np.random.default_rng(1))
    lent = transposed(known.frames[5:17], 4)
    mixed = Piece("mixed", np.concatenate([other.frames[:9], lent, other.frames[9:20]]))
    assert style.longest_copies([known], [other, known]) == [len(known)]
    (found,) = style.longest_copies([mixed], [known])
    assert 12 <= found <= 14
    assert style.longest_copies([mixed, known], [other])[0] >= 10
    assert style.longest_copies([piece((0, 1, 0))], [known]) == [0]
    halves = [Piece("", known.frames[:20]), Piece("", known.frames[20:])]
    assert max(style.longest_copies([known], halves)) < len(known)


def test_the_longest_passage_is_that_of_looking_everywhere() -> None:
    pieces, corpus = [lines(1, n) for n in range(5)], [lines(1, n) for n in range(5, 9)]

    def alike(one: list, other: list) -> int:
        count = 0
        while count < min(len(one), len(other)) and one[count] == other[count]:
            count += 1
        return count

    expected = [
        1
        + max(
            alike(own[i:], theirs[j:])
            for theirs in map(style._tokens, corpus)
            for i in range(len(own))
            for j in range(len(theirs))
        )
        for own in map(style._tokens, pieces)
    ]
    assert style.longest_copies(pieces, corpus) == expected


def test_the_baselines_are_what_they_are_called() -> None:
    train = [piece((0, 3, 0), (3, 4, 2)), piece((0, 2, 0))]  # C sounds in 5 of 6 frames
    tables = baselines.tables(train)
    assert tables["marginal"][0, C4] == pytest.approx(6 / 8)
    assert tables["markov"][:, C4] == pytest.approx([3 / 4, 4 / 6])  # 2 of 2, and 3 of 4
    test = [scale((0, 0))]
    found = baselines.scores(train, test, articulated=False)
    rest = sum(2 * np.log(1 - tables["marginal"][0, k]) for k in range(KEYS) if k != C4)
    assert found["marginal"]["nll"] == pytest.approx(-(2 * np.log(6 / 8) + rest) / 2)
    assert found["repeat_last"]["frame_accuracy"] == 0.5


def test_frames_weigh_alike_and_accuracy_counts_keys() -> None:
    assert metrics.nll([np.array([1.0, 2, 3]), np.array([8.0])]) == 3.5
    true = [piece((0, 2, 0), (0, 2, 4))]
    guess = np.zeros((2, KEYS))
    guess[:, C4] = guess[0, C4 + 1] = 1
    assert metrics.frame_accuracy([guess], true) == 2 / 5
    low, high = metrics.interval([np.full(5, 2.0), np.full(50, 4.0)])
    assert 2 <= low < high <= 4


# Files


def test_sound_has_the_pitch_of_the_note_and_does_not_clip() -> None:
    samples = render.sound(piece((0, 16, 9)), 4, True, 60)  # A4
    spectrum = np.abs(np.fft.rfft(samples[: render.RATE]))
    assert np.fft.rfftfreq(render.RATE, 1 / render.RATE)[spectrum.argmax()] == pytest.approx(440)
    assert 0.5 < np.abs(samples).max() <= 1


@pytest.mark.parametrize(
    ("bar", "resolution", "expected"),
    [(16, 4, (4, 4)), (12, 4, (3, 4)), (6, 4, (3, 8)), (3, 1, (3, 4))],
)
def test_bars_have_their_time_signature(bar: int, resolution: int, expected: tuple) -> None:
    assert render.metre(bar, resolution) == expected


def test_voices_of_a_chorale_are_its_lines() -> None:
    lines = [[(0, 2, 12), (2, 4, 11)], [(0, 4, 7)], [(0, 1, 4), (1, 4, 2)], [(0, 4, -12)]]
    found = render.voices(piece(*(note for line in lines for note in line)), True)
    keys = [[note.key - C4 for note in line] for line in found]
    assert keys == [[12, 11], [7], [4, 2], [-12]]
