r"""Runs a cell over time, and back: the one loop of the project.

**Forward.** The input products :math:`p_t = x_t W_{xh} + b` do not depend on the states, so
they are made for all time steps as one matrix product before the loop (``cell.project``);
inside it is only what depends on :math:`s_{t-1}` (``advance``):

.. math:: s_t = F(p_t, s_{t-1}; U), \qquad y_t = h_t, \qquad t = 1, \dots, T,

with :math:`U` the recurrent weights and the states :math:`s = (h)` or :math:`(h, c)`.

**Back-propagation through time** (Werbos 1990). For a loss :math:`L(h_1, ..., h_T, s_T)` let
:math:`g_t` be the part of :math:`\partial L/\partial h_t` that comes from :math:`h_t` as an
output (``d_outputs``), and :math:`\bar s_t = \partial L/\partial s_t` the whole of it. Since
:math:`s_t` reaches the loss as an output and through :math:`s_{t+1}`,

.. math:: \bar s_t = g_t + \bar s_{t+1} \frac{\partial s_{t+1}}{\partial s_t}
          \qquad t = T, \dots, 1.

Each step is affine in the states followed by functions of single elements: with
:math:`a_t = p_t + h_{t-1} U` it is :math:`s_t = \phi(a_t, s_{t-1})`. Let
:math:`\delta_t = \partial L/\partial a_t`. Then

.. math::
    \delta_t &= \bar s_t \odot \phi'_t, \\
    \bar s_t \frac{\partial s_t}{\partial s_{t-1}} &= \delta_t U^\top
        + \bar s_t \odot (\text{what the cell carries past its product}), \\
    \frac{\partial L}{\partial p_t} &= \delta_t, \qquad
    \frac{\partial L}{\partial U} = \sum_t h_{t-1}^\top \delta_t .

The code is these four lines, sorted by what has to wait for what:

1. ``factors``: :math:`\phi'_t` and what is carried past the product. They hold no
   :math:`\bar s`: local Jacobian factors, made for all t at once before the loop.
2. ``retreat``, inside the loop: :math:`\delta_t` and the step to :math:`\bar s_{t-1}`, the
   only things that depend on the step after them. The loop carries :math:`\bar h_t` (and
   :math:`\bar c_t`) alone.
3. ``weight_gradients``: the sum over t as one matrix product of ``[time * batch, units]`` rows
   after the loop, since the weights are the same at each step. The gradients of
   :math:`W_{xh}`, of :math:`b` and of the inputs follow from :math:`\partial L/\partial p`,
   likewise one product each.

Read with the cells: for the plain one :math:`\phi'_t` is the activation's slope and nothing
is carried past the product, so that :math:`\bar h_{t-1}` is multiplied by :math:`U^\top` once
a step, which is why gradients vanish (``SimpleRNNCell``). For the LSTM

.. math::
    \bar c_t \mathrel{+}= \bar h_t \odot o_t (1 - \tanh^2 c_t), \qquad
    \delta_t &= [\bar c_t \tilde c_t\, i_t(1 - i_t),\;
                 \bar c_t c_{t-1} f_t(1 - f_t),\;
                 \bar c_t i_t (1 - \tilde c_t^2),\;
                 \bar h_t \tanh(c_t)\, o_t(1 - o_t)], \\
    \bar h_{t-1} &= \delta_t U^\top, \qquad \bar c_{t-1} = \bar c_t \odot f_t:

what it carries past the product is :math:`f_t`, and no matrix stands in its way.

**Masks.** Where the mask of a row is off, its states are held: :math:`s_t = s_{t-1}`, so
:math:`\bar s_{t-1} = \bar s_t` and :math:`\delta_t = 0`. What stands at a masked place never
reaches an answer or a gradient.

**Truncation** (Williams & Peng 1990): at the first step of each window of `truncate` steps,
:math:`\bar s_{t-1}` is set to zero.

**Precision.** States, gates and :math:`\bar s` are carried in float32 when the cell computes
in half precision (operands of the products are halves), and in float64 for float64.

Cells that are linear in their state need no loop: ``common.scan``. Cells that say only a
``step`` run by the same loop, and TensorFlow derives the way back from it.
"""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from common import blocks, scan
from common.cells import Cell, LinearCell, WrittenCell
from common.loops import Tensors, as_it_is, by_time, history, loop, rows, steps, swapped


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
    block: int = 0,
    probes: Tensors | None = None,
) -> tuple[tf.Tensor, Tensors]:
    r"""Runs `cell` over `inputs`.

    Args:
        cell: a built cell.
        inputs: ``[batch, time, features]``, at least one time step.
        initial_state: one ``[batch, units]`` for each state of the cell; zeros if not given.
        mask: ``[batch, time]``, true where there is something to read.
        reverse: from the last time step to the first. Outputs stand at the time of their
            input all the same.
        time_major: inputs, mask, probes and outputs have time first, ``[time, batch, ...]``.
        hold: the output of a masked step is the state held, instead of zero (of a cell whose
            output is not its state, zero all the same).
        truncate: if not 0, the gradient does not leave windows of so many steps, counted from
            where reading begins; the state goes on.
        recompute: the way back makes the gates again, as one matrix product, instead of
            keeping them: a training step holds the states alone.
        block: if not 0, the input products, gates, factors and deltas are made for so many
            steps at a time and forgotten again: what a training step holds of the whole
            sequence is its inputs and states. For long sequences. (Cells with a written
            backward pass; a scan always does so.)
        probes: one ``[batch, time, units]`` of zeros for each state. The gradient with respect
            to a probe is :math:`\partial L/\partial s_t`, for every t.

    Returns:
        The outputs ``[batch, time, units]``, and the states after the last step made.
    """
    linear = isinstance(cell, LinearCell)  # the scan wants the batch first, the loop the time
    turn = swapped if linear == time_major else as_it_is
    inputs, probes = turn(inputs), [turn(probe) for probe in probes or []]
    keep = None if mask is None else turn(tf.cast(mask, tf.bool)[..., tf.newaxis])
    states = initial_state
    if states is None:
        states = cell.get_initial_state(tf.shape(inputs)[0 if linear else 1])
    wide = tf.float64 if cell.compute_dtype == "float64" else tf.float32
    states = [tf.cast(state, wide) for state in states]
    if linear:
        probe = probes[0] if probes else None
        outputs, last = scan.run(
            cell,
            inputs,
            states[0],
            keep=keep,
            reverse=reverse,
            truncate=truncate,
            probe=probe,
        )
        states = [last]
    else:
        over_time = _OverTime(cell, keep, reverse, truncate, recompute)
        written = isinstance(cell, WrittenCell) and cell.written
        if written and block:
            outputs, states = blocks.run(over_time, inputs, states, probes, block)
        else:
            projected = steps(cell.project(rows(inputs)), inputs)
            way = over_time.written if written else over_time.automatic
            outputs, states = way(projected, states, probes)
    outputs = tf.cast(outputs, cell.compute_dtype)
    if keep is not None and not hold:
        outputs = tf.where(keep, outputs, tf.zeros([], outputs.dtype))
    outputs = tf.ensure_shape(outputs, [*inputs.shape[:2], cell.output_size])
    return turn(outputs), [tf.cast(state, cell.compute_dtype) for state in states]


