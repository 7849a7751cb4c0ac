"""What the packaged tasks let a person say: strings of digits, and commands to a house."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

Rule = tuple[str, ...]
"""Alternatives, each words and ``<names>`` of other rules with spaces between."""


@dataclass(frozen=True)
class Grammar:
    """A regular grammar; a sentence begins with the rule `start`.

    ``<name>`` stands for a rule, any other word for itself, an empty alternative for nothing. A
    rule may come back to itself at the very end of an alternative only, so that the grammar is a
    finite automaton (``arcs``).
    """

    rules: Mapping[str, Rule] = field(hash=False)
    start: str = "sentence"

    def words(self) -> tuple[str, ...]:
        """All words, sorted."""
        used = (word for rule in self.rules.values() for way in rule for word in way.split())
        return tuple(sorted({word for word in used if not _rule_of(word)}))

    def sample(self, random: np.random.Generator) -> str:
        """A sentence; each alternative of a rule is as likely as its neighbours."""
        return " ".join(self._sampled(self.start, random))

    def _sampled(self, name: str, random: np.random.Generator) -> Iterator[str]:
        ways = self.rules[name]
        for word in ways[random.integers(len(ways))].split():
            rule = _rule_of(word)
            yield from self._sampled(rule, random) if rule else (word,)

    def arcs(self) -> tuple[list[tuple[int, str, int]], frozenset[int]]:
        """The deterministic automaton of the grammar.

        Returns:
            (state, word, next state) of every move, and the states where a sentence may end. It
            begins in state 0.

        Raises:
            ValueError: where a rule comes back to itself before the end of an alternative.
        """
        loose = _Loose()
        start, end = loose.state(), loose.state()
        self._expand(loose, self.start, start, end, {})
        return loose.deterministic(start, end)

    def _expand(
        self, loose: "_Loose", name: str, begin: int, end: int, within: Mapping[str, int | None]
    ) -> None:
        """Adds the ways from `begin` to `end` that rule `name` allows.

        Args:
            within: rules around this one -> where they begin, if they end where it does.
        """
        entry = loose.state()
        loose.moves.append((begin, "", entry))
        within = {**within, name: entry}
        for way in self.rules[name]:
            at, words = entry, way.split()
            for number, word in enumerate(words):
                rule, last = _rule_of(word), number == len(words) - 1
                if rule in within:
                    back = within[rule] if last else None
                    if back is None:
                        raise ValueError(f"<{rule}> inside itself, expected at its very end only")
                    loose.moves.append((at, "", back))
                    break
                reached = end if last else loose.state()
                if not rule:
                    loose.moves.append((at, word, reached))
                else:
                    around = within if last else dict.fromkeys(within)
                    self._expand(loose, rule, at, reached, around)
                at = reached
            if not words:
                loose.moves.append((at, "", end))


def _rule_of(word: str) -> str:
    return word[1:-1] if word.startswith("<") and word.endswith(">") else ""


class _Loose:
    """An automaton with empty moves, in the making."""

    def __init__(self) -> None:
        self.states = 0
        self.moves: list[tuple[int, str, int]] = []

    def state(self) -> int:
        self.states += 1
        return self.states - 1

    def deterministic(
        self, start: int, end: int
    ) -> tuple[list[tuple[int, str, int]], frozenset[int]]:
        """By the subset construction (Rabin and Scott 1959)."""
        leaving: dict[int, list[tuple[str, int]]] = {}
        for source, word, target in self.moves:
            leaving.setdefault(source, []).append((word, target))

        def closed(states: set[int]) -> frozenset[int]:
            found, waiting = set(states), list(states)
            while waiting:
                for word, target in leaving.get(waiting.pop(), []):
                    if not word and target not in found:
                        found.add(target)
                        waiting.append(target)
            return frozenset(found)

        numbers = {closed({start}): 0}
        waiting, arcs = list(numbers), []
        while waiting:
            here = waiting.pop()
            targets: dict[str, set[int]] = {}
            for state in here:
                for word, target in leaving.get(state, []):
                    if word:
                        targets.setdefault(word, set()).add(target)
            for word, reached in sorted(targets.items()):
                there = closed(reached)
                if there not in numbers:
                    numbers[there] = len(numbers)
                    waiting.append(there)
                arcs.append((numbers[here], word, numbers[there]))
        return sorted(arcs), frozenset(n for states, n in numbers.items() if end in states)


DIGIT_WORDS = (
    "zero", "oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"
)  # fmt: skip

DIGITS = Grammar({"sentence": ("<digit>", "<digit> <sentence>"), "digit": DIGIT_WORDS})

COMMANDS = Grammar(
    {
        "sentence": ("<order>", "please <order>", "<order> please", "<order> and <order>"),
        "order": (
            "turn <switch> the <room> <device>",
            "turn the <room> <device> <switch>",
            "<dim> the <room> lights",
            "<dim> the <room> lights to <tens> percent",
            "<open> the <room> <opening>",
            "<lock> the <side> door",
            "set the <room> temperature to <degrees> degrees",
            "is the <room> <device> still <switch>",
            "set a timer for <count> <unit>",
            "wake me at <hour> <part> <day>",
            "remind me in <count> <unit> to <task>",
            "play some <style> music in the <room>",
            "<player> the music in the <room>",
            "turn the volume <way> by <tens> percent",
            "what is the <report> <day>",
        ),
        "switch": ("on", "off"),
        "room": (
            "kitchen", "bedroom", "bathroom", "hall", "garage", "office", "cellar", "living room"
        ),
        "device": ("lamp", "fan", "heater", "radio", "television"),
        "dim": ("dim", "brighten"),
        "open": ("open", "close"),
        "opening": ("window", "blinds", "curtains"),
        "lock": ("lock", "unlock"),
        "side": ("front", "back", "garden"),
        "degrees": ("fifteen", "eighteen", "nineteen", "twenty", "twenty <small>"),
        "small": ("one", "two", "three", "four", "five"),
        "tens": ("ten", "twenty", "thirty", "forty", "fifty"),
        "count": ("ten", "fifteen", "twenty", "thirty", "forty", "fifty", "<small>"),
        "unit": ("seconds", "minutes", "hours"),
        "hour": ("six", "seven", "eight", "nine"),
        "part": ("", "fifteen", "thirty"),
        "day": ("today", "tomorrow", "on sunday", "on monday"),
        "task": ("water the plants", "call the doctor", "feed the cat"),
        "style": ("quiet", "classical", "jazz", "piano"),
        "player": ("stop", "pause"),
        "way": ("up", "down"),
        "report": ("weather", "news"),
    }
)  # fmt: skip

GRAMMARS = {"digits": DIGITS, "commands": COMMANDS}
