"""What was said, by whom, and how it sounds: one type for every source of speech."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apps.speech.alphabet import Alphabet
from apps.speech.grammar import Grammar

RATE = 16_000
"""Samples in a second, everywhere inside the application."""


@dataclass(frozen=True)
class Utterance:
    """One recording with its transcript."""

    name: str
    """Names the recording in messages and tables: its path, or its number."""
    samples: np.ndarray
    """``[n]`` int16, mono, at ``RATE``."""
    text: str
    speaker: str = ""
    """Empty where nobody said."""
    accent: str = ""
    """Likewise."""

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return len(self.samples) / RATE

    @property
    def waveform(self) -> np.ndarray:
        """``[n]`` float32 in -1 to 1."""
        return self.samples.astype(np.float32) / 32768


@dataclass(frozen=True)
class Corpus:
    """Utterances to learn from, to choose on, and to be judged by."""

    name: str
    train: tuple[Utterance, ...]
    validation: tuple[Utterance, ...]
    test: tuple[Utterance, ...]
    alphabet: Alphabet
    """Made from the training text, or what the user gave; all transcripts are inside it."""
    words: tuple[str, ...] = ()
    """Vocabulary of a closed task, sorted; empty if the task is open."""
    grammar: Grammar | None = None
    """Which strings of words can be said, for a lexicon or grammar constraint."""
    skipped: tuple[str, ...] = ()
    """A line for each recording left out: which, and why."""


def int16(waveform: np.ndarray) -> np.ndarray:
    """A float waveform ``[n]`` in -1 to 1 as int16, clipped where it is louder."""
    return np.clip(np.rint(waveform * 32768.0), -32768, 32767).astype(np.int16)


def seconds(utterances: Sequence[Utterance]) -> float:
    """Length of all of them together."""
    return sum(u.seconds for u in utterances)
