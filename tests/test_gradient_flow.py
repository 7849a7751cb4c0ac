"""Gradient flow: the norms that are read, that reading them changes nothing, and its pictures."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import keras
import matplotlib.image
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from common import plots
from common.cells import make_cell
from common.layers import MaskedPooling, Recurrent, recurrent_stack, watch_states
from common.monitoring import GradientFlow
from tests import reference, sentiment_runs, toy_training
from tests.toy_training import CONFIG, Scripted

BATCH, TIME, FEATURES, UNITS = 4, 9, 3, 5
FLOW = dataclasses.replace(CONFIG, gradient_flow=True)
MASK = np.array(
    [
        [1, 1, 1, 1, 1, 1, 1, 1, 1],
        [1, 1, 0, 1, 0, 0, 1, 0, 0],
        [0, 0, 1, 1, 1, 1, 0, 0, 0],
        [1, 0, 0, 0, 0, 0, 0, 0, 0],
    ],
    bool,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1991)


@pytest.fixture
def inputs(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(BATCH, TIME, FEATURES)).astype("float32")


@pytest.fixture
def targets(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(BATCH, 2)).astype("float32")


def stack(cell: str, rng: np.random.Generator, **options: Any) -> keras.Model:
    """Features and a mask to two numbers."""
    features = keras.Input((None, FEATURES), name="features")
    mask = keras.Input((None,), dtype="bool", name="mask")
    states = recurrent_stack(features, mask, cell=cell, units=UNITS, **options)
    pooled = MaskedPooling(("mean", "last"))(states, mask=mask)
    model = keras.Model([features, mask], keras.layers.Dense(2, name="readout")(pooled))
    reference.randomise(model, rng)
    return model


def losses_of(answers: Any, targets: Any) -> tf.Tensor:
    return tf.reduce_sum(tf.square(answers - targets), axis=-1)


def flow_of(model: keras.Model, inputs: Any, targets: Any, training: bool = False) -> GradientFlow:
    def objective(inputs: Any, targets: Any) -> tuple[tf.Tensor, dict[str, Any]]:
        return losses_of(model(inputs, training=training), targets), {}

    return GradientFlow(model, objective, inputs, targets)


# What a layer leaves behind


def test_layers_leave_a_probe_for_each_state_under_their_names(
    inputs: np.ndarray, rng: np.random.Generator
) -> None:
    model = stack("lstm", rng, layers=2)
    with tf.GradientTape() as tape, watch_states(tape) as watched:
        model([inputs, MASK])
    assert set(watched) == {"forward_0", "backward_0", "forward_1", "backward_1"}
    for probes in watched.values():
        assert [probe.shape for probe in probes] == [(BATCH, TIME, UNITS)] * 2
        assert not np.any(probes)


def test_outside_of_the_context_there_are_none(
    inputs: np.ndarray, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    run = Recurrent._run
    monkeypatch.setattr(
        Recurrent,
        "_run",
        lambda self, *rest, **options: given.append(rest[3]) or run(self, *rest, **options),
    )
    model = stack("gru", rng, direction="forward")
    given.clear()
    before = model([inputs, MASK])
    with tf.GradientTape() as tape, watch_states(tape) as watched:
        assert_array_equal(model([inputs, MASK]), before)
    after = model([inputs, MASK])
    assert_array_equal(after, before)
    assert [len(probes) for probes in given] == [0, 1, 0]
    assert len(watched) == 1


def test_the_context_ends_with_an_error_too(inputs: np.ndarray, rng: np.random.Generator) -> None:
    model = stack("simple", rng, direction="forward")
    with pytest.raises(KeyError), tf.GradientTape() as tape, watch_states(tape) as watched:
        raise KeyError
    model([inputs, MASK])
    assert watched == {}


# The norms


def norms_by_hand(
    model: keras.Model, inputs: np.ndarray, targets: np.ndarray, segment: int
) -> dict[str, np.ndarray]:
    """Each direction step by step in Python, and TensorFlow's gradient of every state."""
    layers = [layer for layer in model.layers if isinstance(layer, Recurrent)]
    states_of: dict[str, list[list[tf.Tensor]]] = {}
    with tf.GradientTape() as tape:
        sides = []
        for layer in layers:
            outputs: dict[int, Any] = {}
            after: dict[int, list[tf.Tensor]] = {}
            for start in range(0, TIME, segment or TIME):
                span = range(start, min(start + (segment or TIME), TIME))
                states = layer.cell.get_initial_state(BATCH)
                for t in reversed(span) if layer.reverse else span:
                    here = MASK[:, t, np.newaxis]
                    new = layer.cell.step(layer.cell.project(inputs[:, t]), states)[1]
                    pairs = zip(new, states, strict=True)
                    states = [tf.where(here, n, s) for n, s in pairs]
                    tape.watch(states)
                    after[t] = states
                    outputs[t] = tf.where(here, states[0], 0.0)
            sides.append(tf.stack([outputs[t] for t in range(TIME)], axis=1))
            states_of[layer.name] = [after[t] for t in range(TIME)]
        pooled = MaskedPooling(("mean", "last"))(tf.concat(sides, -1), mask=MASK)
        losses = losses_of(model.get_layer("readout")(pooled), targets)
        loss = tf.reduce_sum(losses)
    gradients = tape.gradient(loss, states_of, unconnected_gradients="zero")
    return {
        name: np.array(
            [np.linalg.norm(np.concatenate(step, axis=-1), axis=-1).mean() for step in steps]
        )
        for name, steps in gradients.items()
    }


