"""From strings to words, numbers, and word vectors made from counts."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from apps.sentiment import model
from apps.sentiment.vectors import pmi_vectors

TEXTS = ["good good good film", "bad film , good", "so so"]
WORDS = ["", "[UNK]", "good", "so", "film", ",", "bad"]


def words_of(text: str | bytes) -> list[str]:
    split = tf.strings.split(model.normalise(tf.constant([text])))
    return [word.decode() for word in split[0].numpy()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't STOP", ["don't", "stop"]),
        ("it’s John’s", ["it's", "john's"]),
        ("'quoted' dogs' ’tis", ["'", "quoted", "'", "dogs", "'", "'", "tis"]),
        ("a<br /><br/>b<BR>c", ["a", "b", "c"]),
        ("good!! (3.5/10)", ["good", "!", "!", "(", "3", ".", "5", "/", "10", ")"]),
        ("great😀 😀", ["great", "😀", "😀"]),
        ("Café ÉTÉ STRASSE", ["café", "été", "strasse"]),
        ("cafe\u0301", ["cafe\u0301"]),
        (b"caf\xe9 ok", ["caf", "\ufffd", "ok"]),
        ("日本 映画。", ["日本", "映画", "。"]),
        (" \t\n ", []),
        ("", []),
    ],
)
def test_a_text_becomes_its_words(text: str | bytes, words: list[str]) -> None:
    assert words_of(text) == words


@settings(deadline=None, max_examples=40)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_words_of_words_are_the_same_words(text: str) -> None:
    """So a text can be put together again from the words that `trajectory` gives."""
    words = words_of(text)
    assert words_of(" ".join(words)) == words


@pytest.mark.parametrize("longest", [1, 2, 5, 6, 9])
def test_a_long_text_keeps_its_first_and_last_halves(longest: int) -> None:
    rows = [list(range(length)) for length in (0, 1, 5, 6, 7, 12)]
    got = model.cut(tf.ragged.constant(rows, dtype=tf.int32), longest).to_list()
    for row, kept in zip(rows, got, strict=True):
        first, last = longest // 2, longest - longest // 2
        assert kept == (row if len(row) <= longest else row[:first] + row[-last:])


def test_the_vocabulary_is_the_most_frequent_words() -> None:
    whole = model.make_vectorizer(100, TEXTS).get_vocabulary()
    assert whole[:3] == WORDS[:3]
    assert set(whole) == set(WORDS)
    assert model.make_vectorizer(4, TEXTS).get_vocabulary() == whole[:4]


def test_numbers_are_places_in_the_vocabulary_and_unknown_words_are_one() -> None:
    vectorizer = model.vectorizer_of(WORDS)
    assert vectorizer.get_vocabulary() == WORDS
    rows = model.encode(vectorizer, ["GOOD, bad film", "", "what film?"], longest=3)
    assert [row.tolist() for row in rows] == [[2, 6, 4], [], [1, 4, 1]]
    assert all(row.dtype == np.int32 for row in rows)


def test_texts_are_encoded_in_their_order() -> None:
    texts = [" ".join(["good"] * (n % 7)) for n in range(1100)]
    rows = model.encode(model.vectorizer_of(WORDS), texts, longest=10)
    assert [len(row) for row in rows] == [n % 7 for n in range(1100)]


# Word vectors


def information(texts: list[np.ndarray], words: int, window: int) -> np.ndarray:
    """Positive pointwise mutual information, place by place."""
    counts = np.zeros((words, words))
    for text in texts:
        for i, word in enumerate(text):
            for j, other in enumerate(text):
                near = 0 < abs(i - j) <= window
                if near and word > model.UNKNOWN and other > model.UNKNOWN:
                    counts[word, other] += (window + 1 - abs(i - j)) / window
    total = counts.sum(axis=1)
    context = total**0.75 / (total**0.75).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = counts / (total[:, None] * context)
        return np.where(counts > 0, np.maximum(np.log(ratio), 0), 0)


@pytest.mark.parametrize("width", [3, 6])
def test_word_vectors_are_the_truncated_decomposition_of_the_information(width: int) -> None:
    rng = np.random.default_rng(5)
    words = 14  # the last of which occurs nowhere
    texts = [rng.geometric(0.2, rng.integers(1, 20)).clip(1, words - 2) for _ in range(40)]
    got = pmi_vectors(texts, words, width, window=3).astype(np.float64)
    u, s, _ = np.linalg.svd(information(texts, words, window=3))
    wanted = (u[:, :width] * s[:width]) @ u[:, :width].T
    gram = got @ got.T
    assert_allclose(gram / np.trace(gram), wanted / np.trace(wanted), atol=1e-5)
    assert got[2:-1].std() == pytest.approx(1, rel=1e-5)
    assert_allclose(got[[0, 1, -1]], 0, atol=1e-12)


def test_columns_beyond_the_number_of_words_are_zero() -> None:
    got = pmi_vectors([np.array([2, 3, 2, 4])], words=5, width=8)
    assert got.shape == (5, 8)
    assert_array_equal(got[:, 5:], np.zeros((5, 3)))
    assert np.isfinite(got).all()


@pytest.mark.parametrize("texts", [[[]], [[2]], [[1, 1, 1], []]])
def test_texts_without_company_give_zeros(texts: list[list[int]]) -> None:
    got = pmi_vectors([np.array(text, np.int32) for text in texts], words=4, width=2)
    assert_array_equal(got, np.zeros((4, 2)))
