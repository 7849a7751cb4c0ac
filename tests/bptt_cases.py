"""What back-propagation through time is tried on: cells with random weights, ours and others to
run them, and all gradients of a loss.

The judge is ``keras.layers.RNN`` over the same cell, differentiated by TensorFlow: it knows the
cell's equations (which ``tests.reference`` proves) and none of its written gradients. Beside it
stand finite differences, and sequences cut by hand.

Of products of options a few stay in the quick set, such that every cell meets each option at
least once; the others are marked slow.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from numpy.testing import assert_allclose

from common import recurrence
from common.cells import CELLS, Cell, SimpleRNNCell
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


def options_for(masked: str, reverse: bool) -> dict[str, Any]:
    mask = None if masked == "all" else MASK
    return {"mask": mask, "reverse": reverse, "hold": masked == "held"}


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
