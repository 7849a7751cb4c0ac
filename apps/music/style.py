"""Composed pieces beside a corpus: what they are made of, and what is copied.
Imports no TensorFlow."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from apps.music import keys
from apps.music.pieces import Piece, notes_of

LONGEST_NOTE = 32
WIDEST = 12
PHRASE = 8
"""Notes of the highest line that count as a phrase repeated."""
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 9, 10, 11))
"""Of major and minor, in semitones above the tonic."""


def out_of_key(pieces: Sequence[Piece]) -> float:
    """Share of sounding frames outside the scale of each piece's own key; of minor, the natural
    and the melodic scale together."""
    outside = total = 0.0
    for piece in pieces:
        tonic, mode = keys.parts(keys.of(piece) or 1)
        heard = np.roll(keys.pitch_classes(piece), -tonic)
        total += heard.sum()
        outside += heard.sum() - heard[list(SCALES[mode])].sum()
    return outside / max(total, 1)


def distributions(pieces: Sequence[Piece], articulated: bool) -> dict[str, np.ndarray]:
    """Shares, each summing to 1: ``note_length`` ``[LONGEST_NOTE]`` in frames (the last: so many or
    more), ``pitch_class`` ``[12]`` above the tonic, and ``interval`` ``[25]`` of the highest line
    in semitones (-12 to 12)."""
    lengths = np.zeros(LONGEST_NOTE)
    classes = np.zeros(12)
    intervals = np.zeros(2 * WIDEST + 1)
    for piece in pieces:
        for note in notes_of(piece.frames, articulated):
            lengths[min(note.end - note.begin, LONGEST_NOTE) - 1] += 1
        classes += np.roll(keys.pitch_classes(piece), -keys.parts(keys.of(piece) or 1)[0])
        steps = np.diff([key for key, _ in top_line(piece, articulated)])
        np.add.at(intervals, np.clip(steps, -WIDEST, WIDEST).astype(int) + WIDEST, 1)
    tables = {"note_length": lengths, "pitch_class": classes, "interval": intervals}
    return {name: counts / max(counts.sum(), 1) for name, counts in tables.items()}


def top_line(piece: Piece, articulated: bool) -> list[tuple[int, int]]:
    """Key and length of each note that is the highest when it begins."""
    line, sounding = [], piece.sounding
    for note in notes_of(piece.frames, articulated):
        if not sounding[note.begin, note.key + 1 :].any():
            line.append((note.key, note.end - note.begin))
    return line


def repetition(pieces: Sequence[Piece], articulated: bool) -> float:
    """Share of the phrases of eight notes of the highest line, by interval and length, that were
    there before in the same piece."""
    again = total = 0
    for piece in pieces:
        line = top_line(piece, articulated)
        moves = [(b[0] - a[0], b[1]) for a, b in pairwise(line)]
        phrases = [tuple(moves[i : i + PHRASE]) for i in range(len(moves) - PHRASE + 1)]
        again += len(phrases) - len(set(phrases))
        total += len(phrases)
    return again / max(total, 1)


def parallels(pieces: Sequence[Piece]) -> float:
    """Parallel fifths and octaves in a hundred changes of harmony: two voices, counted from
    above where as many sound before as after, that move the same way from a fifth (octave,
    unison) to another."""
    found = changes = 0
    for piece in pieces:
        sets = [tuple(np.flatnonzero(row)[::-1]) for row in piece.sounding]
        for before, after in pairwise(sets):
            if before == after or len(before) != len(after):
                continue
            changes += 1
            found += _parallel(np.array(before), np.array(after))
    return 100 * found / max(changes, 1)


def _parallel(before: np.ndarray, after: np.ndarray) -> int:
    moves = after - before
    found = 0
    for upper in range(len(moves)):
        for lower in range(upper + 1, len(moves)):
            if moves[upper] and moves[upper] == moves[lower]:
                found += int((before[upper] - before[lower]) % 12 in (0, 7))
    return found


def longest_copies(pieces: Sequence[Piece], corpus: Sequence[Piece]) -> list[int]:
    """Of each piece, the frames of the longest passage that also stands in one of `corpus`, in
    any key.

    A passage is told by what happens in each frame, relative to its lowest key, and how that
    moves; silence alone is none.
    """
    numbers: dict[tuple, int] = {}
    known: list[int] = []
    for other in corpus:
        known += [numbers.setdefault(token, len(numbers)) for token in _tokens(other)]
        known.append(numbers.setdefault((other.name, len(numbers)), len(numbers)))  # an end
    own = [[numbers.setdefault(t, len(numbers)) for t in _tokens(piece)] for piece in pieces]
    values = np.random.default_rng(0).integers(2**63, size=len(numbers), dtype=np.uint64)
    everything, each = values[known], [values[tokens] for tokens in own]
    found = np.zeros(len(pieces), int)
    step = 1 << max(map(len, own)).bit_length()
    while step:  # bit by bit, for all pieces at once; a passage of n frames holds one of n - 1
        wanted = found + step
        for length in np.unique(wanted):
            there = np.unique(_hashes(everything, length))
            for number in np.flatnonzero(wanted == length):
                asked = _hashes(each[number], length)
                nearest = np.minimum(np.searchsorted(there, asked), len(there) - 1)
                if len(there) and (there[nearest] == asked).any():
                    found[number] = length
        step //= 2
    return [int(length) + 1 if length else 0 for length in found]


def _hashes(values: np.ndarray, length: int) -> np.ndarray:
    r"""A number for every passage of so many tokens, the same for the same ones:
    :math:`\sum_j v_{i+j} B^j \bmod 2^{64}` (Karp & Rabin 1987), of all i by one running sum."""
    if len(values) < length:
        return np.empty(0, np.uint64)
    base = 0x9E3779B97F4A7C15  # odd, so that it has an inverse
    powers, inverses = (
        np.cumprod(np.full(len(values), factor, np.uint64))
        for factor in (base, pow(base, -1, 2**64))
    )
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values * powers)])
    return (sums[length:] - sums[:-length]) * inverses[: len(sums) - length]


def _tokens(piece: Piece) -> list[tuple]:
    """From each frame to the next: how the lowest key moves, and what the next frame holds
    above its lowest key. One fewer than frames; silent frames are never alike."""
    tokens: list[tuple] = []
    rows = [np.flatnonzero(row) for row in piece.sounding]
    for t in range(1, len(rows)):
        if not len(rows[t]) or not len(rows[t - 1]):
            tokens.append((id(piece), t))
            continue
        here = piece.frames[t, rows[t]]
        shape = tuple((rows[t] - rows[t][0]).tolist())
        tokens.append((int(rows[t][0] - rows[t - 1][0]), shape, tuple(here.tolist())))
    return tokens


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Total variation of two ``[n]``: half the sum of the differences of shares, 0 to 1."""
    return float(np.abs(one - other).sum() / 2)


