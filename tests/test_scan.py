"""The parallel scan: against the cell's own step in a plain loop, and Keras's loop for gradients.

Lengths stand at the borders of chunks and blocks; where every step is gone through by hand,
chunks are made small instead of sequences long.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from common import recurrence, scan
from common.cells import CELLS, LinearCell, MinLSTMCell, make_cell
from tests import reference

BATCH, FEATURES, UNITS, LONGEST = 3, 2, 5, 1100
EXACT: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-12}
NAMES = [name for name in CELLS if isinstance(make_cell(name, 1), LinearCell)]
SMALL = (3, 4)  # steps in a chunk, chunks in a block: 12 steps
LENGTHS = [1, 2, 3, 4, 11, 12, 13, 29]

each_cell = pytest.mark.parametrize("name", NAMES)
both_ways = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
in_small_chunks = pytest.mark.usefixtures("small_chunks")


class Case(NamedTuple):
    """A cell with random weights, and something to run it over; the mask has gaps, a row with
    nothing to read, and ends that are off."""

    cell: Any
    inputs: tf.Tensor
    first: tf.Tensor
    mask: np.ndarray
    weigh: list[np.ndarray]


def make_case(name: str, time: int, dtype: Any = "float64") -> Case:
    rng = np.random.default_rng(1704)
    cell = make_cell(name, UNITS, dtype=dtype)
    cell.build((None, FEATURES))
    reference.randomise(cell, rng)
    mask = rng.random((BATCH, time)) < 0.6
    mask[0], mask[1, [0, -1]] = False, time < 3
    inputs, first = rng.normal(size=(BATCH, time, FEATURES)), rng.normal(size=(BATCH, UNITS))
    weigh = [rng.normal(size=(BATCH, time, UNITS)), rng.normal(size=(BATCH, UNITS))]
    return Case(cell, tf.constant(inputs), tf.constant(first), mask, weigh)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(scan, "STEPS", SMALL[0])
    monkeypatch.setattr(scan, "CHUNKS", SMALL[1])
    return iter(())


def step_by_step(
    cell: Any,
    inputs: tf.Tensor,
    first: tf.Tensor,
    *,
    mask: np.ndarray | None = None,
    reverse: bool = False,
    truncate: int = 0,
    nudges: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The states, zero where masked, and the last of them."""
    state, outputs, time = first, {}, inputs.shape[1]
    for count, t in enumerate(reversed(range(time)) if reverse else range(time)):
        if truncate and count and count % truncate == 0:
            state = tf.stop_gradient(state)
        _, (after,) = cell.step(cell.project(inputs[:, t]), [state])
        here = np.ones((BATCH, 1), bool) if mask is None else mask[:, t, np.newaxis]
        state = tf.where(here, after, state)
        if nudges is not None:
            state = state + nudges[:, t]
        outputs[t] = tf.where(here, state, tf.zeros_like(state))
    return tf.stack([outputs[t] for t in range(time)], axis=1), state


def in_parallel(
    cell: Any, inputs: tf.Tensor, first: tf.Tensor, nudges: Any = None, **options: Any
) -> tuple[tf.Tensor, tf.Tensor]:
    probes = None if nudges is None else [nudges]
    outputs, (last,) = recurrence.run(cell, inputs, initial_state=[first], probes=probes, **options)
    return outputs, last


def keras_loop(
    cell: Any, inputs: tf.Tensor, first: tf.Tensor, *, mask: Any = None, reverse: bool = False
) -> tuple[tf.Tensor, tf.Tensor]:
    layer = keras.layers.RNN(
        cell,
        return_sequences=True,
        return_state=True,
        go_backwards=reverse,
        zero_output_for_mask=True,
        dtype="float64",
    )
    given = None if mask is None else tf.convert_to_tensor(mask)
    outputs, last = layer(inputs, initial_state=[first], mask=given)
    return (outputs[:, ::-1] if reverse else outputs), last


