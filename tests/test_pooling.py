"""Pooling over time: what it computes, where a mask empties a row, and in half precision."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from common.layers import MaskedPooling
from tests import reference

BATCH, TIME, FEATURES, UNITS = 4, 9, 3, 5
LENGTHS = np.array([9, 4, 1, 6])
MASK = np.arange(TIME) < LENGTHS[:, np.newaxis]
GAPS = np.array([[1, 0, 1, 1, 0, 1, 0, 1, 1], [0, 0, 1, 0, 1, 1, 1, 0, 0]], bool)
CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-6}

each_mode = pytest.mark.parametrize("mode", MaskedPooling.MODES)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(99)


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(BATCH, TIME, FEATURES)).astype("float32")


@each_mode
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pooling_is_the_reference(mode: str, dtype: str, rng: np.random.Generator) -> None:
    inputs = rng.normal(size=(6, TIME, FEATURES)) - 2.0  # below the zeros of a masked place
    mask = np.concatenate([MASK, GAPS])
    got = MaskedPooling((mode,), dtype=dtype)(tf.constant(inputs, dtype), mask=mask)
    assert got.dtype == dtype
    tolerance = 1e-12 if dtype == "float64" else 1e-6
    assert_allclose(got, reference.pool(inputs, mask, mode), rtol=tolerance)


def test_pooling_puts_its_modes_side_by_side_in_their_order(x: np.ndarray) -> None:
    modes = ("last", "mean", "first", "max")
    wanted = np.concatenate([reference.pool(x, MASK, mode) for mode in modes], axis=1)
    assert_allclose(MaskedPooling(modes)(x, mask=MASK), wanted, **CLOSE)


@each_mode
def test_pooling_without_a_mask_admits_every_step(mode: str, x: np.ndarray) -> None:
    wanted = reference.pool(x, np.ones((BATCH, TIME)), mode)
    assert_allclose(MaskedPooling((mode,))(x), wanted, **CLOSE)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@each_mode
def test_a_row_that_the_mask_empties_pools_to_zero_with_finite_gradients(
    mode: str, dtype: str, x: np.ndarray
) -> None:
    mask = MASK.copy()
    mask[1] = False
    inputs = tf.cast(x, dtype)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        pooled = MaskedPooling((mode,), dtype=dtype)(inputs, mask=mask)
        loss = tf.reduce_sum(tf.square(pooled))
    gradient = tf.cast(tape.gradient(loss, inputs), tf.float32).numpy()
    assert np.isfinite(gradient).all()
    assert not gradient[~mask].any()
    assert gradient[0].any()
    assert_array_equal(tf.cast(pooled, tf.float32)[1], np.zeros(FEATURES))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 1e-3), ("bfloat16", 1e-2)])
@each_mode
def test_pooling_in_half_precision_survives_long_sequences(
    mode: str, dtype: str, tolerance: float, rng: np.random.Generator
) -> None:
    inputs = rng.normal(50.0, 5.0, size=(2, 5000, FEATURES))  # a sum of 250,000 is no float16
    mask = rng.random((2, 5000)) < 0.9
    got = MaskedPooling((mode,), dtype=dtype)(tf.cast(inputs, dtype), mask=mask)
    assert got.dtype == dtype
    assert_allclose(tf.cast(got, tf.float64), reference.pool(inputs, mask, mode), rtol=tolerance)


@pytest.mark.parametrize("modes", [(), ("mean", "median"), "max"])
def test_an_unknown_pooling_mode_is_named(modes: Any) -> None:
    with pytest.raises(ValueError, match=r"pooling modes .*expected some of .*'mean'"):
        MaskedPooling(modes)


@pytest.mark.filterwarnings("error")
def test_pooling_ends_the_mask_without_a_warning(x: np.ndarray) -> None:
    layer = MaskedPooling()
    layer(keras.layers.Masking(0.0)(x))
    assert layer.compute_mask(x, MASK) is None
