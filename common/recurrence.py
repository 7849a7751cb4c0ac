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

from typing import Any

import tensorflow as tf

from common.cells import Cell


def run(
    cell: Cell,
    inputs: tf.Tensor,
    *,
    initial_state: list[tf.Tensor] | None = None,
    mask: tf.Tensor | None = None,
    reverse: bool = False,
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Runs `cell` over `inputs`.

    Args:
        cell: a built cell.
        inputs: ``[batch, time, features]``, at least one time step.
        initial_state: one ``[batch, units]`` for each state of the cell; zeros if not given.
        mask: ``[batch, time]``, true where there is something to read.
        reverse: from the last time step to the first. Outputs stand at the time of their
            input all the same.

    Returns:
        The outputs ``[batch, time, units]``, and the states after the last step made.
    """
    batch, time = tf.unstack(tf.shape(inputs)[:2])
    steps = tf.transpose(inputs, [1, 0, 2])
    projected = cell.project(tf.reshape(steps, [-1, inputs.shape[-1]]))
    width = projected.shape[-1]
    projected = _by_time(tf.reshape(projected, [time, batch, width]), time)
    keep = None
    if mask is not None:
        keep = _by_time(tf.transpose(tf.cast(mask, tf.bool))[..., tf.newaxis], time)

    states = initial_state
    if states is None:
        states = cell.get_initial_state(batch)
    states = [tf.cast(s, cell.compute_dtype) for s in states]
    outputs = tf.TensorArray(
        cell.compute_dtype, size=time, element_shape=[inputs.shape[0], cell.output_size]
    )

    def body(count: Any, states: list[Any], outputs: Any) -> Any:
        t = time - 1 - count if reverse else count
        output, after = cell.step(projected.read(t), states)
        if keep is not None:
            here = keep.read(t)
            after = [tf.where(here, new, old) for new, old in zip(after, states, strict=True)]
            output = tf.where(here, output, tf.zeros([], output.dtype))
        return count + 1, after, outputs.write(t, output)

    _, states, outputs = tf.while_loop(
        lambda count, *_: count < time,
        body,
        (tf.constant(0), states, outputs),
        maximum_iterations=time,
        parallel_iterations=1,
    )
    sequence = tf.transpose(outputs.stack(), [1, 0, 2])
    return tf.ensure_shape(sequence, [*inputs.shape[:2], cell.output_size]), states


def _by_time(tensor: tf.Tensor, time: tf.Tensor) -> tf.TensorArray:
    array = tf.TensorArray(tensor.dtype, size=time, element_shape=tensor.shape[1:])
    return array.unstack(tensor)
