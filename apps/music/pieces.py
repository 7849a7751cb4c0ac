"""What a piece is: frames of 88 keys on a regular grid of time. Imports no TensorFlow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from common.errors import UserError

KEYS = 88
LOWEST = 21
"""MIDI number of the lowest key, A0; the highest, C8, is 108."""
SILENT, STRUCK, HELD = 0, 1, 2
"""What a key does in a frame. A held key goes on sounding from the frame before."""
LONGEST_BAR = 64
"""Frames; a bar of 4/4 has 16 at four frames a quarter note."""
PARTS = ("train", "validation", "test")
SHARES = (0.8, 0.1, 0.1)


class Note(NamedTuple):
    """Frames ``begin`` to ``end`` (exclusive) of one key, 0 ... 87."""

    begin: int
    end: int
    key: int


@dataclass(frozen=True)
class Piece:
    """Frames and the metre they stand in."""

    name: str
    frames: np.ndarray
    """``[time, 88]`` uint8 of SILENT, STRUCK and HELD."""
    bar: int = 0
    """Frames in a bar; 0 where the metre is not known."""
    offset: int = 0
    """Where in its bar the first frame stands."""

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def sounding(self) -> np.ndarray:
        """``[time, 88]`` bool."""
        return self.frames != SILENT


@dataclass(frozen=True)
class Corpus:
    """Pieces in three parts, on one grid."""

    name: str
    train: tuple[Piece, ...]
    validation: tuple[Piece, ...]
    test: tuple[Piece, ...]
    resolution: int
    """Frames in a quarter note."""
    articulated: bool
    """Whether a held key is told from a repeated one."""


def clock(piece: Piece, *, ending: bool = False) -> np.ndarray:
    """Where each frame stands: ``[time, 3]`` int32 of the place in its bar, counted from 1, and
    the length of the bar, zeros where the metre is not known; and the frames left, itself
    included, `LONGEST_BAR` at most, zeros unless the `ending` is to be told."""
    found = np.zeros((len(piece), 3), np.int32)
    if piece.bar:
        found[:, 0] = (np.arange(len(piece)) + piece.offset) % piece.bar + 1
        found[:, 1] = piece.bar
    if ending:
        found[:, 2] = np.minimum(np.arange(len(piece), 0, -1), LONGEST_BAR)
    return found


def frames_of(notes: Sequence[Note], length: int) -> np.ndarray:
    """Notes as frames ``[length, 88]``; where two sound on one key, a beginning is kept."""
    frames = np.zeros((length, KEYS), np.uint8)
    for begin, end, key in notes:
        frames[begin:end, key] = HELD
    for begin, _, key in notes:
        frames[begin, key] = STRUCK
    return frames


def notes_of(frames: np.ndarray, articulated: bool = True) -> list[Note]:
    """Frames as notes, in the order in which they begin, the highest first.

    Args:
        frames: ``[time, 88]``.
        articulated: if not, a key that sounds in two frames is one long note.
    """
    sounding = np.zeros((len(frames) + 2, frames.shape[1]), bool)
    sounding[1:-1] = frames != SILENT
    begins = sounding[1:] & ~sounding[:-1]
    if articulated:
        begins[:-1] |= frames == STRUCK
    ends = begins | (sounding[:-1] & ~sounding[1:])
    notes = []
    for key in np.flatnonzero(sounding.any(axis=0)):
        stops = np.flatnonzero(ends[:, key])
        for begin in np.flatnonzero(begins[:, key]):
            notes.append(Note(int(begin), int(stops[stops > begin][0]), int(key)))
    return sorted(notes, key=lambda note: (note.begin, -note.key))


def transposed(frames: np.ndarray, by: int) -> np.ndarray:
    """Frames `by` semitones higher, ``[time, 88]``; the caller sees to it that they fit."""
    return np.roll(frames, by, axis=1)


def reach(pieces: Sequence[Piece]) -> tuple[int, int]:
    """The lowest and the highest key that sounds in any of them."""
    used = np.flatnonzero(np.any([piece.sounding.any(axis=0) for piece in pieces], axis=0))
    return int(used[0]), int(used[-1])


def melody(piece: Piece) -> tuple[int, ...]:
    """The highest line: intervals in semitones from each of its keys to the next other one."""
    sounding = piece.sounding[piece.sounding.any(axis=1)]
    top = KEYS - 1 - sounding[:, ::-1].argmax(axis=1)
    changes = np.diff(top)
    return tuple(changes[changes != 0].tolist())


OPENING = 16
"""So many intervals of the highest line tell a tune."""


def split(pieces: Sequence[Piece], shares: Sequence[float], seed: int) -> list[list[Piece]]:
    """Whole pieces to parts in those shares, a function of `pieces`, `shares` and `seed`.

    Pieces whose highest lines begin alike, in whatever key and rhythm, stay together:
    transpositions, duplicates, and other settings of the same tune.

    Raises:
        UserError: if there are fewer tunes than parts.
    """
    tunes: dict[tuple[int, ...], list[Piece]] = {}
    for piece in pieces:
        tunes.setdefault(melody(piece)[:OPENING], []).append(piece)
    if len(tunes) < len(shares):
        raise UserError(f"{len(tunes)} different tunes: expected at least {len(shares)}")
    groups = list(tunes.values())
    order = np.random.default_rng(seed).permutation(len(groups))
    bounds = np.round(np.cumsum(shares) * len(pieces)).astype(int)
    parts: list[list[Piece]] = [[] for _ in shares]
    placed = 0
    for rank, number in enumerate(order):
        part = min(int(np.searchsorted(bounds, placed, side="right")), len(shares) - 1)
        left = len(order) - rank
        empty = [place for place, found in enumerate(parts) if not found]
        if left <= len(empty):  # the last tunes go where there is none
            part = empty[0]
        parts[part] += groups[number]
        placed += len(groups[number])
    return parts
