r"""Runs a cell over time: the one loop of the project.

The input products :math:`x_t W_{xh} + b` do not depend on the states, so they are made for
all time steps as one matrix product before the loop; inside it is only what depends on
:math:`s_{t-1}`:

.. math:: (y_t, s_t) = \mathrm{step}(x_t W_{xh} + b,\; s_{t-1}), \qquad t = 1, \dots, T.

**Masks.** Where the mask of a row is off, its states are held and its output is zero. What
stands at a masked place therefore never reaches an answer.

**Back-propagation through time.** With a loss :math:`L = \sum_t \ell_t(y_t)`,

.. math::
    \frac{\partial L}{\partial s_t} =
        \frac{\partial \ell_t}{\partial s_t}
        + \frac{\partial L}{\partial s_{t+1}} \frac{\partial s_{t+1}}{\partial s_t},
    \qquad
    \frac{\partial L}{\partial W} =
        \sum_t \frac{\partial L}{\partial s_t} \frac{\partial s_t}{\partial W},

the first a loop from T back to 1, the second a sum over all steps, since the weights are the
same at each. Where a row is masked, :math:`\partial s_{t+1}/\partial s_t` is the identity.
TensorFlow derives this backward loop from the forward one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from common.cells import Cell, WrittenCell

Tensors = list[tf.Tensor]


def run(
    cell: Cell,
    inputs: tf.Tensor,
    *,
    initial_state: Tensors | None = None,
    mask: tf.Tensor | None = None,
    reverse: bool = False,
    time_major: bool = False,
    hold: bool = False,
    truncate: int = 0,
    recompute: bool = False,
    probes: Tensors | None = None,
) -> tuple[tf.Tensor, Tensors]:
    mask = None if mask is None else tf.cast(mask, tf.bool)
    if not time_major:
        inputs, mask, probes = _swapped(inputs), _swapped(mask), [_swapped(p) for p in probes or []]
    time, batch = tf.unstack(tf.shape(inputs)[:2])
    projected = cell.project(_rows(inputs))
    projected = _steps(projected, time, inputs.shape[:2])
    keep = None if mask is None else mask[..., tf.newaxis]
    wide = tf.float64 if cell.compute_dtype == "float64" else tf.float32
    states = cell.get_initial_state(batch) if initial_state is None else initial_state
    states = [tf.cast(state, wide) for state in states]
    over_time = _OverTime(cell, keep, reverse, truncate, recompute)
    if isinstance(cell, WrittenCell) and cell.written:
        outputs, states = over_time.written(projected, states, probes or [])
    else:
        outputs, states = over_time.automatic(projected, states, probes or [])
    outputs = tf.cast(outputs, cell.compute_dtype)
    if keep is not None and not hold:
        outputs = tf.where(keep, outputs, tf.zeros([], outputs.dtype))
    outputs = tf.ensure_shape(outputs, [*inputs.shape[:2], cell.output_size])
    states = [tf.cast(state, cell.compute_dtype) for state in states]
    return outputs if time_major else _swapped(outputs), states


@dataclass(frozen=True)
class _OverTime:
    """A cell's way along a sequence, and back. Arrays are ``[time, batch, width]``."""

    cell: Any
    keep: tf.Tensor | None
    reverse: bool
    truncate: int
    recompute: bool

    def written(self, projected: Any, states: Tensors, probes: Tensors) -> tuple[Any, Tensors]:
        """The loop, with the backward pass that the cell writes out."""
        weights = self.cell.recurrent_weights()
        s, w = 1 + len(states), 1 + len(states) + len(weights)

        @tf.custom_gradient
        def through_time(*given: tf.Tensor) -> Any:
            projected, states, weights = given[0], list(given[1:s]), list(given[s:w])
            sequences, last, kept = self.forward(projected, states, weights)

            def back(d_outputs: tf.Tensor, *d_last: tf.Tensor) -> Tensors:
                before = [
                    self.one_step_before(*pair) for pair in zip(sequences, states, strict=True)
                ]
                gates = kept or self.recomputed(projected, before, weights)
                factors = self.cell.factors(gates, before, sequences)
                deltas, d_first, d_states = self.backward(
                    d_outputs, list(d_last), factors, weights, probes=bool(given[w:])
                )
                d_projected, d_weights = self.cell.weight_gradients(
                    _rows(deltas), [_rows(g) for g in gates], [_rows(b) for b in before]
                )
                d_projected = tf.reshape(d_projected, tf.shape(projected))
                gradients = [d_projected, *d_first, *d_weights, *d_states]
                gradients = [tf.cast(g, x.dtype) for g, x in zip(gradients, given, strict=True)]
                return _first_order(*gradients) if self.truncate else gradients

            return (sequences[0], *last), back

        outputs, *last = through_time(projected, *states, *weights, *probes)
        return outputs, last

    def forward(
        self, projected: Any, states: Tensors, weights: Tensors
    ) -> tuple[Tensors, Tensors, Tensors]:
        """t = 1 ... T. The states after each step, those after the last, and what the cell
        keeps of each step (nothing, when it is to be made again)."""
        cell, time, wide = self.cell, tf.shape(projected)[0], states[0].dtype
        batch = projected.shape[1]
        inputs, keep = _by_time(projected), None if self.keep is None else _by_time(self.keep)
        record = 0 if self.recompute else cell.keeps

        def body(count: Any, states: Tensors, histories: list[Any]) -> Any:
            t = self.place(count, time)
            after, kept = cell.advance(tf.cast(inputs.read(t), wide), states, weights)
            if keep is not None:
                here = keep.read(t)
                after = [tf.where(here, new, old) for new, old in zip(after, states, strict=True)]
            records = [*after, *kept] if record else after
            return (
                count + 1,
                after,
                [h.write(t, r) for h, r in zip(histories, records, strict=True)],
            )

        count = len(states) + record
        histories = [_history(wide, time, [batch, cell.units]) for _ in range(count)]
        _, last, histories = _loop(body, time, (states, histories))
        stacked = [history.stack() for history in histories]
        return stacked[: len(states)], last, stacked[len(states) :]

    def backward(
        self, d_outputs: Any, d_last: Tensors, factors: Tensors, weights: Tensors, probes: bool
    ) -> tuple[Any, Tensors, Tensors]:
        """t = T ... 1. All deltas, the gradient of the initial state and, if asked for, of the
        states after each step."""
        cell, time, wide = self.cell, tf.shape(d_outputs)[0], d_last[0].dtype
        batch = d_outputs.shape[1]
        transposed = [tf.transpose(weight) for weight in weights]
        upstream, keep = _by_time(d_outputs), None if self.keep is None else _by_time(self.keep)
        local = [_by_time(factor) for factor in factors]

        def body(count: Any, d_states: Tensors, histories: list[Any]) -> Any:
            step = time - 1 - count
            t = self.place(step, time)
            d_after = [d_states[0] + upstream.read(t), *d_states[1:]]
            delta, d_before = cell.retreat(d_after, [f.read(t) for f in local], transposed)
            if keep is not None:
                here = keep.read(t)
                pairs = zip(d_before, d_after, strict=True)
                delta = tf.where(here, delta, tf.zeros([], wide))
                d_before = [tf.where(here, new, old) for new, old in pairs]
            if self.truncate:
                inside = tf.cast(self.inside(step), wide)
                d_before = [d * inside for d in d_before]
            records = [delta, *d_after] if probes else [delta]
            return (
                count + 1,
                d_before,
                [h.write(t, r) for h, r in zip(histories, records, strict=True)],
            )

        widths = [cell.deltas * cell.units, *(cell.units for _ in d_last if probes)]
        histories = [_history(wide, time, [batch, width]) for width in widths]
        _, d_first, histories = _loop(body, time, (d_last, histories))
        deltas, *d_states = [history.stack() for history in histories]
        return deltas, d_first, d_states

    def automatic(self, projected: Any, states: Tensors, probes: Tensors) -> tuple[Any, Tensors]:
        """The loop alone: TensorFlow derives the way back from it."""
        cell, time, wide = self.cell, tf.shape(projected)[0], states[0].dtype
        inputs, keep = _by_time(projected), None if self.keep is None else _by_time(self.keep)
        nudges = [_by_time(probe) for probe in probes]

        def body(count: Any, states: Tensors, outputs: Any) -> Any:
            t = self.place(count, time)
            if self.truncate:
                inside = tf.cast(self.inside(count), wide)
                cut = [tf.stop_gradient(state) for state in states]
                states = [c + inside * (s - c) for s, c in zip(states, cut, strict=True)]
            output, after = cell.step(tf.cast(inputs.read(t), wide), states)
            is_state = output is after[0]  # then it is held, and probed, as the state is
            if keep is not None:
                here = keep.read(t)
                after = [tf.where(here, new, old) for new, old in zip(after, states, strict=True)]
            after = [s + n.read(t) for s, n in zip(after, nudges, strict=True)] if nudges else after
            return count + 1, after, outputs.write(t, after[0] if is_state else output)

        outputs = _history(wide, time, [projected.shape[1], cell.output_size])
        _, states, outputs = _loop(body, time, (states, outputs))
        return outputs.stack(), states

    def place(self, step: Any, time: Any) -> Any:
        return time - 1 - step if self.reverse else step

    def inside(self, step: Any) -> Any:
        """Whether the gradient of a step goes on to the one before, or to the initial state."""
        return (step % self.truncate != 0) | (step == 0)

    def one_step_before(self, sequence: Any, first: Any) -> Any:
        """:math:`s_{t-1}` for each t, from all :math:`s_t` and the initial state."""
        if self.reverse:
            return tf.concat([sequence[1:], first[tf.newaxis]], 0)
        return tf.concat([first[tf.newaxis], sequence[:-1]], 0)

    def recomputed(self, projected: Any, before: Tensors, weights: Tensors) -> Tensors:
        """What the cell keeps of each step, made again: with all states known there is nothing
        sequential left, and all steps are one matrix product."""
        rows = tf.cast(_rows(projected), before[0].dtype)
        _, kept = self.cell.advance(rows, [_rows(b) for b in before], weights)
        return [tf.reshape(k, tf.shape(before[0])) for k in kept]


