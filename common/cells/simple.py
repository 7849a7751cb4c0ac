"""The plain recurrent cell, and the remedies it can carry: ReLU and an identity start."""

from typing import Any

import keras
from keras import ops

from common.cells.base import States, WrittenCell, recur

# The slope of an activation, told by its value: phi'(a) as a function of h = phi(a).
SLOPES = {
    keras.activations.tanh: lambda h: 1 - ops.square(h),
    keras.activations.relu: lambda h: ops.cast(h > 0, h.dtype),
    keras.activations.sigmoid: lambda h: h * (1 - h),
    keras.activations.linear: ops.ones_like,
}


@keras.saving.register_keras_serializable(package="common.cells")
class SimpleRNNCell(WrittenCell):
    r"""The hidden-state update of Elman (1990):

    .. math:: h_t = \phi(x_t W_{xh} + h_{t-1} W_{hh} + b_h)

    with :math:`x_t` ``[batch, features]``, :math:`h_t` ``[batch, units]``, :math:`W_{xh}`
    (``kernel``) ``[features, units]``, :math:`W_{hh}` (``recurrent_kernel``)
    ``[units, units]`` and :math:`b_h` (``bias``) ``[units]``. The cell's output is
    :math:`h_t` itself; the output :math:`y_t = \phi_{out}(h_t W_{hy} + b_y)` is a Dense layer
    over it, since many tasks read the state only once, or pool it first.

    Back through time the loss reaches :math:`h_{t-1}` through

    .. math:: \frac{\partial h_t}{\partial h_{t-1}}
              = W_{hh}\,\mathrm{diag}(\phi'(x_t W_{xh} + h_{t-1} W_{hh} + b_h)),

    and :math:`h_{t-k}` through a product of k such factors (the row convention of this code:
    :math:`\partial L/\partial h_{t-1} = (\partial L/\partial h_t \odot \phi'_t) W_{hh}^\top`).
    With tanh, :math:`\phi' \le 1`, and the product shrinks at least as fast as the k-th power
    of the largest singular value of :math:`W_{hh}` when that is below one: the gradient
    vanishes. Two remedies are arguments of this cell: ``activation="relu"``, whose slope is
    exactly one where it is on, and ``recurrent_initializer="identity"`` with a zero bias, so
    that at the start a state that gets no input is kept, and a gradient that gets no error is
    passed back, unchanged (the IRNN of Le, Jaitly & Hinton 2015, arXiv:1504.00941;
    ``common.initializers.ScaledIdentity`` scales it). The third remedy, gates, is
    ``common.cells.gated``.

    Args:
        units: width of the hidden state.
        activation: :math:`\phi`, any Keras activation.
    """

    def __init__(self, units: int, *, activation: Any = "tanh", **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.activation = keras.activations.get(activation)

    @property
    def written(self) -> bool:
        """True for the activations whose slope can be told from their value."""
        return self.activation in SLOPES

    def advance(self, projected: Any, states: States, weights: States) -> tuple[States, States]:
        (h,), (u,) = states, weights
        return [self.activation(projected + recur(h, u))], []

    def factors(self, kept: States, before: States, after: States) -> States:
        return [SLOPES[self.activation](after[0])]

    def retreat(self, grads: States, factors: States, transposed: States) -> tuple[Any, States]:
        (dh,), (slope,), (u,) = grads, factors, transposed
        delta = dh * slope
        return delta, [recur(delta, u)]

    def get_config(self) -> dict[str, Any]:
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "activation": activation}
