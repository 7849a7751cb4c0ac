"""Back-propagation through time: every gradient, against ways that do not share its code."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from common import recurrence
from common.cells import CELLS, LinearCell, WrittenCell, make_cell
from tests.bptt_cases import (
    BATCH,
    FEATURES,
    MASK,
    MASKED,
    REVERSE,
    STARTED,
    TIME,
    UNITS,
    UNWRITTEN,
    Case,
    ReadoutCell,
    along,
    assert_same,
    backward_first,
    cells,
    covering,
    each_cell,
    every_cell,
    every_cell_with_its_state_for_output,
    everything,
    in_windows,
    loss_of,
    make_case,
    options_for,
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


# Every gradient is what automatic differentiation of Keras's loop gives


@covering(
    [("all", "forward", "zero"), ("zeroed", "reverse", "started"), ("held", "forward", "started")],
    masked=MASKED,
    reverse=REVERSE,
    started=STARTED,
)
@every_cell
def test_all_gradients_are_those_of_keras_loop(
    name: str, case: Case, masked: str, reverse: bool, started: bool
) -> None:
    if name == "readout" and masked == "held":
        pytest.skip("what is held is the state, and this cell's output is none")
    options = options_for(masked, reverse)
    got = everything(ours(case.cell, **options), case, started=started)
    assert_same(got, everything(theirs(case.cell, **options), case, started=started))


@pytest.mark.parametrize("name", ["readout"])
def test_what_is_no_state_is_not_held(case: Case) -> None:
    outputs, _ = recurrence.run(case.cell, tf.constant(case.inputs), mask=MASK, hold=True)
    np.testing.assert_array_equal(outputs.numpy()[~MASK], 0)
    assert (outputs.numpy()[MASK] != 0).all()


@covering([], masked=MASKED, reverse=REVERSE, started=STARTED)
@each_cell
def test_compiled_gradients_are_those_of_keras_loop(
    name: str, case: Case, masked: str, reverse: bool, started: bool
) -> None:
    options = options_for(masked, reverse)
    got = everything(ours(case.cell, **options), case, started=started, jit=True)
    assert_same(got, everything(theirs(case.cell, **options), case, started=started))


@cells("lstm", "minlstm")
def test_compiled_held_and_recomputed_gradients_are_those_of_keras_loop(case: Case) -> None:
    options = options_for("held", reverse=True)
    got = everything(ours(case.cell, recompute=True, **options), case, jit=True)
    assert_same(got, everything(theirs(case.cell, **options), case))


def test_the_cells_that_say_nothing_of_their_way_back_are_not_written() -> None:
    for make in (*UNWRITTEN.values(), ReadoutCell):
        assert not getattr(make(UNITS), "written", False)


@backward_first
@every_cell
def test_gradients_are_finite_differences_in_random_directions(
    case: Case, reverse: bool, rng: np.random.Generator
) -> None:
    run = ours(case.cell, mask=MASK, reverse=reverse)
    gradients = everything(run, case)[1 + len(case.states) :]

    def loss(inputs: Any, *states: Any) -> float:
        return float(loss_of(case.weigh, *run(inputs, list(states))))

    for number, slope in enumerate(slopes(case, loss, rng)):
        assert along(gradients[number], slope.direction) == pytest.approx(
            slope.value, rel=1e-6, abs=1e-8
        )


# Other ways to the same numbers


@covering(
    [("recompute", "reverse"), ("time_major", "forward")],
    option={"recompute": "recompute", "time_major": "time_major"},
    reverse=REVERSE,
)
@every_cell
def test_recomputing_and_time_ahead_change_no_number(
    case: Case, option: str, reverse: bool
) -> None:
    plain = everything(ours(case.cell, mask=MASK, reverse=reverse), case)
    swap = (lambda x: tf.transpose(x, [1, 0, 2])) if option == "time_major" else tf.identity
    mask = MASK.T if option == "time_major" else MASK

    def run(inputs: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        outputs, last = recurrence.run(
            case.cell,
            swap(inputs),
            initial_state=states,
            mask=mask,
            reverse=reverse,
            **{option: True},
        )
        return swap(outputs), last

    assert_same(everything(run, case), plain)


@covering([("2", "reverse")], steps={"1": 1, "2": 2}, reverse=REVERSE)
@every_cell
def test_truncated_gradients_are_those_of_a_sequence_cut_by_hand(
    case: Case, reverse: bool, steps: int
) -> None:
    options = {"mask": MASK, "reverse": reverse}
    got = everything(ours(case.cell, truncate=steps, **options), case)
    assert_same(got, everything(in_windows(case.cell, steps, **options), case))
    whole = everything(ours(case.cell, **options), case)
    assert_same(got[: 1 + len(case.states)], whole[: 1 + len(case.states)])
    for cut, full in zip(got[-3:], whole[-3:], strict=True):  # a cut that cuts nothing is none
        assert np.abs(cut - full).max() > 1e-3


@covering(
    [("2", "reverse", "zeroed"), ("3", "forward", "held")],
    block={"1": 1, "2": 2, "3": 3, "longer": TIME + 2},
    reverse=REVERSE,
    masked=MASKED,
)
@each_cell
def test_blocks_of_time_change_no_number(
    case: Case, block: int, reverse: bool, masked: str
) -> None:
    given = options_for(masked, reverse)
    got = everything(ours(case.cell, block=block, **given), case)
    assert_same(got, everything(theirs(case.cell, **given), case))
    got = everything(ours(case.cell, block=block, truncate=2, **given), case)
    assert_same(got, everything(ours(case.cell, truncate=2, **given), case))


@covering([("longer",)], steps={"equal": TIME, "longer": TIME + 3})
@every_cell
def test_a_window_as_long_as_the_sequence_cuts_nothing(case: Case, steps: int) -> None:
    for options in ({"mask": MASK, "reverse": True}, {}):
        got = everything(ours(case.cell, truncate=steps, recompute=True, **options), case)
        assert_same(got, everything(ours(case.cell, **options), case))


@backward_first
@every_cell_with_its_state_for_output
def test_a_probe_reads_the_gradient_of_the_state_after_each_step(case: Case, reverse: bool) -> None:
    """Against the loss as a function of that state alone: what is read of it at its own step,
    and Keras's loop over the steps that come after."""
    probes = [tf.zeros([BATCH, TIME, UNITS], tf.float64) for _ in case.states]
    with tf.GradientTape() as tape:
        tape.watch(probes)
        run = ours(case.cell, mask=MASK, reverse=reverse, probes=probes)
        outputs, last = run(case.inputs, case.states)
        loss = loss_of(case.weigh, outputs, last)
    read = tape.gradient(loss, probes)
    plain = ours(case.cell, mask=MASK, reverse=reverse)(case.inputs, case.states)
    assert_same([outputs, *last], [plain[0], *plain[1]])

    for t in range(TIME):
        done, ahead = slice(0, t + 1), slice(t + 1, TIME)
        if reverse:
            done, ahead = slice(t, TIME), slice(0, t)
        before = theirs(case.cell, mask=MASK[:, done], reverse=reverse)
        _, states = before(case.inputs[:, done], case.states)
        with tf.GradientTape() as tape:
            tape.watch(states)
            here = MASK[:, t, np.newaxis] * case.weigh[0][:, t]
            loss = tf.reduce_sum(here * tf.sin(states[0]))
            if case.inputs[:, ahead].shape[1]:
                after = theirs(case.cell, mask=MASK[:, ahead], reverse=reverse)
                outputs, last = after(case.inputs[:, ahead], states)
            else:
                outputs, last = tf.zeros([BATCH, 0, UNITS], tf.float64), states
            loss += loss_of([case.weigh[0][:, ahead], *case.weigh[1:]], outputs, last)
        assert_same([probe[:, t] for probe in read], tape.gradient(loss, states))


