"""The one training loop of all studies: Adam, a learning rate that decays, short gradients,
a time budget; the weights with the lowest validation loss are kept."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from common.cells import make_cell
from common.layers import Recurrent
from studies.config import Recipe

CHUNK = 50  # steps between two looks at the loss: a look waits for the device
LOOKS = 100  # validations in a training, at most
ROWS = 100  # examples answered at once
WARMUP = 0.05  # share of all steps over which a decaying learning rate first rises
RUNAWAY = 100  # times the loss at the start: no way back from there
CALM = 10  # looks without a runaway, after which a learning rate that was halved is doubled


class Examples(NamedTuple):
    """Inputs ``[count, time, features]`` and what should be said of them."""

    x: np.ndarray
    y: np.ndarray


class Look(NamedTuple):
    """How a training stood."""

    step: int
    seconds: float
    loss: float  # mean over the training batches since the last look
    validation: float
    learning_rate: float  # of the recipe, halved as often as the loss ran away


Draw = Callable[[int], Examples]
Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def network(
    cell: str, recipe: Recipe, shape: tuple[int, int], outputs: int, *, every_step: bool = False
) -> keras.Model:
    """A cell over time and a linear output: ``[batch, time, features]`` to
    ``[batch, outputs]``, told from the last state, or ``[batch, time, outputs]``."""
    kwargs: dict[str, Any] = {}
    if recipe.input_deviation is not None:
        kwargs["kernel_initializer"] = keras.initializers.RandomNormal(
            stddev=recipe.input_deviation
        )
    return over_time(make_cell(cell, recipe.units, **kwargs), shape, outputs, every_step)


def over_time(cell: Any, shape: tuple[int, int], outputs: int, every_step: bool) -> keras.Model:
    """A network around a cell that is there already."""
    inputs = keras.Input(shape)
    states = Recurrent(cell, name="recurrent")(inputs)
    last = states if every_step else states[:, -1]
    return keras.Model(inputs, keras.layers.Dense(outputs, name="output")(last))


class Learner:
    """A model, its loss and its optimiser, compiled by XLA for batches of one shape.

    Args:
        model: ``x`` to outputs.
        loss: ``(y, outputs)`` to a mean over the batch.
        recipe: of the training.
    """

    def __init__(self, model: keras.Model, loss: Loss, recipe: Recipe) -> None:
        self.model, self.loss, self.recipe = model, loss, recipe
        self.variables = model.trainable_variables
        self.optimizer = keras.optimizers.Adam(recipe.learning_rate)
        self.optimizer.build(self.variables)
        self._moments = [variable.numpy() for variable in self.optimizer.variables]
        self._step = tf.function(self._one_step, jit_compile=True)
        self._steps = tf.function(self._many_steps)
        self._answer = tf.function(self._forward, jit_compile=True)

    def train(self, examples: Examples, learning_rate: float) -> float:
        """One step a batch, in the order given; the mean loss."""
        size = self.recipe.batch_size
        self.optimizer.learning_rate.assign(learning_rate)
        batches = [part.reshape(-1, size, *part.shape[1:]) for part in examples]
        return float(self._steps(*map(tf.constant, batches)))

    def answers(self, x: np.ndarray) -> np.ndarray:
        """The model's outputs ``[examples, ...]`` for inputs ``[examples, ...]``."""
        return np.concatenate(
            [self._answer(tf.constant(x[row : row + ROWS])) for row in range(0, len(x), ROWS)]
        )

    def score(self, examples: Examples) -> float:
        """The loss over all examples."""
        return float(self.loss(tf.constant(examples.y), tf.constant(self.answers(examples.x))))

    def start_from(self, weights: list[np.ndarray]) -> None:
        """Takes the weights, and forgets which way the last gradients went."""
        self.model.set_weights(weights)
        for variable, start in zip(self.optimizer.variables, self._moments, strict=True):
            variable.assign(start)

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return self.model(x, training=False)

    def _one_step(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = self.loss(y, self.model(x, training=True))
        gradients = tape.gradient(loss, [variable.value for variable in self.variables])
        norm = tf.linalg.global_norm(gradients)
        scale = self.recipe.clip_norm / tf.maximum(norm, self.recipe.clip_norm)
        # A gradient that has overflown has no direction: it counts as none.
        whole = tf.math.is_finite(norm)
        gradients = [tf.where(whole, g * scale, tf.zeros([], g.dtype)) for g in gradients]
        self.optimizer.apply(gradients, self.variables)
        return loss

    def _many_steps(self, xs: tf.Tensor, ys: tf.Tensor) -> tf.Tensor:
        total, count = tf.zeros([]), tf.shape(xs)[0]
        for number in tf.range(count):
            total += self._step(xs[number], ys[number])
        return total / tf.cast(count, total.dtype)


def _decay(recipe: Recipe, step: int) -> float:
    """The share of the recipe's learning rate that holds after so many steps."""
    if recipe.decay == "constant":
        return 1.0
    rise = min(1.0, (step + 1) / (WARMUP * recipe.steps + 1))
    return rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / recipe.steps)))


