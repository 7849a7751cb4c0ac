"""Trains any model of the suite: one loop, in the open.

Keras's ``fit`` can't return to a place inside an epoch and fails with several workers, so the
loop is written out. Everything that it changes is a variable of the model, of the optimiser
or of ``Trainer``, or stands in ``Progress``, and the order of the batches is a function of the
epoch (``common.data.SequenceBatches``): what there is between two batches can be saved and gone
on from, with the very same weights in the end (``common.checkpoints``).
"""

import contextlib
import csv
import io
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from common import plots, runs, workers
from common.checkpoints import Checkpoints, Progress
from common.config import TrainConfig
from common.errors import UserError
from common.monitoring import GradientFlow, Monitor, spectral_radii
from common.trainer import Batches, Trainer
from common.weights import write_weights

Validate = Callable[[int], dict[str, float]]
"""Optimiser steps made so far -> scores on the validation split, of the model as it is."""


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

    def validated(self) -> dict[str, Any]:
        """What a trial of a sweep returns (``common.sweep``): the validation scores at the best
        epoch, by name; none if no epoch was finished."""
        best = self.history[self.best_epoch - 1] if self.best_epoch else {}
        scores = {k.removeprefix("val_"): v for k, v in best.items() if k.startswith("val_")}
        said = {"best_epoch": self.best_epoch, "seconds": self.seconds}
        return {"scores": scores, "interrupted": self.interrupted, **said}


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

    Raises:
        UserError: if the loss is no longer a number, or if a worker has other flags or data than
            the chief.
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
            write_weights(trainer.model, weights)
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
            write_weights(trainer.model, weights)
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
