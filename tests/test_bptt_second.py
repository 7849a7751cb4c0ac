"""Gradients of gradients of the loop over time, against ways that do not share its code.

What is no part of any claim: those of a scan (``common.scan``) under XLA, which stops with an error
of its own.
"""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from common.cells import LinearCell
from tests.bptt_cases import (
    BATCH,
    MASK,
    REVERSE,
    TIME,
    UNITS,
    UNWRITTEN,
    Case,
    Run,
    along,
    assert_same,
    backward_first,
    covering,
    each_cell,
    every_cell,
    everything,
    free_of,
    in_windows,
    loss_of,
    make_case,
    ours,
    slopes,
    theirs,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1990)


@pytest.fixture
def case(name: str, rng: np.random.Generator) -> Case:
    return make_case(name, rng)


def second(run: Run, case: Case, directions: list[np.ndarray], jit: bool | None = None) -> Any:
    """The Hessian of the loss, times `directions`; eager unless `jit` is given."""

    def compute(*given: tf.Tensor) -> list[tf.Tensor]:
        free = [*given, *(weight.value for weight in case.cell.weights)]
        with tf.GradientTape() as outer:
            outer.watch(given)
            with tf.GradientTape() as inner:
                inner.watch(given)
                outputs, states = run(given[0], list(given[1:]))
                loss = loss_of(case.weigh, outputs, states)
            pairs = zip(inner.gradient(loss, free), directions, strict=True)
            slope = tf.add_n([tf.reduce_sum(g * d) for g, d in pairs])
        return outer.gradient(slope, free)

    compute = compute if jit is None else tf.function(compute, jit_compile=jit)
    return compute(case.inputs, *case.states)


@pytest.fixture
def directions(case: Case, rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.normal(size=value.shape) for value in free_of(case)]


@covering(
    [("eager", "reverse")],
    jit={"eager": None, "graph": False, "xla": True},
    reverse=REVERSE,
)
@every_cell
def test_second_order_gradients_are_those_of_keras_loop(
    case: Case, directions: list[np.ndarray], jit: bool | None, reverse: bool
) -> None:
    options = {"mask": MASK, "reverse": reverse}
    if jit and isinstance(case.cell, LinearCell):  # a loop inside a loop; never a wrong number
        with pytest.raises(tf.errors.InvalidArgumentError, match="XLA compilation requires"):
            second(ours(case.cell, **options), case, directions, jit)
        return
    got = second(ours(case.cell, recompute=reverse, **options), case, directions, jit)
    assert_same(got, second(theirs(case.cell, **options), case, directions))


@every_cell
def test_second_order_gradients_are_finite_differences_of_the_first(
    case: Case, directions: list[np.ndarray], rng: np.random.Generator
) -> None:
    run = ours(case.cell, mask=MASK)

    def slope(inputs: Any, *states: Any) -> float:
        gradients = everything(run, case._replace(inputs=inputs, states=list(states)))
        pairs = zip(gradients[1 + len(states) :], directions, strict=True)
        return sum(along(gradient, direction) for gradient, direction in pairs)

    got = second(run, case, directions)
    for gradient, wanted in zip(got, slopes(case, slope, rng), strict=True):
        assert along(gradient, wanted.direction) == pytest.approx(wanted.value, rel=1e-5, abs=1e-7)


@covering([("eager",)], jit={"eager": None, "graph": False, "xla": True})
@each_cell
def test_a_truncated_gradient_refuses_a_second_one(
    case: Case, directions: list[np.ndarray], jit: bool | None
) -> None:
    """It is the gradient of no function: answers would depend on how it was computed."""
    with pytest.raises(NotImplementedError, match="no second-order gradient: use truncate=0"):
        second(ours(case.cell, truncate=2), case, directions, jit)


@pytest.mark.parametrize("name", UNWRITTEN)
def test_without_a_written_pass_a_second_gradient_is_that_of_a_sequence_cut_by_hand(
    case: Case, directions: list[np.ndarray]
) -> None:
    options = {"mask": MASK, "reverse": True}
    got = second(ours(case.cell, truncate=2, **options), case, directions)
    assert_same(got, second(in_windows(case.cell, 2, **options), case, directions))


def test_a_truncated_layer_in_a_graph_can_be_watched_by_a_persistent_tape(
    rng: np.random.Generator,
) -> None:
    case = make_case("simple", rng)
    run = ours(case.cell, truncate=2)
    with tf.GradientTape(persistent=True) as tape:
        outputs, states = tf.function(run)(case.inputs, case.states)
        loss = loss_of(case.weigh, outputs, states)
    wanted = everything(run, case)[-3:]
    assert_same(tape.gradient(loss, free_of(case)[-3:]), wanted)


@backward_first
@each_cell
def test_blocks_of_time_change_no_probe_and_no_second_gradient(
    case: Case, directions: list[np.ndarray], reverse: bool
) -> None:
    read = []
    for block in (0, 2):
        probes = [tf.zeros([BATCH, TIME, UNITS], tf.float64) for _ in case.states]
        with tf.GradientTape() as tape:
            tape.watch(probes)
            run = ours(case.cell, mask=MASK, reverse=reverse, probes=probes, block=block)
            loss = loss_of(case.weigh, *run(case.inputs, case.states))
        read.append(tape.gradient(loss, probes))
    assert_same(read[1], read[0])
    given: dict[str, Any] = {"mask": MASK, "reverse": reverse}
    got = second(ours(case.cell, block=2, **given), case, directions)
    assert_same(got, second(theirs(case.cell, **given), case, directions))
