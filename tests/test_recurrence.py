"""The loop over time: against the reference, against Keras's loop, and against itself."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from common import recurrence
from common.cells import CELLS, make_cell
from common.layers import Recurrent
from tests import reference

BATCH, TIME, FEATURES, UNITS = 4, 7, 3, 5
EXACT: dict[str, Any] = {"rtol": 1e-11, "atol": 1e-13}
GARBAGE = 1e30

each_cell = pytest.mark.parametrize("name", CELLS)
both_ways = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
masked_or_not = pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
started_or_not = pytest.mark.parametrize("started", [False, True], ids=["zero", "started"])


class Case(NamedTuple):
    """A cell with random weights, and something to run it over."""

    cell: Any
    weights: list[np.ndarray]
    inputs: np.ndarray
    mask: np.ndarray  # gaps inside, and a row with nothing to read
    states: list[np.ndarray]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def case(name: str, rng: np.random.Generator) -> Case:
    cell = make_cell(name, UNITS, dtype="float64")
    cell.build((None, FEATURES))
    mask = rng.random((BATCH, TIME)) < 0.6
    mask[0], mask[1, [0, -1]], mask[2] = False, True, np.arange(TIME) < 4
    return Case(
        cell,
        reference.randomise(cell, rng),
        rng.normal(size=(BATCH, TIME, FEATURES)),
        mask,
        [rng.normal(size=(BATCH, UNITS)) for _ in range(reference.STATES[name])],
    )


def flat(result: tuple[Any, list[Any]]) -> list[Any]:
    """The outputs and then the states, for comparing like with like."""
    return [result[0], *result[1]]


def assert_same(got: Any, wanted: Any, **tolerance: float) -> None:
    for a, b in zip(got, wanted, strict=True):
        assert_allclose(a, b, **(tolerance or EXACT))


@started_or_not
@both_ways
@masked_or_not
@each_cell
def test_the_loop_is_the_reference_and_keras_own(
    name: str, case: Case, masked: bool, reverse: bool, started: bool
) -> None:
    mask = case.mask if masked else None
    states = case.states if started else [0 * state for state in case.states]
    given: dict[str, Any] = {"initial_state": case.states if started else None, "mask": mask}

    got = flat(recurrence.run(case.cell, tf.constant(case.inputs), reverse=reverse, **given))

    step = reference.STEPS[name]
    wanted = reference.run(step, case.weights, case.inputs, states, mask, reverse)
    assert_same(got, flat(wanted))

    theirs = keras.layers.RNN(
        case.cell,
        return_sequences=True,
        return_state=True,
        go_backwards=reverse,
        zero_output_for_mask=True,
        dtype="float64",
    )
    outputs, *after = theirs(case.inputs, **given)
    assert_same(got, [outputs[:, ::-1] if reverse else outputs, *after])


@pytest.mark.parametrize(("reverse", "xla"), [(False, False), (True, False), (True, True)])
@each_cell
def test_eager_graph_and_xla_agree_with_their_gradients(
    case: Case, reverse: bool, xla: bool
) -> None:
    def everything(inputs: tf.Tensor, mask: tf.Tensor, *states: tf.Tensor) -> list[tf.Tensor]:
        free = [inputs, *states, *(weight.value for weight in case.cell.weights)]
        with tf.GradientTape() as tape:
            tape.watch(free)
            got = flat(
                recurrence.run(
                    case.cell, inputs, initial_state=list(states), mask=mask, reverse=reverse
                )
            )
            loss = tf.add_n([tf.reduce_sum(tf.sin(value)) for value in got])
        return [*got, *tape.gradient(loss, free)]

    given = [tf.constant(value) for value in (case.inputs, case.mask, *case.states)]
    graph = tf.function(everything, jit_compile=xla)
    assert_same(graph(*given), everything(*given))


@each_cell
def test_one_graph_takes_any_batch_and_any_length(name: str, case: Case) -> None:
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, FEATURES], tf.float64),
            tf.TensorSpec([None, None], tf.bool),
        ]
    )
    def graph(inputs: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        outputs, states = recurrence.run(case.cell, inputs, mask=mask)
        assert outputs.shape.as_list() == [None, None, UNITS]
        return outputs, states

    for batch, time in ((BATCH, TIME), (1, TIME), (3, 1), (1, 1), (2, 4)):
        inputs, mask = case.inputs[:batch, :time], case.mask[:batch, :time]
        start = [np.zeros((batch, UNITS)) for _ in case.states]
        step = reference.STEPS[name]
        assert_same(
            flat(graph(inputs, mask)), flat(reference.run(step, case.weights, inputs, start, mask))
        )


@both_ways
@each_cell
def test_two_passes_with_the_state_carried_are_one(case: Case, reverse: bool) -> None:
    def run(span: slice, states: list[Any]) -> tuple[Any, list[Any]]:
        return recurrence.run(
            case.cell,
            tf.constant(case.inputs[:, span]),
            initial_state=states,
            mask=case.mask[:, span],
            reverse=reverse,
        )

    parts = [slice(0, 3), slice(3, TIME)]
    first, second = reversed(parts) if reverse else parts
    early, carried = run(first, case.states)
    late, states = run(second, carried)
    outputs = np.concatenate([late, early] if reverse else [early, late], axis=1)
    assert_same([outputs, *states], flat(run(slice(None), case.states)))


@both_ways
@each_cell
def test_what_stands_at_a_masked_place_changes_nothing(
    case: Case, reverse: bool, rng: np.random.Generator
) -> None:
    """Neither an answer nor a gradient: huge padding is as good as none."""

    def run(inputs: np.ndarray, mask: np.ndarray | None, row: int) -> list[Any]:
        weights = [weight.value for weight in case.cell.weights]
        with tf.GradientTape() as tape:
            result = recurrence.run(
                case.cell,
                tf.constant(inputs[np.newaxis]),
                initial_state=[state[row : row + 1] for state in case.states],
                mask=None if mask is None else mask[np.newaxis],
                reverse=reverse,
            )
            loss = tf.add_n([tf.reduce_sum(tf.sin(value)) for value in flat(result)])
        return [*flat(result), *tape.gradient(loss, weights)]

    for row in range(1, BATCH):
        mask = case.mask[row]
        noise = GARBAGE * rng.normal(size=(TIME, FEATURES))
        padded = run(np.where(mask[:, np.newaxis], case.inputs[row], noise), mask, row)
        short = run(case.inputs[row][mask], None, row)
        assert_array_equal(padded[0][0][~mask], np.zeros((np.sum(~mask), UNITS)))
        assert_same([padded[0].numpy()[:, mask], *padded[1:]], short)


@each_cell
def test_a_row_with_nothing_to_read_keeps_its_state(case: Case) -> None:
    mask = np.zeros((BATCH, TIME), np.int32)  # integers are a mask too
    outputs, states = recurrence.run(
        case.cell, tf.constant(case.inputs), initial_state=case.states, mask=mask
    )
    assert_array_equal(outputs, np.zeros((BATCH, TIME, UNITS)))
    for got, wanted in zip(states, case.states, strict=True):
        assert_array_equal(got, wanted)


@pytest.fixture
def policy(precision: str) -> Iterator[Callable[[], None]]:
    """Sets a global precision when called, and the old one again after the test."""
    before = keras.config.dtype_policy()
    yield lambda: keras.config.set_dtype_policy(keras.DTypePolicy(precision))
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("mixed_bfloat16", 0.08), ("mixed_float16", 0.01)]
)
@both_ways
@each_cell
def test_half_precision_runs_and_is_close(
    name: str,
    case: Case,
    reverse: bool,
    precision: str,
    tolerance: float,
    policy: Callable[[], None],
) -> None:
    policy()
    layer = Recurrent(make_cell(name, UNITS), reverse=reverse, return_state=True)
    layer.build((None, None, FEATURES))
    layer.set_weights(case.weights)
    start = [tf.constant(state) for state in case.states]
    got = layer(case.inputs.astype("float32"), mask=case.mask, initial_state=start)
    assert {value.dtype for value in got} == {tf.as_dtype(layer.compute_dtype)}
    assert {weight.dtype for weight in layer.weights} == {"float32"}
    wanted = reference.run(
        reference.STEPS[name], case.weights, case.inputs, case.states, case.mask, reverse
    )
    got = [tf.cast(value, tf.float64) for value in got]
    assert_same(got, flat(wanted), atol=tolerance, rtol=tolerance)
