"""Beam searches against brute force, what may be said, and how likely words are."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from apps.speech import beam, language, lexicon
from apps.speech.grammar import COMMANDS, DIGITS
from apps.speech.language import BEGIN, END, UNKNOWN
from apps.speech.scoring import Place, Scorer
from common.errors import UserError
from tests import reference_speech

SYMBOLS = (" ", "a", "b")


def spoken(time: int, seed: int = 0, scale: float = 1.5) -> np.ndarray:
    """Log-probabilities ``[time, 4]`` of a network that is unsure."""
    logits = np.random.default_rng(seed).normal(0, scale, (time, 4))
    return np.log(reference_speech.softmax(logits))


def likely(log_p: np.ndarray) -> dict[tuple[int, ...], float]:
    """Every text and its log-probability."""
    found = reference_speech.alignments(log_p)
    return {text: np.logaddexp.reduce([s for _, s in ways]) for text, ways in found.items()}


# Prefix search


@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_finds_every_text_with_all_its_alignments(seed: int) -> None:
    log_p = spoken(5, seed)
    expected = likely(log_p)
    found = beam.prefix_search(log_p, 10_000, Scorer(SYMBOLS))
    assert {text.ids for text in found} == set(expected)
    for text in found:
        assert_allclose(text.log_p, expected[text.ids], rtol=1e-9)
    assert found[0].ids == max(expected, key=lambda ids: expected[ids])
    assert [t.score for t in found] == sorted((t.score for t in found), reverse=True)


def test_the_likeliest_text_need_not_be_that_of_the_likeliest_alignment() -> None:
    log_p = np.log(np.array([[0.6, 0.4 - 2e-9, 1e-9, 1e-9]] * 2))
    assert reference_speech.collapsed(tuple(log_p.argmax(axis=1))) == ()
    assert beam.prefix_search(log_p, 8, Scorer(SYMBOLS))[0].ids == (1,)


def test_a_narrow_beam_keeps_the_best() -> None:
    log_p = spoken(40, 1)
    wide = beam.prefix_search(log_p, 60, Scorer(SYMBOLS))[0]
    narrow = beam.prefix_search(log_p, 8, Scorer(SYMBOLS))
    assert len(narrow) <= 8
    assert narrow[0].log_p <= wide.log_p + 1e-9
    assert reference_speech.ctc(log_p, wide.ids) >= wide.log_p - 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_a_lexicon_leaves_the_likeliest_of_what_may_be_said(seed: int) -> None:
    log_p = spoken(6, seed)
    words = lexicon.of_words(["ab", "ba", "b"])
    allowed = {
        ids: p
        for ids, p in likely(log_p).items()
        if set(written(ids).split()) <= {"ab", "ba", "b"} and tidy(ids)
    }
    found = beam.prefix_search(log_p, 10_000, Scorer(SYMBOLS, words))
    texts: dict[tuple[int, ...], float] = {t.ids: t.score for t in found if tidy(t.ids)}
    assert set(texts) == set(allowed)
    for ids, p in allowed.items():
        assert_allclose(texts[ids], p, rtol=1e-9)


def written(ids: tuple[int, ...]) -> str:
    return "".join(SYMBOLS[i - 1] for i in ids)


def tidy(ids: tuple[int, ...]) -> bool:
    """Whether a text has no space too many."""
    return " ".join(written(ids).split()) == written(ids)


def test_words_are_scored_when_they_are_complete() -> None:
    model = language.learn(["ab b", "ab ab", "b"], 2)
    scorer = Scorer(SYMBOLS, None, model, weight=0.7, bonus=0.4)
    log_p = spoken(5, 3)
    for text in beam.prefix_search(log_p, 10_000, scorer):
        words = written(text.ids).split()
        expected = 0.7 * model.of_text(" ".join(words)) + 0.4 * len(words)
        assert_allclose(text.score - text.log_p, expected, rtol=1e-9)


def test_a_beam_with_nothing_to_say_says_nothing() -> None:
    log_p = np.full((1, 4), -np.inf)
    log_p[0, 1:3] = np.log(0.5)
    one_word = lexicon.Lexicon([(0, "ab", 1)], [1])
    assert beam.prefix_search(log_p, 4, Scorer(SYMBOLS, one_word)) == []


# Label search


class Decoder:
    """An attention decoder whose probabilities depend on the whole text before, by a table."""

    def __init__(self, symbols: int, seed: int = 0) -> None:
        self.symbols, self.seed = symbols, seed

    def log_p(self, before: tuple[int, ...]) -> np.ndarray:
        random = np.random.default_rng([self.seed, *before])
        logits = random.normal(0, 1.5, self.symbols + 2)
        logits[0] = -1e9
        logits[-1] += len(before)  # texts come to an end
        return np.log(reference_speech.softmax(logits) + 1e-300)

    def step(self, last: np.ndarray, states: Any) -> tuple[np.ndarray, Any]:
        if states is None:
            texts = np.zeros((1, 8), int)
        else:
            texts = states["texts"].copy()
            for row, symbol in enumerate(last):
                texts[row, np.count_nonzero(texts[row])] = symbol
        rows = [self.log_p(tuple(int(i) for i in row if i)) for row in texts]
        return np.stack(rows), {"texts": texts}

    def of_text(self, text: tuple[int, ...]) -> float:
        said = [*text, self.symbols + 1]
        return float(sum(self.log_p(text[:u])[symbol] for u, symbol in enumerate(said)))


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
def test_a_label_search_finds_the_likeliest_text_of_both(weight: float) -> None:
    log_p, decoder = spoken(4, 2), Decoder(3)
    texts = [t for n in range(5) for t in itertools.product((1, 2, 3), repeat=n)]
    expected = {}
    for text in texts:
        total = (1 - weight) * decoder.of_text(text)
        if weight:
            total += weight * reference_speech.ctc(log_p, text)
        expected[text] = total
    found = beam.label_search(
        decoder.step,
        1000,
        Scorer(SYMBOLS),
        ctc=log_p if weight else None,
        weight=weight,
        limit=4,
    )
    assert found[0].ids == max(expected, key=lambda ids: expected[ids])
    for text in found:
        assert_allclose(text.score, expected[text.ids], rtol=1e-9)


def test_a_prefix_is_as_likely_as_all_texts_that_begin_so() -> None:
    log_p = spoken(4, 5)
    texts = likely(log_p)
    tables, last = beam.before_any(log_p), np.array([0])
    for prefix in ((1,), (1, 1), (1, 1, 3)):
        symbols = np.array([[1, 2, 3]])
        psi, longer = beam.extended(tables, last, symbols, log_p)
        for place, symbol in enumerate((1, 2, 3)):
            begins = (*prefix[:-1], symbol)
            ways = [p for text, p in texts.items() if text[: len(begins)] == begins]
            expected = np.logaddexp.reduce(ways) if ways else -np.inf
            assert_allclose(psi[0, place], expected, rtol=1e-9)
            whole = np.logaddexp(*longer[0, place, -1])
            assert_allclose(whole, texts.get(begins, -np.inf), rtol=1e-9)
        tables, last = longer[:, prefix[-1] - 1], np.array([prefix[-1]])


def test_a_label_search_keeps_to_a_lexicon() -> None:
    words, decoder = lexicon.Lexicon([(0, "ab", 1), (0, "b", 1), (1, "b", 2)], [2]), Decoder(3, 4)
    texts = [t for n in range(7) for t in itertools.product((1, 2, 3), repeat=n)]
    allowed = [t for t in texts if written(t).lstrip() in ("ab b", "b b")]
    found = beam.label_search(
        decoder.step, 50, Scorer(SYMBOLS, words), ctc=None, weight=0.0, limit=6
    )
    assert found[0].ids == max(allowed, key=decoder.of_text)
    assert {text.ids for text in found} <= set(allowed)


# Lexicon


def test_an_automaton_reads_what_a_grammar_says() -> None:
    random = np.random.default_rng(0)
    for grammar in (DIGITS, COMMANDS):
        allowed = lexicon.Lexicon(*grammar.arcs())
        for _ in range(100):
            text = grammar.sample(random)
            state = allowed.read(lexicon.START, text)
            assert state is not None
            assert allowed.may_end(state), text
            begun = allowed.read(lexicon.START, text[:-1])
            assert begun is not None
        assert allowed.read(lexicon.START, "quit") is None
    digits = lexicon.Lexicon(*DIGITS.arcs())
    assert not digits.may_end(lexicon.START)
    assert digits.words == DIGITS.words()


@pytest.mark.parametrize(
    ("text", "may_end"),
    [
        ("", True),
        ("on", True),
        ("one", True),
        ("one on", True),
        (" on", True),
        ("on ", False),
        ("o", False),
        ("one o", False),
        ("on  one", None),
        ("onn", None),
        ("two", None),
    ],
)
def test_words_stand_with_one_space_between(text: str, may_end: bool | None) -> None:
    allowed = lexicon.of_words(["one", "on"])
    state = allowed.read(lexicon.START, text)
    assert (None if state is None else allowed.may_end(state)) == may_end


def test_pieces_are_read_letter_by_letter() -> None:
    symbols = (" seven", " s", "ix", "even", " ")
    scorer = Scorer(symbols, lexicon.of_words(["seven", "six"]))

    def after(*said: int) -> Place | None:
        place = Place()
        for symbol in said:
            step = scorer.follow(place, symbol)
            if step is None:
                return None
            place = step[0]
        return place

    for said in ((2, 3), (1,), (2, 4, 2, 3), (2, 3, 1, 1), (5, 2, 3)):
        place = after(*said)
        assert place is not None
        assert scorer.end(place) == 0.0
    assert after(2, 3, 5, 2) is None  # two spaces
    assert after(1, 3) is None
    half = after(2, 3, 2)
    assert half is not None
    assert scorer.end(half) is None


def test_a_file_of_words_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("one\n\ntwo\n")
    assert lexicon.from_file(path).words == ("one", "two")
    path.write_text("one\ntwo three\n")
    with pytest.raises(UserError, match="line 2: 'two three', expected one word a line"):
        lexicon.from_file(path)
    path.write_text("\n")
    with pytest.raises(UserError, match="no words in it"):
        lexicon.from_file(path)
    with pytest.raises(UserError, match="no such file"):
        lexicon.from_file(tmp_path / "none.txt")


# Language model


def test_probabilities_are_those_worked_out_by_hand() -> None:
    """Of "a b", "a a": words a b a a and two ends; V = {a, b, end, unknown}."""
    model = language.learn(["a b", "a a"], 2)
    unigram = {"a": (3 + 3 / 4) / 9, "b": (1 + 3 / 4) / 9, END: (2 + 3 / 4) / 9}
    for word, p in unigram.items():
        assert_allclose(math.exp(model.after((), word)), p, rtol=1e-9)
    assert_allclose(math.exp(model.after((), "c")), (3 / 4) / 9, rtol=1e-9)
    # After a: b once, a once, the end once; three kinds.
    assert_allclose(math.exp(model.after(("a",), "b")), (1 + 3 * unigram["b"]) / 6, rtol=1e-9)
    assert_allclose(math.exp(model.after(("a",), "c")), 3 / 6 * (3 / 4) / 9, rtol=1e-9)
    # After the beginning: a twice; one kind.
    assert_allclose(math.exp(model.after((BEGIN,), "a")), (2 + unigram["a"]) / 3, rtol=1e-9)
    assert_allclose(math.exp(model.after((BEGIN,), END)), 1 / 3 * unigram[END], rtol=1e-9)
    # After b, where only the end came; and after what never came.
    assert_allclose(math.exp(model.after(("b",), END)), (1 + unigram[END]) / 2, rtol=1e-9)
    assert_allclose(math.exp(model.after(("c",), "a")), unigram["a"], rtol=1e-9)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_what_may_follow_any_history_adds_up_to_one(order: int) -> None:
    texts = ["a b c", "a b a", "c", "b b b a c", "a b c c"]
    model = language.learn(texts, order)
    for size in range(4):
        for history in itertools.product((BEGIN, "a", "b", "c", "never"), repeat=size):
            total = sum(math.exp(model.after(history, w)) for w in ("a", "b", "c", END, UNKNOWN))
            assert_allclose(total, 1, rtol=1e-9)
    assert model.perplexity(texts) < language.learn(texts, 1).perplexity(texts) + 1e-9


def test_an_arpa_file_says_the_same(tmp_path: Path) -> None:
    model = language.learn(["a b c", "a b a", "c"], 3)
    path = tmp_path / "model.arpa"
    path.write_text(language.to_arpa(model))
    again = language.from_arpa(path)
    assert again.order == 3
    for text in ("a b c", "c c c", "a never b", ""):
        assert_allclose(again.of_text(text), model.of_text(text), rtol=1e-5)
    lines = path.read_text().splitlines()
    assert lines[:4] == ["\\data\\", "ngram 1=6", "ngram 2=7", "ngram 3=6"]


def test_an_arpa_file_of_someone_elses_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.arpa"
    path.write_text(
        "\\data\\\nngram 1=3\nngram 2=1\n\n\\1-grams:\n-1.0 <s> -0.5\n-0.5 yes -0.25\n-0.8 </s>\n"
        "\n\\2-grams:\n-0.1 yes </s>\n\n\\end\\\n"
    )
    model = language.from_arpa(path)
    assert_allclose(model.of_text("yes"), math.log(10) * (-0.5 - 0.5 - 0.1), rtol=1e-9)
    assert model.of_text("no") == -math.inf  # it knows of no unknown words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\\1-grams:\n-1.0\n", "line 2: 1 cells, expected a logarithm, 1 word"),
        ("\\2-grams:\nx a b\n", "line 2: 'x a b', expected a logarithm, 2 word"),
        ("hello\n", "no n-grams in it"),
    ],
)
def test_what_is_no_arpa_file_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "model.arpa"
    path.write_text(text)
    with pytest.raises(UserError, match=expected.replace("(", "\\(")):
        language.from_arpa(path)
