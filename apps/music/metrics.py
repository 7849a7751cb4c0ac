"""Scores as the literature counts them. Imports no TensorFlow."""

from collections.abc import Sequence

import numpy as np

from apps.music.pieces import Piece


def nll(losses: Sequence[np.ndarray]) -> float:
    """Nats a frame: summed over the keys, the mean over all frames of all pieces, ``[time]`` each,
    the first of each included."""
    return float(np.concatenate(losses).mean())


def interval(losses: Sequence[np.ndarray], seed: int = 0, resamples: int = 1000) -> tuple:
    """Of ``nll``, a 95 % bootstrap interval over whole pieces, ``[time]`` each (Efron 1979)."""
    sums, counts = (np.array([f(each) for each in losses]) for f in (np.sum, len))
    random = np.random.default_rng(seed)
    drawn = random.integers(len(losses), size=(resamples, len(losses)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def frame_accuracy(guesses: Sequence[np.ndarray], pieces: Sequence[Piece]) -> float:
    r""":math:`\sum TP / \sum (TP + FP + FN)` over all keys of all frames (Bay et al.
    2009); a guess is ``[time, 88]``."""
    both = either = 0
    for guess, piece in zip(guesses, pieces, strict=True):
        sounds, true = guess > 0, piece.sounding
        both += int((sounds & true).sum())
        either += int((sounds | true).sum())
    return both / max(either, 1)


def scores(
    losses: Sequence[np.ndarray], guesses: Sequence[np.ndarray], pieces: Sequence[Piece]
) -> dict[str, float]:
    """``nll`` with its interval, of losses ``[time]`` for each piece, and ``frame_accuracy``, of
    guesses ``[time, 88]``."""
    low, high = interval(losses)
    accuracy = frame_accuracy(guesses, pieces)
    return {"nll": nll(losses), "nll_low": low, "nll_high": high, "frame_accuracy": accuracy}
