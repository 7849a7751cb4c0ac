"""Layers around the recurrence: directions, stacks, dropout, and pooling that sees the mask."""

from typing import Any, Literal

import keras
import tensorflow as tf

from common import recurrence
from common.cells import Cell, make_cell

Direction = Literal["forward", "bidirectional"]


@keras.saving.register_keras_serializable(package="common.layers")
class Recurrent(keras.layers.Layer):
    """A cell over time, in one direction: ``[batch, time, features]`` and, if there is one, a
    mask ``[batch, time]`` to ``[batch, time, units]``, zero where masked.

    Args:
        cell: any cell in the contract of ``common.cells.Cell``.
        reverse: reads from the last time step to the first.
        return_state: returns ``(outputs, *states)`` with the states after the last step.
        segment: if not 0, the recurrence starts anew from a zero state every so many steps
            (the disconnected recurrence of Wang 2018, "Disconnected Recurrent Neural Networks
            for Text Categorization"; documents were chopped before, by Johnson & Zhang 2016,
            arXiv:1602.02373). All segments run side by side, as rows of a larger batch: fewer
            steps in sequence, and larger matrix products. For what is told by short passages,
            wherever they stand.

    Raises:
        ValueError: for a negative segment; for a state to return, or to start from, when there
            are segments.
    """

    def __init__(
        self,
        cell: Cell,
        *,
        reverse: bool = False,
        return_state: bool = False,
        segment: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if segment < 0:
            raise ValueError(f"segment must be 0 or a number of steps, got {segment}")
        if segment and return_state:
            raise ValueError("a recurrence in segments has no one state to return")
        self.cell = cell
        self.reverse = reverse
        self.return_state = return_state
        self.segment = segment
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        if not self.cell.built:  # one that comes out of a file has been
            self.cell.build((input_shape[0], input_shape[-1]))

    def call(self, inputs: Any, mask: Any = None, initial_state: Any = None) -> Any:
        if self.segment:
            if initial_state is not None:
                raise ValueError("a recurrence in segments starts from zero, not from a state")
            return self._call_segments(inputs, mask)
        outputs, states = recurrence.run(
            self.cell, inputs, initial_state=initial_state, mask=mask, reverse=self.reverse
        )
        return (outputs, *states) if self.return_state else outputs

    def _call_segments(self, inputs: Any, mask: Any) -> Any:
        batch, time = tf.unstack(tf.shape(inputs)[:2])
        if mask is None:
            mask = tf.ones([batch, time], tf.bool)
        width = tf.minimum(self.segment, time)  # short sequences are not padded to a segment
        end = [[0, 0], [0, -time % width]]
        folded = tf.reshape(tf.pad(inputs, [*end, [0, 0]]), [-1, width, inputs.shape[-1]])
        mask = tf.reshape(tf.pad(mask, end), [-1, width])
        outputs, _ = recurrence.run(self.cell, folded, mask=mask, reverse=self.reverse)
        unfolded = tf.reshape(outputs, [batch, -1, self.cell.output_size])[:, :time]
        return tf.ensure_shape(unfolded, [*inputs.shape[:2], self.cell.output_size])

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        if not self.return_state:
            return mask
        sizes = self.cell.state_size
        return [mask, *([None] * (len(sizes) if isinstance(sizes, list) else 1))]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "cell": keras.saving.serialize_keras_object(self.cell),
            "reverse": self.reverse,
            "return_state": self.return_state,
            "segment": self.segment,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Recurrent":
        cell = keras.saving.deserialize_keras_object(config["cell"])
        return cls(**{**config, "cell": cell})


@keras.saving.register_keras_serializable(package="common.layers")
class MaskedPooling(keras.layers.Layer):
    """Pools over time what the mask admits: ``[batch, time, width]`` to ``[batch, n * width]``.

    Args:
        modes: any of ``"mean"``, ``"max"``, ``"first"`` and ``"last"`` (of the admitted
            steps), side by side in the order given. A row that the mask empties pools to zero.

    Raises:
        ValueError: for an unknown mode, or none.
    """

    MODES = ("mean", "max", "first", "last")

    def __init__(self, modes: tuple[str, ...] = ("max", "mean"), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        unknown = [mode for mode in modes if mode not in self.MODES]
        if unknown or not modes:
            raise ValueError(f"pooling modes {list(modes)}: expected some of {self.MODES}")
        self.modes = tuple(modes)
        self.supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        if mask is None:
            mask = tf.ones(tf.shape(inputs)[:2], tf.bool)
        keep = tf.cast(mask, inputs.dtype)[..., tf.newaxis]
        count = tf.reduce_sum(tf.cast(mask, tf.float32), axis=1)[:, tf.newaxis]
        return tf.concat([self._pool(m, inputs, keep, count) for m in self.modes], axis=-1)

    def _pool(self, mode: str, inputs: Any, keep: Any, count: Any) -> Any:
        if mode == "mean":  # half precision is summed in float32, not to lose the small terms
            wide = inputs.dtype if inputs.dtype == tf.float64 else tf.float32
            total = tf.reduce_sum(tf.cast(tf.where(keep > 0, inputs, 0), wide), axis=1)
            return tf.cast(total / tf.cast(tf.maximum(count, 1.0), wide), inputs.dtype)
        if mode == "max":
            least = tf.where(keep > 0, inputs, inputs.dtype.min)
            return tf.where(count > 0, tf.reduce_max(least, axis=1), tf.zeros([], inputs.dtype))
        order = tf.cumsum(keep, axis=1, reverse=mode == "last")
        return tf.reduce_sum(tf.where((order == 1) & (keep > 0), inputs, 0), axis=1)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return None  # no time is left for a mask to speak of

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "modes": list(self.modes)}


def recurrent_stack(
    x: Any,
    mask: Any,
    *,
    cell: str,
    units: int,
    layers: int = 1,
    direction: Direction = "bidirectional",
    input_dropout: float = 0.0,
    dropout: float = 0.0,
    residual: bool = False,
    segment: int = 0,
) -> Any:
    """Recurrent layers on top of each other, symbolic in and out.

    Args:
        x: ``[batch, time, features]``.
        mask: ``[batch, time]``.
        cell: a name in ``CELLS``.
        units: width of each direction.
        layers: how many.
        direction: ``"forward"`` sees the past alone; ``"bidirectional"`` puts a forward and a
            backward layer side by side, twice the width.
        input_dropout: rate of spatial dropout before the first layer: whole features, over
            all time steps together (Tompson et al. 2015; Gal & Ghahramani 2016 for why).
        dropout: rate of dropout after each layer.
        residual: adds to the output of each layer after the first the layer's input.
        segment: see ``Recurrent``.

    Returns:
        ``[batch, time, units]``, or ``2 * units`` when bidirectional.
    """
    if input_dropout:
        x = keras.layers.SpatialDropout1D(input_dropout, name="input_dropout")(x)
    for number in range(layers):
        before = x

        def direct(name: str, reverse: bool, before: Any = before, number: int = number) -> Any:
            layer = Recurrent(
                make_cell(cell, units), reverse=reverse, segment=segment, name=f"{name}_{number}"
            )
            return layer(before, mask=mask)

        x = direct("forward", reverse=False)
        if direction == "bidirectional":
            both = [x, direct("backward", reverse=True)]
            x = keras.layers.Concatenate(name=f"directions_{number}")(both)
        if dropout:
            x = keras.layers.Dropout(dropout, name=f"dropout_{number}")(x)
        if residual and number:
            x = keras.layers.Add(name=f"residual_{number}")([before, x])
    return x