@pytest.mark.parametrize(
    ("cell", "direction", "segment"),
    [
        ("lstm", "bidirectional", 0),
        ("lstm", "forward", 4),
        ("gru", "bidirectional", 4),
        ("minlstm", "bidirectional", 3),
    ],
)
def test_the_norms_are_those_of_every_state_by_hand(
    cell: str,
    direction: Any,
    segment: int,
    inputs: np.ndarray,
    targets: np.ndarray,
    rng: np.random.Generator,
) -> None:
    model = stack(cell, rng, direction=direction, segment=segment)
    flow = flow_of(model, [inputs, MASK], targets)
    flow.record()
    wanted = norms_by_hand(model, inputs, targets, segment)
    assert set(flow.history) == set(wanted)
    for name, norms in flow.history.items():
        assert norms.shape == (1, TIME)
        assert norms.max() > 0.01
        assert_allclose(norms[0], wanted[name], rtol=2e-5, atol=1e-7)


def test_each_recording_is_of_the_model_as_it_is_then(
    inputs: np.ndarray, targets: np.ndarray, rng: np.random.Generator
) -> None:
    model = stack("simple", rng, direction="forward")
    flow = flow_of(model, [inputs, MASK], targets)
    flow.record()
    reference.randomise(model, rng)
    flow.record()
    (norms,) = flow.history.values()
    assert_allclose(
        norms[1], norms_by_hand(model, inputs, targets, 0)["forward_0"], rtol=2e-5, atol=1e-7
    )
    assert np.abs(norms[1] - norms[0]).max() > 0.01


def last_state_flow(cell: Any, rng: np.random.Generator) -> np.ndarray:
    """Of a loss that reads the last state alone; there is an input at the first step only."""
    given = keras.Input((None, FEATURES))
    last = keras.layers.Lambda(lambda x: x[:, -1])(Recurrent(cell, name="layer")(given))
    model = keras.Model(given, last)
    kernel = np.abs(rng.normal(size=cell.kernel.shape)) + 0.1
    cell.kernel.assign(kernel)
    inputs = np.zeros((BATCH, 30, FEATURES), "float32")
    inputs[:, 0] = 0.1 + rng.random((BATCH, FEATURES))
    flow = flow_of(model, inputs, rng.normal(size=(BATCH, UNITS)).astype("float32"))
    flow.record()
    return flow.history["layer"][0]


def test_an_irnn_at_its_start_passes_on_all_of_the_gradient(rng: np.random.Generator) -> None:
    norms = last_state_flow(make_cell("irnn", UNITS), rng)
    assert norms[-1] > 0.1
    assert_allclose(norms, np.full(30, norms[-1]), rtol=1e-6)


def test_a_tanh_cell_with_a_small_recurrent_kernel_forgets_it(rng: np.random.Generator) -> None:
    cell = make_cell(
        "simple", UNITS, recurrent_initializer=keras.initializers.Orthogonal(gain=0.7, seed=1)
    )
    norms = last_state_flow(cell, rng)
    assert np.all(norms[:-1] <= 0.7 * norms[1:] * (1 + 1e-5))
    assert 0 < norms[0] < 1e-3 * norms[-1]


