"""Trains any model of the suite: one loop, in the open.

Keras's ``fit`` can't return to a place inside an epoch and fails with several workers, so the
loop is written out. Everything that it changes is a variable of the model, of the optimiser
or of ``Trainer``, or stands in ``Progress``, and the order of the batches is a function of the
epoch (``common.data.SequenceBatches``): what there is between two batches can be saved and gone
on from, with the very same weights in the end (``common.checkpoints``). Randomness inside a step
therefore comes from a ``keras.random.SeedGenerator`` of the model, never from ``tf.random``.
"""

import contextlib
import csv
import io
import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from common import plots, runs, workers
from common.checkpoints import Checkpoints, Progress
from common.config import TrainConfig
from common.data import Shares
from common.errors import UserError
from common.monitoring import GradientFlow, Monitor, spectral_radii
from common.weights import check_weights

APART = 7_919
"""Between the seeds of two replicas."""
Objective = Callable[[Any, Any], tuple[tf.Tensor, dict[str, tf.Tensor]]]
"""(inputs, targets) of a batch -> loss of each example [batch], and metrics of each [batch]."""

Validate = Callable[[int], dict[str, float]]
"""Optimiser steps made so far -> scores on the validation split, of the model as it is."""


class Batches(Protocol):
    """Where batches come from, in an order that the epoch alone decides."""

    @property
    def steps(self) -> int:
        """Batches in an epoch."""

    def epoch(self, epoch: int, start: int = 0, shares: Shares | None = None) -> tf.data.Dataset:
        """(inputs, targets), batch by batch, from batch number `start` of `epoch` on; or the
        `shares` of each that are trained on here (``common.data.stream``)."""


def set_up(config: TrainConfig) -> tf.distribute.Strategy:
    """Fixes randomness and arithmetic for the process; returns where the model is to live.

    Call it first of all: logical devices can't be made, nor other workers joined, once TensorFlow
    has started.

    Raises:
        UserError: for a combination that the platform does not carry, or if this process can't
            join the others.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):  # the device is in use by this process already
            tf.config.experimental.set_memory_growth(gpu, True)
    name = config.strategy
    if name != "none" and config.precision == "mixed_float16":
        raise UserError(f"--precision mixed_float16 with --strategy {name}: use mixed_bfloat16")
    if name != "none" and config.jit and not tf.config.list_physical_devices("GPU"):
        raise UserError(f"--jit with --strategy {name}: XLA refuses that on a CPU; drop one")
    several = workers.strategy(config.worker_minutes) if name == "multi-worker" else None
    gpus = tf.config.list_logical_devices("GPU")
    keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    keras.mixed_precision.set_dtype_policy(config.precision)
    if several is not None:
        return several
    if name == "mirrored":
        devices = [device.name for device in gpus or tf.config.list_logical_devices("CPU")]
        return tf.distribute.MirroredStrategy(devices)
    return tf.distribute.get_strategy()


def reseed(config: TrainConfig, member: int) -> int:
    """Fixes initial weights and dropout of one network of an ensemble; returns the seed for
    its order of batches. Member 0 has the configuration's own seed."""
    seed = config.seed + 1_000_003 * member
    keras.utils.set_random_seed(seed)
    return seed


