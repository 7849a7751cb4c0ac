r"""What is known of a text before it is heard: words that may be said, and how likely they are.

A text of the words :math:`w_1 \ldots w_n` gets, beside what the network finds,

.. math:: \alpha \sum_i \log p(w_i \mid w_{<i}) + \alpha \log p(\mathrm{end} \mid w_{1..n})
          + \beta n,

each word when it is complete (as in Hannun et al. 2014, arXiv:1408.2873), and is ruled out as soon
as the lexicon has no text that begins so.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from apps.speech.language import BEGIN, END, Gram, NGrams
from apps.speech.lexicon import START, Lexicon


class Place(NamedTuple):
    """Where one is in a text."""

    state: int = START
    """Of the lexicon."""
    history: Gram = (BEGIN,)
    """Of the language model."""
    word: str = ""
    """The letters of the word that is not complete yet."""


@dataclass(frozen=True)
class Scorer:
    """Scores texts as they grow, symbol by symbol.

    Args:
        symbols: the text of each symbol, by id from 1.
        lexicon: what may be said; anything, if not given.
        language: how likely words are; all alike, if not given.
        weight: :math:`\\alpha`.
        bonus: :math:`\\beta`, nats.
    """

    symbols: tuple[str, ...]
    lexicon: Lexicon | None = None
    language: NGrams | None = None
    weight: float = 0.5
    bonus: float = 0.0
    _known: dict[tuple[Place, int], tuple[Place, float] | None] = field(default_factory=dict)

    def follow(self, place: Place, symbol: int) -> tuple[Place, float] | None:
        """The place after one more symbol, and the score that it adds; None if it is ruled out."""
        key = (place, symbol)
        if key not in self._known:
            self._known[key] = self._followed(place, self.symbols[symbol - 1])
        return self._known[key]

    def _followed(self, place: Place, text: str) -> tuple[Place, float] | None:
        state = START
        if self.lexicon is not None:
            found = self.lexicon.read(place.state, text)
            if found is None:
                return None
            state = found
        elif self.language is None and not self.bonus:
            return place, 0.0
        history, word, added = place.history, place.word, 0.0
        for character in text:
            if character != " ":
                word += character
            elif word:
                history, score = self._said(history, word)
                word, added = "", added + score
        return Place(state, history, word), added

    def _said(self, history: Gram, word: str) -> tuple[Gram, float]:
        if self.language is None:
            return (BEGIN,), self.bonus
        score = self.weight * self.language.after(history, word) + self.bonus
        return self.language.follow(history, word), score

    def may_end(self, place: Place) -> bool:
        """Whether a text may end here: a word of the lexicon is complete, if there is a lexicon."""
        return self.lexicon is None or self.lexicon.may_end(place.state)

    def end(self, place: Place) -> float | None:
        """The score that is added when the text ends there; None if it may not."""
        if not self.may_end(place):
            return None
        history, added = place.history, 0.0
        if place.word:
            history, added = self._said(history, place.word)
        if self.language is not None:
            added += self.weight * self.language.after(history, END)
        return added