# Shapes


@each_cell
def test_one_graph_takes_any_batch_and_any_length_with_its_gradients(
    case: Case, rng: np.random.Generator
) -> None:
    traces = []

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, FEATURES], tf.float64),
            tf.TensorSpec([None, None], tf.bool),
            [tf.TensorSpec([None, UNITS], tf.float64) for _ in case.states],
            [
                tf.TensorSpec([None, None, UNITS], tf.float64),
                *(tf.TensorSpec([None, UNITS], tf.float64) for _ in case.states),
            ],
        ]
    )
    def graph(inputs: Any, mask: Any, states: list[Any], weigh: list[Any]) -> list[Any]:
        traces.append(inputs.shape)
        free = [inputs, *states, *(weight.value for weight in case.cell.weights)]
        with tf.GradientTape() as tape:
            tape.watch(free)
            outputs, last = recurrence.run(
                case.cell, inputs, initial_state=states, mask=mask, reverse=True
            )
            loss = loss_of(weigh, outputs, last)
        return [outputs, *last, *tape.gradient(loss, free)]

    for batch, time in ((BATCH, TIME), (1, TIME), (3, 1), (1, 1), (2, 4)):
        other = Case(
            case.cell,
            case.inputs[:batch, :time],
            [state[:batch] for state in case.states],
            [case.weigh[0][:batch, :time], *(w[:batch] for w in case.weigh[1:])],
        )
        mask = rng.random((batch, time)) < 0.7
        got = graph(other.inputs, mask, other.states, [tf.constant(w) for w in other.weigh])
        assert_same(got, everything(theirs(case.cell, mask=mask, reverse=True), other))
    assert len(traces) == 1


# Properties


@settings(max_examples=8, deadline=None, derandomize=True, database=None)
@given(
    batch=st.integers(1, 3),
    time=st.integers(1, 6),
    padding=st.integers(1, 4),
    reverse=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@every_cell
def test_padding_changes_no_gradient_and_has_none(
    name: str, batch: int, time: int, padding: int, reverse: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    case = make_case(name, rng, batch, time)
    mask = rng.random((batch, time)) < 0.7
    end = [[0, 0], [0, padding]]
    garbage = rng.normal(scale=1e3, size=(batch, padding, FEATURES))
    padded = np.concatenate([case.inputs, garbage], axis=1)
    longer = case._replace(
        inputs=tf.constant(padded),
        weigh=[np.pad(case.weigh[0], [*end, [0, 0]], constant_values=7.0), *case.weigh[1:]],
    )
    wide = np.pad(mask, end)
    short = everything(ours(case.cell, mask=mask, reverse=reverse), case)
    long = everything(ours(case.cell, mask=wide, reverse=reverse), longer)

    of_inputs = 1 + len(case.states)
    assert_array_equal(long[of_inputs].numpy()[~wide], 0)
    for place in (0, of_inputs):
        long[place] = long[place][:, :time]
    assert_same(long, short)


@backward_first
@every_cell
def test_masked_inputs_have_no_gradient_and_others_have(case: Case, reverse: bool) -> None:
    got = everything(ours(case.cell, mask=MASK, reverse=reverse), case)
    gradient = got[1 + len(case.states)].numpy()
    assert_array_equal(gradient[~MASK], 0)
    assert np.all(np.abs(gradient[MASK]).max(axis=-1) > 0)


def test_cells_with_a_way_back_of_their_own_are_what_is_tested_here() -> None:
    for name in CELLS:
        cell = make_cell(name, UNITS)
        assert isinstance(cell, LinearCell) or (isinstance(cell, WrittenCell) and cell.written)
