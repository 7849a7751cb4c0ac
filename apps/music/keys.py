"""Keys of pieces: C major is 1, C# major 2 ... B major 12, C minor 13 ... B minor 24; 0 is not
told. Imports no TensorFlow."""

import re
from collections.abc import Sequence

import numpy as np

from apps.music.pieces import KEYS, LOWEST, Piece
from common.errors import UserError

COUNT = 25
MODES = ("major", "minor")
TONICS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
# Krumhansl & Kessler (1982): how well each pitch class fits a key, from the tonic upwards.
PROFILES = (
    (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
)
_FITS = np.array([np.roll(profile, tonic) for profile in PROFILES for tonic in range(12)])
_NAME = re.compile(r"([A-Ga-g])(#|b|)[\s_-]*(major|minor|maj|min|m|)")


def pitch_classes(piece: Piece) -> np.ndarray:
    """Frames in which each of C, C# ... B sounds, ``[12]``."""
    counts = piece.sounding.sum(axis=0)
    classes = (np.arange(KEYS) + LOWEST) % 12
    return np.bincount(classes, weights=counts, minlength=12)


def of(piece: Piece) -> int:
    """The key whose profile correlates best with what is heard (Krumhansl 1990); 0 of silence."""
    heard = pitch_classes(piece)
    if not heard.any():
        return 0
    if np.ptp(heard) == 0:
        return 1
    return 1 + int(np.argmax(np.corrcoef(heard, _FITS)[0, 1:]))


def parts(key: int) -> tuple[int, int]:
    """Tonic (0 is C) and mode (0 is major) of a key that is told."""
    return (key - 1) % 12, (key - 1) // 12


def moved(key: int, by: int) -> int:
    """The key of a piece `by` semitones higher."""
    if not key:
        return 0
    tonic, mode = parts(key)
    return 1 + (tonic + by) % 12 + 12 * mode


def name(key: int) -> str:
    """As a person writes it."""
    tonic, mode = parts(key)
    return f"{TONICS[tonic]} {MODES[mode]}"


def read(text: str) -> int:
    """A key by name: "C major", "f# minor", "Bb"; a small letter alone is minor.

    Raises:
        UserError: for anything else.
    """
    found = _NAME.fullmatch(text.strip())
    if found is None:
        raise UserError(f"--key {text}: expected a key such as 'C major', 'F# minor' or 'Bb'")
    letter, sign, mode = found.groups()
    tonic = (0, 2, 4, 5, 7, 9, 11)["CDEFGAB".index(letter.upper())] + (sign == "#") - (sign == "b")
    minor = mode in ("minor", "min", "m") or (not mode and letter.islower())
    return 1 + tonic % 12 + 12 * minor


def drawn(counts: Sequence[int], seed: int) -> int:
    """A key as often as its count says; always the same of a seed."""
    shares = np.array(counts, float)
    return int(np.random.default_rng(seed).choice(len(shares), p=shares / shares.sum()))


def counts(pieces: Sequence[Piece]) -> list[int]:
    """How many pieces are in each key, ``[25]``."""
    return np.bincount([of(piece) for piece in pieces], minlength=COUNT).tolist()
