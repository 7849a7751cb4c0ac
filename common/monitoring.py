"""What TensorBoard is shown beyond losses: recurrent kernels, pictures, examples."""

import contextlib
import errno
import functools
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from tensorboard.plugins.hparams import api as hparams

from common import runs
from common.cells import LinearCell
from common.layers import Recurrent, watch_states


class Monitor:
    """Writes event files for TensorBoard into `folder`.

    A run that goes on from a checkpoint has a file for each process that it went through:
    ``go_on`` cuts those before this one to what they held at the checkpoint, so that no step is
    missing or there twice.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before = self._files()
        self._graph: Any = None

    @functools.cached_property
    def _writer(self) -> tf.summary.SummaryWriter:
        return tf.summary.create_file_writer(str(self._folder))

    @contextlib.contextmanager
    def _writing(self, step: int) -> Iterator[None]:
        """Raises OSError if there is no room."""
        try:
            with self._writer.as_default(step=step):
                yield
        except tf.errors.OpError as error:
            why = " ".join(error.message.split())
            raise OSError(errno.ENOSPC, f"events can't be written: {why}", self._folder) from None

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("events.out.tfevents.*"))

    def go_on(self, sizes: dict[str, int]) -> None:
        """Cuts the files of processes before this one to `sizes`, and removes the others."""
        for path in self._before:
            if path.name not in sizes or path.is_symlink():
                path.unlink()
            elif path.stat().st_size > sizes[path.name]:
                os.truncate(path, sizes[path.name])
        self._before = [path for path in self._before if path.exists()]
        if self._graph is not None and not self._before:
            self.graph(self._graph)

    def sizes(self) -> dict[str, int]:
        """Name and size of each file, with all that was written so far on the disk.

        Raises:
            OSError: if there is no room for it.
        """
        self.flush()
        for path in self._files():
            runs.sync(path)
        return {path.name: path.stat().st_size for path in self._files()}

    def scalars(self, values: dict[str, float], step: int, group: str) -> None:
        """Numbers by name, in a `group` of the Scalars tab."""
        with self._writing(step):
            for name, value in values.items():
                tf.summary.scalar(f"{group}/{name}", value)

    def hparams(self, values: dict[str, Any], trial: str, began: float) -> None:
        """What a trial of a sweep was trained with, for the HParams tab.

        Args:
            values: hyperparameter -> number or text.
            trial: its name; trials of one name are shown as one.
            began: seconds since 1970.
        """
        with self._writing(0):
            hparams.hparams(values, trial_id=trial, start_time_secs=began)

    def figure(self, name: str, figure: Figure, step: int) -> None:
        """A picture, in the Images tab."""
        with self._writing(step):
            tf.summary.image(name, tf.io.decode_png(_png(figure), 4)[tf.newaxis])

    def text(self, name: str, markdown: str, step: int) -> None:
        """Markdown, in the Text tab."""
        with self._writing(step):
            tf.summary.text(name, markdown)

    def audio(self, name: str, samples: np.ndarray, rate: int, step: int) -> None:
        """Sound to listen to: ``[samples]`` from -1 to 1, so many a second."""
        with self._writing(step):
            tf.summary.audio(name, samples[np.newaxis, :, np.newaxis].astype(np.float32), rate)

    def graph(self, function: tf.types.experimental.ConcreteFunction) -> None:
        """The graph of a traced function, in the form that the Graphs tab can draw; where a process
        before this one has drawn it, ``go_on`` will know."""
        if self._before:
            self._graph = function
            return
        with self._writing(0):
            tf.summary.graph(function.graph)

    def flush(self) -> None:
        """All that was written so far goes to the file.

        Raises:
            OSError: if there is no room for it.
        """
        if "_writer" in vars(self):  # or nothing was written yet
            with self._writing(0):
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
        history: what was recorded already, in another process.
    """

    def __init__(
        self,
        model: keras.Model,
        objective: Callable[..., Any],
        inputs: Any,
        targets: Any,
        history: dict[str, np.ndarray] | None = None,
    ) -> None:
        self._seeds = [v for v in model.variables if all(v is not w for w in model.weights)]
        self._batch = (inputs, targets)
        self._norms = tf.function(_norms_of(objective))
        self._history = {name: list(rows) for name, rows in (history or {}).items()}

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
