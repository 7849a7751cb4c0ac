"""What a sceptic would use instead for single words: dynamic time warping against templates
(Sakoe and Chiba 1978). Imports no TensorFlow."""

from collections.abc import Sequence

import numpy as np
from librosa.effects import trim
from librosa.feature import mfcc
from librosa.sequence import dtw
from tqdm import tqdm

from apps.speech.utterances import RATE, Utterance

TEMPLATES = 40  # recordings of each word, of as many speakers as there are
LEAST = 5  # templates a word, on average, or there is no use in it
HOP = 320  # samples from one frame to the next: 20 ms
QUIET = 35  # dB below the loudest: quieter ends are cut off


def single_words(utterances: Sequence[Utterance]) -> list[int]:
    """The places of utterances of one word."""
    return [place for place, u in enumerate(utterances) if u.text and " " not in u.text]


def template_matcher(train: Sequence[Utterance], test: Sequence[Utterance]) -> list[str] | None:
    """For each utterance of `test` the word of the training recording that is nearest to it; None
    where training has too few utterances of one word.

    Recordings are compared by the cheapest way of warping the time of one to the other's, over
    Euclidean distances of 13 MFCCs without their mean, divided by both lengths.
    """
    examples = _templates([train[place] for place in single_words(train)])
    words = {word for word, _ in examples}
    if len(words) < 2 or len(examples) < LEAST * len(words):
        return None
    found = []
    for utterance in tqdm(test, desc="templates", unit="word", disable=None, leave=False):
        heard = mfccs(utterance)
        costs = [_cost(heard, template) for _, template in examples]
        found.append(examples[int(np.argmin(costs))][0])
    return found


def _templates(utterances: Sequence[Utterance]) -> list[tuple[str, np.ndarray]]:
    """Up to ``TEMPLATES`` of each word: the first of each speaker before the second of any."""
    of: dict[str, list[tuple[int, int, Utterance]]] = {}
    turns: dict[tuple[str, str], int] = {}
    for place, utterance in enumerate(utterances):
        turn = turns.setdefault((utterance.text, utterance.speaker), 0)
        turns[utterance.text, utterance.speaker] += 1
        of.setdefault(utterance.text, []).append((turn, place, utterance))
    return [
        (word, mfccs(utterance))
        for word, found in sorted(of.items())
        for _, _, utterance in sorted(found, key=lambda row: row[:2])[:TEMPLATES]
    ]


def mfccs(utterance: Utterance) -> np.ndarray:
    """``[13, frames]``, of what is not silence, each coefficient without its mean."""
    sound, _ = trim(utterance.waveform, top_db=QUIET)
    sound = np.pad(sound, (0, max(0, 2 * HOP - len(sound))))
    found = mfcc(y=sound, sr=RATE, n_mfcc=13, n_fft=512, hop_length=HOP)
    return found - found.mean(axis=1, keepdims=True)


def _cost(one: np.ndarray, other: np.ndarray) -> float:
    accumulated = dtw(one, other, backtrack=False)
    return float(accumulated[-1, -1]) / (one.shape[1] + other.shape[1])