def epochs_for(config: TrainConfig, steps: int, *, least: int, least_steps: int) -> int:
    """The configuration's epochs; or, where it leaves that open, `least`, and more for a corpus
    of so few batches (`steps`) that these would not make `least_steps` optimiser steps."""
    return config.epochs or max(least, -(-least_steps // steps))


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
        (``loss``, the objective's metrics, ``examples``), and ``gradient_norm``."""
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


@dataclass
class Fitted:
    """What a training left behind."""

    history: list[dict[str, float]]
    """A row an epoch."""
    seconds: float
    best_epoch: int
    """Counted from 1; 0 if no epoch was finished."""
    interrupted: bool
    gradient_flow: dict[str, np.ndarray]
    """Layer -> ``[times recorded, time]``; empty unless the configuration asks for it."""

    @classmethod
    def of(cls, now: Progress, interrupted: bool = False) -> "Fitted":
        """What is left where a training stands."""
        return cls(now.rows, now.seconds, now.best_epoch, interrupted, now.flow)


def fit(
    trainer: Trainer,
    batches: Batches,
    *,
    epochs: int,
    validate: Validate | None,
    monitor: str = "",
    weights: Path,
    history: Path,
    board: Monitor,
    label: str = "train",
    lower_is_better: bool = False,
) -> Fitted:
    """Trains for `epochs` epochs, or until the score `monitor` has not risen for as many as
    the configuration's patience (a third of `epochs` if it names none), or until Ctrl-C; the
    model ends with the best weights.

    What was trained already, by a process that was killed, is not trained again: a training that
    has ended gives what it gave then, and one that has not goes on from its newest checkpoint.
    Both are found beside `weights`, under the name of `history`, which no other training of the
    run may have.

    Of several workers the chief alone reads and writes files and validates; the others wait, and
    go on as it does. Their history is empty, their model ends with the same weights. Ctrl-C ends
    such a training with the process: it is gone on with by ``--resume``.

    Args:
        validate: called after every epoch; its scores are logged. None, where all data are
            trained on: every epoch is then better than the one before.
        monitor: the score that decides which weights are best: higher is better, unless
            `lower_is_better`.
        weights: file of the best weights, rewritten whenever they get better.
        history: CSV file of a row an epoch.
        label: what the progress bar is called.
    """
    kept = Checkpoints(
        history.stem, weights, trainer.variables, board, trainer.config, trainer.chief
    )
    strategy = trainer.strategy
    counts = {"batches in an epoch": batches.steps, "epochs of this training": epochs}
    workers.require_equal(strategy, trainer.config, counts)
    now, ended = stand(trainer, kept, label)
    if ended:
        if trainer.chief:
            write_history(now.rows, history)
        take_best(trainer, weights)
        return Fitted.of(now)
    clock = time.perf_counter() - now.seconds
    patience = trainer.config.patience or max(2, -(-epochs // 3))
    sign, interrupted = -1 if lower_is_better else 1, False
    watched = trainer.config.gradient_flow and trainer.chief
    flow = watch_flow(trainer, batches, now) if watched else None
    hidden = None if trainer.chief else True  # None: unless it is a person who looks on
    done, total = now.epoch * batches.steps + now.batch, epochs * batches.steps
    bar = tqdm(total=total, initial=done, desc=label, unit="batch", disable=hidden)
    try:
        while now.epoch < epochs and now.epoch - now.best_epoch < patience:
            trainer.spread_seeds()
            row = run_epoch(trainer, batches, now, kept, board, bar, clock)
            if trainer.chief:
                scores = judge(trainer, now, validate, monitor, sign, weights)
                row |= {f"val_{name}": float(value) for name, value in scores.items()}
                now.seconds = time.perf_counter() - clock
                now.rows.append({"epoch": now.epoch + 1, **row, "seconds": now.seconds})
                log_epoch(trainer, now.rows, history, board)
            if flow is not None:
                flow.record()
                now.flow = flow.history
                board.figure("gradient_flow", plots.gradient_flow(now.flow), trainer.made)
            now.epoch, now.batch, now.totals = now.epoch + 1, 0, {}
            now.best_epoch = int(workers.from_chief(strategy, [now.best_epoch])[0])
            if trainer.chief:
                mark = "*" if now.best_epoch == now.epoch else ""
                tqdm.write(describe(now.rows[-1], epochs, mark))
            kept.save(now, trainer.made)
        if now.epoch < epochs:
            tqdm.write(f"{label}: no better {monitor} for {now.epoch - now.best_epoch} epochs")
    except KeyboardInterrupt:
        if workers.several(strategy):
            raise
        interrupted = True
        kept.interrupt()
        tqdm.write(f"{label}: interrupted; going on with the best weights so far")
    finally:
        bar.close()
        board.flush()
    if not now.best_epoch and trainer.chief:
        with trainer.averaged():
            runs.write_whole(weights, lambda path: trainer.model.save_weights(path))
    take_best(trainer, weights)
    now.seconds = time.perf_counter() - clock
    if not interrupted:
        kept.finish(now)
    return Fitted.of(now, interrupted)


def stand(trainer: Trainer, kept: Checkpoints, label: str) -> tuple[Progress, bool]:
    """Where this training stands, and whether it has ended; all variables are as they were then,
    on every worker."""
    now, place, ended = Progress(), None, False
    if trainer.chief:
        before = kept.finished()
        ended = before is not None
        now, place = kept.newest() if before is None else (before, None)
    if ended:
        tqdm.write(f"{label}: trained already")
    if place is not None:
        tqdm.write(f"{label}: goes on at batch {now.batch + 1} of epoch {now.epoch + 1} ({place})")
    of_the_chief = [float(ended), now.epoch, now.batch, now.best_epoch]
    places = list(map(int, workers.from_chief(trainer.strategy, of_the_chief)))
    ended, now.epoch, now.batch, now.best_epoch = bool(places[0]), *places[1:]
    workers.share(trainer.strategy, trainer.variables)
    return now, ended


def judge(
    trainer: Trainer,
    now: Progress,
    validate: Validate | None,
    monitor: str,
    sign: int,
    weights: Path,
) -> dict[str, float]:
    """Scores of the epoch that has just been trained; if it is the best, its weights are kept."""
    with trainer.averaged():
        scores = validate(trainer.made) if validate else {}
        score = sign * scores[monitor] if validate else now.epoch
        if score > now.best:
            runs.write_whole(weights, lambda path: trainer.model.save_weights(path))
            now.best, now.best_epoch = float(score), now.epoch + 1  # should Ctrl-C come
    return scores


def take_best(trainer: Trainer, weights: Path) -> None:
    """Gives the model the best weights, on every worker."""
    if trainer.chief:
        trainer.model.load_weights(weights)
    workers.share(trainer.strategy, [v.value for v in trainer.model.weights])


def watch_flow(trainer: Trainer, batches: Batches, now: Progress) -> GradientFlow:
    """The gradient flow on the first batch of the first epoch, recorded once before training."""
    inputs, targets = next(iter(batches.epoch(0)))
    flow = GradientFlow(trainer.model, trainer.objective, inputs, targets, now.flow)
    if not now.flow:
        flow.record()
        now.flow = flow.history
    return flow


def run_epoch(
    trainer: Trainer,
    batches: Batches,
    now: Progress,
    kept: Checkpoints,
    board: Monitor,
    bar: tqdm,
    clock: float,
) -> dict[str, float]:
    """One pass, or the rest of it. Returns means over its examples."""
    iterator = trainer.feed(batches, now.epoch, now.batch)
    totals: dict[str, Any] = dict(now.totals)
    for number in range(now.batch, batches.steps):
        sums = trainer.step(iterator)
        norm = sums.pop("gradient_norm")
        totals = {name: totals.get(name, 0.0) + value for name, value in sums.items()}
        bar.update()
        if number % 20 == 0:  # reading a value waits for the device: not at every step
            loss = float(sums["loss"] / sums["examples"])
            check_finite(loss, f"batch {number + 1} of epoch {now.epoch + 1}", trainer.config)
            bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
            if trainer.chief:
                values = {"loss": loss, "gradient_norm": float(norm)}
                values |= {"learning_rate": trainer.learning_rate}
                board.scalars(values, trainer.made, "batch")
        if kept.due and number + 1 < batches.steps:
            now.batch, now.seconds = number + 1, time.perf_counter() - clock
            now.totals = {name: float(value) for name, value in totals.items()}
            kept.save(now, trainer.made)
    means = {name: float(value) for name, value in totals.items()}
    examples = means.pop("examples")
    means = {name: value / examples for name, value in means.items()}
    check_finite(means["loss"], f"the end of epoch {now.epoch + 1}", trainer.config)
    return means


def check_finite(loss: float, place: str, config: TrainConfig) -> None:
    """Raises UserError, with what to try, for a loss that is no longer a number."""
    if not math.isfinite(loss):
        raise UserError(
            f"training has diverged: the loss is {loss} at {place}; try a lower "
            f"--learning-rate (now {config.learning_rate}) or --clip-norm"
        )


def log_epoch(
    trainer: Trainer, rows: list[dict[str, float]], history: Path, board: Monitor
) -> None:
    """Adds the last of `rows` to TensorBoard, and writes all of them to `history`."""
    step = trainer.made
    board.scalars({k: v for k, v in rows[-1].items() if k != "epoch"}, step, "epoch")
    board.scalars(spectral_radii(trainer.model), step, "spectral_radius")
    write_history(rows, history)


def write_history(rows: list[dict[str, float]], history: Path) -> None:
    """A CSV file of a row an epoch."""
    if not rows:
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[-1], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    runs.write_text(history, text.getvalue())


def describe(row: dict[str, float], epochs: int, mark: str) -> str:
    """A line for the person who waits."""
    shown = {k: v for k, v in row.items() if k not in ("epoch", "seconds")}
    scores = "  ".join(f"{name} {value:.4f}" for name, value in shown.items())
    return f"epoch {row['epoch']:.0f}/{epochs}  {scores}  {row['seconds']:.0f} s {mark}".rstrip()


def start_from(model: keras.Model, run: Path, member: int = 0) -> None:
    """Starts a model from network `member` of a finished run, or from its first if it has fewer,
    and says what was carried over.

    Raises:
        UserError: as ``init_from``.
    """
    weights = runs.Run(run).weights(member)
    if not weights.is_file():
        weights = runs.Run(run).weights()
    carried, left = init_from(model, weights)
    print(f"{weights}: {len(carried)} weights carried over, {len(left)} new")


def init_from(model: keras.Model, weights: Path) -> tuple[list[str], list[str]]:
    """Copies from another run's weights file those that fit by place and shape.

    Args:
        model: a built model.
        weights: ``checkpoints/best.weights.h5`` of a run of the same application.

    Returns:
        The paths of the weights carried over, and of those left as they were.

    Raises:
        UserError: if the file is missing, is no weights file, or nothing in it fits.
    """
    if not weights.is_file():
        raise UserError(f"{weights}: no such file, expected the weights of a finished run")
    check_weights(weights)
    before = {v.path: v.numpy() for v in model.weights}
    for v in model.weights:  # what is carried over shows, even where it is equal
        v.assign(before[v.path] + 1)
    try:
        with warnings.catch_warnings():  # one for each that does not fit: the caller says so
            warnings.simplefilter("ignore")
            model.load_weights(weights, skip_mismatch=True)
    except Exception as error:  # the reader fails in as many ways as files can be broken
        for v in model.weights:
            v.assign(before[v.path])
        raise UserError(f"{weights}: can't be read as weights: {error}") from None
    left = [v for v in model.weights if (v.numpy() == before[v.path] + 1).all()]
    for v in left:
        v.assign(before[v.path])
    carried = [v.path for v in model.weights if all(v is not other for other in left)]
    if not carried:
        raise UserError(f"{weights}: none of its weights fits this model")
    return carried, [v.path for v in left]
