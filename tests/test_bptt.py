"""Back-propagation through time: every gradient, against ways that do not share its code.

The judge is ``keras.layers.RNN`` over the same cell, differentiated by TensorFlow: it knows the
cell's equations (which ``tests.reference`` proves) and none of its written gradients. Beside it
stand finite differences, and sequences cut by hand.

Of products of options a few stay in the quick set, such that every cell meets each option at
least once; the others are marked slow. What is no part of any claim: gradients of gradients of
a scan (``common.scan``) under XLA, which stops with an error of its own.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from numpy.testing import assert_allclose, assert_array_equal

from common import recurrence
from common.cells import CELLS, Cell, LinearCell, SimpleRNNCell, WrittenCell, make_cell
from tests import reference

BATCH, TIME, FEATURES, UNITS = 3, 5, 2, 4
MASK = np.array([[0, 0, 0, 0, 0], [0, 1, 0, 1, 1], [1, 1, 0, 1, 0]], bool)
EXACT: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-12}

Run = Callable[[Any, list[Any]], tuple[Any, list[Any]]]


class PeepholeCell(Cell):
    """Gers & Schmidhuber (2000), input and output gates only; it says nothing of its way back."""

    gate_names = ("i", "c", "o")

    @property
    def state_size(self) -> list[int]:
        return [self.units, self.units]

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.peepholes = self.add_weight(shape=(2, self.units), name="peepholes")

    def step(self, projected: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        h, c = states
        i, candidate, o = ops.split(projected + ops.matmul(h, self.recurrent_kernel), 3, axis=-1)
        i = ops.sigmoid(i + c * self.peepholes[0])
        c = (1 - i) * c + i * ops.tanh(candidate)
        h = ops.sigmoid(o + c * self.peepholes[1]) * ops.tanh(c)
        return h, [h, c]


class ReadoutCell(Cell):
    """A leaky state, and an output that is not the state but read off it."""

    def step(self, projected: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        (s,) = states
        s = 0.7 * s + 0.3 * ops.tanh(projected + ops.matmul(s, self.recurrent_kernel))
        return ops.sin(s), [s]


def softplus_cell(units: int, **kwargs: Any) -> Cell:
    return SimpleRNNCell(units, activation="softplus", **kwargs)


UNWRITTEN: dict[str, Callable[..., Cell]] = {"peephole": PeepholeCell, "softplus": softplus_cell}
EVERY = {**CELLS, **UNWRITTEN, "readout": ReadoutCell}


def covering(quick: list[tuple[Any, ...]], **axes: dict[str, Any]) -> Any:
    """All combinations of the values of `axes`, under their names; slow unless in `quick`."""
    combinations = list(itertools.product(*axes.values()))
    assert set(quick) <= set(combinations)
    return pytest.mark.parametrize(
        tuple(axes),
        [
            pytest.param(
                *(axis[name] for axis, name in zip(axes.values(), names, strict=True)),
                id="-".join(names),
                marks=[] if names in quick else pytest.mark.slow,
            )
            for names in combinations
        ],
    )


def cells(*quick: str) -> Any:
    """Every cell of the suite; slow unless in `quick`."""
    return covering([(name,) for name in quick], name={name: name for name in CELLS})


MASKED = {"all": "all", "zeroed": "zeroed", "held": "held"}
REVERSE = {"forward": False, "reverse": True}
STARTED = {"zero": False, "started": True}

each_cell = pytest.mark.parametrize("name", CELLS)
every_cell = pytest.mark.parametrize("name", EVERY)
every_cell_with_its_state_for_output = pytest.mark.parametrize("name", {**CELLS, **UNWRITTEN})
both_ways = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
backward_first = covering([("reverse",)], reverse=REVERSE)


class Case(NamedTuple):
    """A cell with random weights, something to run it over, and coefficients for a loss."""

    cell: Any
    inputs: tf.Tensor
    states: list[tf.Tensor]
    weigh: list[np.ndarray]


def make_case(name: str, rng: np.random.Generator, batch: int = BATCH, time: int = TIME) -> Case:
    cell = EVERY[name](UNITS, dtype="float64")
    cell.build((None, FEATURES))
    reference.randomise(cell, rng)
    count = len(cell.get_initial_state(1))
    inputs, *states = (
        tf.constant(rng.normal(size=shape))
        for shape in [(batch, time, FEATURES), *[(batch, UNITS)] * count]
    )
    weigh = [rng.normal(size=shape) for shape in [(batch, time, UNITS), *[(batch, UNITS)] * count]]
    return Case(cell, inputs, states, weigh)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1990)


@pytest.fixture
def case(name: str, rng: np.random.Generator) -> Case:
    return make_case(name, rng)


def ours(cell: Any, **options: Any) -> Run:
    return lambda inputs, states: recurrence.run(
        cell, inputs, initial_state=states or None, **options
    )


def theirs(cell: Any, *, mask: Any = None, reverse: bool = False, hold: bool = False) -> Run:
    """Keras's loop and TensorFlow's gradients."""
    layer = keras.layers.RNN(
        cell,
        return_sequences=True,
        return_state=True,
        go_backwards=reverse,
        zero_output_for_mask=not hold,
        dtype=cell.dtype_policy,
    )

    def run(inputs: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        given = None if mask is None else tf.convert_to_tensor(mask)
        outputs, *last = layer(inputs, initial_state=list(states) or None, mask=given)
        outputs = outputs[:, ::-1] if reverse else outputs
        if hold and states:  # ours holds the state; Keras the last output, zero before the first
            seen = tf.cumsum(tf.cast(mask, tf.int32), axis=1, reverse=reverse)[..., tf.newaxis] > 0
            outputs = tf.where(seen, outputs, states[0][:, tf.newaxis])
        return outputs, last

    return run


def in_windows(cell: Any, steps: int, *, mask: np.ndarray, reverse: bool) -> Run:
    """Keras's loop over so many steps at a time, no gradient passing from one to the other."""

    def run(inputs: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        time, parts = inputs.shape[1], []
        for start in range(0, time, steps):
            end = min(start + steps, time)
            span = slice(time - end, time - start) if reverse else slice(start, end)
            window = theirs(cell, mask=mask[:, span], reverse=reverse)
            if start:
                states = [tf.stop_gradient(state) for state in states]
            outputs, states = window(inputs[:, span], states)
            parts.append(outputs)
        return tf.concat(parts[::-1] if reverse else parts, axis=1), states

    return run


def loss_of(weigh: list[np.ndarray], outputs: Any, states: list[Any]) -> tf.Tensor:
    """It reads all outputs and all last states, each number with a coefficient of its own."""
    results = [outputs, *states]
    return tf.add_n(
        [
            tf.reduce_sum(tf.cast(coefficients, value.dtype) * tf.sin(value))
            for coefficients, value in zip(weigh, results, strict=True)
        ]
    )


def free_of(case: Case, *, started: bool = True) -> list[tf.Tensor]:
    """What gradients are taken of: inputs, initial states and every weight."""
    states = case.states if started else []
    return [case.inputs, *states, *(weight.value for weight in case.cell.weights)]


def everything(run: Run, case: Case, *, started: bool = True, jit: bool | None = None) -> list[Any]:
    """Outputs, last states and all gradients; eager unless `jit` is given."""
    weights = [weight.value for weight in case.cell.weights]

    def compute(*given: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(given)
            outputs, states = run(given[0], list(given[1:]))
            loss = loss_of(case.weigh, outputs, states)
        gradients = tape.gradient(loss, [*given, *weights])
        assert all(gradient is not None for gradient in gradients)
        return [outputs, *states, *gradients]

    compute = compute if jit is None else tf.function(compute, jit_compile=jit)
    return compute(case.inputs, *(case.states if started else []))


def assert_same(got: list[Any], wanted: list[Any], **tolerance: float) -> None:
    for number, (a, b) in enumerate(zip(got, wanted, strict=True)):
        assert_allclose(a, b, **(tolerance or EXACT), err_msg=f"number {number} of {len(got)}")


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


def options_for(masked: str, reverse: bool) -> dict[str, Any]:
    mask = None if masked == "all" else MASK
    return {"mask": mask, "reverse": reverse, "hold": masked == "held"}


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


class Slope(NamedTuple):
    direction: np.ndarray
    value: float


def along(gradient: Any, direction: np.ndarray) -> float:
    return float(tf.reduce_sum(gradient * direction))


def slopes(
    case: Case, function: Callable[..., float], rng: np.random.Generator, step: float = 1e-5
) -> list[Slope]:
    """Central differences of `function` (of the inputs, the states and, unsaid, the weights),
    in a random direction for each of them."""
    given, weights = [case.inputs, *case.states], case.cell.weights
    found = []
    for number, around in enumerate(free_of(case)):
        direction, start, values = rng.normal(size=around.shape), tf.identity(around), []
        for sign in (1, -1):
            moved = start + sign * step * direction
            if number < len(given):
                values.append(function(*given[:number], moved, *given[number + 1 :]))
            else:
                weights[number - len(given)].assign(moved)
                values.append(function(*given))
                weights[number - len(given)].assign(start)
        found.append(Slope(direction, (values[0] - values[1]) / (2 * step)))
    return found


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


# Gradients of gradients


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


# Half precision


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
