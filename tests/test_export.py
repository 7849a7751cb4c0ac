"""SavedModels: whole or not there, and usable with TensorFlow alone."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from common import export
from common.errors import UserError

WORDS = ["a", "b", "c"]
TEXTS = np.array(["a b", "c", "", "unheard of é"])


class Toy:
    """Strings to the mean of their words' numbers, times a weight."""

    def __init__(self, weight: float) -> None:
        keras.utils.set_random_seed(0)
        self.words = keras.layers.TextVectorization(vocabulary=WORDS, output_sequence_length=3)
        self.words(["built now"])
        self.model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        self.model.layers[0].set_weights([np.full((3, 2), weight), np.arange(2.0)])

    def answer(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        scores = self.model(tf.cast(self.words(text), tf.float32))
        return {"scores": scores, "first": tf.strings.substr(text, 0, 1)}

    def double(self, number: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"twice": 2 * number}

    def write(self, path: Path) -> None:
        signatures: dict[str, Any] = {
            "serving_default": (self.answer, [tf.TensorSpec([None], tf.string, "text")]),
            "double": (self.double, [tf.TensorSpec([None, 2], tf.float32, "number")]),
        }
        export.write([self.words, self.model], signatures, path)


@pytest.fixture(scope="module")
def toy() -> Toy:
    return Toy(0.5)


@pytest.fixture(scope="module")
def exported(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "export" / "1"
    toy.write(path)
    return path


@pytest.mark.parametrize("precision", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_what_computes_in_half_precision_is_for_tensorflow_alone(
    precision: str, tmp_path: Path
) -> None:
    keras.mixed_precision.set_dtype_policy(precision)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    signature = (lambda x: {"y": model(x)}, [tf.TensorSpec([1, 3], tf.float32, "x")])
    export.write([model], {"f": signature}, tmp_path / "1", portable={"f": ("litert", "onnx")})
    listed = {"f": ["litert", "onnx"]} if precision == "float32" else {}
    assert export.portable(tmp_path / "1") == listed


def test_a_clean_process_gives_the_models_answers(toy: Toy, exported: Path) -> None:
    wanted = toy.answer(tf.constant(TEXTS))
    got = export.answer_in_clean_process(exported, "serving_default", {"text": TEXTS})
    assert set(got) == set(wanted)
    assert_allclose(got["scores"], wanted["scores"], rtol=1e-6)
    assert_array_equal(got["first"], wanted["first"].numpy().astype(bytes))


def test_this_process_gives_them_for_any_signature(exported: Path) -> None:
    model = export.load(exported)
    assert set(model.signatures) == {"serving_default", "double"}
    numbers = np.array([[1.5, -2.0]], np.float32)
    assert_array_equal(model.signatures["double"](number=tf.constant(numbers))["twice"], [[3, -4]])


def test_a_second_export_replaces_the_first_and_leaves_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "export" / "1"
    for weight in (1.0, 2.0):
        Toy(weight).write(path)
    answer = export.load(path).signatures["serving_default"](text=tf.constant(["b"]))
    number = WORDS.index("b") + 2
    assert_allclose(answer["scores"], [[2.0 * number, 2.0 * number + 1]])
    assert [p.name for p in path.parent.iterdir()] == ["1"]


def write_broken(path: Path) -> None:
    def broken(text: tf.Tensor) -> tf.Tensor:
        raise ZeroDivisionError

    signature = (broken, [tf.TensorSpec([None], tf.string, "text")])
    with pytest.raises(ZeroDivisionError):
        export.write([], {"serving_default": signature}, path)


def test_nothing_appears_when_a_model_cannot_be_written(tmp_path: Path) -> None:
    write_broken(tmp_path / "export" / "1")
    assert [path for path in tmp_path.rglob("*") if path.name != "export"] == []


def test_the_model_there_was_stays_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "export" / "1"
    Toy(1.0).write(path)
    write_broken(path)
    assert [p.name for p in path.parent.iterdir()] == ["1"]
    export.load(path)


@pytest.mark.slow
def test_a_clean_process_that_fails_says_why(exported: Path) -> None:
    with pytest.raises(RuntimeError, match=r"not usable by TensorFlow alone(.|\n)*KeyError"):
        export.answer_in_clean_process(exported, "no_such_signature", {"text": TEXTS})


@pytest.mark.parametrize("content", [None, b"", b"no model"])
def test_what_is_no_saved_model_is_refused(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(UserError, match=f"{tmp_path}: can't be loaded as a SavedModel"):
        export.load(tmp_path)


@pytest.mark.slow
def test_the_tool_that_comes_with_tensorflow_shows_and_runs_it(exported: Path) -> None:
    tool = Path(sys.executable).with_name("saved_model_cli")
    which = ["--dir", exported, "--tag_set", "serve", "--signature_def", "serving_default"]

    def said(*words: object) -> str:
        done = subprocess.run([tool, *map(str, words)], capture_output=True, text=True, check=True)
        return done.stdout

    shown = said("show", *which)
    assert "inputs['text']" in shown
    assert "outputs['scores']" in shown
    ran = said("run", *which, "--input_exprs", "text=['a b']")
    assert "scores" in ran
    assert "2.5" in ran
