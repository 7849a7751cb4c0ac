"""Each cell against its equations, against Keras's own layers, and against its mathematics."""

import inspect
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from common import recurrence
from common.cells import CELLS, make_cell
from tests import reference

BATCH, TIME, FEATURES, UNITS = 4, 6, 3, 5
EXACT: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-14}
SATURATED = 1e3  # a bias that no other term of a gate's argument can outweigh
INITIALIZERS = {
    "default": lambda: "orthogonal",
    "seeded": lambda: keras.initializers.Orthogonal(seed=11),
    "generator": lambda: keras.initializers.Orthogonal(seed=keras.random.SeedGenerator(11)),
}
KERAS_LAYERS = {
    "simple": lambda **kwargs: keras.layers.SimpleRNN(UNITS, **kwargs),
    "irnn": lambda **kwargs: keras.layers.SimpleRNN(UNITS, activation="relu", **kwargs),
    "lstm": lambda **kwargs: keras.layers.LSTM(UNITS, **kwargs),
    "gru": lambda **kwargs: keras.layers.GRU(UNITS, reset_after=True, **kwargs),
}

each_cell = pytest.mark.parametrize("name", CELLS)
each_square_cell = pytest.mark.parametrize("name", [n for n in CELLS if n not in reference.LINEAR])
each_gated_cell = pytest.mark.parametrize(
    "name", [n for n in CELLS if n not in ("simple", "irnn", *reference.LINEAR)]
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240)


def build(name: str, /, **kwargs: Any) -> Any:
    cell = make_cell(name, UNITS, **{"dtype": "float64", **kwargs})
    cell.build((None, FEATURES))
    return cell


def random_states(name: str, rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.normal(size=(BATCH, UNITS)) for _ in range(reference.STATES[name])]


def test_every_cell_has_a_reference() -> None:
    assert set(CELLS) == set(reference.STEPS) == set(reference.STATES)


@each_cell
def test_a_step_is_the_equation(name: str, rng: np.random.Generator) -> None:
    cell = build(name)
    weights = reference.randomise(cell, rng)
    x, states = rng.normal(size=(BATCH, FEATURES)), random_states(name, rng)

    output, after = cell(x, states)

    expected = reference.STEPS[name](x, states, *weights)
    assert_allclose(output, expected[0], **EXACT)
    assert len(after) == len(expected)
    for got, wanted in zip(after, expected, strict=True):
        assert_allclose(got, wanted, **EXACT)


@pytest.mark.parametrize("activation", ["sigmoid", "softplus", "linear"])
def test_the_simple_cell_takes_any_activation(activation: str, rng: np.random.Generator) -> None:
    functions = {
        "sigmoid": reference.sigmoid,
        "softplus": lambda a: np.log1p(np.exp(a)),
        "linear": lambda a: a,
    }
    cell = build("simple", activation=activation)
    weights = reference.randomise(cell, rng)
    x, states = rng.normal(size=(BATCH, FEATURES)), random_states("simple", rng)
    (expected,) = reference.simple(x, states, *weights, activation=functions[activation])
    assert_allclose(cell(x, states)[0], expected, **EXACT)


@pytest.mark.parametrize("name", KERAS_LAYERS)
def test_a_cell_in_keras_rnn_equals_keras_own_layer(name: str, rng: np.random.Generator) -> None:
    options = {"return_sequences": True, "return_state": True, "dtype": "float64"}
    ours = keras.layers.RNN(make_cell(name, UNITS, dtype="float64"), **options)
    theirs = KERAS_LAYERS[name](**options)
    for layer in (ours, theirs):
        layer.build((None, TIME, FEATURES))
    theirs.set_weights(reference.randomise(ours, rng))
    x, states = rng.normal(size=(BATCH, TIME, FEATURES)), random_states(name, rng)
    mask = rng.random((BATCH, TIME)) < 0.7
    got = ours(x, initial_state=states, mask=mask)
    for a, b in zip(got, theirs(x, initial_state=states, mask=mask), strict=True):
        assert_allclose(a, b, **EXACT)


@each_cell
def test_the_initial_state_is_zero_in_the_cells_precision(name: str) -> None:
    states = build(name).get_initial_state(batch_size=BATCH)
    assert len(states) == reference.STATES[name]
    for state in states:
        assert state.dtype == tf.float64
        assert_array_equal(state, np.zeros((BATCH, UNITS)))


