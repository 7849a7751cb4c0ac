"""What may be said: a list of words, or a grammar of them, as an automaton over characters.

Texts are words with one space between. The automaton reads characters, so that it holds whatever
the symbols of an alphabet are; its states are made when they are first reached (the subset
construction of Rabin & Scott 1959, done lazily).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from common import files
from common.errors import UserError

Arc = tuple[int, str, int]
"""(state, word, next state) of an automaton over words."""
START = 0
MOST_BYTES = 2**25
"""Of a file of words: two million of them."""


class Lexicon:
    """An automaton over characters.

    Args:
        arcs: of the automaton over words, which begins in state 0.
        ends: states of it where a text may end.
    """

    def __init__(self, arcs: Sequence[Arc], ends: Iterable[int]) -> None:
        self._arcs = list(arcs)
        self._ends = frozenset(ends)
        self._leaving: dict[int, list[tuple[int, int]]] = {}
        for number, (state, _, _) in enumerate(self._arcs):
            self._leaving.setdefault(state, []).append((number, 0))
        first = frozenset(self._leaving.get(0, []))
        self._sets = [first]  # state -> {(arc, characters of its word read)}
        self._numbers = {first: START}
        self._next: list[dict[str, int | None]] = [{}]
        self.words = tuple(sorted({word for _, word, _ in self._arcs}))

    def read(self, state: int, text: str) -> int | None:
        """The state after `text`; None if nothing that may be said goes on like that. A space
        before the first word is passed over."""
        for character in text:
            if character == " " and state == START:
                continue
            found = self._step(state, character)
            if found is None:
                return None
            state = found
        return state

    def _step(self, state: int, character: str) -> int | None:
        if character not in self._next[state]:
            self._next[state][character] = self._made(state, character)
        return self._next[state][character]

    def _made(self, state: int, character: str) -> int | None:
        reached: set[tuple[int, int]] = set()
        for arc, read in self._sets[state]:
            _, word, after = self._arcs[arc]
            if read < len(word) and word[read] == character:
                reached.add((arc, read + 1))
            elif read == len(word) and character == " ":
                reached.update(self._leaving.get(after, []))
        if not reached:
            return None
        found = frozenset(reached)
        if found == self._sets[START]:  # the words may begin anew, but a text has begun
            found = found | {(-1, 0)}
        if found not in self._numbers:
            self._numbers[found] = len(self._sets)
            self._sets.append(frozenset(pair for pair in found if pair[0] >= 0))
            self._next.append({})
        return self._numbers[found]

    def may_end(self, state: int) -> bool:
        """Whether a text may end there: not inside a word, nor after a space."""
        if state == START:
            return 0 in self._ends
        return any(
            read == len(self._arcs[arc][1]) and self._arcs[arc][2] in self._ends
            for arc, read in self._sets[state]
        )


def of_words(words: Iterable[str]) -> Lexicon:
    """Any sequence of those words, none at all included."""
    return Lexicon([(0, word, 0) for word in sorted(set(words))], [0])


def from_file(path: Path) -> Lexicon:
    """Any sequence of the words in a file of one a line.

    Raises:
        UserError: if it can't be read, has no words, or has several in a line.
    """
    try:
        files.check(path, MOST_BYTES)
    except UserError as error:
        raise UserError(f"--lexicon {error}") from None
    words = []
    for number, line in files.lines(path):
        found = line.split()
        if len(found) > 1:
            raise UserError(
                f"--lexicon {path}: line {number}: {line[:60]!r}, expected one word a line"
            )
        words += found
    if not words:
        raise UserError(f"--lexicon {path}: no words in it")
    return of_words(words)
