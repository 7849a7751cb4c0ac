"""The training loop: its arithmetic, what it keeps, how it ends, and what it writes."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from common import training
from common.config import TrainConfig
from common.data import SequenceBatches
from common.trainer import Objective, Trainer
from tests import toy_training
from tests.toy_training import CONFIG, Scripted, batches, fit, objective_of, recurrent_model

WORDS, WIDTH, TIME = 6, 3, 5


@pytest.fixture(autouse=True)
def seeded() -> None:
    keras.utils.set_random_seed(0)


# Arithmetic


class AdamW:
    """Loshchilov & Hutter (2019), in float64, with clipping, warm-up and cosine decay."""

    def __init__(self, weights: dict[str, np.ndarray], config: TrainConfig, steps: int) -> None:
        self.weights = {name: w.astype(np.float64) for name, w in weights.items()}
        self.first = {name: np.zeros(w.shape) for name, w in weights.items()}
        self.second = {name: np.zeros(w.shape) for name, w in weights.items()}
        self.config, self.steps, self.made = config, steps, 0

    @property
    def rate(self) -> float:
        """Of the next step."""
        peak, warmup = self.config.learning_rate, int(self.config.warmup * self.steps)
        if self.made < warmup:
            return peak * self.made / warmup
        progress = min(1.0, (self.made - warmup) / (self.steps - warmup))
        return peak * 0.5 * (1 + math.cos(math.pi * progress))

    def step(self, gradients: dict[str, np.ndarray]) -> float:
        """Makes one update; returns the global norm of the gradients before clipping."""
        norm = math.sqrt(sum(float((g**2).sum()) for g in gradients.values()))
        clip = self.config.clip_norm
        shrink = min(1.0, clip / norm) if clip else 1.0
        rate, self.made = self.rate, self.made + 1
        for name, gradient in gradients.items():
            g = gradient * shrink
            self.first[name] = 0.9 * self.first[name] + 0.1 * g
            self.second[name] = 0.999 * self.second[name] + 0.001 * g**2
            if name == "kernel":
                self.weights[name] *= 1 - rate * self.config.weight_decay
            unbias = math.sqrt(1 - 0.999**self.made) / (1 - 0.9**self.made)
            step = self.first[name] / (np.sqrt(self.second[name]) + 1e-7)
            self.weights[name] -= rate * unbias * step
        return norm


def linear_model() -> keras.Model:
    """The mean of word vectors, times a kernel, plus a bias."""
    words = keras.Input((None,), dtype="int32")
    vectors = keras.layers.Embedding(WORDS, WIDTH, name="embedding")(words)
    mean = keras.layers.GlobalAveragePooling1D()(vectors)
    return keras.Model(words, keras.layers.Dense(1, name="readout")(mean))


def weights_of(model: keras.Model) -> dict[str, np.ndarray]:
    values = [w.astype(np.float64) for w in model.get_weights()]
    return dict(zip(("embedding", "kernel", "bias"), values, strict=True))


def linear_gradients(
    weights: dict[str, np.ndarray], words: np.ndarray, targets: np.ndarray
) -> dict[str, np.ndarray]:
    """Of the mean squared error, by hand."""
    mean = weights["embedding"][words].mean(axis=1)
    slope = 2 * (mean @ weights["kernel"] + weights["bias"] - targets[:, None]) / len(words)
    table = np.zeros_like(weights["embedding"])
    each = (slope @ weights["kernel"].T)[:, None, :].repeat(words.shape[1], axis=1)
    np.add.at(table, words, each / words.shape[1])
    return {"embedding": table, "kernel": mean.T @ slope, "bias": slope.sum(axis=0)}


def squared_error(model: keras.Model) -> Objective:
    def objective(words: Any, targets: Any) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        error = model(words, training=True)[:, 0] - targets
        return error**2, {"absolute": tf.abs(error)}

    return objective


@pytest.mark.parametrize("warmup", [0.0, 0.4])
@pytest.mark.parametrize("clip_norm", [0.0, 0.3])
@pytest.mark.parametrize("average", [0.0, 0.6])
def test_steps_are_those_of_adamw_in_numpy(warmup: float, clip_norm: float, average: float) -> None:
    config = TrainConfig(
        learning_rate=0.01,
        weight_decay=0.3,
        clip_norm=clip_norm,
        warmup=warmup,
        average=average,
    )
    steps = 6
    rng = np.random.default_rng(3)
    # Few words: most stand in a batch several times.
    words = rng.integers(0, WORDS, (steps, 7, TIME)).astype(np.int32)
    targets = rng.normal(2.0, 1.0, (steps, 7)).astype(np.float32)
    model = linear_model()
    trainer = Trainer(model, squared_error(model), config, steps)
    wanted = AdamW(weights_of(model), config, steps)
    mean = {name: weight.copy() for name, weight in wanted.weights.items()}
    feed = iter(tf.data.Dataset.from_tensor_slices((words, targets)))
    for made in range(1, steps + 1):
        assert trainer.learning_rate == pytest.approx(wanted.rate, abs=1e-8)
        gradients = linear_gradients(wanted.weights, words[made - 1], targets[made - 1])
        norm = wanted.step(gradients)
        sums = trainer.step(feed)
        assert float(sums["gradient_norm"]) == pytest.approx(norm, rel=1e-5)
        assert float(sums["examples"]) == 7
        for name, value in weights_of(model).items():
            assert_allclose(value, wanted.weights[name], atol=1e-6, err_msg=f"{name}, step {made}")
        momentum = min(average, made / (10 + made))
        mean = {n: momentum * m + (1 - momentum) * wanted.weights[n] for n, m in mean.items()}
    if clip_norm:
        assert norm > clip_norm  # it did clip
    own = weights_of(model)
    with trainer.averaged():
        for name, value in weights_of(model).items():
            assert_allclose(value, mean[name] if average else own[name], atol=1e-6)
    for name, value in weights_of(model).items():
        assert_array_equal(value, own[name])


def test_the_own_weights_come_back_when_validation_fails() -> None:
    model = linear_model()
    config = dataclasses.replace(CONFIG, average=0.9, warmup=0.0)
    trainer = Trainer(model, squared_error(model), config, steps=9)
    words, targets = np.ones((9, 2, TIME), np.int32), np.ones((9, 2), np.float32)
    feed = iter(tf.data.Dataset.from_tensor_slices((words, targets)))
    for _ in range(3):
        trainer.step(feed)
    own = model.get_weights()

    seen = []

    def validate_and_fail() -> None:
        with trainer.averaged():
            seen.append(model.get_weights())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        validate_and_fail()
    assert not np.array_equal(seen[0][0], own[0])
    for a, b in zip(model.get_weights(), own, strict=True):
        assert_array_equal(a, b)


def test_the_loss_of_an_epoch_is_the_mean_over_its_examples(tmp_path: Path) -> None:
    """Also with a last batch that is smaller than the others."""
    still = dataclasses.replace(CONFIG, learning_rate=1e-30, epochs=1)
    trainer, fitted = fit(tmp_path, still, Scripted([0.5]))
    losses = [
        objective_of(trainer.model)(words, labels)[0].numpy()
        for words, labels in batches().epoch(0)
    ]
    assert len(losses[-1]) != len(losses[0]) or len({len(part) for part in losses}) > 1
    assert fitted.history[0]["loss"] == pytest.approx(np.concatenate(losses).mean(), rel=1e-5)


def test_two_trainings_with_one_seed_are_equal_bit_for_bit(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, average=0.9)
    results = []
    for name in ("first", "second", "other"):
        training.set_up(dataclasses.replace(config, seed=int(name == "other")))
        (tmp_path / name).mkdir()
        model = recurrent_model(dropout=0.4)
        trainer, fitted = fit(tmp_path / name, config, Scripted([0.1, 0.2, 0.3]), model=model)
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in fitted.history]
        results.append((trainer.model.get_weights(), rows))
    (first, history), (second, again), (other, _) = results
    assert history == again
    for a, b in zip(first, second, strict=True):
        assert_array_equal(a, b)
    assert not np.array_equal(first[0], other[0])


def test_a_compiled_step_gives_what_a_plain_one_gives() -> None:
    same_length = batches(length=6)
    plain, compiled = (
        toy_training.train(dataclasses.replace(CONFIG, jit=jit), same_length, epochs=1)
        for jit in (False, True)
    )
    for a, b in zip(compiled, plain, strict=True):
        assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_learns(precision: Any, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, precision=precision, epochs=6, learning_rate=0.05)
    training.set_up(config)
    trainer, fitted = fit(tmp_path, config, Scripted([0.1 * n for n in range(6)]))
    scaled = isinstance(trainer.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (precision == "mixed_float16")
    losses = [row["loss"] for row in fitted.history]
    assert losses[-1] < 0.6 * losses[0]
    assert all(weight.dtype == np.float32 for weight in trainer.model.get_weights())


def test_the_gradient_norm_of_scaled_losses_is_that_of_the_losses() -> None:
    norms = []
    for precision in ("float32", "mixed_float16"):
        config = dataclasses.replace(CONFIG, precision=precision)
        training.set_up(config)
        trainer = toy_training.trainer(config)
        sums = trainer.step(iter(batches().epoch(0)))
        norms.append(float(sums["gradient_norm"]))
    assert norms[1] == pytest.approx(norms[0], rel=0.02)


# What is kept, and how it ends


def test_the_best_weights_are_kept_and_patience_ends_it(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, epochs=9, patience=2)
    validate = Scripted([0.5, 0.7, 0.7, 0.6, 0.9])  # an equal score is no better one
    validate.model = recurrent_model()
    trainer, fitted = fit(tmp_path, config, validate, model=validate.model)
    assert fitted.best_epoch == 2
    assert len(fitted.history) == 4
    assert not fitted.interrupted
    for a, b in zip(trainer.model.get_weights(), validate.seen[1], strict=True):
        assert_array_equal(a, b)
    trainer.model.set_weights([0 * w for w in trainer.model.get_weights()])
    trainer.model.load_weights(tmp_path / "best.weights.h5")
    for a, b in zip(trainer.model.get_weights(), validate.seen[1], strict=True):
        assert_array_equal(a, b)


def test_what_is_validated_and_kept_is_the_average(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, epochs=1, average=0.9)
    validate = Scripted([0.5])
    validate.model = recurrent_model()
    trainer, _ = fit(tmp_path, config, validate, model=validate.model)
    for kept, seen, average in zip(
        trainer.model.trainable_variables, validate.seen[0], trainer.averages, strict=True
    ):
        assert_array_equal(kept.numpy(), seen)
        assert_array_equal(seen, average.numpy())


class Interrupted(SequenceBatches):
    """Ctrl-C at batch 2 of epoch 1."""

    def plan(self, epoch: int) -> list[np.ndarray]:
        if epoch == 1:
            raise KeyboardInterrupt
        return super().plan(epoch)


@pytest.mark.parametrize("where", ["validation", "batches"])
def test_ctrl_c_ends_with_the_best_weights(where: str, tmp_path: Path) -> None:
    script = [0.5, KeyboardInterrupt] if where == "validation" else [0.5, 0.6]
    validate = Scripted(script)
    validate.model = recurrent_model()
    options: dict[str, Any] = {"model": validate.model}
    if where == "batches":
        options["batches"] = Interrupted(*dataclasses.astuple(batches())[:3])
    trainer, fitted = fit(tmp_path, CONFIG, validate, **options)
    assert fitted.interrupted
    assert fitted.best_epoch == 1
    assert len(fitted.history) == 1
    for a, b in zip(trainer.model.get_weights(), validate.seen[0], strict=True):
        assert_array_equal(a, b)


def test_ctrl_c_before_the_first_validation_keeps_what_there_is(tmp_path: Path) -> None:
    trainer, fitted = fit(tmp_path, CONFIG, Scripted([KeyboardInterrupt]))
    assert (fitted.best_epoch, fitted.interrupted, fitted.history) == (0, True, [])
    assert all(np.isfinite(w).all() for w in trainer.model.get_weights())
    assert (tmp_path / "best.weights.h5").is_file()


def test_ctrl_c_while_better_weights_are_written_keeps_the_ones_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validate = Scripted([0.5, 0.9])
    validate.model = recurrent_model()
    save, calls = keras.Model.save_weights, iter([False, True])

    def interrupted_save(model: keras.Model, path: Path) -> None:
        save(model, path)
        if next(calls):
            raise KeyboardInterrupt

    monkeypatch.setattr(keras.Model, "save_weights", interrupted_save)
    trainer, fitted = fit(tmp_path, CONFIG, validate, model=validate.model)
    assert fitted.interrupted
    assert fitted.best_epoch == 1
    for a, b in zip(trainer.model.get_weights(), validate.seen[0], strict=True):
        assert_array_equal(a, b)