@each_cell
def test_a_cell_has_as_many_weights_as_its_equations(name: str) -> None:
    assert build(name).count_params() == reference.parameter_count(name, FEATURES, UNITS)


# How weights start


def test_irnn_starts_with_identity_and_zero_bias_and_small_input_weights() -> None:
    cell = make_cell("irnn", 40)
    cell.build((None, 70))
    kernel, recurrent_kernel, bias = cell.get_weights()
    assert_array_equal(recurrent_kernel, np.eye(40))
    assert_array_equal(bias, np.zeros(40))
    assert kernel.std() == pytest.approx(0.01, rel=0.1)


def test_irnn_takes_a_scaled_identity() -> None:
    cell = build("irnn", recurrent_initializer=keras.initializers.Identity(gain=0.25))
    assert_array_equal(cell.recurrent_kernel.numpy(), 0.25 * np.eye(UNITS))


@pytest.mark.parametrize("start", [0.0, 0.25])
def test_the_forget_gates_bias_starts_one_above_the_others(start: float) -> None:
    cell = build("lstm", bias_initializer=keras.initializers.Constant(start))
    expected = np.repeat([start, start + 1, start, start], UNITS)
    assert_array_equal(cell.bias.numpy(), expected)


@pytest.mark.parametrize("initializer", INITIALIZERS)
@each_square_cell
def test_each_gate_starts_with_an_orthogonal_block_of_its_own(name: str, initializer: str) -> None:
    cell = build(name, recurrent_initializer=INITIALIZERS[initializer]())
    blocks = np.split(cell.recurrent_kernel.numpy(), cell.gates, axis=1)
    for number, block in enumerate(blocks):
        assert_allclose(block @ block.T, np.eye(UNITS), atol=1e-6)
        for other in blocks[:number]:
            assert np.abs(block - other).max() > 0.1


@each_gated_cell
def test_each_gate_can_start_with_identity(name: str) -> None:
    cell = build(name, recurrent_initializer="identity")
    assert_array_equal(cell.recurrent_kernel.numpy(), np.tile(np.eye(UNITS), cell.gates))


@each_square_cell
def test_a_seeded_start_repeats_itself(name: str) -> None:
    first, second = (build(name, recurrent_initializer=INITIALIZERS["seeded"]()) for _ in "ab")
    assert_array_equal(first.recurrent_kernel.numpy(), second.recurrent_kernel.numpy())


# What the equations imply


def test_irnn_without_input_keeps_a_state_and_passes_its_gradient_back_unchanged(
    rng: np.random.Generator,
) -> None:
    cell = build("irnn")
    start = tf.constant(rng.uniform(0.1, 3.0, size=(BATCH, UNITS)))
    error = rng.normal(size=(BATCH, UNITS))
    with tf.GradientTape() as tape:
        tape.watch(start)
        outputs, (state,) = recurrence.run(
            cell, tf.zeros((BATCH, 50, FEATURES), tf.float64), initial_state=[start]
        )
        loss = tf.reduce_sum(error * state)
    assert_array_equal(outputs, np.repeat(start.numpy()[:, np.newaxis], 50, axis=1))
    assert_array_equal(tape.gradient(loss, start), error)


def test_a_gradient_through_a_small_recurrent_kernel_vanishes_as_its_power(
    rng: np.random.Generator,
) -> None:
    cell, largest = build("simple"), 0.6
    kernel, recurrent_kernel, bias = reference.randomise(cell, rng)
    recurrent_kernel *= largest / np.linalg.norm(recurrent_kernel, ord=2)
    cell.set_weights([kernel, recurrent_kernel, bias])
    start = tf.constant(rng.normal(size=(1, UNITS)))
    for steps in (1, 5, 25):
        x = 0.1 * rng.normal(size=(1, steps, FEATURES))
        with tf.GradientTape() as tape:
            tape.watch(start)
            _, (state,) = recurrence.run(cell, tf.constant(x), initial_state=[start])
        jacobian = tf.reshape(tape.jacobian(state, start), (UNITS, UNITS))
        assert 0 < np.linalg.norm(jacobian, ord=2) <= largest**steps


