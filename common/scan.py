r"""The linear recurrence :math:`h_t = a_t \odot h_{t-1} + b_t`, in parallel over time.

Each step is the affine map :math:`h \mapsto a_t \odot h + b_t`, and maps compose into one of
the same kind:

.. math:: (a_2, b_2) \circ (a_1, b_1) = (a_2 \odot a_1,\; a_2 \odot b_1 + b_2).

Composition is associative, so that a prefix "sum" of maps can be taken in any grouping
(Blelloch 1990, "Prefix Sums and Their Applications"; for recurrent networks Martin & Cundy
2018, arXiv:1709.04057). Time is cut into chunks, all of which are gone through side by side:

1. the map of each chunk as a whole, all chunks together, one step of each at a time;
2. from chunk to chunk, the state that each starts from;
3. all chunks once more, now from their true starts.

That is 2 C + T/C steps in sequence instead of T, of large arrays instead of small ones, and
2 T multiplications. The third sweep does in each chunk what the loop does step by step: no
division, no logarithm, and results that differ from the loop's by the rounding of T/C starts.

**The way back** is a linear recurrence too. With :math:`g_t` the part of
:math:`\partial L/\partial h_t` that comes from :math:`h_t` as an output, and
:math:`\lambda_t` the whole of it,

.. math::
    \lambda_t = g_t + \mu_{t+1}, \qquad \mu_t = a_t \odot \lambda_t, \qquad
    \frac{\partial L}{\partial b_t} = \lambda_t, \qquad
    \frac{\partial L}{\partial a_t} = \lambda_t \odot h_{t-1}, \qquad
    \frac{\partial L}{\partial h_0} = \mu_1,

so that :math:`\mu_t = a_t \odot \mu_{t+1} + a_t \odot g_t` is gone through by the same
three sweeps, from the end.

**Blocks.** The wide arrays (:math:`a, b` and their gradients) are made for one block of time
after the other, and forgotten: they stay in the processor's cache, and what a training step
holds in memory is the inputs and the states alone. On the way back each block makes its
:math:`a, b` again from its inputs, which is one matrix product.

**Folded** is what a sequence is made first, while it is narrow: ``[block, step in the chunk,
chunk, batch, width]``, so that one step of all chunks of a block lies together.
"""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from common.cells import LinearCell
from common.loops import history, loop

STEPS, CHUNKS = 32, 16
"""Steps in a chunk, chunks in a block: of 512 steps, 2 * 32 + 16 are in sequence."""


