r"""Cells whose recurrence is linear in the state, so that time can be gone through in parallel.

Gates and candidates read the input alone, and what is left of the recurrence is

.. math:: h_t = a_t \odot h_{t-1} + b_t,

with :math:`a_t` and :math:`b_t` known for all t before the first step. Such maps compose into
maps of the same kind, which is what ``common.scan`` makes use of. The price: the state before
has no say in what a step does; several layers on top of each other give some of it back.
There is no recurrent kernel. (Feng, Tung, Ahmed, Bengio & Hajimirsadeghi 2024, "Were RNNs All
We Needed?", arXiv:2410.01201, sections 3.1 and 3.2; the candidate is linear, as there.)
"""

from typing import Any

import keras
from keras import ops

from common.cells.base import Cell, States


class LinearCell(Cell):
    r"""A cell with :math:`h_t = a_t \odot h_{t-1} + b_t`.

    A subclass says ``coefficients``; ``step`` is the equation, one step of it, and the loop
    (``common.recurrence``) runs all steps by a parallel scan instead, with the same results.
    """

    def __init__(
        self,
        units: int,
        *,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ) -> None:
        if "recurrent_initializer" in kwargs:
            raise ValueError(f"{type(self).__name__} has no recurrent kernel to initialise")
        super().__init__(
            units,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            **kwargs,
        )

    def build(self, input_shape: Any) -> None:
        width = self.gates * self.units
        self.kernel = self.add_weight(
            shape=(input_shape[-1], width), initializer=self.kernel_initializer, name="kernel"
        )
        self.bias = self.add_weight(shape=(width,), initializer=self._initial_bias, name="bias")

    def coefficients(self, projected: Any) -> tuple[Any, Any]:
        """:math:`a_t` and :math:`b_t`, ``[..., units]``, of inputs projected to
        ``[..., gates * units]``."""
        raise TypeError(f"{type(self).__name__} does not say its coefficients")

    def step(self, projected: Any, states: States) -> tuple[Any, States]:
        a, b = self.coefficients(projected)
        h = a * states[0] + b
        return h, [h]

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["recurrent_initializer"]
        return config


@keras.saving.register_keras_serializable(package="common.cells")
class MinGRUCell(LinearCell):
    r"""The minimal GRU of Feng et al. (2024), without reset and without tanh:

    .. math::
        z_t &= \sigma(x_t W_z + b_z) \\
        \tilde h_t &= x_t W_h + b_h \\
        h_t &= (1 - z_t) \odot h_{t-1} + z_t \odot \tilde h_t

    The gate *replaces*: at :math:`z_t = 1` the state is overwritten, at 0 copied. Shapes:
    ``kernel`` :math:`[W_z, W_h]` ``[features, 2 * units]``, ``bias`` ``[2 * units]``. The bias
    of z starts one lower than the initialiser says: the cell begins by remembering.
    """

    gate_names = ("z", "h")

    def _initial_bias(self, shape: Any, dtype: Any = None) -> Any:
        bias = self.bias_initializer(shape, dtype=dtype)
        return bias - ops.cast(ops.arange(shape[0]) < self.units, bias.dtype)

    def coefficients(self, projected: Any) -> tuple[Any, Any]:
        z, candidate = ops.split(projected, 2, axis=-1)
        z = ops.sigmoid(z)
        return 1 - z, z * candidate


@keras.saving.register_keras_serializable(package="common.cells")
class MinLSTMCell(LinearCell):
    r"""The minimal LSTM of Feng et al. (2024): two gates that share what there is to give.

    .. math::
        f_t &= \sigma(x_t W_f + b_f), \qquad i_t = \sigma(x_t W_i + b_i) \\
        \tilde h_t &= x_t W_h + b_h \\
        h_t &= \frac{f_t}{f_t + i_t} \odot h_{t-1} + \frac{i_t}{f_t + i_t} \odot \tilde h_t

    Shapes: ``kernel`` :math:`[W_f, W_i, W_h]` ``[features, 3 * units]``, ``bias``
    ``[3 * units]``. The bias of the forget gate starts one higher than the initialiser says.

    With :math:`a` and :math:`b` inside the two gates, the share is computed as

    .. math:: \frac{f}{f + i} = \frac{e^s + e^{s-b}}{e^s + e^{s-b} + e^s + e^{s-a}},
              \qquad s = \min(a, b, 0),

    where no exponent is above zero and the denominator is at least one, so that it is right
    even where both gates round to zero.
    """

    gate_names = ("f", "i", "h")

    def _initial_bias(self, shape: Any, dtype: Any = None) -> Any:
        bias = self.bias_initializer(shape, dtype=dtype)
        return bias + ops.cast(ops.arange(shape[0]) < self.units, bias.dtype)

    def coefficients(self, projected: Any) -> tuple[Any, Any]:
        a, b, candidate = ops.split(projected, 3, axis=-1)
        s = ops.stop_gradient(ops.minimum(ops.minimum(a, b), 0))  # it cancels out
        from_f, from_i = ops.exp(s) + ops.exp(s - b), ops.exp(s) + ops.exp(s - a)
        total = from_f + from_i
        return from_f / total, from_i / total * candidate
