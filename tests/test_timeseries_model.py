"""The forecaster: its loss, what it makes of raw rows, and its decoders."""

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.testing import assert_allclose, assert_array_equal

from apps.timeseries import framing, objectives, windows
from apps.timeseries.config import LEVELS
from apps.timeseries.head import outward, point, rising
from apps.timeseries.panel import Panel, Series
from apps.timeseries.serving import Correction, Ensemble
from tests import reference_forecasts
from tests.timeseries_networks import CUTS, FORCED, PANEL, SHAPE, forecaster, inputs, with_gaps

NAN = np.float32(np.nan)
DECODERS = ("direct", "autoregressive")


def missing_here_and_there(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Random values of which a third, and the whole first row, are NaN."""
    rng = np.random.default_rng(seed)
    values = rng.normal(3, 2, size=shape).astype(np.float32)
    values[rng.random(shape) < 1 / 3] = NAN
    values[0] = NAN
    return values


# The loss.


@pytest.mark.parametrize("kind", ["pinball", "mae", "mse"])
def test_the_objective_is_that_of_the_equations(kind: Any) -> None:
    rng = np.random.default_rng(1)
    truth = missing_here_and_there((5, 4, 2))
    answers = rng.normal(size=(5, 4, 2, len(LEVELS) if kind == "pinball" else 1))
    centre, scale = rng.normal(size=(5, 1, 2)), rng.uniform(0.5, 4, size=(5, 1, 2))
    said = {"answers": answers, "centre": centre, "scale": scale}
    said = {name: tf.constant(value, tf.float32) for name, value in said.items()}
    got, _ = objectives.forecasting(lambda *_, **__: said, kind)({}, tf.constant(truth))
    z = (truth - centre) / scale
    want = [
        reference_forecasts.forecast_loss(kind, LEVELS, *each)
        for each in zip(z, answers, strict=True)
    ]
    assert_allclose(got, want, rtol=1e-5)
    assert want[0] == 0 < min(want[1:])


@pytest.mark.parametrize("kind", ["pinball", "mae", "mse"])
def test_what_is_missing_has_no_gradient_and_all_that_is_known_has(kind: Any) -> None:
    truth = missing_here_and_there((5, 4, 2))
    shape = (*truth.shape, len(LEVELS) if kind == "pinball" else 1)
    answers = tf.Variable(np.random.default_rng(1).normal(size=shape), dtype=tf.float32)
    unit = {"centre": tf.zeros([5, 1, 2]), "scale": tf.ones([5, 1, 2])}
    with tf.GradientTape() as tape:
        said = {"answers": answers, **unit}
        loss, _ = objectives.forecasting(lambda *_, **__: said, kind)({}, tf.constant(truth))
    gradient = tape.gradient(loss, answers).numpy()
    assert_array_equal(gradient != 0, np.isfinite(truth)[..., np.newaxis] & np.ones(shape, bool))


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_window_without_truth_teaches_nothing(decoder: str) -> None:
    network = forecaster(**FORCED) if decoder == "autoregressive" else forecaster()
    truth = windows.truth_at(PANEL, np.array([[0, 60], [1, 61]]), SHAPE)
    truth[1], truth[0, 2:5, 1] = NAN, NAN

    def gradients(count: int) -> list[np.ndarray]:
        batch = {**inputs(2), "teacher": truth}
        batch = {name: tf.constant(array[:count]) for name, array in batch.items()}
        with tf.GradientTape() as tape:
            loss, _ = objectives.forecasting(network, "pinball")(batch, tf.constant(truth[:count]))
            total = tf.reduce_sum(loss)
        found = tape.gradient(total, network.trainable_variables)
        return [tf.convert_to_tensor(gradient).numpy() for gradient in found]

    for one, two in zip(gradients(1), gradients(2), strict=True):
        assert np.isfinite(one).all()
        assert_allclose(two, one, rtol=1e-4, atol=1e-5)


# Quantiles.


wild = st.floats(
    width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**100), max_value=2.0**100
)


@given(arrays.arrays(np.float32, (3, len(LEVELS)), elements=wild))
@settings(max_examples=60, deadline=None)
def test_quantiles_can_not_cross_whatever_the_network_says(raw: np.ndarray) -> None:
    found = rising(tf.constant(raw)).numpy()
    assert (np.diff(found, axis=-1) >= 0).all()
    assert_array_equal(found[:, len(LEVELS) // 2], raw[:, len(LEVELS) // 2])


def test_quantiles_are_steps_away_from_the_median() -> None:
    raw = np.random.default_rng(2).normal(size=(4, 5))
    step = np.log1p(np.exp(raw - 2))
    want = [
        raw[:, 2] - step[:, 1] - step[:, 0],
        raw[:, 2] - step[:, 1],
        raw[:, 2],
        raw[:, 2] + step[:, 3],
        raw[:, 2] + step[:, 3] + step[:, 4],
    ]
    assert_allclose(rising(tf.constant(raw, tf.float32)), np.stack(want, -1), rtol=1e-5)
    below, above = tf.constant([[1.0, 2.0]]), tf.constant([[3.0, 4.0]])
    assert_array_equal(outward(tf.constant([[10.0]]), below, above), [[7, 8, 10, 13, 17]])


# From raw rows to the network's unit and back.


@pytest.mark.parametrize("how", ["forward", "mean", "zero"])
@pytest.mark.parametrize("jit", [False, True])
def test_gaps_are_filled_as_asked(how: Any, jit: bool) -> None:
    values = missing_here_and_there((6, 9, 2))
    values[1, :3], values[2, -4:], values[3, 0], values[4, 5] = NAN, NAN, NAN, np.inf
    start = np.random.default_rng(3).normal(size=(6, 1, 2)).astype(np.float32)
    got = tf.function(framing.filled, jit_compile=jit)(tf.constant(values), how, start)
    clean = np.where(np.isfinite(values), values, NAN)
    for row, column in np.ndindex(6, 2):
        want = reference_forecasts.fill(clean[row, :, column], how, start[row, 0, column])
        assert_array_equal(got[row, :, column], want)


@pytest.mark.parametrize("centre", ["window", "last", "training"])
@pytest.mark.parametrize("scale", ["window", "training"])
def test_each_window_has_a_centre_and_a_scale_of_its_own(centre: Any, scale: Any) -> None:
    values = missing_here_and_there((5, 12, 2))
    values[1, :, 0] = 7  # stands still
    mean, deviation = np.float32([4, -1]), np.float32([2, 0.5])
    c, s = framing.normaliser(tf.constant(values), centre, scale, mean, deviation)
    for row, k in np.ndindex(5, 2):
        want = reference_forecasts.normaliser(
            values[row, :, k], centre, scale, mean[k], deviation[k]
        )
        assert_allclose([c[row, 0, k], s[row, 0, k]], want, rtol=1e-5)


@pytest.mark.parametrize("history", [24, 10], ids=["whole", "short"])
@pytest.mark.parametrize(("centre", "decoder"), [("window", "direct"), ("last", "autoregressive")])
def test_in_other_units_the_forecast_is_the_same(centre: str, decoder: str, history: int) -> None:
    network = forecaster(centre=centre, scale="window", decoder=decoder)
    ensemble = Ensemble([network], Correction.of(network))
    given = with_gaps(inputs(4, history))
    a, b = np.float32([0.25, 8]), np.float32([20, -300])
    before = ensemble.forecast(given)
    after = ensemble.forecast({**given, "target": a * given["target"] + b})
    for name, unit in (("quantiles", (a[:, np.newaxis], b[:, np.newaxis])), ("point", (a, b))):
        want = unit[0] * before[name] + unit[1]
        assert_allclose(after[name], want, rtol=1e-4, atol=2e-2 * float(np.abs(a).min()))


def changed_from(panel: Panel, row: int, value: float) -> Panel:
    def changed(series: Series) -> Series:
        target = series.target.copy()
        target[row:] = value
        return replace(series, target=target)

    return replace(panel, series=tuple(changed(series) for series in panel.series))


@pytest.mark.parametrize("value", [1e9, np.nan])
def test_nothing_of_the_future_reaches_inputs_or_statistics(value: float) -> None:
    begin = int(np.searchsorted(PANEL.series[0].seconds, CUTS.train))
    other = changed_from(PANEL, begin, value)
    for one, two in zip(
        windows.statistics(PANEL, CUTS).values(),
        windows.statistics(other, CUTS).values(),
        strict=True,
    ):
        assert_array_equal(one, two)
    last = np.array([[0, begin], [1, begin], [0, begin - 3]])
    own, others = (windows.inputs_at(panel, last, SHAPE) for panel in (PANEL, other))
    batches = windows.WindowBatches(other, last, SHAPE, batch_size=2)
    batched = [inputs for inputs, _ in batches.in_order()]
    for name, array in own.items():
        assert_array_equal(others[name], array)
        assert_array_equal(np.concatenate([part[name] for part in batched]), array)
    assert not np.array_equal(batches.truth(), windows.truth_at(PANEL, last, SHAPE))
    later = np.array([[0, begin + 1]])
    one, two = (windows.inputs_at(panel, later, SHAPE)["target"] for panel in (PANEL, other))
    assert not np.array_equal(one, two)


# The decoders.


def answers(network: Any, given: dict[str, Any], training: bool = True) -> np.ndarray:
    return network(given, training=training)["answers"].numpy()


def test_a_share_of_none_is_no_teacher() -> None:
    network = forecaster(**{**FORCED, "teacher_forcing": 0.0})
    truth = windows.truth_at(PANEL, np.array([[n % 2, 60 + n] for n in range(4)]), SHAPE)
    assert_array_equal(answers(network, {**inputs(), "teacher": truth}), answers(network, inputs()))


def test_a_teacher_is_heard_in_training_and_one_patch_later() -> None:
    network = forecaster(**FORCED)
    truth = windows.truth_at(PANEL, np.array([[n % 2, 60 + n] for n in range(4)]), SHAPE)
    free = answers(network, inputs())
    forced = answers(network, {**inputs(), "teacher": truth})
    patch = SHAPE.patch
    assert_array_equal(forced[:, :patch], free[:, :patch])
    assert (np.abs(forced - free)[:, patch:].max(axis=(1, 3)) > 1e-4).all()
    assert_array_equal(
        answers(network, {**inputs(), "teacher": truth}, training=False),
        answers(network, inputs(), training=False),
    )


def test_a_teacher_who_says_the_same_or_nothing_changes_nothing() -> None:
    network = forecaster(**FORCED)
    said = network(inputs(), training=True)
    own = said["centre"] + said["scale"] * point(said["answers"])
    free = said["answers"].numpy()
    assert_allclose(answers(network, {**inputs(), "teacher": own}), free, rtol=1e-3, atol=1e-4)
    silent = np.full(own.shape, NAN)
    assert_array_equal(answers(network, {**inputs(), "teacher": silent}), free)


def test_a_share_of_the_batch_has_a_teacher() -> None:
    half = forecaster(**{**FORCED, "teacher_forcing": 0.5})
    whole = forecaster(**FORCED)
    batch = inputs(40)
    truth = windows.truth_at(PANEL, np.array([[n % 2, 60 + n] for n in range(40)]), SHAPE)
    free = answers(half, batch)
    forced = answers(whole, {**batch, "teacher": truth})
    mixed = answers(half, {**batch, "teacher": truth})
    like = [np.isclose(mixed, one, atol=1e-5).all(axis=(1, 3)) for one in (free, forced)]
    assert (like[0] ^ like[1]).all()  # each series of each window is one or the other, wholly
    assert 20 < like[1].sum() < 60
    again = answers(half, {**batch, "teacher": truth})
    assert not np.array_equal(mixed, again)


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_input_moves_the_forecast_and_only_its_own(decoder: str) -> None:
    network = forecaster(decoder=decoder)
    before = answers(network, inputs(), training=False)
    for name, array in inputs().items():
        for row in (0, array.shape[1] - 1):
            moved = np.zeros(len(before))
            for change in (-3_000, 5_000):
                changed = {**inputs(), name: array.copy()}
                changed[name][1, row] += change
                apart = np.abs(answers(network, changed, training=False) - before)
                moved += apart.max(axis=(1, 2, 3))
            assert_allclose(np.delete(moved, 1), 0, atol=1e-5)
            assert moved[1] > 1e-4, (name, row)


# Other arithmetic.


def lesson(unit: float = 1) -> tuple[dict[str, Any], np.ndarray]:
    """Inputs with gaps, and a teacher, and the truth."""
    truth = windows.truth_at(PANEL, np.array([[n % 2, 60 + n] for n in range(4)]), SHAPE) * unit
    given = with_gaps(inputs())
    return {**given, "target": given["target"] * np.float32(unit), "teacher": truth}, truth


def trained(given: dict[str, Any], truth: np.ndarray, **settings: Any) -> list[np.ndarray]:
    """Loss and gradients of a batch."""
    network = forecaster(**settings)
    objective = objectives.forecasting(network, network.settings.loss)

    def compute(given: dict[str, Any], truth: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss, _ = objective(given, truth)
        weights = network.trainable_variables
        gradients = tape.gradient(loss, [weight.value for weight in weights])
        return [loss, *(tf.convert_to_tensor(gradient) for gradient in gradients)]

    if network.settings.jit:
        compute = tf.function(compute, jit_compile=True)
    given = {name: tf.constant(array) for name, array in given.items()}
    return [value.numpy() for value in compute(given, tf.constant(truth))]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(
    ("policy", "tolerance"), [("mixed_bfloat16", 0.05), ("mixed_float16", 0.01)]
)
def test_half_precision_has_the_same_loss(policy: str, tolerance: float, decoder: str) -> None:
    given, truth = lesson(1000)  # raw numbers are far more than half precision holds
    want = trained(given, truth, decoder=decoder)
    keras.mixed_precision.set_dtype_policy(policy)
    got = trained(given, truth, decoder=decoder)
    assert_allclose(got[0], want[0], rtol=tolerance)
    assert all(np.isfinite(gradient).all() for gradient in got[1:])


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, FORCED], ids=DECODERS)
def test_xla_has_the_same_loss_and_gradients(settings: dict[str, Any]) -> None:
    want = trained(*lesson(), **settings)
    for one, other in zip(trained(*lesson(), jit=True, **settings), want, strict=True):
        assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(other).max())
