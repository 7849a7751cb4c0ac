"""What TensorBoard is shown beyond losses: recurrent kernels, pictures, examples."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from common.cells import LinearCell
from common.layers import Recurrent, watch_states


class Monitor:
    """Writes event files for TensorBoard into `folder`."""

    def __init__(self, folder: Path) -> None:
        self._writer = tf.summary.create_file_writer(str(folder))

    def scalars(self, values: dict[str, float], step: int, group: str) -> None:
        with self._writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(f"{group}/{name}", value)

    def figure(self, name: str, figure: Figure, step: int) -> None:
        with self._writer.as_default(step=step):
            tf.summary.image(name, tf.io.decode_png(_png(figure), 4)[tf.newaxis])

    def text(self, name: str, markdown: str, step: int) -> None:
        with self._writer.as_default(step=step):
            tf.summary.text(name, markdown)

    def audio(self, name: str, samples: np.ndarray, rate: int, step: int) -> None:
        """Sound to listen to: ``[samples]`` from -1 to 1, so many a second."""
        with self._writer.as_default(step=step):
            tf.summary.audio(name, samples[np.newaxis, :, np.newaxis].astype(np.float32), rate)

    def graph(self, function: tf.types.experimental.ConcreteFunction) -> None:
        """The graph of a traced function, in the form that the Graphs tab can draw."""
        with self._writer.as_default(step=0):
            tf.summary.graph(function.graph)

    def flush(self) -> None:
        self._writer.flush()


def _png(figure: Figure) -> bytes:
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=100)
    return image.getvalue()


def recurrent_layers(model: keras.Model) -> Iterator[Recurrent]:
    """Every recurrent layer in `model`, nested models included."""
    for layer in model.layers:
        if isinstance(layer, Recurrent):
            yield layer
        elif isinstance(layer, keras.Model):
            yield from recurrent_layers(layer)


def spectral_radii(model: keras.Model) -> dict[str, float]:
    r"""Largest :math:`|\lambda|` of each square block of each recurrent kernel.

    Of a plain cell it says how the recurrence behaves by itself: below one, what the state
    held is forgotten at that rate a step (and a gradient vanishes going back), above one it
    can grow. Of gated cells it is the same figure for each gate, to watch for explosion.
    """
    radii = {}
    for layer in recurrent_layers(model):
        if isinstance(layer.cell, LinearCell):  # it has no recurrent kernel
            continue
        kernel = np.asarray(layer.cell.recurrent_kernel.value)
        blocks = np.split(kernel, layer.cell.gates, axis=1)
        for gate, block in zip(layer.cell.gate_names, blocks, strict=True):
            radii[f"{layer.name}/{gate}"] = float(np.abs(np.linalg.eigvals(block)).max())
    return radii


class GradientFlow:
    r"""How far a loss reaches back through time: :math:`\|\partial L/\partial s_t\|` for every t
    of every recurrent layer, on one fixed batch, over training.

    The loop on the way back holds these gradients anyway (``common.recurrence``); here they are
    only read. The norm is over the whole state (h, and c of an LSTM), of the loss of each
    example; what is recorded is its mean over the batch. Looking changes nothing: the seeds of
    dropout are put back.

    Args:
        model: the network that the objective calls.
        objective: (inputs, targets) -> losses ``[batch]`` and metrics, as the trainer has it.
        inputs: of the fixed batch.
        targets: of the fixed batch.
    """

    def __init__(
        self, model: keras.Model, objective: Callable[..., Any], inputs: Any, targets: Any
    ) -> None:
        self._seeds = [v for v in model.variables if all(v is not w for w in model.weights)]
        self._batch = (inputs, targets)
        self._norms = tf.function(_norms_of(objective))
        self._history: dict[str, list[np.ndarray]] = {}

    def record(self) -> None:
        """Adds a row for the model as it is now."""
        before = [seed.numpy() for seed in self._seeds]
        for name, norms in self._norms(*self._batch).items():
            self._history.setdefault(name, []).append(norms.numpy())
        for seed, value in zip(self._seeds, before, strict=True):
            seed.assign(value)

    @property
    def history(self) -> dict[str, np.ndarray]:
        """Layer -> ``[times recorded, time]``."""
        return {name: np.stack(rows) for name, rows in self._history.items()}


def _norms_of(objective: Callable[..., Any]) -> Callable[..., dict[str, tf.Tensor]]:
    def norms(inputs: Any, targets: Any) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape, watch_states(tape) as watched:
            losses, _ = objective(inputs, targets)
            loss = tf.reduce_sum(losses)
        gradients = tape.gradient(loss, watched, unconnected_gradients="zero")
        return {
            name: tf.reduce_mean(tf.sqrt(sum(tf.reduce_sum(g * g, -1) for g in states)), 0)
            for name, states in gradients.items()
        }

    return norms