@tf.custom_gradient
def _first_order(*gradients: tf.Tensor) -> Any:
    """Gradients that are cut belong to no function, so they have no gradient themselves."""

    def refuse(*_: tf.Tensor) -> Any:
        raise NotImplementedError(
            "a truncated gradient has no second-order gradient: use truncate=0, or run windows "
            "of that many steps with tf.stop_gradient on the states between them"
        )

    return gradients, refuse


def _loop(body: Callable[..., Any], time: Any, carried: tuple[Any, ...]) -> Any:
    return tf.while_loop(
        lambda count, *_: count < time,
        body,
        (tf.constant(0), *carried),
        maximum_iterations=time,
    )


def _by_time(tensor: tf.Tensor) -> tf.TensorArray:
    """To be read step by step."""
    size = tf.shape(tensor)[0]
    return tf.TensorArray(tensor.dtype, size=size, element_shape=tensor.shape[1:]).unstack(tensor)


def _history(dtype: Any, time: Any, shape: list[int | None]) -> tf.TensorArray:
    """To be written step by step."""
    return tf.TensorArray(dtype, size=time, element_shape=shape)


def _swapped(tensor: tf.Tensor | None) -> tf.Tensor | None:
    """Batch-major to time-major, or back."""
    if tensor is None:
        return None
    return tf.transpose(tensor, [1, 0, *range(2, tensor.shape.rank)])


def _rows(tensor: tf.Tensor) -> tf.Tensor:
    """``[time, batch, width]`` as ``[time * batch, width]``."""
    return tf.reshape(tensor, [-1, tensor.shape[-1]])


def _steps(rows: tf.Tensor, time: tf.Tensor, shape: Any) -> tf.Tensor:
    """The other way round."""
    steps = tf.reshape(rows, [time, -1, rows.shape[-1]])
    return tf.ensure_shape(steps, [*shape, rows.shape[-1]])
