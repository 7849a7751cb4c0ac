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
        return self.units

    @property
    def gates(self) -> int:
        """Column blocks, each `units` wide, in `kernel` and `recurrent_kernel`."""
        return len(self.gate_names)

    @property
    def bias_shape(self) -> tuple[int, ...]:
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
        return ops.matmul(x, self.kernel) + self.bias

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
