"""Back-propagation through time in half precision, beside that of Keras's loop."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.cells import CELLS, make_cell
from tests import reference
from tests.bptt_cases import FEATURES, Run, covering, loss_of, ours, theirs


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1990)


@covering(
    [(name, "bfloat16") for name in ("gru", "minlstm")],
    name={name: name for name in CELLS},
    policy={"bfloat16": "mixed_bfloat16", "float16": "mixed_float16"},
)
def test_half_precision_gradients_are_closer_than_those_of_keras_loop(
    name: str, policy: str, rng: np.random.Generator
) -> None:
    """States, deltas and sums over time in float32 pay off: Keras's loop keeps all three in half
    precision (both multiply matrices in it). Medians of some draws, as single ones scatter."""
    batch, time, units, draws = 16, 200, 8, 9

    def gradients(precision: str, way: Callable[..., Run]) -> Callable[..., list[np.ndarray]]:
        cell = make_cell(name, units, dtype=keras.DTypePolicy(precision))
        cell.build((None, FEATURES))

        @tf.function
        def compute(mask: Any, given: list[Any], weigh: list[Any]) -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                inputs, *states = [tf.cast(value, cell.compute_dtype) for value in given]
                outputs, last = way(cell, mask=mask)(inputs, states)
                wide = [tf.cast(value, tf.float32) for value in [outputs, *last]]
                loss = loss_of(weigh, wide[0], wide[1:])
            return tape.gradient(loss, [weight.value for weight in cell.weights])

        def draw(weights: list[np.ndarray], *rest: Any) -> list[np.ndarray]:
            cell.set_weights(weights)
            return [gradient.numpy() for gradient in compute(*rest)]

        return draw

    cell = make_cell(name, units, dtype="float32")
    cell.build((None, FEATURES))
    count = len(cell.get_initial_state(1))
    shapes = [(batch, time, FEATURES), *[(batch, units)] * count]

    def rounded(value: np.ndarray) -> tf.Tensor:
        """To what each precision holds: it is the arithmetic that is compared."""
        return tf.cast(tf.cast(value, tf.bfloat16), tf.float32)

    exact, *half = [
        gradients(*way) for way in (("float32", theirs), (policy, ours), (policy, theirs))
    ]
    errors = np.zeros([draws, 2, len(cell.weights)])
    for number in range(draws):
        rest = (
            tf.constant(rng.random((batch, time)) < 0.8),
            [rounded(rng.normal(size=shape)) for shape in shapes],
            [
                tf.constant(rng.normal(size=shape), tf.float32)
                for shape in [(batch, time, units), *shapes[1:]]
            ],
        )
        weights = [rounded(w).numpy() for w in reference.randomise(cell, rng, scale=0.2)]
        wanted = exact(weights, *rest)
        for place, way in enumerate(half):
            pairs = zip(way(weights, *rest), wanted, strict=True)
            errors[number, place] = [np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in pairs]

    our_errors, their_errors = np.median(errors, axis=0)
    rounding = 2.0**-8 if policy == "mixed_bfloat16" else 2.0**-11
    assert np.all(their_errors > rounding / 2)  # there is something to be better at
    # With ReLU, units that rounding turns on or off before the loop are most of the error; with
    # gates of the input alone, the input products are, which both ways make in half precision.
    share = {"irnn": 0.95, "mingru": 0.8, "minlstm": 0.8}.get(name, 0.6)
    assert our_errors.mean() < share * their_errors.mean()
    assert np.all(our_errors < 1.1 * their_errors)
