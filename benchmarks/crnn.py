"""A convolutional-recurrent network over windows of a sensor stream, as in Burns et al. 2018
(arXiv:1802.01489), in the layout that the paper's first author published with his library
seglearn ("Classifying Segments Directly with a Neural Network" among its examples).

Windows of 100 frames (2 s), half of each shared with the next; two convolutions of 64 filters over
5 frames with ReLU, an LSTM of 100 with 0.1 of its inputs and of its states dropped, a softmax; Adam
and cross-entropy on batches of 256, 10 epochs. It knows nothing of a window's neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from apps.gesture.baselines import Windows
from apps.gesture.metrics import scores
from apps.gesture.streams import Corpus, Stream
from benchmarks import measure

PUBLISHED = 10
"""Epochs."""
FILTERS, KERNEL, UNITS, DROPPED, BATCH = 64, 5, 100, 0.1, 256


@dataclass(frozen=True)
class Labeller:
    """A trained one: values ``[time, channels]`` to labels ``[time]``."""

    model: Any
    answer: Any
    """The model as a graph."""
    windows: Windows

    @classmethod
    def of(cls, model: Any, windows: Windows) -> "Labeller":
        import tensorflow as tf

        signature = [tf.TensorSpec([None, *model.input_shape[1:]])]
        return cls(model, tf.function(model, input_signature=signature), windows)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        cut = self.windows.cut(values).astype(np.float32)
        said = [self.answer(cut[b : b + BATCH]).numpy() for b in range(0, len(cut), BATCH)]
        return self.windows.spread(np.concatenate(said).argmax(axis=1), len(values))


def build(size: int, channels: int, classes: int) -> Any:
    """``[batch, size, channels]`` to probabilities ``[batch, classes]``."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((size, channels)),
            layers.Conv1D(FILTERS, KERNEL, activation="relu"),
            layers.Conv1D(FILTERS, KERNEL, activation="relu"),
            layers.LSTM(UNITS, dropout=DROPPED, recurrent_dropout=DROPPED),
            layers.Dense(classes, activation="softmax"),
        ]
    )


def fit(
    corpus: Corpus,
    validation: Sequence[Stream],
    windows: Windows,
    epochs: int,
    clock: measure.Clock,
    seed: int,
) -> tuple[Labeller, list[dict[str, float]]]:
    """Trains one on windows of the streams of `corpus`.

    Args:
        validation: streams that it is asked after every epoch, while `clock` stands still.
        windows: as streams are labelled by; in training they are half a window apart.

    Returns:
        The labeller, and for each epoch the seconds until its end and the ``frame_accuracy``.
    """
    import keras

    keras.utils.set_random_seed(seed)
    apart = Windows(windows.size, windows.size // 2, windows.ahead)
    rows = np.concatenate([apart.cut(stream.values) for stream in corpus.streams])
    marks = [stream.labels[apart.frames(len(stream))] for stream in corpus.streams]
    labels = np.concatenate(marks)
    model = build(windows.size, len(corpus.channels), len(corpus.classes))
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    labeller, curve = Labeller.of(model, windows), []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            with clock.stopped():
                said = [labeller(stream.values) for stream in validation]
                accuracy = scores(validation, said, corpus.rate)["frame_accuracy"]
                curve.append({**clock.times, "frame_accuracy": accuracy})

    known = labels >= 0
    model.fit(
        rows[known].astype(np.float32),
        labels[known],
        batch_size=BATCH,
        epochs=epochs,
        verbose=0,
        callbacks=[Watch()] if validation else [],
    )
    return labeller, curve
