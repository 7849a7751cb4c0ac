"""What the packaged tasks let a person say: strings of digits, and commands to a house."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Rule = tuple[tuple[str, ...], ...]
"""Alternatives, each a sequence of words and of ``<names>`` of other rules."""


@dataclass(frozen=True)
class Grammar:
    """A finite or right-recursive grammar; ``rules[start]`` is where a sentence begins.

    ``<name>`` in an alternative stands for a rule, anything else for itself. A recursive rule
    may only name itself at the end of an alternative, so that the grammar is a finite automaton
    (``arcs``).
    """

    rules: Mapping[str, Rule]
    start: str = "sentence"

    def words(self) -> tuple[str, ...]:
        """All words, sorted."""
        raise NotImplementedError

    def arcs(self) -> tuple[list[tuple[int, str, int]], frozenset[int]]:
        """As an automaton without empty moves: (state, word, next state), and the states where
        a sentence may end; it begins in state 0."""
        raise NotImplementedError

    def sample(self, random: np.random.Generator) -> str:
        """A sentence, each alternative as likely as its neighbours."""
        raise NotImplementedError
