"""The recurrence in blocks of time, so that nothing wide is held for longer than a block.

Forward, each block makes its input products, goes through its steps, and keeps the states alone.
On the way back, from the last block to the first, it makes the products and the gates again
(with all states known that is one matrix product each, nothing sequential), then its factors and
deltas, and adds its part to the gradients of the weights. The equations are those of
``common.recurrence``, which this module is a part of; here is only what is held, and when.
"""

from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf

from common.cells.base import recur, summed
from common.loops import Tensors, history, loop, rows, steps
from common.scan import first_order


def run(
    over_time: Any, inputs: Any, states: Tensors, probes: Tensors, block: int
) -> tuple[Any, Tensors]:
    """The outputs and the last states.

    Args:
        over_time: the way through one block, of ``common.recurrence``.
        inputs: ``[time, batch, features]``.
        states: before the first step.
        probes: as in ``common.recurrence.run``, time-major.
        block: steps in a block, at most.
    """
    time = tf.shape(inputs)[0]
    size = -(-time // -(-time // block))  # as even as can be: less to fill

    def cut(sequence: Any) -> Any:  # zeros fill the last block: nothing is there
        sequence = tf.reverse(sequence, [0]) if over_time.reverse else sequence
        filling = tf.concat([[-time % size], tf.shape(sequence)[1:]], 0)
        whole = tf.concat([sequence, tf.zeros(filling, sequence.dtype)], 0)
        folded = tf.reshape(whole, tf.concat([[-1, size], tf.shape(sequence)[1:]], 0))
        return tf.ensure_shape(folded, [None, None, *sequence.shape[1:]])

    def join(parts: Any) -> Any:
        whole = tf.reshape(parts, tf.concat([[-1], tf.shape(parts)[2:]], 0))[:time]
        return tf.reverse(whole, [0]) if over_time.reverse else whole

    cell = over_time.cell
    keep = tf.ones_like(inputs[..., :1], tf.bool) if over_time.keep is None else over_time.keep
    forward = replace(over_time, keep=None, reverse=False, recompute=True, end=time)
    given = [cut(inputs), *cell.input_weights(), *states, *cell.recurrent_weights()]
    given += [cut(probe) for probe in probes]
    outputs, *last = _Blocks(forward, cut(keep)).run(*given, states=len(states))
    return join(outputs), last


@dataclass(frozen=True)
class _Blocks:
    """The way along blocks of a sequence, ``[block, step, batch, width]``, and back."""

    over_time: Any
    keep: tf.Tensor

    def part(self, k: Any) -> Any:
        """The way through block k."""
        steps = tf.shape(self.keep)[1]
        return replace(self.over_time, keep=self.keep[k], start=k * steps)

    def run(self, *given: tf.Tensor, states: int) -> Any:
        """Inputs, their kernel and bias, states, recurrent weights and probes, to the outputs
        and the last states."""
        s, w = 3 + states, 3 + states + len(self.over_time.cell.recurrent_weights())

        @tf.custom_gradient
        def through_time(*given: tf.Tensor) -> Any:
            inputs, first, weights = given[:3], list(given[3:s]), list(given[s:w])
            sequences, begins, last = self.forward(inputs, first, weights)

            def back(d_outputs: tf.Tensor, *d_last: tf.Tensor) -> Tensors:
                gradients = self.backward(
                    inputs, weights, (sequences, begins), d_outputs, list(d_last), bool(given[w:])
                )
                gradients = [tf.cast(g, x.dtype) for g, x in zip(gradients, given, strict=True)]
                return first_order(*gradients) if self.over_time.truncate else gradients

            return (sequences[0], *last), back

        return through_time(*given)

    def forward(
        self, inputs: Any, states: Tensors, weights: Tensors
    ) -> tuple[Tensors, Tensors, Tensors]:
        x, kernel, bias = inputs
        count, wide, units = tf.shape(x)[0], states[0].dtype, self.over_time.cell.units
        n = len(states)

        def body(k: Any, states: Tensors, histories: list[Any]) -> Any:
            projected = steps(tf.matmul(rows(x[k]), kernel) + bias, x[k])
            sequences, last, _ = self.part(k).forward(projected, states, weights)
            records = [*sequences, *states]
            return k + 1, last, [h.write(k, r) for h, r in zip(histories, records, strict=True)]

        shapes = [[*x.shape[1:3], units]] * n + [[x.shape[2], units]] * n
        histories = [history(wide, count, shape) for shape in shapes]
        _, last, histories = loop(body, count, (states, histories))
        stacked = [history.stack() for history in histories]
        return stacked[:n], stacked[n:], last

    def backward(
        self,
        inputs: Any,
        weights: Tensors,
        passed: tuple[Tensors, Tensors],
        d_outputs: Any,
        d_last: Tensors,
        probes: bool,
    ) -> Tensors:
        (x, kernel, bias), (sequences, begins) = inputs, passed
        cell, count, wide = self.over_time.cell, tf.shape(x)[0], d_last[0].dtype
        n = len(d_last) if probes else 0

        def body(made: Any, d_states: Tensors, sums: Tensors, histories: list[Any]) -> Any:
            k = count - 1 - made
            part, of_input = self.part(k), rows(x[k])
            after = [sequence[k] for sequence in sequences]
            before = part.before(after, [b[k] for b in begins])
            projected = steps(tf.matmul(of_input, kernel) + bias, x[k])
            gates = part.recomputed(projected, before, weights)
            d_projected, d_weights, d_first, d_after = part.way_back(
                d_outputs[k], d_states, gates, before, after, weights, probes
            )
            d_x = steps(recur(d_projected, tf.transpose(kernel)), x[k])
            d = [summed(of_input, d_projected), tf.reduce_sum(d_projected, 0), *d_weights]
            sums = [total + tf.cast(part, wide) for total, part in zip(sums, d, strict=True)]
            records = [d_x, *d_after]
            histories = [h.write(k, r) for h, r in zip(histories, records, strict=True)]
            return made + 1, d_first, sums, histories

        sums = [tf.zeros_like(w, wide) for w in (kernel, bias, *weights)]
        shapes = [x.shape[1:], *([[*x.shape[1:3], cell.units]] * n)]
        histories = [history(wide, count, shape) for shape in shapes]
        _, d_first, sums, histories = loop(body, count, (d_last, sums, histories))
        d_x, *d_after = [history.stack() for history in histories]
        return [d_x, *sums[:2], *d_first, *sums[2:], *d_after]
