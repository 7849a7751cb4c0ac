"""Layers around the recurrence: directions, stacks, dropout, and pooling that sees the mask."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import keras
import tensorflow as tf

from common import plain, recurrence
from common.cells import Cell, make_cell
from common.config import TrainConfig
from common.loops import lacking

Direction = Literal["forward", "bidirectional"]
Watched = dict[str, list[tf.Tensor]]
_watching: contextvars.ContextVar[tuple[tf.GradientTape, Watched] | None] = contextvars.ContextVar(
    "watching", default=None
)


@contextlib.contextmanager
def watch_states(tape: tf.GradientTape) -> Iterator[Watched]:
    """Every ``Recurrent`` that is called inside leaves, under its name, a probe for each of its
    states: ``[batch, time, units]``, whose gradient on `tape` is that of the loss with respect
    to the state after each step."""
    watched: Watched = {}
    token = _watching.set((tape, watched))
    try:
        yield watched
    finally:
        _watching.reset(token)


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
        truncate: if not 0, the gradient does not leave windows of so many steps, while the
            state goes on (truncated back-propagation through time).
        block: if not 0, holds everything wide (gates, factors, deltas) for so many steps at a
            time only, and makes it again on the way back: for long sequences, where it saves
            most of the memory (and often time: a block stays in the processor's cache).

    Raises:
        ValueError: for a negative segment, truncation or block; for a state to return, or to start
            from, when there are segments.
    """

    def __init__(
        self,
        cell: Cell,
        *,
        reverse: bool = False,
        return_state: bool = False,
        segment: int = 0,
        truncate: int = 0,
        block: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, steps in (("segment", segment), ("truncate", truncate), ("block", block)):
            if steps < 0:
                raise ValueError(f"{name} must be 0 or a number of steps, got {steps}")
        if segment and return_state:
            raise ValueError("a recurrence in segments has no one state to return")
        self.cell = cell
        self.reverse = reverse
        self.return_state = return_state
        self.segment = segment
        self.truncate = truncate
        self.block = block
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        if not self.cell.built:  # one that comes out of a file has been
            self.cell.build((input_shape[0], input_shape[-1]))

    def call(
        self, inputs: Any, mask: Any = None, initial_state: Any = None, training: Any = None
    ) -> Any:
        probes = self._probes(inputs)
        if self.segment:
            if initial_state is not None:
                raise ValueError("a recurrence in segments starts from zero, not from a state")
            return self._call_segments(inputs, mask, training, probes)
        outputs, states = self._run(inputs, mask, training, probes, initial_state)
        return (outputs, *states) if self.return_state else outputs

    def _run(
        self, inputs: Any, mask: Any, training: Any, probes: Any, initial_state: Any = None
    ) -> Any:
        how = {"initial_state": initial_state, "mask": mask, "reverse": self.reverse}
        if plain.wanted():
            return plain.run(self.cell, inputs, **how)
        return recurrence.run(
            self.cell,
            inputs,
            **how,
            truncate=self.truncate,
            recompute=not training,  # no gates are kept where there is no way back
            block=self.block if training else 0,
            probes=probes,
        )

    def _call_segments(self, inputs: Any, mask: Any, training: Any, probes: Any) -> Any:
        batch, time = tf.unstack(tf.shape(inputs)[:2])
        if mask is None:
            mask = tf.ones([batch, time], tf.bool)
        width = tf.minimum(self.segment, time)  # short sequences are not padded to a segment

        def fold(sequence: Any) -> Any:
            padded = tf.pad(sequence, [[0, 0], [0, lacking(time, width)], [0, 0]])
            return tf.reshape(padded, [-1, width, sequence.shape[-1]])

        here = fold(mask[..., tf.newaxis])[..., 0]
        outputs, _ = self._run(fold(inputs), here, training, [fold(probe) for probe in probes])
        unfolded = tf.reshape(outputs, [batch, -1, self.cell.output_size])[:, :time]
        return tf.ensure_shape(unfolded, [*inputs.shape[:2], self.cell.output_size])

    def _probes(self, inputs: Any) -> list[Any]:
        watching = _watching.get()
        if watching is None:
            return []
        tape, watched = watching
        sizes = self.cell.state_size
        sizes = sizes if isinstance(sizes, list) else [sizes]
        shape = tf.shape(inputs)[:2]
        wide = "float64" if self.compute_dtype == "float64" else "float32"
        probes = [tf.zeros(tf.concat([shape, [size]], 0), wide) for size in sizes]
        probes = [tf.ensure_shape(p, [*inputs.shape[:2], p.shape[-1]]) for p in probes]
        tape.watch(probes)
        watched[self.name] = probes
        return probes

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
            "truncate": self.truncate,
            "block": self.block,
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
    truncate: int = 0,
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
        truncate: see ``Recurrent``.

    Returns:
        ``[batch, time, units]``, or ``2 * units`` when bidirectional.
    """
    if input_dropout:
        x = keras.layers.SpatialDropout1D(input_dropout, name="input_dropout")(x)
    for number in range(layers):
        before = x

        def direct(name: str, reverse: bool, before: Any = before, number: int = number) -> Any:
            layer = Recurrent(
                make_cell(cell, units),
                reverse=reverse,
                segment=segment,
                truncate=truncate,
                name=f"{name}_{number}",
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


States = list[list[Any]]
"""Of each layer, what its cell carries."""


def carrying(config: TrainConfig, *, reverse: bool = False) -> list[Recurrent]:
    """The layers of one direction, for ``carried``."""
    direction = "backward" if reverse else "forward"
    return [
        Recurrent(
            make_cell(config.cell, config.units),
            reverse=reverse,
            return_state=True,
            truncate=config.truncate,
            name=f"{direction}_{number}",
        )
        for number in range(config.layers)
    ]


def carried(
    x: Any,
    mask: Any,
    forward: Sequence[Recurrent],
    backward: Sequence[Recurrent],
    *,
    drop: keras.layers.Dropout,
    states: States | None = None,
    training: bool = False,
    between: Callable[[int, Any, Any], tuple[Any, Any]] | None = None,
) -> tuple[Any, Any, States]:
    """Layers on top of each other that go on from `states`: ``[batch, time, features]`` to the last
    layer's ``[batch, time, units]`` (twice that with backward layers), its mask, and the states
    after of each forward layer.

    Args:
        drop: before the first layer and after each.
        between: makes of a layer's number, outputs and mask those that are read next.
    """
    x = drop(x, training=training)
    after: States = []
    for number, layer in enumerate(forward):
        start = None if states is None else states[number]
        h, *state = layer(x, mask=mask, initial_state=start, training=training)
        after.append(state)
        if backward:
            back, *_ = backward[number](x, mask=mask, training=training)
            h = tf.concat([h, back], axis=-1)
        if between is not None:
            h, mask = between(number, h, mask)
        x = drop(h, training=training)
    return x, mask, after
