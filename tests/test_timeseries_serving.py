"""What is exported: forecasts, and the state that goes on from row to row."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from apps.timeseries import calibration, objectives, windows
from apps.timeseries.config import LEVELS
from apps.timeseries.serving import Correction, Ensemble, Said
from common import export
from common.cells import CELLS
from tests.timeseries_networks import PANEL, SHAPE, forecaster, inputs, rows, with_gaps

DECODERS = ("direct", "autoregressive")
FIXED = {"centre": "training", "scale": "training"}
PATCH = SHAPE.patch


def ensemble_of(*networks: Any) -> Ensemble:
    """With a correction that is not the one of the start."""
    correction = Correction.of(networks[0])
    rng = np.random.default_rng(6)
    values = rng.uniform(0.3, 2, correction.values.shape)
    correction.values.assign(np.sort(values, axis=-1) if correction.of_point else values)
    return Ensemble(networks, correction)


def state_of(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name.startswith("state")}


def same(one: dict[str, Any], other: dict[str, Any], tolerance: float = 1e-5) -> None:
    """All answers, states included."""
    assert set(one) == set(other)
    for name, value in one.items():
        wide = tolerance * max(1.0, float(np.abs(value).max()))
        assert_allclose(value, other[name], rtol=tolerance, atol=wide, err_msg=name)


# Steps.


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_learns_and_steps_as_if_it_read_all_at_once(cell: str, decoder: str) -> None:
    network = forecaster(cell=cell, decoder=decoder, **FIXED)
    truth = tf.constant(windows.truth_at(PANEL, np.array([[0, 60], [1, 61]]), SHAPE))
    with tf.GradientTape() as tape:
        loss, _ = objectives.forecasting(network, "pinball")(inputs(2), truth)
    weights = network.trainable_variables
    for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
        assert np.isfinite(tf.convert_to_tensor(gradient)).all(), weight.path
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, weight.path

    ensemble = ensemble_of(network)
    whole = inputs(history=SHAPE.history + PATCH)
    started = ensemble.start(rows(whole, 0, SHAPE.history))
    new = rows(whole, SHAPE.history, SHAPE.history + PATCH)
    same(ensemble.step({**new, **state_of(started)}), ensemble.start(whole))


@pytest.mark.parametrize("fill", ["forward", "mean", "zero"])
def test_steps_one_by_one_are_one_step_and_gaps_are_filled_alike(fill: str) -> None:
    ensemble = ensemble_of(forecaster(layers=2, cell="lstm", fill=fill))
    given = with_gaps(inputs(history=SHAPE.history + 3 * PATCH))
    first = SHAPE.history
    for name in ("target", "past"):
        given[name][1, first:] = np.nan  # nothing is heard any more
    state = state_of(ensemble.start(rows(given, 0, first)))
    at_once = ensemble.step({**rows(given, first, first + 3 * PATCH), **state})
    for begin in range(first, first + 3 * PATCH, PATCH):
        answer = ensemble.step({**rows(given, begin, begin + PATCH), **state})
        state = state_of(answer)
    if fill == "mean":  # of the history that was begun with
        wanted = np.nanmean(rows(given, 0, first)["target"], axis=1)
        assert_allclose(answer["state_last_target"][1, -1], wanted[1], rtol=1e-5)
    same(answer, at_once)


def test_a_start_answers_what_serving_does() -> None:
    ensemble = ensemble_of(forecaster(), forecaster(member=1))
    given = with_gaps(inputs())
    started, served = ensemble.start(given), ensemble.forecast(given)
    for name, value in served.items():
        assert_array_equal(started[name], value)
    assert (np.diff(served["quantiles"], axis=-1) >= 0).all()
    assert_array_equal(served["levels"], np.float32(LEVELS))


def test_networks_are_averaged_level_by_level() -> None:
    networks = [forecaster(), forecaster(member=1)]
    alone = [Ensemble([one], Correction.of(one)).forecast(inputs()) for one in networks]
    both = Ensemble(networks, Correction.of(networks[0])).forecast(inputs())
    assert np.abs(alone[0]["quantiles"] - alone[1]["quantiles"]).max() > 0.1
    for name in ("quantiles", "point"):
        mean = (alone[0][name] + alone[1][name]) / 2
        assert_allclose(both[name], mean, rtol=1e-4, atol=1e-6 * np.abs(mean).max())


# Histories.


@pytest.mark.parametrize("history", [1, 10, 24, 50])
def test_a_history_of_any_length_has_an_answer_of_its_own_scale(history: int) -> None:
    ensemble = ensemble_of(forecaster())
    given = inputs(history=history)
    answer = ensemble.start(given)
    assert np.isfinite(answer["quantiles"]).all()
    assert answer["state_last_target"].shape == (4, max(SHAPE.lags), 2)
    kept = given["target"][:, -max(SHAPE.lags) :]
    assert_array_equal(answer["state_last_target"][:, -kept.shape[1] :], kept)


def test_an_older_history_is_read_as_well() -> None:
    ensemble = ensemble_of(forecaster(cell="minlstm"))
    long = inputs(history=50)
    cut = rows(long, 50 - SHAPE.history, 50)
    one, other = ensemble.forecast(long)["quantiles"], ensemble.forecast(cut)["quantiles"]
    assert 1e-6 < np.abs(one - other).max() / np.abs(other).max() < 1


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("target", np.zeros((4, 0, 2), np.float32), "target: expected rows"),
        ("seconds", np.zeros((4, 24), np.int64), "seconds: expected the rows of target and 8"),
        ("past", np.zeros((4, 23, 1), np.float32), "past: expected the rows of target and 0"),
        ("future", np.zeros((4, 24, 1), np.float32), "future: expected the rows of target and 8"),
    ],
)
@pytest.mark.parametrize("way", ["forecast", "start"])
def test_rows_that_do_not_fit_together_are_refused(
    way: str, name: str, array: np.ndarray, message: str
) -> None:
    ensemble = ensemble_of(forecaster())
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        getattr(ensemble, way)({**inputs(), name: array})


@pytest.mark.parametrize("count", [0, PATCH - 1])
def test_a_step_of_part_of_a_patch_is_refused(count: int) -> None:
    ensemble = ensemble_of(forecaster())
    state = state_of(ensemble.start(inputs()))
    new = rows(inputs(), SHAPE.history - count, SHAPE.history)
    with pytest.raises(tf.errors.InvalidArgumentError, match="whole patches of 4"):
        ensemble.step({**new, **state})


# The correction.


@pytest.mark.parametrize("loss", ["pinball", "mse"])
def test_a_correction_is_that_of_calibration(loss: str) -> None:
    ensemble = Ensemble([network := forecaster(loss=loss)], Correction.of(network))
    at = np.array([[n % 2, 60 + n] for n in range(40)])
    batches = windows.WindowBatches(PANEL, at, SHAPE, batch_size=40)
    said, truth = ensemble.answers(batches.in_order()), batches.truth()
    c, s = said.centre[..., np.newaxis], said.scale[..., np.newaxis]
    z = (truth - said.centre) / said.scale
    if loss == "pinball":
        before = said.forecast(ensemble.correction).quantiles
        assert_allclose((before - c) / s, said.answers, rtol=1e-4, atol=1e-4)
        factors = calibration.spread_factors(said.answers, z)
        assert np.ptp(factors) > 0.1
        want = calibration.respread(said.answers, factors)
    else:
        offsets = calibration.residual_quantiles(said.answers[..., 0], z)
        want = calibration.widen(said.answers[..., 0], offsets)
    ensemble.correction.learn(said, truth)
    got = said.forecast(ensemble.correction)
    # In the network's unit: in the target's, rounding grows with the level.
    assert_allclose((got.quantiles - c) / s, want, rtol=1e-4, atol=1e-4)
    served = ensemble.forecast(windows.inputs_at(PANEL, at, SHAPE))
    for name in ("quantiles", "point"):
        apart = served[name].numpy() - getattr(got, name)
        assert_allclose(apart / (s if name == "quantiles" else s[..., 0]), 0, atol=1e-4)


def test_a_correction_keeps_its_digits_in_half_precision() -> None:
    rng = np.random.default_rng(3)
    raw = np.sort(rng.normal(size=(3, 8, 2, len(LEVELS))), axis=-1).astype(np.float32)
    said = Said(raw, np.zeros((3, 1, 2), np.float32), np.ones((3, 1, 2), np.float32))
    network = forecaster()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    assert_allclose(said.forecast(Correction.of(network)).quantiles, raw, rtol=1e-5, atol=1e-6)
    half = Ensemble([forecaster(cell="lstm")], Correction.of(network))
    state = state_of(half.start(inputs()))
    assert {value.dtype for value in state.values()} == {tf.float32}
    assert np.isfinite(half.step({**inputs(), **state})["quantiles"]).all()


# The export.


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    found = ensemble_of(forecaster(cell="lstm"), forecaster(member=1, cell="lstm"))
    found.forecast(inputs())  # Keras exports what has been called once
    return found


@pytest.fixture(scope="module")
def path(ensemble: Ensemble, tmp_path_factory: Any) -> Path:
    path = tmp_path_factory.mktemp("export") / "1"
    export.write([*ensemble.networks, ensemble.correction], ensemble.signatures(), path)
    return path


def test_a_clean_process_gives_the_same_answers(ensemble: Ensemble, path: Path) -> None:
    given = with_gaps(inputs(history=30))
    clean = export.answer_in_clean_process(path, "serving_default", given)
    same(clean, {name: value.numpy() for name, value in ensemble.forecast(given).items()})


def test_an_export_starts_and_steps(ensemble: Ensemble, path: Path) -> None:
    loaded = export.load(path)
    whole = with_gaps(inputs(history=SHAPE.history + PATCH))
    given = {name: tf.constant(a) for name, a in rows(whole, 0, SHAPE.history).items()}
    new = {name: tf.constant(a) for name, a in rows(whole, SHAPE.history, 28).items()}
    started = loaded.signatures["start"](**given)
    same(started, ensemble.start(given))
    stepped = loaded.signatures["step"](**new, **state_of(started))
    same(stepped, ensemble.step({**new, **state_of(ensemble.start(given))}))
    with pytest.raises(tf.errors.InvalidArgumentError, match="seconds: expected the rows"):
        loaded.signatures["serving_default"](**{**given, "seconds": given["seconds"][:, 1:]})