def compare(
    composed: Sequence[Piece],
    train: Sequence[Piece],
    test: Sequence[Piece],
    resolution: int,
    articulated: bool,
) -> dict[str, dict[str, float]]:
    """``composed`` and ``test`` pieces, each with the distances of their distributions from the
    training pieces', rates, and the longest passage copied from training in quarter notes; of
    ``train``, the rates alone."""
    known = distributions(train, articulated)
    copies = longest_copies([*composed, *test], train)
    longest = {"composed": copies[: len(composed)], "test": copies[len(composed) :]}
    found = {"train": _rates(train, articulated)}
    for name, pieces in (("composed", composed), ("test", test)):
        shares = distributions(pieces, articulated)
        found[name] = {
            **{f"{k}_distance": distance(shares[k], known[k]) for k in known},
            **_rates(pieces, articulated),
            "longest_copy": max(longest[name]) / resolution,
        }
    return found


def tables(
    sources: Mapping[str, Sequence[Piece]], articulated: bool
) -> dict[str, dict[str, np.ndarray]]:
    """``distributions`` of several sources, statistic -> source -> shares ``[n]``."""
    found = {name: distributions(pieces, articulated) for name, pieces in sources.items()}
    first = next(iter(found.values()))
    return {each: {name: shares[each] for name, shares in found.items()} for each in first}


def _rates(pieces: Sequence[Piece], articulated: bool) -> dict[str, float]:
    return {
        "out_of_key": out_of_key(pieces),
        "repetition": repetition(pieces, articulated),
        "parallels": parallels(pieces),
    }