@dataclass(frozen=True)
class _OverTime:
    """A cell's way along a sequence, and back. Arrays are ``[time, batch, width]``."""

    cell: Any
    keep: tf.Tensor | None
    reverse: bool
    truncate: int
    recompute: bool
    start: Any = 0
    """Steps made before the first one here."""
    end: Any = None
    """Steps of the whole, where what lies here may be longer."""

    def written(self, projected: Any, states: Tensors, probes: Tensors) -> tuple[Any, Tensors]:
        """The loop, with the backward pass that the cell writes out."""
        weights = self.cell.recurrent_weights()
        s, w = 1 + len(states), 1 + len(states) + len(weights)

        @tf.custom_gradient
        def through_time(*given: tf.Tensor) -> Any:
            projected, states, weights = given[0], list(given[1:s]), list(given[s:w])
            sequences, last, kept = self.forward(projected, states, weights)

            def back(d_outputs: tf.Tensor, *d_last: tf.Tensor) -> Tensors:
                before = self.before(sequences, states)
                gates = kept or self.recomputed(projected, before, weights)
                d_projected, d_weights, d_first, d_states = self.way_back(
                    d_outputs, list(d_last), gates, before, sequences, weights, bool(given[w:])
                )
                d_projected = tf.reshape(d_projected, tf.shape(projected))
                gradients = [d_projected, *d_first, *d_weights, *d_states]
                gradients = [tf.cast(g, x.dtype) for g, x in zip(gradients, given, strict=True)]
                return scan.first_order(*gradients) if self.truncate else gradients

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
        inputs, keep = by_time(projected), None if self.keep is None else by_time(self.keep)
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
        histories = [history(wide, time, [batch, cell.units]) for _ in range(count)]
        _, last, histories = loop(body, time, (states, histories))
        stacked = [history.stack() for history in histories]
        return stacked[: len(states)], last, stacked[len(states) :]

    def way_back(
        self,
        d_outputs: Any,
        d_last: Tensors,
        gates: Tensors,
        before: Tensors,
        after: Tensors,
        weights: Tensors,
        probes: bool,
    ) -> tuple[Any, Tensors, Tensors, Tensors]:
        """The three parts in their order: gradients of the input products (row by row), of the
        recurrent weights, of the initial state and, if asked for, of the states after each
        step."""
        factors = self.cell.factors(gates, before, after)
        deltas, d_first, d_states = self.backward(d_outputs, d_last, factors, weights, probes)
        d_projected, d_weights = self.cell.weight_gradients(
            rows(deltas), [rows(g) for g in gates], [rows(b) for b in before]
        )
        return d_projected, d_weights, d_first, d_states

    def backward(
        self, d_outputs: Any, d_last: Tensors, factors: Tensors, weights: Tensors, probes: bool
    ) -> tuple[Any, Tensors, Tensors]:
        """t = T ... 1. All deltas, the gradient of the initial state and, if asked for, of the
        states after each step."""
        cell, time, wide = self.cell, tf.shape(d_outputs)[0], d_last[0].dtype
        batch = d_outputs.shape[1]
        transposed = [tf.transpose(weight) for weight in weights]
        upstream, keep = by_time(d_outputs), None if self.keep is None else by_time(self.keep)
        local = [by_time(factor) for factor in factors]

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
        histories = [history(wide, time, [batch, width]) for width in widths]
        _, d_first, histories = loop(body, time, (d_last, histories))
        deltas, *d_states = [history.stack() for history in histories]
        return deltas, d_first, d_states

    def automatic(self, projected: Any, states: Tensors, probes: Tensors) -> tuple[Any, Tensors]:
        """The loop alone: TensorFlow derives the way back from it."""
        cell, time, wide = self.cell, tf.shape(projected)[0], states[0].dtype
        inputs, keep = by_time(projected), None if self.keep is None else by_time(self.keep)
        nudges = [by_time(probe) for probe in probes]

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
                output = tf.where(here, output, tf.zeros([], wide))
            after = [s + n.read(t) for s, n in zip(after, nudges, strict=True)] if nudges else after
            return count + 1, after, outputs.write(t, after[0] if is_state else output)

        outputs = history(wide, time, [projected.shape[1], cell.output_size])
        _, states, outputs = loop(body, time, (states, outputs))
        return outputs.stack(), states

    def place(self, step: Any, time: Any) -> Any:
        return time - 1 - step if self.reverse else step

    def inside(self, step: Any) -> Any:
        """Whether the gradient of a step goes on to the one before, or to the initial state."""
        made = self.start + step
        inside = (made % self.truncate != 0) | (made == 0)
        return inside if self.end is None else inside | (made >= self.end)

    def before(self, sequences: Tensors, first: Tensors) -> Tensors:
        """:math:`s_{t-1}` for each t, from all :math:`s_t` and the initial state."""
        if self.reverse:
            pairs = zip(sequences, first, strict=True)
            return [tf.concat([s[1:], s0[tf.newaxis]], 0) for s, s0 in pairs]
        return [
            tf.concat([s0[tf.newaxis], s[:-1]], 0) for s, s0 in zip(sequences, first, strict=True)
        ]

    def recomputed(self, projected: Any, before: Tensors, weights: Tensors) -> Tensors:
        """What the cell keeps of each step, made again: with all states known there is nothing
        sequential left, and all steps are one matrix product."""
        inputs = tf.cast(rows(projected), before[0].dtype)
        _, kept = self.cell.advance(inputs, [rows(b) for b in before], weights)
        return [tf.reshape(k, tf.shape(before[0])) for k in kept]
