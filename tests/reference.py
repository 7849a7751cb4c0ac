r"""The cells, the loop and the pooling again: in plain NumPy, from the papers' equations.

Nothing here imports the project. Rows are the batch, so a product with a kernel stands as
:math:`x W`; kernels hold their gates side by side in the order each docstring gives. All
functions take and return float64 arrays; states are a list, the output of a cell is the first.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray
Step = Callable[..., list[Array]]


def sigmoid(a: Array) -> Array:
    r""":math:`\sigma(a) = 1 / (1 + e^{-a})`."""
    return 1.0 / (1.0 + np.exp(-a))


def relu(a: Array) -> Array:
    r""":math:`\max(0, a)`."""
    return np.maximum(a, 0.0)


def simple(
    x: Array,
    states: list[Array],
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array,
    *,
    activation: Callable[[Array], Array] = np.tanh,
) -> list[Array]:
    r"""Elman (1990): :math:`h_t = \phi(x_t W_{xh} + h_{t-1} W_{hh} + b_h)`."""
    return [activation(x @ kernel + states[0] @ recurrent_kernel + bias)]


def irnn(x: Array, states: list[Array], *weights: Array) -> list[Array]:
    r"""Le, Jaitly & Hinton (2015): :math:`h_t = \max(0, x_t W_{xh} + h_{t-1} W_{hh} + b_h)`."""
    return simple(x, states, *weights, activation=relu)


def lstm(
    x: Array, states: list[Array], kernel: Array, recurrent_kernel: Array, bias: Array
) -> list[Array]:
    r"""Hochreiter & Schmidhuber (1997), Gers et al. (2000); gates in the order i, f, c, o.

    .. math::
        i_t &= \sigma(x_t W_i + h_{t-1} U_i + b_i) \\
        f_t &= \sigma(x_t W_f + h_{t-1} U_f + b_f) \\
        \tilde c_t &= \tanh(x_t W_c + h_{t-1} U_c + b_c) \\
        o_t &= \sigma(x_t W_o + h_{t-1} U_o + b_o) \\
        c_t &= f_t \odot c_{t-1} + i_t \odot \tilde c_t \\
        h_t &= o_t \odot \tanh(c_t)
    """
    h, c = states
    w_i, w_f, w_c, w_o = np.split(kernel, 4, axis=1)
    u_i, u_f, u_c, u_o = np.split(recurrent_kernel, 4, axis=1)
    b_i, b_f, b_c, b_o = np.split(bias, 4)
    i = sigmoid(x @ w_i + h @ u_i + b_i)
    f = sigmoid(x @ w_f + h @ u_f + b_f)
    candidate = np.tanh(x @ w_c + h @ u_c + b_c)
    o = sigmoid(x @ w_o + h @ u_o + b_o)
    c = f * c + i * candidate
    return [o * np.tanh(c), c]


def gru(
    x: Array, states: list[Array], kernel: Array, recurrent_kernel: Array, bias: Array
) -> list[Array]:
    r"""Cho et al. (2014), reset after the product; gates in the order z, r, h; z keeps.

    .. math::
        z_t &= \sigma(x_t W_z + b_z + h_{t-1} U_z + d_z) \\
        r_t &= \sigma(x_t W_r + b_r + h_{t-1} U_r + d_r) \\
        \tilde h_t &= \tanh(x_t W_h + b_h + r_t \odot (h_{t-1} U_h + d_h)) \\
        h_t &= z_t \odot h_{t-1} + (1 - z_t) \odot \tilde h_t

    Row 0 of ``bias`` is b, row 1 is d.
    """
    (h,) = states
    w_z, w_r, w_h = np.split(kernel, 3, axis=1)
    u_z, u_r, u_h = np.split(recurrent_kernel, 3, axis=1)
    b_z, b_r, b_h = np.split(bias[0], 3)
    d_z, d_r, d_h = np.split(bias[1], 3)
    z = sigmoid(x @ w_z + b_z + h @ u_z + d_z)
    r = sigmoid(x @ w_r + b_r + h @ u_r + d_r)
    candidate = np.tanh(x @ w_h + b_h + r * (h @ u_h + d_h))
    return [z * h + (1 - z) * candidate]


def mgu(
    x: Array, states: list[Array], kernel: Array, recurrent_kernel: Array, bias: Array
) -> list[Array]:
    r"""Zhou et al. (2016); gates in the order f, h; f replaces, and is applied before the product.

    .. math::
        f_t &= \sigma(x_t W_f + h_{t-1} U_f + b_f) \\
        \tilde h_t &= \tanh(x_t W_h + (f_t \odot h_{t-1}) U_h + b_h) \\
        h_t &= (1 - f_t) \odot h_{t-1} + f_t \odot \tilde h_t
    """
    (h,) = states
    w_f, w_h = np.split(kernel, 2, axis=1)
    u_f, u_h = np.split(recurrent_kernel, 2, axis=1)
    b_f, b_h = np.split(bias, 2)
    f = sigmoid(x @ w_f + h @ u_f + b_f)
    candidate = np.tanh(x @ w_h + (f * h) @ u_h + b_h)
    return [(1 - f) * h + f * candidate]


def mingru(x: Array, states: list[Array], kernel: Array, bias: Array) -> list[Array]:
    r"""Feng et al. (2024); gates in the order z, h; z replaces.

    .. math::
        z_t &= \sigma(x_t W_z + b_z) \\
        \tilde h_t &= x_t W_h + b_h \\
        h_t &= (1 - z_t) \odot h_{t-1} + z_t \odot \tilde h_t
    """
    (h,) = states
    w_z, w_h = np.split(kernel, 2, axis=1)
    b_z, b_h = np.split(bias, 2)
    z = sigmoid(x @ w_z + b_z)
    return [(1 - z) * h + z * (x @ w_h + b_h)]


def minlstm(x: Array, states: list[Array], kernel: Array, bias: Array) -> list[Array]:
    r"""Feng et al. (2024); gates in the order f, i, h.

    .. math::
        f_t &= \sigma(x_t W_f + b_f), \quad i_t = \sigma(x_t W_i + b_i) \\
        h_t &= \frac{f_t}{f_t + i_t} \odot h_{t-1}
               + \frac{i_t}{f_t + i_t} \odot (x_t W_h + b_h)
    """
    (h,) = states
    w_f, w_i, w_h = np.split(kernel, 3, axis=1)
    b_f, b_i, b_h = np.split(bias, 3)
    f, i = sigmoid(x @ w_f + b_f), sigmoid(x @ w_i + b_i)
    return [(f * h + i * (x @ w_h + b_h)) / (f + i)]


STEPS: dict[str, Step] = {
    "simple": simple,
    "irnn": irnn,
    "lstm": lstm,
    "gru": gru,
    "mgu": mgu,
    "mingru": mingru,
    "minlstm": minlstm,
}
LINEAR = ("mingru", "minlstm")
STATES = {name: 2 if name == "lstm" else 1 for name in STEPS}


def parameter_count(name: str, features: int, units: int) -> int:
    r"""Weights of one cell: for each gate :math:`W` (features x units), :math:`U` (units x units)
    and its biases, of which a GRU has two; what is linear in its state has no :math:`U`."""
    gates = {"simple": 1, "irnn": 1, "lstm": 4, "gru": 3, "mgu": 2, "mingru": 2, "minlstm": 3}[name]
    biases = 2 if name == "gru" else 1
    from_state = 0 if name in LINEAR else units
    return gates * units * (features + from_state + biases)


def run(
    step: Step,
    weights: list[Array],
    inputs: Array,
    states: list[Array],
    mask: Array | None = None,
    reverse: bool = False,
) -> tuple[Array, list[Array]]:
    r"""A step over time, row by row: ``inputs`` ``[batch, time, features]``, ``mask``
    ``[batch, time]``.

    .. math:: s_t = m_t\,\mathrm{step}(x_t, s_{t-1}) + (1 - m_t)\,s_{t-1},
              \qquad y_t = m_t\,h_t

    with t running downwards if ``reverse``; :math:`y_t` stands at the time of its input.
    """
    batch, time, _ = inputs.shape
    outputs = np.zeros((batch, time, states[0].shape[1]))
    last = [state.copy() for state in states]
    for row in range(batch):
        now = [state[row : row + 1] for state in states]
        for t in reversed(range(time)) if reverse else range(time):
            if mask is None or mask[row, t]:
                now = step(inputs[row : row + 1, t], now, *weights)
                outputs[row, t] = now[0][0]
        for state, value in zip(last, now, strict=True):
            state[row] = value[0]
    return outputs, last


def pool(inputs: Array, mask: Array, mode: str) -> Array:
    r"""Over the admitted steps :math:`A = \{t : m_t\}` of each row: the mean
    :math:`\frac{1}{|A|} \sum_{t \in A} x_t`, the maximum, :math:`x_{\min A}` ("first") or
    :math:`x_{\max A}` ("last"); zero where A is empty."""
    pooled = np.zeros((inputs.shape[0], inputs.shape[2]))
    for row, admitted in enumerate(np.asarray(mask, bool)):
        steps = inputs[row][admitted]
        if len(steps):
            pooled[row] = {
                "mean": steps.mean(axis=0),
                "max": steps.max(axis=0),
                "first": steps[0],
                "last": steps[-1],
            }[mode]
    return pooled


def randomise(model: Any, rng: np.random.Generator, scale: float = 0.5) -> list[Array]:
    """Gives a built cell, layer or model random weights, biases included, and returns them."""
    weights = [rng.normal(scale=scale, size=w.shape) for w in model.get_weights()]
    model.set_weights(weights)
    return weights