def test_the_simple_cell_passes_the_gradient_of_its_docstring_back(
    rng: np.random.Generator,
) -> None:
    cell = build("simple")
    _, recurrent_kernel, _ = reference.randomise(cell, rng)
    h, error = tf.constant(rng.normal(size=(BATCH, UNITS))), rng.normal(size=(BATCH, UNITS))
    with tf.GradientTape() as tape:
        tape.watch(h)
        after, _ = cell(tf.constant(rng.normal(size=(BATCH, FEATURES))), [h])
        loss = tf.reduce_sum(error * after)
    slope = 1 - after.numpy() ** 2
    assert_allclose(tape.gradient(loss, h), (error * slope) @ recurrent_kernel.T, **EXACT)


# Each gate's place in the order that the cell's docstring gives.
LSTM_GATES, GRU_GATES, MGU_GATES = {"i": 0, "f": 1, "o": 3}, {"z": 0, "r": 1}, {"f": 0}


def saturate(cell: Any, rng: np.random.Generator, order: dict[str, int], **gates: int) -> Any:
    """Random weights, but for biases that hold the gates named at 0 or 1; returns the weights."""
    kernel, recurrent_kernel, bias = reference.randomise(cell, rng)
    for gate, value in gates.items():
        columns = slice(order[gate] * UNITS, (order[gate] + 1) * UNITS)
        np.atleast_2d(bias)[0, columns] = SATURATED if value else -SATURATED
    cell.set_weights([kernel, recurrent_kernel, bias])
    return kernel, recurrent_kernel, bias


@pytest.mark.parametrize(
    ("name", "order", "gates"),
    [
        ("lstm", LSTM_GATES, {"f": 1, "i": 0}),
        ("gru", GRU_GATES, {"z": 1}),
        ("mgu", MGU_GATES, {"f": 0}),
    ],
)
def test_saturated_gates_copy_the_state_and_its_gradient(
    name: str, order: dict[str, int], gates: dict[str, int], rng: np.random.Generator
) -> None:
    cell = build(name)
    saturate(cell, rng, order, **gates)
    x = tf.constant(rng.normal(size=(BATCH, 30, FEATURES)))
    start = [tf.constant(state) for state in random_states(name, rng)]
    error = rng.normal(size=(BATCH, UNITS))
    with tf.GradientTape() as tape:
        tape.watch(start)
        _, states = recurrence.run(cell, x, initial_state=start)
        loss = tf.reduce_sum(error * states[-1])  # the carried state: h, or c of an LSTM
    assert_array_equal(states[-1], start[-1])
    assert_array_equal(tape.gradient(loss, start[-1]), error)


@pytest.mark.parametrize(
    ("name", "order", "gates"),
    [
        ("lstm", LSTM_GATES, {"f": 0, "i": 1}),
        ("gru", GRU_GATES, {"z": 0, "r": 1}),
        ("gru", GRU_GATES, {"z": 0, "r": 0}),
        ("mgu", MGU_GATES, {"f": 1}),
    ],
)
def test_saturated_gates_overwrite_the_state(
    name: str, order: dict[str, int], gates: dict[str, int], rng: np.random.Generator
) -> None:
    cell = build(name)
    kernel, recurrent_kernel, bias = saturate(cell, rng, order, **gates)
    x, states = rng.normal(size=(BATCH, FEATURES)), random_states(name, rng)
    candidate = slice(2 * UNITS, 3 * UNITS) if name == "lstm" else slice(-UNITS, None)
    early, late = bias if name == "gru" else (bias, 0 * bias)
    recurrent = states[0] @ recurrent_kernel[:, candidate] + late[candidate]
    argument = x @ kernel[:, candidate] + early[candidate] + gates.get("r", 1) * recurrent
    assert_allclose(cell(x, states)[1][-1], np.tanh(argument), **EXACT)


