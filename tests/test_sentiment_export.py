"""The exported model: any text gets an answer, alone or among others, word by word."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from apps.sentiment.data import load
from common import export
from tests.sentiment_runs import small_data, small_run

LONG = " ".join(f"word{n} good" for n in range(500))
TEXTS = ["", "   ", "\n\t", "😀", "a good film , not bad", "Bad!<br />BAD!", LONG, "caf\u00e9"]
WITH_WORDS = [text for text in TEXTS if text.strip()]


@pytest.fixture(scope="module")
def path() -> Path:
    return small_run()[0] / "export" / "1"


@pytest.fixture(scope="module")
def model(path: Path) -> Any:
    return export.load(path)


def answer(model: Any, texts: list, signature: str = "serving_default") -> dict[str, np.ndarray]:
    given = tf.constant(texts, tf.string)
    return {k: v.numpy() for k, v in model.signatures[signature](text=given).items()}


def test_every_text_gets_probabilities_and_the_label_of_the_highest(model: Any) -> None:
    got = answer(model, [*TEXTS, b"not \xff UTF-8 \xe9"])
    assert got["classes"].tolist() == [b"negative", b"positive"]
    assert got["probabilities"].shape == (len(TEXTS) + 1, 2)
    assert_allclose(got["probabilities"].sum(axis=1), 1, rtol=1e-6)
    assert_array_equal(got["label"], got["classes"][got["probabilities"].argmax(axis=1)])


def test_texts_without_words_get_one_answer(model: Any) -> None:
    without = answer(model, ["", "   ", "\n\t"])["probabilities"]
    assert_allclose(without, without[:1].repeat(3, axis=0), rtol=1e-6)


def test_different_texts_get_different_answers(model: Any) -> None:
    got = answer(model, load("", small_data()).test.texts)["probabilities"]
    assert len(np.unique(got[:, 0])) > 20


def test_an_answer_does_not_depend_on_the_company(model: Any) -> None:
    together = answer(model, TEXTS)["probabilities"]
    for text, row in zip(TEXTS, together, strict=True):
        assert_allclose(answer(model, [text])["probabilities"][0], row, atol=1e-6)


def test_an_empty_batch_gets_an_empty_answer(model: Any) -> None:
    assert answer(model, [])["probabilities"].shape == (0, 2)


def test_a_clean_process_gives_the_same_answers(model: Any, path: Path) -> None:
    clean = export.answer_in_clean_process(path, "serving_default", {"text": np.array(TEXTS)})
    here = answer(model, TEXTS)
    assert_allclose(clean["probabilities"], here["probabilities"], atol=1e-6)
    assert_array_equal(clean["label"], here["label"].astype(bytes))


def test_a_trajectory_ends_with_the_answer(model: Any) -> None:
    got = answer(model, TEXTS, "trajectory")
    wanted = answer(model, TEXTS)["probabilities"]
    for tokens, probabilities, whole in zip(
        got["tokens"], got["probabilities"], wanted, strict=True
    ):
        count = int((tokens != b"").sum())
        assert not probabilities[count:].any()
        assert_allclose(probabilities[:count].sum(axis=1), 1, rtol=1e-5)
        if count:
            assert_allclose(probabilities[count - 1], whole, atol=1e-5)


def test_a_step_of_a_trajectory_is_the_answer_to_so_many_words(model: Any) -> None:
    text = "It's not a bad film, 😀 but (for all its 2 hours) a dull one!"
    got = answer(model, ["other", text], "trajectory")
    words = [word.decode() for word in got["tokens"][1]]
    assert words[:6] == ["it's", "not", "a", "bad", "film", ","]
    prefixes = [" ".join(words[: n + 1]) for n in range(len(words))]
    wanted = answer(model, prefixes)["probabilities"]
    assert_allclose(got["probabilities"][1], wanted, atol=1e-5)


def test_a_trajectory_of_a_long_text_has_a_row_for_each_word_that_is_read(model: Any) -> None:
    got = answer(model, [LONG], "trajectory")
    count = got["tokens"].shape[1]
    assert 2 <= count <= 1000
    assert got["probabilities"].shape == (1, count, 2)
    assert got["tokens"][0, 0] == b"word0"
    assert got["tokens"][0, -2:].tolist() == [b"word499", b"good"]


@pytest.mark.parametrize("texts", [[], [""], ["  ", ""]])
def test_a_trajectory_without_words_has_no_rows(texts: list[str], model: Any) -> None:
    got = answer(model, texts, "trajectory")
    assert got["tokens"].shape == (len(texts), 0)
    assert got["probabilities"].shape[:2] == (len(texts), 0)
