"""Text as ids and back."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from apps.speech.alphabet import Alphabet, of_characters, of_pieces, of_words, plain, spaced
from apps.speech.grammar import COMMANDS
from common.errors import UserError

RANDOM = np.random.default_rng(5)
TEXTS = [COMMANDS.sample(RANDOM) for _ in range(300)]


def test_characters_are_numbered_from_one_in_their_order() -> None:
    alphabet = of_characters(["oh no", "one"])
    assert alphabet.symbols == (" ", "e", "h", "n", "o")
    ids = alphabet.encode("one oh")
    assert ids.dtype == np.int32
    assert_array_equal(ids, [5, 4, 2, 1, 5, 3])


def test_blanks_and_what_lies_above_the_symbols_are_passed_over() -> None:
    alphabet = of_characters(["oh no"])
    assert alphabet.decode([0, 1, 4, 0, 0, 2, 1, 5]) == "oh"


@given(st.text(alphabet="abc xyzé'", max_size=30))
def test_a_spaced_text_comes_back(text: str) -> None:
    text = spaced(text)
    alphabet = of_characters(["abc xyz'", spaced("é")])
    assert alphabet.decode(alphabet.encode(text)) == text


@pytest.mark.parametrize("count", [40, 120])
def test_word_pieces_write_every_text_of_the_corpus(count: int) -> None:
    alphabet = of_pieces(TEXTS, count)
    assert len(alphabet) == len(set(alphabet.symbols)) == count
    lengths = []
    for text in TEXTS:
        ids = alphabet.encode(text)
        assert ids.min() >= 1
        assert ids.max() <= count
        assert alphabet.decode(ids) == text
        lengths.append(len(ids) / len(text))
    assert np.mean(lengths) < {40: 0.8, 120: 0.45}[count]  # fewer than characters


def test_word_pieces_do_not_depend_on_the_order_of_the_text() -> None:
    assert of_pieces(TEXTS, 50) == of_pieces(TEXTS[::-1], 50)


def test_words_are_numbered_in_alphabetical_order_and_begin_with_a_space() -> None:
    alphabet = of_words(["two oh", "one two"])
    assert alphabet.symbols == (" oh", " one", " two")
    assert_array_equal(alphabet.encode("two one oh two"), [3, 2, 1, 3])
    assert alphabet.decode([0, 3, 3, 0, 1]) == "two two oh"
    assert len(alphabet.encode("")) == 0


def test_a_strange_word_is_named() -> None:
    alphabet = of_words(["two oh", "one two"])
    assert alphabet.outside("one three two") == "three"
    assert alphabet.outside("one on") == "on"  # all its characters are known: it is not
    with pytest.raises(UserError, match=r"'three' is not in the alphabet of 3 words"):
        alphabet.encode("one three two")


def test_an_alphabet_written_before_there_were_words_is_read() -> None:
    assert Alphabet.from_json({"symbols": ["a", "b"], "merges": ""}) == of_characters(["ab"])


ALPHABETS = [of_characters(TEXTS), of_pieces(TEXTS, 60), of_words(TEXTS)]


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_an_alphabet_survives_json(alphabet: Alphabet) -> None:
    again = Alphabet.from_json(json.loads(json.dumps(alphabet.to_json())))
    assert again == alphabet
    assert_array_equal(again.encode(TEXTS[0]), alphabet.encode(TEXTS[0]))


@pytest.mark.parametrize("alphabet", [of_characters(TEXTS), of_pieces(TEXTS, 60)])
def test_the_first_stranger_is_named(alphabet: Alphabet) -> None:
    assert alphabet.outside("turn café 9") == "é"
    assert alphabet.outside(TEXTS[0]) == ""
    with pytest.raises(UserError, match=r"'é' \(latin small letter e with acute\) is not in"):
        alphabet.encode("turn café 9")


def test_pieces_that_the_text_can_not_give_are_refused_with_how_many_it_can() -> None:
    with pytest.raises(UserError, match=r"^--pieces 9000: the training text has words for") as high:
        of_pieces(TEXTS, 9000)
    most = int(re.findall(r"\d+", str(high.value))[-1])
    assert len(of_pieces(TEXTS, most)) == most
    with pytest.raises(UserError, match="--pieces 5: expected more than the 27 characters of the"):
        of_pieces(TEXTS, 5)
    assert len(of_pieces(TEXTS, 28)) == 28


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Don’t  press 'pound' -- #1, please!", "don't press pound 1 please"),
        ("ÉLAN\tVITAL", "élan vital"),
        ("A.M.", "a m"),
        (" ... ", ""),
    ],
)
def test_plain_text_is_words_alone(text: str, wanted: str) -> None:
    assert plain(text) == wanted


def test_text_as_it_stands_loses_white_space_only() -> None:
    assert spaced("  Dr.\tNo!\n") == "Dr. No!"
