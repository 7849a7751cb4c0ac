"""What a sceptic would use instead, and that it can't see the future."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge

from apps.timeseries import baselines, metrics, ridge
from apps.timeseries.config import LEVELS
from apps.timeseries.panel import Forecast, Panel, cut, gather, origins
from apps.timeseries.shape import DAY, WEEK, Shape
from tests.timeseries_panels import electricity, waves

NAMES = {"last_value", "seasonal_naive", "drift", "ridge"}
SHAPE = Shape(history=48, horizon=6, patch=6, season=24, lags=(24,), cycles=(DAY,))


def of_test(panel: Panel, shape: Shape = SHAPE) -> tuple[dict[str, Forecast], np.ndarray]:
    cuts = cut(panel, (0.6, 0.2, 0.2))
    windows = origins(panel, cuts, "test", shape.history, shape.horizon)
    return baselines.forecasts(panel, cuts, shape, windows, seed=0), windows


def changed(panel: Panel, number: int, row: int, field: str, value: float = np.nan) -> Panel:
    """A series whose column is something else from a row on."""
    series = list(panel.series)
    values = getattr(series[number], field).copy()
    values[row:] = 17 - 3 * values[row:] if np.isnan(value) else value
    series[number] = replace(series[number], **{field: values})
    return replace(panel, series=tuple(series))


def naive(name: str, history: Any, horizon: int, season: int, fallback: float = -1.0) -> np.ndarray:
    """A naive forecast of one window of one target."""
    values = np.array(history, np.float32)[np.newaxis, :, np.newaxis]
    shape = replace(SHAPE, history=values.shape[1], horizon=horizon, season=season)
    return baselines.NAIVE[name](values, np.full((1, 1, 1), fallback), shape)[0, :, 0]


NOT = np.nan


@pytest.mark.parametrize(
    ("name", "history", "wanted"),
    [
        ("last_value", [5, 1, 2, 3], [3, 3, 3, 3]),
        ("last_value", [5, 1, NOT, NOT], [1, 1, 1, 1]),
        ("last_value", [NOT] * 4, [-1, -1, -1, -1]),
        ("seasonal_naive", [9, 9, 1, 2, 3], [1, 2, 3, 1]),
        ("seasonal_naive", [4, 5, 6, 1, NOT, 3], [1, 5, 3, 1]),
        ("seasonal_naive", [5, 6, 1, NOT, NOT], [1, 5, 6, 1]),  # history is not whole seasons
        ("seasonal_naive", [NOT, 2, 7], [7, 2, 7, 7]),  # nothing of a phase: the last value
        ("seasonal_naive", [NOT, NOT, NOT], [-1, -1, -1, -1]),
        ("drift", [1, 9, 2, 7], [9, 11, 13, 15]),
        ("drift", [NOT, 1, 5, 3, NOT], [5, 6, 7, 8]),  # a step of 1, from 3 on
        ("drift", [NOT, 4, NOT], [4, 4, 4, 4]),
        ("drift", [NOT, NOT], [-1, -1, -1, -1]),
    ],
)
def test_a_naive_forecast_is_the_one_by_hand(name: str, history: Any, wanted: Any) -> None:
    assert_allclose(naive(name, history, horizon=4, season=3), wanted)


def test_every_baseline_gives_forecasts_in_the_targets_units_and_honest_intervals() -> None:
    panel = waves(days=60)
    got, windows = of_test(panel)
    assert set(got) == NAMES
    truth = gather(panel, windows, 0, SHAPE.horizon, "target")
    scales = metrics.scales_at(panel, cut(panel, (0.6, 0.2, 0.2)), 24, windows)
    found = {name: metrics.scores(forecast, truth, scales) for name, forecast in got.items()}
    for name, forecast in got.items():
        assert forecast.point.shape == truth.shape
        assert forecast.quantiles.shape == (*truth.shape, len(LEVELS))
        assert forecast.point.dtype == forecast.quantiles.dtype == np.float32
        assert (np.diff(forecast.quantiles, axis=-1) >= 0).all()
        assert found[name]["coverage_80"] == pytest.approx(0.8, abs=0.06)
    # The push is known ahead, and only the ridge is told.
    assert found["ridge"]["mase"] < 0.4 * found["seasonal_naive"]["mase"]
    again, _ = of_test(panel)
    for name in NAMES:
        assert_array_equal(again[name].quantiles, got[name].quantiles)


@pytest.mark.parametrize("field", ["target", "past"])
def test_no_baseline_sees_what_comes_after_the_origin(field: str) -> None:
    panel = waves()
    before, windows = of_test(panel)
    place = len(windows) // 3
    number, row = windows[place]
    after, _ = of_test(changed(panel, number, row, field))
    for name in NAMES:
        assert_array_equal(after[name].point[place], before[name].point[place])
        assert_array_equal(after[name].quantiles[place], before[name].quantiles[place])
    # An hour later it is history, and tells.
    if field == "target":
        assert (after["ridge"].point[place + 1] != before["ridge"].point[place + 1]).any()


def test_the_fit_does_not_see_the_test_part() -> None:
    panel = waves()
    before, windows = of_test(panel)
    first = int(windows[0, 1])
    other = panel
    for number in range(len(panel.series)):
        for field in ("target", "past"):
            other = changed(other, number, first, field)
    after, _ = of_test(other)
    begin = windows[:, 1] == first
    assert begin.sum() == len(panel.series)
    for name in NAMES:
        assert_array_equal(after[name].quantiles[begin], before[name].quantiles[begin])
    covariate = changed(panel, 0, first, "future")
    moved, _ = of_test(covariate)
    assert (moved["ridge"].point[0] != before["ridge"].point[0]).any()
    assert_array_equal(moved["drift"].point[0], before["drift"].point[0])


def test_gaps_leave_every_baseline_finite() -> None:
    panel = waves(stations=3)
    rng = np.random.default_rng(4)
    broken = []
    for number, series in enumerate(panel.series):
        columns = {}
        for field in ("target", "past", "future"):
            values = getattr(series, field).copy()
            values[rng.random(values.shape) < 0.3] = np.nan
            columns[field] = values
        if number == 1:
            columns["target"][:, 1] = np.nan  # never measured here
            columns["target"][780:860] = np.nan
        broken.append(replace(series, **columns))
    got, windows = of_test(replace(panel, series=tuple(broken)))
    assert len(windows)
    for forecast in got.values():
        assert np.isfinite(forecast.point).all()
        assert np.isfinite(forecast.quantiles).all()


def test_a_history_without_a_value_has_the_training_mean() -> None:
    panel = waves(stations=1)
    cuts = cut(panel, (0.6, 0.2, 0.2))
    series = panel.series[0]
    row = 24 * 36
    target = series.target.copy()
    target[row - SHAPE.history : row, 1] = np.nan
    panel = replace(panel, series=(replace(series, target=target),))
    got = baselines.forecasts(panel, cuts, SHAPE, np.array([[0, row]]), seed=0)
    mean = series.target[: 24 * 24, 1].mean()
    for name in NAMES - {"ridge"}:
        assert_allclose(got[name].point[0, :, 1], mean, rtol=1e-5)
    spread = series.target[: 24 * 24, 1].std()
    assert (np.abs(got["ridge"].point[0, :, 1] - mean) < 3 * spread).all()


def test_the_ridge_is_the_ridge_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    matrix, answers = rng.normal(2, 1, (50, 7)), rng.normal(size=(50, 3))
    matrix[:, 6] = matrix[:, 5]  # as constant or double columns are
    fit = ridge._Fit(matrix, answers)
    for penalty in (1e-6, 0.1, 10.0):
        weights, intercept = fit.weights(penalty)
        wanted = Ridge(alpha=50 * penalty, solver="svd").fit(matrix, answers)
        assert_allclose(weights, wanted.coef_.T, rtol=1e-5, atol=1e-7)
        assert_allclose(intercept, wanted.intercept_, rtol=1e-5, atol=1e-7)


def test_too_many_windows_are_thinned_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = waves(stations=1)
    inputs = ridge._Inputs(panel, SHAPE, "last")
    windows = np.stack([np.zeros(700, int), np.arange(100, 800)], axis=1)
    few = inputs.sample(windows, 200, np.random.default_rng(0))  # rows of two targets each
    assert len(few) == 100
    assert (np.diff(few[:, 1]) > 0).all()
    assert np.diff(few[:, 1]).max() < 15
    assert len(set(few[:, 1] % 7)) == 7  # no phase is left out
    monkeypatch.setattr(ridge, "BYTES", 80 * inputs(windows[:1])[0].nbytes)
    assert len(inputs.sample(windows, 10_000, np.random.default_rng(0))) == 80
    monkeypatch.undo()
    whole, _ = of_test(panel)
    monkeypatch.setattr(ridge, "ROWS", 500)
    thin, _ = of_test(panel)
    assert (thin["ridge"].point != whole["ridge"].point).any()
    assert_array_equal(thin["drift"].point, whole["drift"].point)


@pytest.mark.parametrize(("covariates", "least", "most"), [(True, 0.46, 0.505), (False, 0.6, 0.63)])
def test_electricity_has_the_known_numbers(covariates: bool, least: float, most: float) -> None:
    panel = electricity()
    if not covariates:
        bare = tuple(replace(series, future=series.future[:, :0]) for series in panel.series)
        panel = replace(panel, series=bare, roles=replace(panel.roles, future=()))
    cuts = cut(panel, (0.7, 0.1, 0.2))
    shape = Shape(history=336, horizon=48, patch=24, season=336, lags=(), cycles=(DAY, WEEK))
    windows = origins(panel, cuts, "test", shape.history, shape.horizon)
    assert len(windows) == 3504 - 48 + 1
    got = baselines.forecasts(panel, cuts, shape, windows, seed=0)
    truth = gather(panel, windows, 0, shape.horizon, "target")
    scales = metrics.scales_at(panel, cuts, shape.season, windows)
    mase = {name: metrics.scores(f, truth, scales)["mase"] for name, f in got.items()}
    assert mase["seasonal_naive"] == pytest.approx(0.825, abs=0.001)
    assert least < mase["ridge"] < most
