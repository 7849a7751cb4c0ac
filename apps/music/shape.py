"""What a network must know of its corpus. Imports no TensorFlow."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apps.music.config import Head
from apps.music.pieces import Corpus, Piece
from common.errors import UserError

PARTS = 4
"""Voices of a corpus that is read voice by voice if nothing else is asked for."""
FILLED = 0.75
"""Of its frames, the share in which as many keys sound."""
MOST_VOICES = 8


@dataclass(frozen=True)
class Shape:
    """What a network must know of its corpus."""

    head: Head
    articulated: bool
    most: int
    """Keys that sound together, at most, in the corpus."""
    voices: int
    """Keys of a frame that intervals are measured from; of ``voices``, all that are read."""


def shape_of(corpus: Corpus, head: Head) -> Shape:
    """The shape that holds all pieces of the corpus.

    Args:
        head: ``auto`` is ``events`` for melodies and ``voices`` for four parts, if held keys are
            told from struck ones, and else ``joint``.

    Raises:
        UserError: for a head that does not fit the corpus.
    """
    parts = [corpus.train, corpus.validation, corpus.test]
    trained, *held_out = ([_sounding(piece) for piece in part] for part in parts)
    counts = np.concatenate(trained)
    most = max(1, *(int(count.max()) for part in (trained, *held_out) for count in part))
    # Of a part that divides at one place in training the lowest and highest keys are read.
    voices = int(np.quantile(counts, 0.999, method="higher"))
    fit = corpus.articulated and all(c.max() <= voices for part in held_out for c in part)
    if head == "auto":
        filled = (counts == voices).mean() >= FILLED
        head = "voices" if fit and voices == PARTS and filled else "joint"
        head = "events" if most == 1 and corpus.articulated else head
    if head == "events" and (most > 1 or not corpus.articulated):
        raise UserError(
            f"--head events: {most} keys at once: expected melodies"
            if most > 1
            else "--head events: expected a corpus that tells held keys from struck ones"
        )
    if head == "voices":
        voices = max([voices, *(int(c.max()) for part in held_out for c in part)])
        if voices > MOST_VOICES:
            raise UserError(f"--head voices: {voices} keys at once: expected {MOST_VOICES} at most")
        return Shape(head, corpus.articulated, most, max(voices, 1))
    return Shape(head, corpus.articulated, most, min(most, MOST_VOICES))


def _sounding(piece: Piece) -> np.ndarray:
    return piece.sounding.sum(axis=1)


def too_many(pieces: Sequence[Piece], head: str, voices: int) -> None:
    """Raises UserError, naming the first, if a piece has more keys at once than the run's network
    can have."""
    if head not in ("voices", "events"):
        return
    for piece in pieces:
        most = int(_sounding(piece).max(initial=0))
        if most > voices:
            raise UserError(
                f"{piece.name}: {most} keys at once: the run's network has {voices} voice"
                f"{'s' if voices > 1 else ''} at most (--head joint has no such limit)"
            )