@each_cell
def test_gradients_through_masked_steps_are_the_finite_differences(
    name: str, rng: np.random.Generator
) -> None:
    cell = build(name)
    reference.randomise(cell, rng)
    mask = rng.random((2, TIME)) < 0.7
    given = [rng.normal(size=(2, TIME, FEATURES)), *(s[:2] for s in random_states(name, rng))]
    free = [tf.Variable(value) for value in given]
    weigh = [rng.normal(size=(2, TIME, UNITS)), *rng.normal(size=(len(free) - 1, 2, UNITS))]

    @tf.function
    def loss() -> tf.Tensor:
        outputs, states = recurrence.run(
            cell, free[0].value(), initial_state=[s.value() for s in free[1:]], mask=mask
        )
        results = zip(weigh, [outputs, *states], strict=True)
        return tf.add_n([tf.reduce_sum(weight * result) for weight, result in results])

    variables = [*(w.value for w in cell.weights), *free]
    with tf.GradientTape() as tape:
        value = loss()
    for variable, gradient in zip(variables, tape.gradient(value, variables), strict=True):
        assert_allclose(gradient, differences(loss, variable), rtol=1e-6, atol=1e-8)


def differences(loss: Any, variable: tf.Variable, step: float = 1e-5) -> np.ndarray:
    """Central differences of `loss` in each element of `variable`."""
    around = variable.numpy()
    slopes = np.zeros_like(around)
    for place in np.ndindex(around.shape):
        values = []
        for sign in (1, -1):
            moved = around.copy()
            moved[place] += sign * step
            variable.assign(moved)
            values.append(float(loss()))
        slopes[place] = (values[0] - values[1]) / (2 * step)
    variable.assign(around)
    return slopes


# Configurations, files, errors


def odd_cell(name: str) -> Any:
    """A cell whose every argument differs from its default."""
    only: dict[str, Any] = {"activation": "softsign"} if name in ("simple", "irnn") else {}
    if name not in reference.LINEAR:
        only["recurrent_initializer"] = keras.initializers.RandomUniform(-0.3, 0.2, seed=4)
    return build(
        name,
        kernel_initializer=keras.initializers.HeNormal(seed=3),
        bias_initializer=keras.initializers.Constant(0.7),
        name="odd",
        **only,
    )


@each_cell
def test_every_argument_is_an_attribute_and_in_the_configuration(name: str) -> None:
    cell = odd_cell(name)
    config = cell.get_config()
    for owner in type(cell).__mro__[: type(cell).__mro__.index(keras.layers.Layer)]:
        for argument in inspect.signature(owner).parameters.values():
            refused = argument.name == "recurrent_initializer" and name in reference.LINEAR
            if argument.kind is not argument.VAR_KEYWORD and not refused:
                assert argument.name in config
                assert hasattr(cell, argument.name)


@pytest.mark.parametrize("way", ["from_config", "keras.saving"])
@each_cell
def test_a_configuration_makes_the_same_cell_again(
    name: str, way: str, rng: np.random.Generator
) -> None:
    cell = odd_cell(name)
    if way == "from_config":
        again = type(cell).from_config(cell.get_config())
    else:
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(cell))
    if not again.built:  # keras.saving builds what was built
        again.build((None, FEATURES))
    assert again.get_config() == cell.get_config()
    for a, b in zip(again.get_weights(), cell.get_weights(), strict=True):
        assert_array_equal(a, b)  # the seeded initialisers came along
    x, states = rng.normal(size=(BATCH, FEATURES)), random_states(name, rng)
    assert_array_equal(again(x, states)[0], cell(x, states)[0])


@each_cell
def test_a_saved_model_file_gives_the_same_numbers(
    name: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    inputs = keras.Input((None, FEATURES), dtype="float64")
    model = keras.Model(inputs, keras.layers.RNN(odd_cell(name), dtype="float64")(inputs))
    reference.randomise(model, rng)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    x = rng.normal(size=(BATCH, TIME, FEATURES))
    assert_array_equal(again(x), model(x))


@pytest.mark.parametrize("name", reference.LINEAR)
def test_a_cell_without_a_recurrent_kernel_takes_no_start_for_one(name: str) -> None:
    with pytest.raises(ValueError, match="has no recurrent kernel"):
        make_cell(name, UNITS, recurrent_initializer="orthogonal")


@pytest.mark.parametrize("units", [0, -3, 2.5, "8", None])
@each_cell
def test_bad_units_are_named(name: str, units: Any) -> None:
    with pytest.raises(ValueError, match=rf"units must be a positive integer, got {units!r}"):
        make_cell(name, units)


def test_an_unknown_cell_is_answered_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match="'lstn'.*" + ", ".join(CELLS)):
        make_cell("lstn", UNITS)
