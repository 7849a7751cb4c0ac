"""Recurrent layers in files: the same numbers after reloading, and the same gradients."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose

from common.cells import CELLS, make_cell
from common.layers import Recurrent
from tests import reference

BATCH, TIME, FEATURES, UNITS = 3, 5, 2, 4
PADDING = 0.0


def build(name: str) -> keras.Model:
    """Two directions over masked inputs, the first from where the caller says, and a layer on
    top that hands out its states."""
    inputs = keras.Input((None, FEATURES), name="inputs")
    count = len(make_cell(name, UNITS).get_initial_state(1))
    starts = [keras.Input((UNITS,), name=f"start_{number}") for number in range(count)]
    x = keras.layers.Masking(PADDING)(inputs)
    sides = [
        Recurrent(make_cell(name, UNITS))(x, initial_state=starts),
        Recurrent(make_cell(name, UNITS), reverse=True)(x),
    ]
    x = keras.layers.Concatenate()(sides)
    top = Recurrent(make_cell(name, UNITS), reverse=True, return_state=True)
    outputs, *states = top(x)
    return keras.Model([inputs, *starts], [outputs, *states])


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1997)


@pytest.fixture
def model(name: str, rng: np.random.Generator) -> keras.Model:
    model = build(name)
    reference.randomise(model, rng)
    return model


@pytest.fixture
def given(model: keras.Model, rng: np.random.Generator) -> list[tf.Tensor]:
    inputs = rng.normal(size=(BATCH, TIME, FEATURES))
    inputs[0], inputs[1, 3:], inputs[2, 1] = PADDING, PADDING, PADDING
    starts = rng.normal(size=(len(model.inputs) - 1, BATCH, UNITS))
    return [tf.constant(value, tf.float32) for value in (inputs, *starts)]


def gradients(model: keras.Model, given: list[tf.Tensor], weigh: list[np.ndarray]) -> list[Any]:
    with tf.GradientTape() as tape:
        tape.watch(given)
        results = zip(weigh, model(given), strict=True)
        loss = tf.add_n([tf.reduce_sum(weight * tf.sin(value)) for weight, value in results])
    return tape.gradient(loss, [*given, *(weight.value for weight in model.weights)])


def assert_close(got: Any, wanted: Any) -> None:
    for a, b in zip(got, wanted, strict=True):
        assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CELLS)
def test_a_model_out_of_a_file_answers_the_same_and_has_the_same_gradients(
    model: keras.Model, given: list[tf.Tensor], tmp_path: Path, rng: np.random.Generator
) -> None:
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert_close(again(given), model(given))

    weigh = [rng.normal(size=value.shape) for value in model(given)]
    wanted = gradients(model, given, weigh)
    assert all(np.any(gradient != 0) for gradient in wanted)  # the start and every weight count
    assert_close(gradients(again, given, weigh), wanted)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ("lstm", "minlstm") else pytest.mark.slow)
        for name in CELLS
    ],
)
def test_an_exported_model_answers_the_same(
    model: keras.Model, given: list[tf.Tensor], tmp_path: Path
) -> None:
    model.export(tmp_path / "model", verbose=False)
    again = tf.saved_model.load(tmp_path / "model")  # named, for its variables to live
    serve = again.serve
    assert_close(serve(given), model(given))
    fewer = [value[1:] for value in given]
    fewer[0] = fewer[0][:, :3]
    assert_close(serve(fewer), model(fewer))
    unmasked = tf.where(given[0] == PADDING, 0.3, given[0])
    assert np.abs(serve([unmasked, *given[1:]])[0] - serve(given)[0]).max() > 0.01
