"""What a sceptic would use instead: the marginal, each key as a Markov chain, and the last
frame again. Imports no TensorFlow.

Each says which keys sound, and, where held keys are told from struck ones, how often a key that
sounds on is struck again; with Laplace's rule, so that nothing is impossible.
"""

from collections.abc import Sequence

import numpy as np

from apps.music import metrics
from apps.music.pieces import KEYS, STRUCK, Piece


def _before(piece: Piece) -> np.ndarray:
    """The frame before each, ``[time, 88]`` bool; silence before the first."""
    return np.concatenate([np.zeros((1, KEYS), bool), piece.sounding[:-1]])


def _counts(pieces: Sequence[Piece]) -> tuple[np.ndarray, np.ndarray]:
    """How often each key was silent or sounding (rows), and how often it sounded next:
    ``[2, 88]`` each."""
    before = np.concatenate([_before(piece) for piece in pieces])
    sounding = np.concatenate([piece.sounding for piece in pieces])
    seen = np.stack([(~before).sum(axis=0), before.sum(axis=0)])
    next_ = np.stack([(~before & sounding).sum(axis=0), (before & sounding).sum(axis=0)])
    return seen, next_


def tables(pieces: Sequence[Piece]) -> dict[str, np.ndarray]:
    """For each baseline the probability that a key sounds, ``[2, 88]``: after silence, and
    after sounding."""
    seen, next_ = _counts(pieces)
    every = seen.sum(axis=0), next_.sum(axis=0)
    markov = (next_ + 1) / (seen + 2)
    marginal = (every[1] + 1) / (every[0] + 2)
    again = (next_.sum(axis=1, keepdims=True) + 1) / (seen.sum(axis=1, keepdims=True) + 2)
    return {
        "marginal": np.stack([marginal, marginal]),
        "markov": markov,
        "repeat_last": np.broadcast_to(again, (2, KEYS)),
    }


def scores(train: Sequence[Piece], test: Sequence[Piece], articulated: bool) -> dict[str, dict]:
    """The scores of each baseline on `test`, fitted to `train`."""
    found = {}
    struck = _struck_again(train) if articulated else None
    for name, table in tables(train).items():
        losses, guesses = [], []
        for piece in test:
            chance = np.where(_before(piece), table[1], table[0])
            likely = np.where(piece.sounding, chance, 1 - chance)
            each = -np.log(likely).sum(axis=1)
            if struck is not None:
                on = piece.sounding & _before(piece)
                again = np.where(piece.frames == STRUCK, struck, 1 - struck)
                each -= (on * np.log(again)).sum(axis=1)
            losses.append(each)
            guesses.append(_before(piece) if name == "repeat_last" else chance > 0.5)
        found[name] = metrics.scores(losses, guesses, test)
    return found


def _struck_again(pieces: Sequence[Piece]) -> float:
    on = [piece.sounding & _before(piece) for piece in pieces]
    struck = [o & (piece.frames == STRUCK) for o, piece in zip(on, pieces, strict=True)]
    return (sum(s.sum() for s in struck) + 1) / (sum(o.sum() for o in on) + 2)
