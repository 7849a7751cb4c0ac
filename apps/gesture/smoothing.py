"""Labels of streams out of probabilities: as they are, without short segments, as the likeliest
sequence, or as the past makes them likely. Imports no TensorFlow."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from apps.gesture.config import Smoothing

LEAST = 1e-7  # a probability below counts as this


def smoothed(
    probabilities: np.ndarray, how: Smoothing, transitions: np.ndarray, shortest: int
) -> np.ndarray:
    """The label of each frame of one stream.

    Args:
        probabilities: ``[time, classes]``.
        how: none, minimum, viterbi or filter.
        transitions: of ``learned_transitions``; for viterbi and filter.
        shortest: frames; for minimum.

    Returns:
        ``[time]`` int32.
    """
    if how == "viterbi" and len(probabilities):
        return viterbi(probabilities, transitions)
    if how == "filter":
        weigh = Filter(transitions)
        return np.array([weigh(frame) for frame in probabilities], np.int32)
    labels = probabilities.argmax(axis=1).astype(np.int32)
    if how == "minimum":
        return without_short(labels, probabilities, shortest)
    return labels


def labels_of(probabilities: Sequence[np.ndarray], schema: Mapping[str, Any]) -> list[np.ndarray]:
    """Labels ``[time]`` of streams, smoothed as a run's schema says, of ``[time, classes]``
    each."""
    transitions = np.array(schema["transitions"])
    return [
        smoothed(p, schema["smoothing"], transitions, schema["shortest"]) for p in probabilities
    ]


def segments(labels: np.ndarray) -> list[tuple[int, int, int]]:
    """Stretches of one label in ``[time]``: (label, first frame, first frame after it)."""
    if not len(labels):
        return []
    cuts = [0, *(np.flatnonzero(np.diff(labels)) + 1), len(labels)]
    return [(int(labels[a]), int(a), int(b)) for a, b in pairwise(cuts)]


def without_short(labels: np.ndarray, probabilities: np.ndarray, shortest: int) -> np.ndarray:
    """Labels ``[time]`` in which segments shorter than `shortest` frames are gone, the shortest
    first: each gets the label of that neighbour which the probabilities ``[time, classes]`` over it
    speak for."""
    labels = labels.copy()
    while len(found := segments(labels)) > 1:
        place = min(range(len(found)), key=lambda n: found[n][2] - found[n][1])
        _, begin, end = found[place]
        if end - begin >= shortest:
            break
        neighbours = [found[n][0] for n in (place - 1, place + 1) if 0 <= n < len(found)]
        mass = probabilities[begin:end].sum(axis=0)
        labels[begin:end] = max(neighbours, key=lambda label: mass[label])
    return labels


def learned_transitions(streams: Sequence[np.ndarray], classes: int) -> np.ndarray:
    r"""How often a frame of class i is followed by one of class j,
    :math:`(n_{ij} + 1) / (n_i + K)`.

    Args:
        streams: labels ``[time]``; those below 0 don't count.
        classes: K.

    Returns:
        ``[classes, classes]``, rows that sum to one.
    """
    counts = np.ones((classes, classes))
    for labels in streams:
        here, after = labels[:-1], labels[1:]
        known = (here >= 0) & (after >= 0)
        np.add.at(counts, (here[known], after[known]), 1)
    return counts / counts.sum(axis=1, keepdims=True)


class Filter:
    r"""The label that is likeliest after the frames so far, one frame after the other (the
    forward algorithm, Rabiner 1989):

    .. math:: \alpha_t(j) \propto p_t(j) \sum_i \alpha_{t-1}(i) A_{ij}, \qquad
        \alpha_0(j) \propto p_0(j) .

    A label changes only when what speaks for the new one outweighs how seldom labels change.

    Args:
        transitions: A, of ``learned_transitions``, ``[classes, classes]``.
    """

    def __init__(self, transitions: np.ndarray) -> None:
        self.transitions = np.maximum(transitions, LEAST)
        self.belief: np.ndarray | None = None

    def __call__(self, probabilities: np.ndarray) -> int:
        """The label of the next frame, from its probabilities ``[classes]``."""
        belief = np.maximum(probabilities, LEAST)
        if self.belief is not None:
            belief = belief * (self.belief @ self.transitions)
        self.belief = belief / belief.sum()
        return int(self.belief.argmax())


def viterbi(probabilities: np.ndarray, transitions: np.ndarray) -> np.ndarray:
    r"""The sequence with the greatest :math:`\prod_t p_t(y_t) A_{y_{t-1} y_t}` (Viterbi 1967),
    ``[time]``, of probabilities ``[time, classes]`` and transitions ``[classes, classes]``:

    .. math:: \delta_t(j) = \log p_t(j) + \max_i (\delta_{t-1}(i) + \log A_{ij}) .
    """
    emitted = np.log(np.maximum(probabilities, LEAST))
    moves = np.log(np.maximum(transitions, LEAST))
    best = emitted[0]
    came_from = np.zeros(probabilities.shape, np.int32)
    for t in range(1, len(emitted)):
        reached = best[:, np.newaxis] + moves
        came_from[t] = reached.argmax(axis=0)
        best = emitted[t] + reached.max(axis=0)
    labels = np.zeros(len(emitted), np.int32)
    labels[-1] = best.argmax()
    for t in range(len(emitted) - 1, 0, -1):
        labels[t - 1] = came_from[t, labels[t]]
    return labels
