"""What TensorBoard is shown beyond losses: recurrent kernels, pictures, examples."""

import io
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from common.layers import Recurrent


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
        kernel = np.asarray(layer.cell.recurrent_kernel.value)
        blocks = np.split(kernel, layer.cell.gates, axis=1)
        for gate, block in zip(layer.cell.gate_names, blocks, strict=True):
            radii[f"{layer.name}/{gate}"] = float(np.abs(np.linalg.eigvals(block)).max())
    return radii
