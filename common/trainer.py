"""One optimiser step of any model, on one device or many.

Everything that it changes is a variable of the model, of the optimiser or of ``Trainer``: what
there is between two steps can be saved and gone on from (``common.checkpoints``). Randomness
inside a step therefore comes from a ``keras.random.SeedGenerator`` of the model, never from
``tf.random``.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import keras
import tensorflow as tf

from common import workers
from common.config import TrainConfig
from common.data import Shares

APART = 7_919
"""Between the seeds of two replicas."""
Objective = Callable[[Any, Any], tuple[tf.Tensor, dict[str, tf.Tensor]]]
"""(inputs, targets) of a batch -> loss of each example [batch], and metrics of each [batch]."""


class Batches(Protocol):
    """Where batches come from, in an order that the epoch alone decides."""

    @property
    def steps(self) -> int:
        """Batches in an epoch."""

    def epoch(self, epoch: int, start: int = 0, shares: Shares | None = None) -> tf.data.Dataset:
        """(inputs, targets), batch by batch, from batch number `start` of `epoch` on; or the
        `shares` of each that are trained on here (``common.data.stream``)."""


def make_optimizer(config: TrainConfig, steps: int) -> keras.optimizers.Optimizer:
    """AdamW (Loshchilov & Hutter 2019) whose learning rate rises linearly over the warm-up
    and falls as a cosine to zero over `steps` optimiser steps."""
    warmup = int(config.warmup * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else config.learning_rate,
        decay_steps=max(1, steps - warmup),
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "embedding", "gamma", "beta"])
    if config.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


@dataclass(eq=False)
class Trainer:
    """A model, its objective and its optimiser: ``step`` makes one update.

    The loss of a step is the mean over the examples of the global batch, however they are
    split over replicas, on one machine or many; the gradient is summed over replicas, then
    clipped, then applied. Where there are several, each draws dropout and the like by a seed of
    its own (``spread_seeds``): with them a training is another than on one device, equally good.
    """

    model: keras.Model
    objective: Objective
    config: TrainConfig
    steps: int
    """Optimiser steps of the whole training, which the learning rate is laid out over."""
    strategy: tf.distribute.Strategy = field(default_factory=tf.distribute.get_strategy)

    def __post_init__(self) -> None:
        with self.strategy.scope():
            self.optimizer = make_optimizer(self.config, self.steps)
            self.optimizer.build(self.model.trainable_variables)
            self.averages = [self._average_of(v) for v in self._weights()]
        self._first_seeds: dict[int, int] = {}
        replica = tf.function(self._replica_step, jit_compile=True) if self.config.jit else None
        self._replica = replica or self._replica_step

    def _weights(self) -> list[tf.Variable]:
        return [v.value for v in self.model.trainable_variables]

    def _average_of(self, variable: tf.Variable) -> tf.Variable | None:
        if not self.config.average:
            return None
        return tf.Variable(
            variable,
            trainable=False,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    @property
    def variables(self) -> list[tf.Variable]:
        """All that a step depends on and changes: of the model (seeds of dropout included) and of
        the optimiser, and the running averages."""
        averages = [average for average in self.averages if average is not None]
        return [v.value for v in (*self.model.variables, *self.optimizer.variables)] + averages

    @property
    def chief(self) -> bool:
        """Whether this process is the one that writes files."""
        return workers.is_chief(self.strategy)

    @property
    def made(self) -> int:
        """Optimiser steps made so far."""
        return int(self.optimizer.iterations.numpy())

    @property
    def learning_rate(self) -> float:
        """Of the next step."""
        return float(self.optimizer.learning_rate)

    def feed(self, batches: Batches, epoch: int, start: int = 0) -> Any:
        """An iterator for ``step``, over what is trained on here of each batch."""
        shares = workers.shares(self.strategy)
        if shares.count == 1:
            return iter(batches.epoch(epoch, start))
        parts = batches.epoch(epoch, start, shares)
        if shares.here == 1:  # a distributed dataset would ask all workers whether it has ended
            return iter(parts)
        return iter(self.strategy.distribute_datasets_from_function(lambda _: parts))

    def spread_seeds(self) -> None:
        """Gives each replica seeds of its own, made from the first one's, for whatever the model
        draws. Made anew from them, they are the same again."""
        shares = workers.shares(self.strategy)
        if shares.count == 1:
            return
        known = {id(v) for v in self.model.weights}
        for seed in (v.value for v in self.model.variables if id(v) not in known):
            for n, own in enumerate(self.strategy.experimental_local_results(seed)):
                first = self._first_seeds.setdefault(id(seed), seed.numpy()[0])
                own.assign(tf.stack([first + (shares.first + n) * APART, seed[1]]))

    @tf.function
    def step(self, iterator: Any) -> dict[str, tf.Tensor]:
        """Takes a batch from `iterator` and makes one update. Returns sums over the batch
        (``loss``, the objective's metrics, ``examples``), and ``gradient_norm``; scalars ``[]``."""
        parts = self.strategy.run(self._replica, args=next(iterator))  # equal on all replicas
        return {k: self.strategy.experimental_local_results(v)[0] for k, v in parts.items()}

    def _replica_step(self, inputs: Any, targets: Any, counted: Any = None) -> dict[str, tf.Tensor]:
        context = tf.distribute.get_replica_context()
        replicas = float(self.strategy.num_replicas_in_sync)
        weights = self._weights()
        with tf.GradientTape() as tape:
            losses, metrics = self.objective(inputs, targets)
            here = tf.cast(tf.shape(losses)[0], tf.float32)
            losses = tf.cast(losses, tf.float32)
            if counted is not None:
                here, losses = tf.reduce_sum(counted), losses * counted
            examples = context.all_reduce(tf.distribute.ReduceOp.SUM, here)
            loss = tf.reduce_sum(losses) / examples
            scaled = self.optimizer.scale_loss(loss)
        # Dense, so that rows of an embedding that occur twice count once in the norm.
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(scaled, weights)]
        gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        norm = tf.linalg.global_norm(gradients)
        scale = self.optimizer.scale_loss(tf.constant(1.0))
        if self.config.clip_norm:
            clip = self.config.clip_norm * scale
            gradients, _ = tf.clip_by_global_norm(gradients, clip, use_norm=norm)
        # Keras sums over replicas once more: what is equal on all of them is divided first.
        self.optimizer.apply([g / replicas for g in gradients], self.model.trainable_variables)
        self._update_averages()
        values = {name: tf.cast(m, tf.float32) for name, m in metrics.items()}
        if counted is not None:
            values = {name: value * counted for name, value in values.items()}
        sums = {name: tf.reduce_sum(value) for name, value in values.items()}
        sums = {"loss": loss * examples, **sums}
        totals = context.all_reduce(tf.distribute.ReduceOp.SUM, list(sums.values()))
        sums = dict(zip(sums, totals, strict=True))
        return {**sums, "examples": examples, "gradient_norm": norm / scale}

    def _update_averages(self) -> None:
        made = tf.cast(self.optimizer.iterations.value, tf.float32)
        momentum = tf.minimum(self.config.average, made / (10.0 + made))  # quick at the start
        for average, weight in zip(self.averages, self._weights(), strict=True):
            if average is not None:
                average.assign(average + (1.0 - momentum) * (weight - average))

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """The model has its averaged weights inside, and its own again afterwards."""
        if not self.config.average:
            yield
            return
        own = [tf.identity(weight) for weight in self._weights()]
        try:
            for weight, average in zip(self._weights(), self.averages, strict=True):
                weight.assign(average)
            yield
        finally:
            for weight, value in zip(self._weights(), own, strict=True):
                weight.assign(value)
