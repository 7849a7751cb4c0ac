"""The recurrence for runtimes other than TensorFlow: a cell's own steps, one after the other.

The same numbers as ``common.recurrence``, from fewer kinds of operations. Converters to LiteRT and
ONNX do not know ``tf.ensure_shape``, want the batch's size fixed, and keep what a loop writes in
the order in which it is written: a sequence that is read backwards is turned round before and
after the loop. No way back is written; for inference alone.
"""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from common.cells import Cell
from common.loops import Tensors, by_time, history, loop, rows, swapped

_inside: contextvars.ContextVar[int | None] = contextvars.ContextVar("inside", default=None)


@contextlib.contextmanager
def recurrences(rows: int = 0) -> Iterator[None]:
    """Every ``common.layers.Recurrent`` called inside runs plainly; over so many rows, where
    that is fixed (LiteRT wants it so) and can't be seen from the shapes."""
    token = _inside.set(rows)
    try:
        yield
    finally:
        _inside.reset(token)


def wanted() -> bool:
    """Whether one is inside ``recurrences``."""
    return _inside.get() is not None


def run(
    cell: Cell,
    inputs: tf.Tensor,
    *,
    initial_state: Tensors | None = None,
    mask: tf.Tensor | None = None,
    reverse: bool = False,
) -> tuple[tf.Tensor, Tensors]:
    """Arguments ``[batch, time, features]`` and answers as of ``common.recurrence.run``."""

    def turn(sequence: tf.Tensor) -> tf.Tensor:  # by time, from where reading begins
        return tf.reverse(sequence, [0]) if reverse else sequence

    fixed = inputs.shape[0] or _inside.get() or None
    batch = fixed or tf.shape(inputs)[0]
    time = tf.shape(inputs)[1]
    projected = cell.project(rows(turn(swapped(inputs))))
    given = by_time(tf.reshape(projected, [-1, batch, projected.shape[-1]]))
    keep = None if mask is None else turn(tf.transpose(mask))
    kept = None if keep is None else by_time(tf.expand_dims(keep, -1))
    states = cell.get_initial_state(batch) if initial_state is None else initial_state
    states = [tf.cast(state, tf.float32) for state in states]

    def body(count: Any, states: Tensors, outputs: Any) -> Any:
        output, after = cell.step(tf.cast(given.read(count), tf.float32), states)
        if kept is not None:
            here = kept.read(count)
            output = tf.where(here, output, tf.zeros([], output.dtype))
            after = [tf.where(here, new, old) for new, old in zip(after, states, strict=True)]
        for new, old in zip(after, states, strict=True):
            new.set_shape(old.shape)  # a mask may have lost the batch's size
        return count + 1, after, outputs.write(count, output)

    outputs = history(tf.float32, time, [fixed, cell.output_size])
    _, states, outputs = loop(body, time, (states, outputs))
    found = swapped(turn(outputs.stack()))
    return tf.cast(found, cell.compute_dtype), [tf.cast(s, cell.compute_dtype) for s in states]