class Training:
    """How a learner comes along, and its weights when it was best."""

    def __init__(self, learner: Learner, validation: Examples) -> None:
        self.learner, self.validation = learner, validation
        self.learning_rate = learner.recipe.learning_rate
        self.looks: list[Look] = []
        self._calm = 0
        self._started = time.perf_counter()
        self.look(0, [])

    @property
    def best(self) -> float:
        """The lowest validation loss."""
        return min(look.validation for look in self.looks)

    @property
    def seconds(self) -> float:
        """Since its beginning."""
        return time.perf_counter() - self._started

    @property
    def facts(self) -> dict[str, int | float]:
        """What stands in every study's results: the network's size, and what training took."""
        return {
            "units": self.learner.recipe.units,
            "parameters": self.learner.model.count_params(),
            "steps": self.looks[-1].step,
            "seconds": self.looks[-1].seconds,
        }

    def look(self, step: int, losses: list[float]) -> None:
        """Validates, and keeps the weights if they are the best."""
        score, before = self.learner.score(self.validation), self.best if self.looks else math.inf
        loss = float(np.mean(losses)) if losses else math.nan
        self.looks.append(Look(step, self.seconds, loss, score, self.learning_rate))
        if score < before or step == 0:  # false for a loss that has overflown
            self.weights = self.learner.model.get_weights()
        self._calm += 1
        if self._calm > CALM and self.learning_rate < self.learner.recipe.learning_rate:
            self.learning_rate, self._calm = 2 * self.learning_rate, 0

    def back_if_away(self, loss: float) -> None:
        """Goes on from the best weights with half the learning rate, if the loss ran away: with
        nothing to bound the states it can, within a few steps. (Most do so early; once the
        weights are better the full rate does no harm, so it comes back.)"""
        if not loss < RUNAWAY * self.looks[0].validation:
            self.learner.start_from(self.weights)
            self.learning_rate, self._calm = self.learning_rate / 2, 0


def fit(
    model: keras.Model,
    loss: Loss,
    recipe: Recipe,
    draw: Draw,
    validation: Examples,
    *,
    minutes: float,
    goal: float = 0.0,
    label: str,
) -> Training:
    """Trains until the recipe's steps or the time are spent, or the goal is reached.

    Args:
        model: afterwards it has the weights of its best validation.
        loss: ``(y, outputs)`` to a mean over the batch.
        recipe: how.
        draw: so many training examples, other ones at each call.
        validation: what decides on the best weights and on the goal.
        minutes: time for it all, compilation included.
        goal: a validation loss that is good enough to stop.
        label: shown beside the progress.
    """
    training = Training(Learner(model, loss, recipe), validation)
    step, losses, pause = 0, [], max(1, recipe.steps // LOOKS)
    over = training.best <= goal
    with tqdm(total=recipe.steps, desc=label, unit="step", disable=None, leave=False) as bar:
        while not over:
            count = min(CHUNK, recipe.steps - step)
            rate = _decay(recipe, step) * training.learning_rate
            losses.append(training.learner.train(draw(count * recipe.batch_size), rate))
            step += count
            bar.update(count)
            training.back_if_away(losses[-1])
            spent = step == recipe.steps or training.seconds > 60 * minutes
            if spent or step - training.looks[-1].step >= pause:
                training.look(step, losses)
                losses.clear()
                bar.set_postfix(validation=f"{training.looks[-1].validation:.2e}")
            over = spent or training.best <= goal
    model.set_weights(training.weights)
    return training
