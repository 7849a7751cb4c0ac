"""Layers around the recurrence: what they compute, what they leak, and what survives a file."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from common.cells import CELLS, make_cell
from common.config import TrainConfig
from common.layers import MaskedPooling, Recurrent, carried, carrying, recurrent_stack
from tests import reference

BATCH, TIME, FEATURES, UNITS = 4, 9, 3, 5
LENGTHS = np.array([9, 4, 1, 6])
MASK = np.arange(TIME) < LENGTHS[:, np.newaxis]
CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-6}
EVERYTHING: dict[str, Any] = {
    "layers": 2,
    "direction": "bidirectional",
    "input_dropout": 0.4,
    "dropout": 0.3,
    "residual": True,
}

each_cell = pytest.mark.parametrize("name", CELLS)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(99)


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(BATCH, TIME, FEATURES)).astype("float32")


def stack_model(rng: np.random.Generator | None = None, **options: Any) -> keras.Model:
    """Features and a mask to the sequence of a stack, with random weights if `rng` is given."""
    features = keras.Input((None, FEATURES), name="features")
    mask = keras.Input((None,), dtype="bool", name="mask")
    options = {"cell": "gru", "units": UNITS, **options}
    model = keras.Model([features, mask], recurrent_stack(features, mask, **options))
    if rng is not None:
        reference.randomise(model, rng, scale=0.4)
    return model


def answering_model(rng: np.random.Generator, cell: str, **options: Any) -> keras.Model:
    """Features and a mask to a sequence, its pooling, and a last state from a given start."""
    features = keras.Input((None, FEATURES), name="features")
    mask = keras.Input((None,), dtype="bool", name="mask")
    start = [keras.Input((UNITS,), name=f"start_{n}") for n in range(reference.STATES[cell])]
    options = {**EVERYTHING, "cell": cell, "units": UNITS, **options}
    sequence = recurrent_stack(features, mask, **options)
    pooled = MaskedPooling(("last", "mean", "first", "max"))(sequence, mask=mask)
    final = Recurrent(make_cell(cell, UNITS), reverse=True, return_state=True, name="final")
    state = final(sequence, mask=mask, initial_state=start)[-1]
    outputs = {"sequence": sequence, "pooled": pooled, "state": state}
    model = keras.Model({"features": features, "mask": mask, "start": start}, outputs)
    reference.randomise(model, rng, scale=0.4)
    return model


# Recurrent


@pytest.mark.parametrize("reverse", [False, True])
@each_cell
def test_the_layer_is_the_reference(
    name: str, reverse: bool, x: np.ndarray, rng: np.random.Generator
) -> None:
    layer = Recurrent(make_cell(name, UNITS), reverse=reverse, return_state=True)
    layer.build(x.shape)
    weights = reference.randomise(layer, rng)
    start = [rng.normal(size=(BATCH, UNITS)) for _ in range(reference.STATES[name])]
    wanted, last = reference.run(reference.STEPS[name], weights, x, start, MASK, reverse)
    got = layer(x, mask=MASK, initial_state=[tf.constant(s, tf.float32) for s in start])
    for a, b in zip(got, [wanted, *last], strict=True):
        assert_allclose(a, b, **CLOSE)


@each_cell
def test_a_stack_has_the_parameters_of_its_formula(name: str) -> None:
    width = 2 * UNITS
    first = reference.parameter_count(name, FEATURES, UNITS)
    one_way = first + reference.parameter_count(name, UNITS, UNITS)
    both_ways = 2 * (first + reference.parameter_count(name, width, UNITS))
    options: dict[str, Any] = {"cell": name, "layers": 2}
    assert stack_model(direction="forward", **options).count_params() == one_way
    assert stack_model(direction="bidirectional", **options).count_params() == both_ways


def test_a_mask_that_comes_with_the_input_is_used_and_handed_on(x: np.ndarray) -> None:
    x[~MASK] = 0.0
    layer = Recurrent(make_cell("lstm", UNITS), return_state=True)
    given = keras.layers.Masking(0.0)(x)
    outputs, *states = layer(given)
    wanted, *last = layer(x, mask=MASK)
    for a, b in zip([outputs, *states], [wanted, *last], strict=True):
        assert_array_equal(a, b)
    for masked in (outputs, wanted):  # what Keras's own pooling sees
        pooled = keras.layers.GlobalAveragePooling1D()(masked)
        assert_allclose(pooled, reference.pool(masked.numpy(), MASK, "mean"), **CLOSE)


# Segments


@pytest.mark.parametrize("segment", [1, 2, 4, TIME, TIME + 3])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_recurrence_in_segments_runs_each_of_them_apart(
    segment: int, reverse: bool, x: np.ndarray, rng: np.random.Generator
) -> None:
    whole = Recurrent(make_cell("gru", UNITS), reverse=reverse)
    whole.build(x.shape)
    reference.randomise(whole, rng)
    layer = Recurrent(whole.cell, reverse=reverse, segment=segment)
    gaps = MASK & (rng.random(MASK.shape) < 0.8)
    for mask in (None, MASK, gaps):
        apart = [
            whole(
                x[:, at : at + segment], mask=None if mask is None else mask[:, at : at + segment]
            )
            for at in range(0, TIME, segment)
        ]
        assert_allclose(layer(x, mask=mask), np.concatenate(apart, axis=1), **CLOSE)


def test_what_segments_can_not_do_is_refused(x: np.ndarray) -> None:
    with pytest.raises(ValueError, match="segment must be 0 or a number of steps, got -1"):
        Recurrent(make_cell("gru", UNITS), segment=-1)
    with pytest.raises(ValueError, match="no one state to return"):
        Recurrent(make_cell("gru", UNITS), segment=4, return_state=True)
    layer = Recurrent(make_cell("gru", UNITS), segment=4)
    with pytest.raises(ValueError, match="starts from zero"):
        layer(x, initial_state=[np.zeros((BATCH, UNITS), "float32")])


# Options of the way back


def readout_gradients(layer: Recurrent, x: np.ndarray) -> list[tf.Tensor]:
    """Of a loss that reads the last step, at which a truncated gradient shows."""
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.sin(layer(x, training=True)[:, 0 if layer.reverse else -1]))
    return tape.gradient(loss, [weight.value for weight in layer.weights])


@pytest.mark.parametrize("name", ["lstm", "minlstm"])
def test_truncation_and_blocks_survive_a_configuration_and_a_file(
    name: str, x: np.ndarray, tmp_path: Path, rng: np.random.Generator
) -> None:
    options = {"truncate": 2, "block": 4, "reverse": True}
    layer = Recurrent(make_cell(name, UNITS), **options)
    given = keras.Input((None, FEATURES))
    model = keras.Model(given, layer(given))
    reference.randomise(model, rng)
    again = Recurrent.from_config(layer.get_config())
    again.build(x.shape)
    again.set_weights(layer.get_weights())
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").get_layer(layer.name)

    whole = Recurrent(layer.cell, reverse=True)
    wanted = readout_gradients(layer, x)
    assert np.abs(wanted[0] - readout_gradients(whole, x)[0]).max() > 1e-3
    for copy in (again, loaded):
        assert {key: getattr(copy, key) for key in options} == options
        assert_allclose(copy(x), layer(x), **CLOSE)
        for a, b in zip(readout_gradients(copy, x), wanted, strict=True):
            assert_allclose(a, b, **CLOSE)


def test_a_stack_truncates_each_of_its_layers() -> None:
    layers = stack_model(layers=2, truncate=3).layers
    assert [layer.truncate for layer in layers if isinstance(layer, Recurrent)] == [3] * 4


@pytest.mark.parametrize("option", ["truncate", "block"])
def test_a_bad_number_of_steps_is_named(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} must be 0 or a number of steps, got -2"):
        Recurrent(make_cell("gru", UNITS), **{option: -2})


# recurrent_stack


@each_cell
def test_padding_changes_nothing_through_the_whole_stack(
    name: str, x: np.ndarray, rng: np.random.Generator
) -> None:
    """A batch of mixed lengths, with garbage after their ends, against each row on its own."""
    model = stack_model(rng, cell=name, **EVERYTHING)
    garbage = 1e6 * rng.normal(size=x.shape).astype("float32")
    together = model([np.where(MASK[..., np.newaxis], x, garbage), MASK])
    for row, length in enumerate(LENGTHS):
        alone = model([x[row : row + 1, :length], np.ones((1, length), bool)])
        assert_allclose(together[row, :length], alone[0], **CLOSE)
        assert_array_equal(together[row, length:], np.zeros((TIME - length, 2 * UNITS)))


@each_cell
def test_the_forward_direction_is_causal_and_both_directions_are_not(
    name: str, x: np.ndarray, rng: np.random.Generator
) -> None:
    now, everything = 5, np.ones((BATCH, TIME), bool)
    changed = x.copy()
    changed[:, now:] += rng.normal(size=x[:, now:].shape)
    for direction, causal in (("forward", True), ("bidirectional", False)):
        model = stack_model(rng, cell=name, layers=2, direction=direction)
        before, after = (model([inputs, everything]).numpy() for inputs in (x, changed))
        assert np.array_equal(before[:, :now], after[:, :now]) == causal
        assert not np.allclose(before[:, now:], after[:, now:])


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_residual_adds_each_later_layers_input_to_its_output(
    direction: str, x: np.ndarray, rng: np.random.Generator
) -> None:
    with_it = stack_model(rng, layers=2, direction=direction, residual=True)
    without = stack_model(layers=2, direction=direction)
    only_first = stack_model(layers=1, direction=direction, residual=True)
    without.set_weights(with_it.get_weights())
    only_first.set_weights(with_it.get_weights()[: len(only_first.weights)])
    given = [x, MASK]
    assert_allclose(with_it(given), without(given) + only_first(given), **CLOSE)


def test_a_bidirectional_layer_is_its_two_directions_side_by_side(
    x: np.ndarray, rng: np.random.Generator
) -> None:
    model = stack_model(rng, cell="lstm")
    weights = model.get_weights()
    start = [np.zeros((BATCH, UNITS))] * 2
    halves = [
        reference.run(reference.lstm, part, x, start, MASK, reverse)[0]
        for part, reverse in ((weights[:3], False), (weights[3:], True))
    ]
    assert_allclose(model([x, MASK]), np.concatenate(halves, axis=-1), **CLOSE)


def test_input_dropout_drops_whole_features_and_dropout_drops_single_values(
    x: np.ndarray, rng: np.random.Generator
) -> None:
    keras.utils.set_random_seed(5)
    rate, outer_rate, rows = 0.4, 0.3, 200
    model = stack_model(rng, input_dropout=rate, dropout=outer_rate)
    names = ("input_dropout", "directions_0", "dropout_0")
    inside = keras.Model(model.inputs, [model.get_layer(n).output for n in names])
    inputs = 1.0 + np.abs(np.tile(x, (rows // BATCH, 1, 1)))
    given = [inputs, np.ones((rows, TIME), bool)]

    first, between, last = inside(given, training=True)
    ratio = first.numpy() / inputs
    assert_allclose(ratio, np.repeat(ratio[:, :1], TIME, axis=1), rtol=1e-5)
    assert_allclose(ratio[ratio > 0], 1 / (1 - rate), rtol=1e-5)
    assert np.mean(ratio == 0) == pytest.approx(rate, abs=0.07)
    dropped = last.numpy() == 0
    assert np.mean(dropped) == pytest.approx(outer_rate, abs=0.02)
    assert 0 < dropped[0, :, 0].sum() < TIME
    assert_allclose(last.numpy()[~dropped], between.numpy()[~dropped] / (1 - outer_rate), rtol=1e-5)

    first, between, last = inside(given, training=False)
    assert_array_equal(first, inputs)
    assert_array_equal(last, between)


# Files


def some_input(rng: np.random.Generator, cell: str, batch: int, time: int) -> dict[str, Any]:
    start = [rng.normal(size=(batch, UNITS)) for _ in range(reference.STATES[cell])]
    return {
        "features": tf.constant(rng.normal(size=(batch, time, FEATURES)), tf.float32),
        "mask": tf.constant(rng.random((batch, time)) < 0.6),
        "start": [tf.constant(state, tf.float32) for state in start],
    }


def assert_same_answers(got: Any, wanted: Any) -> None:
    assert set(got) == set(wanted)
    for key in wanted:
        assert_allclose(got[key], wanted[key], **CLOSE)


@each_cell
def test_a_model_file_gives_the_same_answers(
    name: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    model = answering_model(rng, name, direction="forward")
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    given = some_input(rng, name, BATCH, TIME)
    assert again.to_json() == model.to_json()
    assert_same_answers(again(given), model(given))


@each_cell
def test_an_exported_model_gives_the_same_answers_for_any_shape(
    name: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    model = answering_model(rng, name, layers=1)
    model.export(tmp_path / "export", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "export")
    for batch, time in ((BATCH, TIME), (1, 1)):
        given = some_input(rng, name, batch, time)
        assert_same_answers(loaded.serve(given), model(given))


@each_cell
def test_a_stack_goes_on_from_its_states(name: str, x: np.ndarray) -> None:
    config = TrainConfig(cell=name, units=UNITS, layers=2)
    forward, drop = carrying(config), keras.layers.Dropout(0.5)
    whole, _, last = carried(x, None, forward, [], drop=drop)
    first, _, states = carried(x[:, :4], None, forward, [], drop=drop)
    rest, _, end = carried(x[:, 4:], None, forward, [], drop=drop, states=states)
    assert_allclose(np.concatenate([first, rest], axis=1), whole, **CLOSE)
    for found, wanted in zip(tf.nest.flatten(end), tf.nest.flatten(last), strict=True):
        assert_allclose(found, wanted, **CLOSE)


def test_what_stands_between_layers_sees_outputs_of_both_directions(x: np.ndarray) -> None:
    config, seen = TrainConfig(units=UNITS, layers=2), []

    def half(number: int, h: Any, mask: Any) -> tuple[Any, Any]:
        seen.append((number, h.shape[-1]))
        return h[:, ::2], mask[:, ::2]

    both = carrying(config), carrying(config, reverse=True)
    said, mask, _ = carried(x, MASK, *both, drop=keras.layers.Dropout(0.0), between=half)
    assert seen == [(0, 2 * UNITS), (1, 2 * UNITS)]
    assert said.shape == (len(x), len(mask[0]), 2 * UNITS)
    assert_array_equal(mask, MASK[:, ::2][:, ::2])