def everything(
    way: Any, case: Case, *, probe: bool = False, graph: bool = False, **options: Any
) -> list[Any]:
    """Outputs, the last state, and the gradients of a loss that reads all of them."""
    weights = [weight.value for weight in case.cell.weights]
    nudges = tf.zeros([*case.inputs.shape[:2], UNITS], tf.float64)

    def compute(inputs: tf.Tensor, first: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([inputs, first, nudges])
            more = {"nudges": nudges} if probe else {}
            results = way(case.cell, inputs, first, **more, **options)
            pairs = zip(case.weigh, results, strict=True)
            loss = tf.add_n([tf.reduce_sum(w * tf.sin(value)) for w, value in pairs])
        free = [inputs, first, *weights, *([nudges] if probe else [])]
        return [*results, *tape.gradient(loss, free)]

    return (tf.function(compute) if graph else compute)(case.inputs, case.first)


def assert_same(got: Any, wanted: Any, **tolerance: float) -> None:
    for number, (a, b) in enumerate(zip(got, wanted, strict=True)):
        assert_allclose(a, b, **(tolerance or EXACT), err_msg=f"number {number}")


# Values


@each_cell
def test_every_length_is_the_step_by_step_form(name: str) -> None:
    """Which needs no more than one run: what comes later changes nothing before it."""
    case = make_case(name, LONGEST)
    wanted, _ = step_by_step(case.cell, case.inputs, case.first)
    for time in (1, 2, 31, 32, 33, 511, 512, 513, LONGEST):
        got, last = in_parallel(case.cell, case.inputs[:, :time], case.first)
        assert_allclose(got, wanted[:, :time], **EXACT, err_msg=f"{time} steps")
        assert_allclose(last, wanted[:, time - 1], **EXACT, err_msg=f"{time} steps")


@in_small_chunks
@both_ways
@each_cell
def test_masked_and_reversed_values_are_the_step_by_step_form(name: str, reverse: bool) -> None:
    for time in LENGTHS:
        case = make_case(name, time)
        given: dict[str, Any] = {"mask": case.mask, "reverse": reverse}
        got = in_parallel(case.cell, case.inputs, case.first, **given)
        assert_same(got, step_by_step(case.cell, case.inputs, case.first, **given))
        assert_array_equal(got[1][0], case.first[0])  # the row with nothing to read


@in_small_chunks
@both_ways
@each_cell
def test_two_passes_with_the_state_carried_are_one(name: str, reverse: bool) -> None:
    case = make_case(name, 29)
    parts = [slice(0, 13), slice(13, 29)]
    state, outputs = case.first, {}
    for span in reversed(parts) if reverse else parts:
        outputs[span.start], state = in_parallel(
            case.cell, case.inputs[:, span], state, mask=case.mask[:, span], reverse=reverse
        )
    whole = in_parallel(case.cell, case.inputs, case.first, mask=case.mask, reverse=reverse)
    assert_same([tf.concat([outputs[0], outputs[13]], 1), state], whole)


# Gradients


@in_small_chunks
@pytest.mark.parametrize("time", [1, 3, 4, 12, 13, 29])
@each_cell
def test_all_gradients_are_those_of_keras_loop(name: str, time: int) -> None:
    case = make_case(name, time)
    given: dict[str, Any] = {"mask": case.mask, "reverse": time % 2 == 1}
    got = everything(in_parallel, case, **given)
    assert_same(got, everything(keras_loop, case, **given), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("name", "time"), [("mingru", LONGEST), ("minlstm", 513)])
def test_gradients_of_long_sequences_are_those_of_keras_loop(name: str, time: int) -> None:
    case = make_case(name, time)
    given: dict[str, Any] = {"mask": case.mask, "reverse": True, "graph": True}
    got = everything(in_parallel, case, **given)
    assert_same(got, everything(keras_loop, case, **given), rtol=1e-9, atol=1e-10)


@in_small_chunks
@pytest.mark.parametrize("steps", [1, 5, 12])
@both_ways
@each_cell
def test_truncation_cuts_where_windows_begin_in_the_order_of_reading(
    name: str, reverse: bool, steps: int
) -> None:
    case = make_case(name, 14)
    given: dict[str, Any] = {"mask": case.mask, "reverse": reverse}
    got = everything(in_parallel, case, truncate=steps, **given)
    assert_same(got, everything(step_by_step, case, truncate=steps, **given))
    whole = everything(in_parallel, case, **given)
    assert_same(got[:2], whole[:2])
    assert all(
        np.abs(cut - full).max() > 1e-3 for cut, full in zip(got[3:], whole[3:], strict=True)
    )


@in_small_chunks
@pytest.mark.parametrize("truncate", [0, 5])
@both_ways
@each_cell
def test_a_probe_reads_the_gradient_of_the_state_after_each_step(
    name: str, reverse: bool, truncate: int
) -> None:
    case = make_case(name, 14)
    given: dict[str, Any] = {"mask": case.mask, "reverse": reverse, "truncate": truncate}
    got = everything(in_parallel, case, probe=True, **given)
    wanted = everything(step_by_step, case, probe=True, **given)
    assert np.abs(wanted[-1]).min(axis=(0, 2)).max() > 0
    assert_same(got, wanted)


# Half precision


@pytest.mark.parametrize(
    ("policy", "tolerance"), [("mixed_bfloat16", 0.05), ("mixed_float16", 0.006)]
)
@both_ways
@each_cell
def test_half_precision_runs_and_is_close(
    name: str, reverse: bool, policy: str, tolerance: float
) -> None:
    case = make_case(name, 70)
    half = make_case(name, 70, keras.DTypePolicy(policy))
    inputs, first = (tf.cast(x, half.cell.compute_dtype) for x in (case.inputs, case.first))
    weights = [weight.value for weight in half.cell.weights]
    with tf.GradientTape() as tape:
        tape.watch([inputs, first])
        results = in_parallel(half.cell, inputs, first, mask=case.mask, reverse=reverse)
        assert {value.dtype for value in results} == {tf.as_dtype(half.cell.compute_dtype)}
        pairs = zip(case.weigh, results, strict=True)
        loss = tf.add_n([tf.reduce_sum(w * tf.sin(tf.cast(x, tf.float64))) for w, x in pairs])
    got = [*results, *tape.gradient(loss, [inputs, first, *weights])]
    wanted = everything(in_parallel, case, mask=case.mask, reverse=reverse)
    for a, b in zip(got, wanted, strict=True):
        scale = np.abs(b).max()
        assert_allclose(tf.cast(a, tf.float64) / scale, b / scale, rtol=0, atol=tolerance)


# The share of a minimal LSTM's gates


def test_the_share_is_right_however_far_the_gates_are_shut() -> None:
    points = np.array([-200.0, -199.0, -90.0, -20.0, -0.3, 0.0, 0.7, 20.0, 200.0])
    a, b = (grid.ravel().astype(np.float32) for grid in np.meshgrid(points, points))
    log_f, log_i = -np.logaddexp(0, -a.astype(float)), -np.logaddexp(0, -b.astype(float))
    keep, take = 1 / (1 + np.exp(log_i - log_f)), 1 / (1 + np.exp(log_f - log_i))
    f, i = np.exp(log_f), np.exp(log_i)

    cell = MinLSTMCell(1, dtype="float32")
    candidate = np.full_like(a, 3.0)
    projected = tf.constant(np.stack([a, b, candidate], axis=1))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(projected)
        got, added = cell.coefficients(projected)
    assert_allclose(got[:, 0], keep, rtol=1e-6, atol=1e-37)
    assert_allclose(added[:, 0], 3 * take, rtol=1e-6, atol=3e-7)

    slopes = np.stack([keep * take * (1 - f), -keep * take * (1 - i), 0 * f], axis=1)
    assert_allclose(tape.gradient(got, projected), slopes, rtol=1e-5, atol=1e-6)
    slopes = np.stack([-3 * slopes[:, 0], -3 * slopes[:, 1], take], axis=1)
    assert_allclose(tape.gradient(added, projected), slopes, rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("gates", [(-200.0, -200.0), (200.0, -200.0), (-200.0, 200.0)])
def test_extreme_gates_leave_no_nan_in_a_sequence_or_its_gradient(
    gates: tuple[float, float],
) -> None:
    cell = MinLSTMCell(UNITS, dtype="float32")
    cell.build((None, FEATURES))
    bias = np.concatenate([np.full(UNITS, gates[0]), np.full(UNITS, gates[1]), np.ones(UNITS)])
    cell.set_weights([np.full((FEATURES, 3 * UNITS), 0.1), bias])
    case = make_case("minlstm", 40)
    inputs, first = tf.cast(case.inputs, tf.float32), tf.cast(case.first, tf.float32)
    weights = [weight.value for weight in cell.weights]
    with tf.GradientTape() as tape:
        tape.watch([inputs, first])
        outputs, _ = in_parallel(cell, inputs, first, mask=case.mask)
        loss = tf.reduce_sum(tf.sin(outputs))
    for value in [outputs, *tape.gradient(loss, [inputs, first, *weights])]:
        assert np.isfinite(value).all()
    if gates == (200.0, -200.0):  # all is kept
        kept = np.where(case.mask[..., np.newaxis], first[:, np.newaxis], 0)
        assert_allclose(outputs, kept, rtol=1e-5)
