r"""Gated cells: the state is carried by a sum, so that the gradient is carried by one too.

In each of them :math:`\partial h_t/\partial h_{t-1}` (for the LSTM
:math:`\partial c_t/\partial c_{t-1}`) has a term :math:`\mathrm{diag}(g_t)` with a gate
:math:`g_t` between 0 and 1 that the cell itself sets. Where the gate is open the gradient
passes unchanged, whatever the recurrent kernel's singular values are.

:math:`\sigma` is the logistic function and :math:`\odot` the product element by element.
Kernels hold their gates side by side, in the order that each docstring gives.
"""

from typing import Any

import keras
from keras import ops

from common.cells.base import States, WrittenCell, recur, summed


@keras.saving.register_keras_serializable(package="common.cells")
class LSTMCell(WrittenCell):
    r"""Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000):

    .. math::
        i_t &= \sigma(x_t W_i + h_{t-1} U_i + b_i) \\
        f_t &= \sigma(x_t W_f + h_{t-1} U_f + b_f) \\
        \tilde c_t &= \tanh(x_t W_c + h_{t-1} U_c + b_c) \\
        o_t &= \sigma(x_t W_o + h_{t-1} U_o + b_o) \\
        c_t &= f_t \odot c_{t-1} + i_t \odot \tilde c_t \\
        h_t &= o_t \odot \tanh(c_t)

    Shapes: ``kernel`` :math:`[W_i, W_f, W_c, W_o]` ``[features, 4 * units]``,
    ``recurrent_kernel`` :math:`[U_i, U_f, U_c, U_o]` ``[units, 4 * units]``, ``bias``
    ``[4 * units]``; the states are :math:`[h, c]`, each ``[batch, units]``. The bias of the
    forget gate starts one higher than the initialiser says, so that the cell begins by
    remembering (Jozefowicz et al. 2015).
    """

    gate_names = ("i", "f", "c", "o")
    keeps = deltas = 4

    @property
    def state_size(self) -> list[int]:
        return [self.units, self.units]

    def _initial_bias(self, shape: Any, dtype: Any = None) -> Any:
        bias = self.bias_initializer(shape, dtype=dtype)
        forget = ops.arange(shape[0]) // self.units == 1
        return bias + ops.cast(forget, bias.dtype)

    def advance(self, projected: Any, states: States, weights: States) -> tuple[States, States]:
        (h, c), (u,) = states, weights
        i, f, candidate, o = ops.split(projected + recur(h, u), 4, axis=-1)
        i, f, candidate, o = ops.sigmoid(i), ops.sigmoid(f), ops.tanh(candidate), ops.sigmoid(o)
        c = f * c + i * candidate
        return [o * ops.tanh(c), c], [i, f, candidate, o]

    def factors(self, kept: States, before: States, after: States) -> States:
        i, f, candidate, o = kept
        squashed = ops.tanh(after[1])
        of_i = candidate * i * (1 - i)
        of_f = before[1] * f * (1 - f)
        of_candidate = i * (1 - candidate * candidate)
        of_o = squashed * o * (1 - o)
        return [of_i, of_f, of_candidate, of_o, o * (1 - squashed * squashed), f]

    def retreat(self, grads: States, factors: States, transposed: States) -> tuple[Any, States]:
        (dh, dc), (of_i, of_f, of_candidate, of_o, of_c, f), (u,) = grads, factors, transposed
        dc = dc + dh * of_c
        delta = ops.concatenate([dc * of_i, dc * of_f, dc * of_candidate, dh * of_o], axis=-1)
        return delta, [recur(delta, u), dc * f]


