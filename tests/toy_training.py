"""A toy to train: does word 3 stand in the sequence? Imported by child processes too."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from common import training
from common.config import TrainConfig
from common.data import SequenceBatches
from common.layers import MaskedPooling, recurrent_stack
from common.monitoring import Monitor
from common.trainer import Objective, Trainer

WORDS, UNITS = 10, 4
CONFIG = TrainConfig(units=UNITS, epochs=3, batch_size=8, learning_rate=0.02, patience=9)


def batches(count: int = 43, length: int = 0) -> SequenceBatches:
    """Of mixed lengths unless `length` is given; the last batch of an epoch is smaller."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(3, 9, count) if not length else np.full(count, length)
    sequences = [rng.integers(1, WORDS, n).astype(np.int32) for n in lengths]
    labels = np.array([3 in sequence for sequence in sequences], np.int32)
    return SequenceBatches(sequences, labels, CONFIG.batch_size)


def recurrent_model(dropout: float = 0.0, classes: int = 2, units: int = UNITS) -> keras.Model:
    """Word numbers, 0 being padding, to logits."""
    numbers = keras.Input((None,), dtype="int32")
    vectors = keras.layers.Embedding(WORDS, 5, name="embedding")(numbers)
    mask = keras.ops.not_equal(numbers, 0)
    states = recurrent_stack(
        vectors, mask, cell="simple", units=units, direction="forward", input_dropout=dropout
    )
    pooled = MaskedPooling()(states, mask=mask)
    readout = keras.layers.Dense(classes, dtype="float32", name="readout")
    return keras.Model(numbers, readout(pooled))


def objective_of(model: keras.Model) -> Objective:
    """Cross entropy, and accuracy."""

    def objective(numbers: Any, labels: Any) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        logits = model(numbers, training=True)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        right = tf.argmax(logits, axis=-1, output_type=labels.dtype) == labels
        return losses, {"accuracy": right}

    return objective


def trainer(
    config: TrainConfig, model: keras.Model | None = None, epochs: int = CONFIG.epochs
) -> Trainer:
    """For `model`, or a new one, where the current strategy wants it."""
    strategy = tf.distribute.get_strategy()
    model = model or recurrent_model()
    steps = epochs * batches().steps
    return Trainer(model, objective_of(model), config, steps, strategy)


def fit(
    folder: Path, config: TrainConfig, validate: Callable[[int], dict[str, float]], **options: Any
) -> tuple[Trainer, training.Fitted]:
    """A training in `folder`, which must exist."""
    made = trainer(config, options.pop("model", None))
    given: dict[str, Any] = {
        "batches": batches(),
        "epochs": config.epochs,
        "monitor": "accuracy",
        "weights": folder / "best.weights.h5",
        "history": folder / "history.csv",
        "board": Monitor(folder / "tensorboard"),
    }
    return made, training.fit(made, validate=validate, **{**given, **options})


def train(config: TrainConfig, given: SequenceBatches, epochs: int) -> list[np.ndarray]:
    """The weights after `epochs` epochs, and their running averages if there are any."""
    strategy = training.set_up(config)
    with strategy.scope():
        made = trainer(config, epochs=epochs)
    for epoch in range(epochs):
        feed = made.feed(given, epoch)
        for _ in range(given.steps):
            made.step(feed)
    weights = made.model.get_weights()
    with made.averaged():
        return weights + made.model.get_weights()


def train_on_two_devices(config: TrainConfig, epochs: int, path: Path) -> None:
    """What ``train`` gives, into an ``.npz`` file; for a process that has not yet started
    TensorFlow."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    np.savez(path, *train(config, batches(), epochs))


class Scripted:
    """A validation that gives these accuracies, one an epoch, or raises what stands there;
    ``seen`` has the weights that ``model`` had each time."""

    def __init__(self, script: Sequence[Any]) -> None:
        self.script = list(script)
        self.model: keras.Model | None = None
        self.seen: list[list[np.ndarray]] = []

    def __call__(self, step: int) -> dict[str, float]:
        if self.model is not None:
            self.seen.append(self.model.get_weights())
        score = self.script.pop(0)
        if isinstance(score, type):
            raise score
        return {"accuracy": score}
