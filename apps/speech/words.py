r"""Which words a text has, when they were said, and how sure the network is of each. NumPy alone.

The likeliest alignment of a text (Viterbi 1967) says at which steps CTC said each symbol. These are
short spikes, and may come long before the sound of what is a whole word. Where there is an
attention decoder, and it went from left to right, the step that it looked at most stands for a
symbol's spike. A word is taken to last from where its sound begins to where it ends: up to the
quietest step between its spikes and the next word's, without the silence about it. A causal network
says a word when it has heard enough of it, about when it ends: the quietest step around its last
spike, from ``AROUND[0]`` seconds before it to ``AROUND[1]`` after it, and after the word's loudest
step, ends it.

CTC's steps are independent given the sound, so with :math:`J_u` the steps nearer to symbol u's
spike than to its neighbours', the chance that u was said at all in its place, and that all symbols
of a word were, is

.. math:: c_u = 1 - \prod_{j \in J_u} (1 - p_j(y_u)), \qquad c_w = \prod_{u \in w} c_u .
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

SILENT = 30.0  # dB below the loudest step
AROUND = (0.2, 0.3)
"""Seconds before and after a causal network's spike within which its word ends, nearly always."""


@dataclass(frozen=True)
class Word:
    """A word of a text."""

    text: str
    begin: float
    """Seconds."""
    end: float
    confidence: float
    """From 0 to 1."""


def align(log_p: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """The first and the last step of each symbol on the likeliest alignment, ``[length, 2]``.

    Args:
        log_p: ``[time, symbols + 1]``, the blank first.
        ids: the text.

    Raises:
        ValueError: if the text has no alignment in so few steps.
    """
    path = np.zeros(2 * len(ids) + 1, np.int64)  # blanks around and between the symbols
    path[1::2] = ids
    skips = np.zeros(len(path), bool)  # a blank may be left out between unequal symbols
    skips[3::2] = path[3::2] != path[1:-2:2]
    score = np.full(len(path), -np.inf)
    score[0] = 0.0
    came = np.zeros([len(log_p), len(path)], np.int64)
    for j, row in enumerate(log_p):
        ways = np.full([3, len(path)], -np.inf)
        ways[0] = score
        ways[1, 1:] = score[:-1]
        if j:
            ways[2, 2:] = np.where(skips[2:], score[:-2], -np.inf)
        came[j] = ways.argmax(axis=0)
        score = ways.max(axis=0) + row[path]
    place = len(path) - 1 - int(len(ids) > 0 and score[-2] > score[-1])
    if len(log_p) and not np.isfinite(score[place]):
        raise ValueError(f"{len(ids)} symbols in {len(log_p)} steps")
    spans = np.full([len(ids), 2], -1)
    for j in range(len(log_p) - 1, -1, -1):
        if place % 2:
            spans[place // 2, 1] = max(spans[place // 2, 1], j)
            spans[place // 2, 0] = j
        place -= came[j, place]
    return spans


def chances(log_p: np.ndarray, ids: Sequence[int], spans: np.ndarray) -> np.ndarray:
    """:math:`c_u` of each symbol, ``[length]``."""
    if not len(ids):
        return np.zeros(0)
    middles = (spans[:-1, 1] + spans[1:, 0] + 1) / 2
    edges = np.concatenate([[0], np.ceil(middles), [len(log_p)]]).astype(int)
    found = []
    for symbol, (begin, end), (first, last) in zip(ids, pairwise(edges), spans, strict=True):
        here = log_p[min(begin, first) : max(end, last + 1), symbol]
        found.append(1 - np.prod(1 - np.exp(np.minimum(here, 0.0))))
    return np.array(found)


def loudness(waveform: np.ndarray, steps: int, samples: int) -> np.ndarray:
    """Of each step, dB, ``[steps]``; the last one may have fewer than so many samples."""
    padded = np.zeros(steps * samples)
    padded[: min(len(waveform), len(padded))] = waveform[: len(padded)]
    power = np.square(padded).reshape(steps, samples).mean(axis=1)
    return 10 * np.log10(power + 1e-10)


def words_of(
    symbols: Sequence[str],
    spans: np.ndarray,
    confidences: np.ndarray,
    loud: np.ndarray,
    seconds: float,
    causal: bool = False,
) -> list[Word]:
    """The words of a text.

    Args:
        symbols: the text, symbol by symbol.
        spans: first and last step of each, ``[length, 2]``.
        confidences: of each, ``[length]``.
        loud: loudness of each step, dB.
        seconds: from one step to the next.
        causal: whether symbols are said about when their sound ends.
    """
    texts: list[str] = []
    members: list[list[int]] = []
    open_word = False
    for number, symbol in enumerate(symbols):
        for character in symbol:
            if character == " ":
                open_word = False
                continue
            if not open_word:
                texts.append("")
                members.append([])
                open_word = True
            texts[-1] += character
            if number not in members[-1]:
                members[-1].append(number)
    spikes = np.array([(spans[m[0], 0], spans[m[-1], 1]) for m in members]).reshape(-1, 2)
    around = tuple(round(reach / seconds) for reach in AROUND) if causal else None
    places = sounding(spikes, loud, around)
    return [
        Word(text, begin * seconds, end * seconds, float(np.prod(confidences[own])))
        for text, own, (begin, end) in zip(texts, members, places, strict=True)
    ]


def sounding(
    spikes: np.ndarray, loud: np.ndarray, around: tuple[int, ...] | None = None
) -> list[tuple[int, int]]:
    """Begin and end (the step after the last) of each word's sound, of spikes ``[words, 2]`` and
    loudness ``[steps]``: all that is audible between the quietest steps before and after its
    spikes; where nothing is, the spikes themselves. Where spikes stand at the ends of words, a word
    ends at the quietest step that is so many steps before its last or after it, `around`."""
    if not len(spikes):
        return []
    audible = loud > loud.max() - SILENT
    edges = [0]
    for (_, last), (first, _) in pairwise(spikes):
        if around is None:
            begin = max(edges[-1], min(last + 1, first))  # attention may look at two in one step
            end = max(begin, first) + 1
        else:
            loudest = edges[-1] + int(loud[edges[-1] : max(edges[-1], last) + 1].argmax())
            begin = min(last, max(loudest + 1, last - around[0]))
            end = min(max(first, last + 1), last + 1 + around[1])
        edges.append(int(begin + loud[begin:end].argmin()))
    edges.append(len(loud))
    found = []
    for (first, last), (begin, end) in zip(spikes, pairwise(edges), strict=True):
        heard = begin + np.flatnonzero(audible[begin:end])
        spiked = (int(first), int(last) + 1) if around is None else (begin, end)
        found.append((int(heard[0]), int(heard[-1]) + 1) if len(heard) else spiked)
    return found