@keras.saving.register_keras_serializable(package="common.cells")
class GRUCell(WrittenCell):
    r"""Gated recurrent unit (Cho et al. 2014), reset *after* the product (as in cuDNN):

    .. math::
        z_t &= \sigma(x_t W_z + b_z + h_{t-1} U_z + d_z) \\
        r_t &= \sigma(x_t W_r + b_r + h_{t-1} U_r + d_r) \\
        \tilde h_t &= \tanh(x_t W_h + b_h + r_t \odot (h_{t-1} U_h + d_h)) \\
        h_t &= z_t \odot h_{t-1} + (1 - z_t) \odot \tilde h_t

    The update gate *keeps*: at :math:`z_t = 1` the state is copied. (Cho's paper reads the
    same; other texts exchange z and 1 - z.) Shapes: ``kernel`` :math:`[W_z, W_r, W_h]`
    ``[features, 3 * units]``, ``recurrent_kernel`` :math:`[U_z, U_r, U_h]`
    ``[units, 3 * units]``, ``bias`` ``[2, 3 * units]``: row 0 is :math:`b`, added to the
    input, row 1 is :math:`d`, added to the state's product.

    The way back, with :math:`\bar h_t = \partial L/\partial h_t`:

    .. math::
        \delta_h &= \bar h_t \odot (1 - z_t) \odot (1 - \tilde h_t^2) \\
        \delta_z &= \bar h_t \odot (h_{t-1} - \tilde h_t) \odot z_t \odot (1 - z_t) \\
        \delta_r &= \delta_h \odot (h_{t-1} U_h + d_h) \odot r_t \odot (1 - r_t) \\
        \bar h_{t-1} &= [\delta_z, \delta_r, \delta_h \odot r_t]\, U^\top
                        + \bar h_t \odot z_t
    """

    gate_names = ("z", "r", "h")
    keeps = deltas = 4

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """Of `bias`: one beside the input, one beside the state, as Keras has it
        (``reset_after``)."""
        return (2, 3 * self.units)

    def input_weights(self) -> tuple[Any, Any]:
        kernel, bias = super().input_weights()
        return kernel, bias[0]

    def recurrent_weights(self) -> States:
        return [*super().recurrent_weights(), ops.cast(self.bias[1], self.compute_dtype)]

    def advance(self, projected: Any, states: States, weights: States) -> tuple[States, States]:
        (h,), (u, d) = states, weights
        x_zr, x_h = ops.split(projected, [2 * self.units], axis=-1)
        h_zr, h_h = ops.split(recur(h, u) + ops.cast(d, h.dtype), [2 * self.units], axis=-1)
        z, r = ops.split(ops.sigmoid(x_zr + h_zr), 2, axis=-1)
        candidate = ops.tanh(x_h + r * h_h)
        return [z * h + (1 - z) * candidate], [z, r, candidate, h_h]

    def factors(self, kept: States, before: States, after: States) -> States:
        z, r, candidate, h_h = kept
        of_h = (1 - z) * (1 - candidate * candidate)
        of_z = (before[0] - candidate) * z * (1 - z)
        return [of_z, of_h * h_h * r * (1 - r), of_h * r, of_h, z]

    def retreat(self, grads: States, factors: States, transposed: States) -> tuple[Any, States]:
        (dh,), (of_z, of_r, of_u, of_h, z), (u, _) = grads, factors, transposed
        delta = ops.concatenate([dh * of_z, dh * of_r, dh * of_u], axis=-1)
        return ops.concatenate([delta, dh * of_h], axis=-1), [recur(delta, u) + dh * z]

    def weight_gradients(self, deltas: Any, kept: States, before: States) -> tuple[Any, States]:
        delta, of_input = ops.split(deltas, [3 * self.units], axis=-1)
        projected = ops.concatenate([delta[:, : 2 * self.units], of_input], axis=-1)
        return projected, [summed(before[0], delta), ops.sum(delta, axis=0)]


@keras.saving.register_keras_serializable(package="common.cells")
class MGUCell(WrittenCell):
    r"""Minimal gated unit (Zhou et al. 2016, arXiv:1603.09420), one gate for both duties:

    .. math::
        f_t &= \sigma(x_t W_f + h_{t-1} U_f + b_f) \\
        \tilde h_t &= \tanh(x_t W_h + (f_t \odot h_{t-1}) U_h + b_h) \\
        h_t &= (1 - f_t) \odot h_{t-1} + f_t \odot \tilde h_t

    The gate *replaces*: at :math:`f_t = 1` the state is overwritten, at 0 copied; and it is
    applied to the state *before* the product. Shapes: ``kernel`` :math:`[W_f, W_h]`
    ``[features, 2 * units]``, ``recurrent_kernel`` :math:`[U_f, U_h]` ``[units, 2 * units]``,
    ``bias`` ``[2 * units]``: two thirds of a GRU's weights.

    The way back, with :math:`\bar h_t = \partial L/\partial h_t` and :math:`q` the gradient of
    :math:`f_t \odot h_{t-1}`:

    .. math::
        \delta_h &= \bar h_t \odot f_t \odot (1 - \tilde h_t^2), \qquad q = \delta_h U_h^\top \\
        \delta_f &= (\bar h_t \odot (\tilde h_t - h_{t-1}) + q \odot h_{t-1})
                    \odot f_t \odot (1 - f_t) \\
        \bar h_{t-1} &= \bar h_t \odot (1 - f_t) + q \odot f_t + \delta_f U_f^\top
    """

    gate_names = ("f", "h")
    keeps = deltas = 2

    def advance(self, projected: Any, states: States, weights: States) -> tuple[States, States]:
        (h,), (u,) = states, weights
        x_f, x_h = ops.split(projected, 2, axis=-1)
        u_f, u_h = ops.split(u, 2, axis=-1)
        f = ops.sigmoid(x_f + recur(h, u_f))
        candidate = ops.tanh(x_h + recur(f * h, u_h))
        return [(1 - f) * h + f * candidate], [f, candidate]

    def factors(self, kept: States, before: States, after: States) -> States:
        (f, candidate), (h,) = kept, before
        slope = f * (1 - f)
        return [f, f * (1 - candidate * candidate), (candidate - h) * slope, h * slope]

    def retreat(self, grads: States, factors: States, transposed: States) -> tuple[Any, States]:
        (dh,), (f, inner, chosen, inside), (u,) = grads, factors, transposed
        u_f, u_h = ops.split(u, 2, axis=0)
        delta_h = dh * inner
        gated = recur(delta_h, u_h)  # the gradient of f * h
        delta_f = dh * chosen + gated * inside
        delta = ops.concatenate([delta_f, delta_h], axis=-1)
        return delta, [dh * (1 - f) + gated * f + recur(delta_f, u_f)]

    def weight_gradients(self, deltas: Any, kept: States, before: States) -> tuple[Any, States]:
        (f, _), (h,) = kept, before
        delta_f, delta_h = ops.split(deltas, 2, axis=-1)
        return deltas, [ops.concatenate([summed(h, delta_f), summed(f * h, delta_h)], axis=-1)]
