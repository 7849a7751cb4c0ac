"""Loss over time: what a masked step may not do, and gradients that are cut into windows."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from common import recurrence
from common.cells import CELLS, make_cell
from common.losses import over_time, truncated_gradients
from tests import reference

BATCH, TIME, FEATURES, UNITS = 3, 11, 2, 4
MASK = np.array([[1, 0, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]], bool)
EXACT: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-12}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1990)


# Over time


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_loss_of_a_sequence_is_numpys(
    reduction: Any, masked: bool, rng: np.random.Generator
) -> None:
    losses = rng.normal(size=MASK.shape)
    mask = MASK if masked else None
    rows = [row[keep] if masked else row for row, keep in zip(losses, MASK, strict=True)]
    wanted = [getattr(row, reduction)() if len(row) else 0.0 for row in rows]
    assert_allclose(over_time(tf.constant(losses), mask, reduction), wanted, rtol=1e-12)
    assert_allclose(
        over_time(tf.constant(losses), None if mask is None else mask.astype(int), reduction),
        wanted,
        rtol=1e-12,
    )


def test_the_mean_is_what_is_given_if_nothing_else_is_said(rng: np.random.Generator) -> None:
    losses = tf.constant(rng.normal(size=MASK.shape))
    assert_array_equal(over_time(losses, MASK), over_time(losses, MASK, "mean"))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_what_stands_at_a_masked_step_is_not_read(
    dtype: str, reduction: Any, rng: np.random.Generator
) -> None:
    """Nor does it reach a gradient; an empty row is zero, and has none."""
    clean = np.where(MASK, rng.normal(size=MASK.shape), 0.0)
    junk = np.array([np.inf, -np.inf, np.nan, 6e4])
    spoilt = tf.constant(np.where(MASK, clean, junk), dtype)
    with tf.GradientTape() as tape:
        tape.watch(spoilt)
        got = over_time(spoilt, MASK, reduction)
        loss = tf.reduce_sum(got * tf.constant([1.0, -2.0, 5.0, 3.0], got.dtype))
    tolerance = 2e-3 if dtype == "float16" else 1e-6
    wanted = over_time(tf.constant(clean), MASK, reduction)
    assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
    assert got[2] == 0
    counts = MASK.sum(axis=1) if reduction == "mean" else np.ones(len(MASK))
    slopes = np.where(MASK, (np.array([1, -2, 5, 3]) / np.maximum(counts, 1))[:, np.newaxis], 0)
    assert_allclose(tape.gradient(loss, spoilt), slopes, rtol=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_summed_in_float32(dtype: str) -> None:
    """In half precision ones would stop to count at 2048 (or 256), and 0.5 long before."""
    losses = np.ones((1, 4097))
    losses[0, -1] = 0.5
    total, mean = (over_time(tf.constant(losses, dtype), None, how) for how in ("sum", "mean"))
    assert total.dtype == mean.dtype == tf.float32
    assert_array_equal(total, [4096.5])
    assert_allclose(mean, [4096.5 / 4097], rtol=1e-6)


def test_another_reduction_is_named() -> None:
    with pytest.raises(ValueError, match="reduction 'max': expected 'mean' or 'sum'"):
        over_time(tf.zeros([2, 3]), None, "max")  # type: ignore[arg-type]


# Windows


class Stream:
    """A cell and a readout over one long sequence, with a target at every step."""

    def __init__(self, name: str, rng: np.random.Generator) -> None:
        self.cell = make_cell(name, UNITS, dtype="float64")
        self.cell.build((None, FEATURES))
        reference.randomise(self.cell, rng)
        self.readout = tf.Variable(rng.normal(size=(UNITS, 1)))
        self.unused = tf.Variable(rng.normal(size=3))
        self.weights = [*(w.value for w in self.cell.weights), self.readout, self.unused]
        self.inputs = tf.constant(rng.normal(size=(BATCH, TIME, FEATURES)))
        self.targets = tf.constant(rng.normal(size=(BATCH, TIME)))
        count = len(self.cell.get_initial_state(1))
        self.states = [tf.constant(rng.normal(size=(BATCH, UNITS))) for _ in range(count)]
        self.lengths: list[int] = []

    def loss(self, streams: Any, states: Any, **options: Any) -> tuple[Any, list[Any]]:
        self.lengths.append(streams["inputs"].shape[1])
        outputs, states = recurrence.run(
            self.cell, streams["inputs"], initial_state=states, **options
        )
        errors = tf.square((outputs @ self.readout)[..., 0] - streams["targets"])
        return tf.reduce_sum(over_time(errors, reduction="sum")), states

    def in_windows(self, window: int, loss: Callable[..., Any] | None = None) -> Any:
        streams = {"inputs": self.inputs, "targets": self.targets}
        return truncated_gradients(
            loss or self.loss, streams, self.states, self.weights, window=window
        )

    def at_once(self, **options: Any) -> Any:
        streams = {"inputs": self.inputs, "targets": self.targets}
        with tf.GradientTape() as tape:
            loss, states = self.loss(streams, self.states, **options)
        return loss, tape.gradient(loss, self.weights, unconnected_gradients="zero"), states


def assert_same(got: Any, wanted: Any) -> None:
    assert_allclose(got[0], wanted[0], rtol=1e-6)  # the total is kept in float32
    for a, b in zip([*got[1], *got[2]], [*wanted[1], *wanted[2]], strict=True):
        assert_allclose(a, b, **EXACT)


@pytest.fixture
def stream(name: str, rng: np.random.Generator) -> Stream:
    return Stream(name, rng)


@pytest.mark.parametrize("window", [TIME, TIME + 4])
@pytest.mark.parametrize("name", ["lstm", "mingru"])
def test_a_window_as_long_as_the_stream_cuts_nothing(stream: Stream, window: int) -> None:
    assert_same(stream.in_windows(window), stream.at_once())


@pytest.mark.parametrize(
    ("name", "window"), [*((name, 4) for name in CELLS), ("lstm", 1), ("minlstm", 1)]
)
def test_windows_have_the_gradients_of_a_truncated_pass(stream: Stream, window: int) -> None:
    """Two ways that share no code for the cut."""
    got = stream.in_windows(window)
    assert stream.lengths == [window] * (TIME // window) + [TIME % window] * (TIME % window > 0)
    assert_same(got, stream.at_once(truncate=window))
    whole = stream.at_once()
    assert np.abs(got[1][0] - whole[1][0]).max() > 1e-3  # the cut is one
    assert_array_equal(got[1][-1], np.zeros(3))  # of a weight that the loss does not read


@pytest.mark.parametrize("name", ["lstm"])
def test_a_graph_is_traced_once_for_all_windows_of_one_length(stream: Stream) -> None:
    eager = stream.in_windows(4)
    stream.lengths.clear()
    assert_same(stream.in_windows(4, tf.function(stream.loss)), eager)
    assert stream.lengths == [4, 3]  # the last one is shorter


@pytest.mark.parametrize("window", [0, -3])
@pytest.mark.parametrize("name", ["gru"])
def test_a_window_without_steps_is_refused(stream: Stream, window: int) -> None:
    with pytest.raises(ValueError, match=f"window must be a positive .* got {window}"):
        stream.in_windows(window)
