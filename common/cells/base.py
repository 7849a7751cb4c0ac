"""What a recurrent cell is: one pure step, in Keras's own cell contract."""

from typing import Any

import keras
from keras import ops

States = list[Any]


class Cell(keras.layers.Layer):
    r"""One step of a recurrence, :math:`(x_t, s_{t-1}) \mapsto (y_t, s_t)`.

    A subclass splits the step in two, so that whoever runs the cell over time can do the
    first half for all time steps as one matrix product:

    - ``project(x)``: everything that depends on the input alone, :math:`x W_{xh} + b`;
    - ``step(projected, states)``: everything that depends on the states before.

    ``call`` is one after the other, which is what ``keras.layers.RNN`` expects. A cell knows
    nothing of masks, direction or dropout: masks and direction belong to the loop
    (``common.recurrence``), dropout to the layers around it (``common.layers``).

    Args:
        units: width of the hidden state, a positive integer.
        kernel_initializer: of ``kernel``, ``[features, gates * units]``.
        recurrent_initializer: of each square block of ``recurrent_kernel``,
            ``[units, gates * units]``: an orthogonal or identity start is meant for the block
            that multiplies the state, not for the blocks taken together.
        bias_initializer: of ``bias``.

    Raises:
        ValueError: if ``units`` is not a positive integer.
    """

    gate_names: tuple[str, ...] = ("h",)  # the column blocks of both kernels, in order

    def __init__(
        self,
        units: int,
        *,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ) -> None:
        if not isinstance(units, int) or units < 1:
            raise ValueError(f"units must be a positive integer, got {units!r}")
        super().__init__(**kwargs)
        self.units = units
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer = keras.initializers.get(recurrent_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)

    @property
    def state_size(self) -> Any:
        """Width of the state, or a list of widths where several are carried."""
        return self.units

    @property
    def output_size(self) -> int:
        """Width of what a step gives out."""
        return self.units

    @property
    def gates(self) -> int:
        """Column blocks, each `units` wide, in `kernel` and `recurrent_kernel`."""
        return len(self.gate_names)

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """Of ``bias``."""
        return (self.gates * self.units,)

    def build(self, input_shape: Any) -> None:
        features = input_shape[-1]
        self.kernel = self.add_weight(
            shape=(features, self.gates * self.units),
            initializer=self.kernel_initializer,
            name="kernel",
        )
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, self.gates * self.units),
            initializer=self._initial_recurrent_kernel,
            name="recurrent_kernel",
        )
        self.bias = self.add_weight(
            shape=self.bias_shape, initializer=self._initial_bias, name="bias"
        )

    def _initial_recurrent_kernel(self, shape: Any, dtype: Any = None) -> Any:
        blocks = [self._fresh_block(number, dtype) for number in range(self.gates)]
        return ops.concatenate(blocks, axis=-1)

    def _fresh_block(self, number: int, dtype: Any) -> Any:
        initializer = self.recurrent_initializer
        config = {}
        if isinstance(initializer, keras.initializers.Initializer):
            config = initializer.get_config()
        # An initialiser repeats itself (only one with a SeedGenerator, a dict here, goes on).
        if "seed" in config and not isinstance(config["seed"], dict):
            if config["seed"] is not None:
                config["seed"] += number
            initializer = type(initializer).from_config(config)
        return initializer((self.units, self.units), dtype=dtype)

    def _initial_bias(self, shape: Any, dtype: Any = None) -> Any:
        return self.bias_initializer(shape, dtype=dtype)

    def project(self, x: Any) -> Any:
        """What depends on the input alone: ``[n, features]`` to ``[n, gates * units]``."""
        kernel, bias = self.input_weights()
        return ops.matmul(x, kernel) + bias

    def input_weights(self) -> tuple[Any, Any]:
        """:math:`W_{xh}` and the bias that is added to its product."""
        return ops.cast(self.kernel, self.compute_dtype), ops.cast(self.bias, self.compute_dtype)

    def step(self, projected: Any, states: States) -> tuple[Any, States]:
        """What depends on the states: ``[batch, gates * units]`` and the states before it to
        the output ``[batch, units]`` and the states after it."""
        raise TypeError(f"{type(self).__name__} does not say how it steps")

    def call(self, inputs: Any, states: Any) -> tuple[Any, States]:
        """One step: inputs ``[batch, features]``, states ``[batch, units]`` each."""
        states = list(states) if isinstance(states, list | tuple) else [states]
        return self.step(self.project(inputs), states)

    def get_initial_state(self, batch_size: Any = None) -> States:
        """Zeros, one ``[batch_size, units]`` for each carried state."""
        sizes = self.state_size if isinstance(self.state_size, list) else [self.state_size]
        return [ops.zeros((batch_size, size), dtype=self.compute_dtype) for size in sizes]

    def get_config(self) -> dict[str, Any]:
        serialize = keras.initializers.serialize
        return {
            **super().get_config(),
            "units": self.units,
            "kernel_initializer": serialize(self.kernel_initializer),
            "recurrent_initializer": serialize(self.recurrent_initializer),
            "bias_initializer": serialize(self.bias_initializer),
        }