def run(
    cell: LinearCell,
    inputs: tf.Tensor,
    first: tf.Tensor,
    *,
    keep: tf.Tensor | None = None,
    reverse: bool = False,
    truncate: int = 0,
    probe: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    r"""All states of a cell that is linear in its state.

    Args:
        cell: a built cell.
        inputs: ``[batch, time, features]``, at least one step.
        first: :math:`h_0`, ``[batch, units]``.
        keep: ``[batch, time, 1]``, false where the state is held.
        reverse: from the last step to the first.
        truncate: if not 0, the gradient does not leave windows of so many steps, counted from
            where reading begins.
        probe: ``[batch, time, units]``, zeros whose gradient is :math:`\lambda_t`.

    Returns:
        The states ``[batch, time, units]``, held where `keep` is false, and the last of them.
    """
    fold = _Fold(tf.shape(inputs)[1], reverse)
    here = tf.ones_like(inputs[..., :1], tf.bool) if keep is None else keep
    steps = tf.range(fold.time)
    steps = (fold.time - 1 - steps if reverse else steps)[tf.newaxis, :, tf.newaxis]
    stop = fold((steps % truncate == 0) & (steps > 0)) if truncate else None
    blocks = _Blocks(cell, fold(here), stop)
    given = [fold(inputs), *cell.input_weights()]
    states, last = blocks.scan(*given, first, *([] if probe is None else [fold(probe)]))
    return fold.back(states), last


class _Fold:
    """``[batch, time, width]`` to ``[block, step, chunk, batch, width]`` and back. What fills
    the last block is zero, which is to say: not there."""

    def __init__(self, time: Any, reverse: bool) -> None:
        self.time, self.reverse = time, reverse
        self.steps = tf.minimum(STEPS, time)
        self.chunks = tf.minimum(CHUNKS, -(-time // self.steps))

    def __call__(self, sequence: tf.Tensor) -> tf.Tensor:
        batch, width = tf.shape(sequence)[0], sequence.shape[-1]
        if self.reverse:
            sequence = tf.reverse(sequence, [1])
        missing = -self.time % (self.steps * self.chunks)
        sequence = tf.concat([sequence, tf.zeros([batch, missing, width], sequence.dtype)], 1)
        parts = tf.reshape(sequence, [batch, -1, self.chunks, self.steps, width])
        return tf.transpose(parts, [1, 3, 2, 0, 4])

    def back(self, folded: tf.Tensor) -> tf.Tensor:
        batch, width = tf.shape(folded)[3], folded.shape[-1]
        parts = tf.transpose(folded, [3, 0, 2, 1, 4])
        sequence = tf.reshape(parts, [batch, -1, width])[:, : self.time]
        return tf.reverse(sequence, [1]) if self.reverse else sequence


@dataclass(frozen=True)
class _Blocks:
    """The scan, block by block."""

    cell: LinearCell
    here: tf.Tensor
    stop: tf.Tensor | None

    def coefficients(self, k: Any, inputs: Any, kernel: Any, bias: Any, wide: Any) -> Any:
        """a and b of block k; what is held is multiplied by one, and nothing is added."""
        rows = tf.reshape(inputs, [-1, kernel.shape[0]])
        # Added when wide, so that the bias's gradient, a sum over rows, is summed when wide too.
        projected = tf.cast(tf.matmul(rows, kernel), wide) + tf.cast(bias, wide)
        a, b = self.cell.coefficients(projected)
        shape = tf.concat([tf.shape(inputs)[:-1], [self.cell.units]], 0)
        a, b = tf.reshape(a, shape), tf.reshape(b, shape)
        here = self.here[k]
        return tf.where(here, a, tf.ones([], wide)), tf.where(here, b, tf.zeros([], wide))

    def scan(self, *given: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Folded inputs, kernel, bias, initial state and probe, to folded states and the last."""

        @tf.custom_gradient
        def forth(*given: tf.Tensor) -> Any:
            states, begins, last = self.forward(*given[:4])

            def back(g: tf.Tensor, d_last: tf.Tensor) -> Any:
                inputs, kernel, bias = given[:3]
                gradients = self.backward(inputs, kernel, bias, states, begins, g, d_last)
                gradients = [tf.cast(d, x.dtype) for d, x in zip(gradients, given, strict=False)]
                return gradients if self.stop is None else first_order(*gradients)

            return (states, last), back

        states, last = forth(*given)
        return states, last

    def forward(self, inputs: Any, kernel: Any, bias: Any, first: Any) -> Any:
        count, wide = tf.shape(inputs)[0], first.dtype
        units = self.cell.units
        size = [*inputs.shape[1:4], units]

        def body(k: Any, state: Any, states: Any, begins: Any) -> Any:
            a, b = self.coefficients(k, inputs[k], kernel, bias, wide)
            starts, after = _starts(a, b, state)
            block = _sweep(lambda h, a, b: (a * h + b,) * 2, [a, b], starts)
            return k + 1, after, states.write(k, block), begins.write(k, state)

        arrays = (history(wide, count, size), history(wide, count, first.shape))
        _, last, states, begins = loop(body, count, (first, *arrays))
        return states.stack(), begins.stack(), last

    def backward(
        self, inputs: Any, kernel: Any, bias: Any, states: Any, begins: Any, g: Any, mu: Any
    ) -> Any:
        count, wide = tf.shape(inputs)[0], mu.dtype

        def body(made: Any, mu: Any, sums: list[Any], d_inputs: Any, wholes: Any) -> Any:
            k = count - 1 - made
            x = inputs[k]
            with tf.GradientTape() as tape:
                tape.watch([x, kernel, bias])
                a, b = self.coefficients(k, x, kernel, bias, wide)
            through = a if self.stop is None else tf.where(self.stop[k], tf.zeros([], wide), a)
            ends, mu = _starts(through, through * g[k], mu, reverse=True)
            whole = _sweep(_one_back, [through, g[k]], ends, reverse=True)
            starts = tf.concat([begins[k][tf.newaxis], states[k][-1][:-1]], 0)
            before = tf.concat([starts[tf.newaxis], states[k][:-1]], 0)
            d_x, *d = tape.gradient([a, b], [x, kernel, bias], [whole * before, whole])
            sums = [total + tf.cast(part, wide) for total, part in zip(sums, d, strict=True)]
            return made + 1, mu, sums, d_inputs.write(k, d_x), wholes.write(k, whole)

        sums = [tf.zeros_like(w, wide) for w in (kernel, bias)]
        d_inputs = history(inputs.dtype, count, inputs.shape[1:])
        wholes = history(wide, count, g.shape[1:])
        _, mu, sums, d_inputs, wholes = loop(body, count, (mu, sums, d_inputs, wholes))
        return [d_inputs.stack(), *sums, mu, wholes.stack()]


@tf.custom_gradient
def first_order(*gradients: tf.Tensor) -> Any:
    """Gradients that are cut belong to no function, so they have no gradient themselves."""

    def refuse(*_: tf.Tensor) -> Any:
        raise NotImplementedError(
            "a truncated gradient has no second-order gradient: use truncate=0, or run windows "
            "of that many steps with tf.stop_gradient on the states between them"
        )

    return gradients, refuse


def _one_back(mu: Any, a: Any, g: Any) -> tuple[Any, Any]:
    whole = g + mu
    return a * whole, whole


def _sweep(step: Any, sources: list[Any], starts: Any, reverse: bool = False) -> Any:
    """One step of all chunks at a time: (state, *what is read) -> (state, what is written)."""
    count = tf.shape(sources[0])[0]
    shape = sources[0].shape[1:]

    def body(made: Any, state: Any, records: Any) -> Any:
        k = count - 1 - made if reverse else made
        state, record = step(state, *(source[k] for source in sources))
        return made + 1, tf.ensure_shape(state, shape), records.write(k, record)

    carried = (tf.ensure_shape(starts, shape), history(starts.dtype, count, shape))
    _, _, records = loop(body, count, carried)
    return records.stack()


def _starts(a: Any, b: Any, first: Any, reverse: bool = False) -> tuple[Any, Any]:
    """The state that each chunk starts from, ``[chunk, batch, units]``, and the one after the
    last of them; from the end if `reverse`."""
    steps, chunks = tf.unstack(tf.shape(a)[:2])

    def compose(made: Any, product: Any, total: Any) -> Any:
        k = steps - 1 - made if reverse else made
        return made + 1, a[k] * product, a[k] * total + b[k]

    _, product, total = loop(compose, steps, (tf.ones_like(a[0]), tf.zeros_like(b[0])))

    def onward(made: Any, state: Any, starts: Any) -> Any:
        n = chunks - 1 - made if reverse else made
        return made + 1, product[n] * state + total[n], starts.write(n, state)

    carried = (first, history(first.dtype, chunks, first.shape))
    _, last, starts = loop(onward, chunks, carried)
    return starts.stack(), last