# Looking changes nothing


def test_recording_puts_the_seeds_of_dropout_back(
    inputs: np.ndarray, targets: np.ndarray, rng: np.random.Generator
) -> None:
    model = stack("gru", rng, direction="forward", dropout=0.5)
    flow = flow_of(model, [inputs, MASK], targets, training=True)
    before = [v.numpy() for v in model.variables]
    flow.record()
    flow.record()
    for variable, value in zip(model.variables, before, strict=True):
        assert_array_equal(variable, value)
    model([inputs, MASK], training=True)  # which draws, and so moves them
    flow.record()
    first, second, third = flow.history["forward_0"]
    assert_array_equal(first, second)
    assert np.abs(third - first).max() > 1e-4


def fit_toy(folder: Path, config: Any) -> tuple[list[np.ndarray], Any]:
    folder.mkdir()
    keras.utils.set_random_seed(3)
    model = toy_training.recurrent_model(dropout=0.4)
    trainer, fitted = toy_training.fit(folder, config, Scripted([0.5, 0.6, 0.7]), model=model)
    return [v.numpy() for v in trainer.model.variables], fitted


def test_training_is_the_same_to_the_bit_and_its_flow_is_kept_and_drawn(tmp_path: Path) -> None:
    plain, without = fit_toy(tmp_path / "without", CONFIG)
    watched, fitted = fit_toy(tmp_path / "with", FLOW)
    for a, b in zip(watched, plain, strict=True):
        assert_array_equal(a, b)

    assert without.gradient_flow == {}
    (name, norms), *rest = fitted.gradient_flow.items()
    assert (name, rest) == ("forward_0", [])
    first = next(iter(toy_training.batches().epoch(0)))[0]
    assert norms.shape == (CONFIG.epochs + 1, first.shape[1])
    assert np.isfinite(norms).all()
    assert np.abs(np.diff(norms, axis=0)).max(axis=1).min() > 0  # the weights moved

    images = events(tmp_path / "with")
    assert len(images) == CONFIG.epochs
    assert len({image.step for image in images}) == CONFIG.epochs
    for image in images:
        width, height, *png = tf.make_ndarray(image.tensor_proto)
        pixels = tf.io.decode_png(png[0], 3).numpy()
        assert pixels.shape == (int(height), int(width), 3)
        assert pixels.std() > 5
    assert events(tmp_path / "without") == []


def events(folder: Path) -> list[Any]:
    accumulator = EventAccumulator(str(folder / "tensorboard"))
    accumulator.Reload()
    if "gradient_flow" not in accumulator.Tags()["tensors"]:
        return []
    return accumulator.Tensors("gradient_flow")


# Pictures


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rows", [1, 4])
def test_the_plot_draws_zeros_and_single_rows(
    rows: int, tmp_path: Path, rng: np.random.Generator
) -> None:
    norms = 10.0 ** rng.uniform(-9, 1, size=(rows, 12))
    some = np.where(rng.random(norms.shape) < 0.3, 0.0, norms)
    history = {"norms": norms, "some zeros": some, "all zeros": np.zeros((rows, 12))}
    figure = plots.gradient_flow(history)
    panels = [axes for axes in figure.axes if axes.get_xlabel() == "time step"]
    assert [axes.get_title() for axes in panels[::2]] == list(history)
    for line, row in zip(panels[0].lines, norms[[0, -1]], strict=False):
        assert_allclose(line.get_ydata(), row, rtol=1e-9)
    assert [axes.images[0].get_array().shape for axes in panels[1::2]] == [(rows, 12)] * 3
    plots.save(figure, tmp_path / "flow.png")
    assert matplotlib.image.imread(tmp_path / "flow.png")[..., :3].std() > 0.02


@pytest.mark.slow
def test_an_application_leaves_the_picture_and_can_truncate(tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ["--gradient-flow", "--truncate", 8, "--epochs", 1]
    sentiment_runs.train(sentiment_runs.small_data(), run, *options)
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert config["truncate"] == 8
    assert config["gradient_flow"] is True
    pixels = matplotlib.image.imread(run / "plots" / "gradient_flow.png")
    assert min(pixels.shape[:2]) > 200
    assert pixels[..., :3].std() > 0.02