class WrittenCell(Cell):
    r"""A cell that says its own part of back-propagation through time.

    The loop (``common.recurrence``, whose docstring has the derivation) calls the four methods
    below; a cell without them runs all the same, by automatic differentiation. Each takes its
    arrays with rows ahead and columns last, so that the same lines serve one time step
    (``[batch, units]``) and all time steps at once (``[time * batch, units]``).

    - ``advance``: the cell's equations. Beside the states :math:`s_t` it hands out what the way
      back needs of them, the gates for the most part.
    - ``factors``: the local Jacobian factors, from what ``advance`` handed out.
    - ``retreat``: one step back, :math:`\partial L/\partial s_t` to
      :math:`\partial L/\partial s_{t-1}`, and :math:`\delta_t` on the way: the gradient of
      what stands inside the activations.
    - ``weight_gradients``: from all :math:`\delta_t` at once to the gradients of the input
      products and of the recurrent weights.
    """

    keeps = 0
    """How many arrays ``advance`` keeps, each `units` wide."""
    deltas = 1
    r"""How many times `units` wide :math:`\delta_t` is."""

    @property
    def written(self) -> bool:
        """Whether the four methods hold for this cell as it is configured."""
        return True

    def recurrent_weights(self) -> States:
        """The weights that a step multiplies or adds to the states; the kernel first."""
        return [ops.cast(self.recurrent_kernel, self.compute_dtype)]

    def advance(self, projected: Any, states: States, weights: States) -> tuple[States, States]:
        """The states after the step (the first is the output), and what is kept of it."""
        raise TypeError(f"{type(self).__name__} does not say how it advances")

    def factors(self, kept: States, before: States, after: States) -> States:
        """Local Jacobian factors, from what was kept and the states around the step."""
        raise TypeError(f"{type(self).__name__} does not say its local factors")

    def retreat(self, grads: States, factors: States, transposed: States) -> tuple[Any, States]:
        r""":math:`\delta_t` and the gradients of the states before the step, from those of the
        states after it; `transposed` are the recurrent weights, matrices turned over."""
        raise TypeError(f"{type(self).__name__} does not say how it retreats")

    def weight_gradients(self, deltas: Any, kept: States, before: States) -> tuple[Any, States]:
        """Gradients of ``projected`` (row by row) and of each of the recurrent weights (summed
        over all rows)."""
        return deltas, [summed(before[0], deltas)]

    def step(self, projected: Any, states: States) -> tuple[Any, States]:
        after, _ = self.advance(projected, states, self.recurrent_weights())
        return after[0], after


def recur(rows: Any, weight: Any) -> Any:
    """``rows @ weight``: operands in the weight's precision, the result in that of the rows."""
    return ops.cast(ops.matmul(ops.cast(rows, weight.dtype), weight), rows.dtype)


def summed(rows: Any, deltas: Any) -> Any:
    r"""The weight gradient :math:`\sum_n \mathrm{rows}_n^\top \delta_n` as one product."""
    return ops.matmul(ops.transpose(ops.cast(rows, deltas.dtype)), deltas)
