"""What can be said: grammars as texts and as automata."""

from collections.abc import Iterator

import numpy as np
import pytest

from apps.speech.grammar import COMMANDS, DIGIT_WORDS, DIGITS, GRAMMARS, Grammar

RANDOM = np.random.default_rng(3)


def accepts(grammar: Grammar, text: str) -> bool:
    """Whether the automaton of a grammar ends where a sentence may, after those words."""
    arcs, final = grammar.arcs()
    moves = {(source, word): target for source, word, target in arcs}
    assert len(moves) == len(arcs)  # deterministic
    state = 0
    for word in text.split():
        if (state, word) not in moves:
            return False
        state = moves[state, word]
    return state in final


def sentences(grammar: Grammar, state: int = 0, words: int = 9) -> Iterator[str]:
    """All sentences of at most so many words, by walking the automaton."""
    arcs, final = grammar.arcs()
    leaving: dict[int, list[tuple[str, int]]] = {}
    for source, word, target in arcs:
        leaving.setdefault(source, []).append((word, target))

    def walk(state: int, left: int) -> Iterator[str]:
        if state in final:
            yield ""
        if left:
            for word, target in leaving.get(state, []):
                yield from (f"{word} {rest}".strip() for rest in walk(target, left - 1))

    return walk(state, words)


TOY = Grammar(
    {
        "sentence": ("<who> runs <how>", "<who> and <sentence>"),
        "who": ("a cat", "a dog", "<who2>"),
        "who2": ("",),
        "how": ("", "fast", "fast <how>"),
    }
)


def test_the_automaton_says_what_the_rules_say() -> None:
    assert set(sentences(TOY, words=4)) == {
        *("runs", "runs fast", "runs fast fast", "runs fast fast fast"),
        *("a cat runs", "a dog runs", "a cat runs fast", "a dog runs fast"),
        *("and runs", "and runs fast", "and runs fast fast", "and and runs", "and and runs fast"),
        *("and and and runs", "and a cat runs", "and a dog runs"),
        *("a cat and runs", "a dog and runs"),
    }


@pytest.mark.parametrize("grammar", [DIGITS, COMMANDS, TOY])
def test_the_automaton_accepts_every_sample(grammar: Grammar) -> None:
    arcs, _ = grammar.arcs()
    assert {word for _, word, _ in arcs} == set(grammar.words())
    for _ in range(200):
        assert accepts(grammar, grammar.sample(RANDOM))


@pytest.mark.parametrize(
    "text",
    ["", "please", "turn on", "turn on the kitchen lamp the", "turn kitchen", "please please"],
)
def test_the_automaton_refuses_what_is_no_command(text: str) -> None:
    assert not accepts(COMMANDS, text)


def test_digits_are_strings_of_eleven_words() -> None:
    assert DIGITS.words() == tuple(sorted(DIGIT_WORDS))
    assert len(DIGIT_WORDS) == 11
    assert accepts(DIGITS, "oh " * 30)
    assert not accepts(DIGITS, "")


def test_commands_have_about_ninety_words_and_many_orders() -> None:
    assert 85 <= len(COMMANDS.words()) <= 100
    orders = set(sentences(Grammar(COMMANDS.rules, "order"), words=12))
    assert len(orders) > 600
    assert "wake me at seven thirty on sunday" in orders
    assert set(GRAMMARS) == {"digits", "commands"}


@pytest.mark.parametrize(
    "rules",
    [
        {"sentence": ("<sentence> a", "b")},
        {"sentence": ("a <inner> b",), "inner": ("c <sentence>",)},
        {"sentence": ("a <inner>",), "inner": ("<sentence> c",)},
    ],
)
def test_a_grammar_that_is_not_regular_is_refused(rules: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(ValueError, match="<sentence> inside itself, expected at its very end"):
        Grammar(rules).arcs()
