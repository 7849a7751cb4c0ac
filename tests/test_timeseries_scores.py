"""Scores of forecasts, their calibration, and their pictures."""

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from apps.timeseries import calibration, metrics, plots
from apps.timeseries.config import LEVELS
from apps.timeseries.panel import Cuts, Forecast, cut
from tests import reference_forecasts
from tests.timeseries_panels import HOUR, waves

NORMAL = stats.norm.ppf(LEVELS)
MEDIAN = LEVELS.index(0.5)


def some_forecast(seed: int = 0) -> tuple[Forecast, np.ndarray, metrics.Scales]:
    """Two targets of different units, some of the truth missing, one scale that is zero."""
    rng = np.random.default_rng(seed)
    unit = np.array([1.0, 300.0])
    point = rng.normal(2, 1, (7, 5, 2)) * unit
    spread = np.sort(rng.gamma(2, 1, (7, 5, 2, len(LEVELS))), axis=-1) - 2
    quantiles = point[..., np.newaxis] + spread * unit[:, np.newaxis]
    truth = rng.normal(2.5, 1.5, (7, 5, 2)) * unit
    truth[rng.random(truth.shape) < 0.2] = np.nan
    seasonal = rng.uniform(0.5, 2, (7, 2)) * unit
    seasonal[3, 1] = 0
    return Forecast(point, quantiles), truth, metrics.Scales(seasonal, np.array([0.7, 0.0]))


def gaussian(count: int, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles of a normal law whose deviation is `spread` times the truth's."""
    rng = np.random.default_rng(seed)
    shape = (count, 4, 2)
    middle, size = rng.normal(size=shape), rng.uniform(0.5, 5, shape)
    truth = middle + size * rng.normal(size=shape)
    return middle[..., np.newaxis] + spread * size[..., np.newaxis] * NORMAL, truth


# Scores


def test_every_score_is_the_one_by_hand() -> None:
    forecast, truth, scales = some_forecast()
    got = metrics.scores(forecast, truth, scales)
    wanted = reference_forecasts.forecast_scores(
        forecast.point, forecast.quantiles, truth, LEVELS, scales.seasonal, scales.deviation
    )
    assert got == pytest.approx(wanted)
    assert set(got) == set(metrics.by_step(forecast, truth, scales))


def test_scores_by_step_and_by_target_are_those_of_that_step_and_target() -> None:
    forecast, truth, scales = some_forecast()
    steps = metrics.by_step(forecast, truth, scales)
    targets = metrics.by_target(forecast, truth, scales)
    for step in range(truth.shape[1]):
        part = slice(step, step + 1)
        one = Forecast(forecast.point[:, part], forecast.quantiles[:, part])
        wanted = metrics.scores(one, truth[:, part], scales)
        assert {name: values[step] for name, values in steps.items()} == pytest.approx(wanted)
    alone = Forecast(forecast.point[..., :1], forecast.quantiles[:, :, :1])
    own = metrics.Scales(scales.seasonal[:, :1], scales.deviation[:1])
    wanted = metrics.scores(alone, truth[..., :1], own)
    assert {name: values[0] for name, values in targets.items()} == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("truth", "point", "wanted"), [(1, 3, 100), (0, 0, 0), (0, 2, 200), (-1, 1, 200), (4, 4, 0)]
)
def test_smape_goes_from_0_to_200(truth: float, point: float, wanted: float) -> None:
    flat = np.full((1, 1, 1), float(point))
    forecast = Forecast(flat, np.repeat(flat[..., np.newaxis], len(LEVELS), axis=-1))
    scales = metrics.Scales(np.ones((1, 1)), np.ones(1))
    got = metrics.scores(forecast, np.full((1, 1, 1), float(truth)), scales)
    assert got["smape"] == pytest.approx(wanted)
    assert got["crps"] == pytest.approx(got["mae"])  # of a forecast that knows no doubt


def test_what_cannot_be_scored_is_nan_and_a_forecast_that_is_nan_is_seen() -> None:
    forecast, truth, scales = some_forecast()
    nothing = metrics.scores(forecast, np.full_like(truth, np.nan), scales)
    assert all(np.isnan(value) for value in nothing.values())
    flat = metrics.Scales(np.zeros_like(scales.seasonal), scales.deviation)
    got = metrics.scores(forecast, truth, flat)
    assert np.isnan(got["mase"])
    assert np.isfinite(got["mae"])
    place = tuple(np.argwhere(np.isfinite(truth))[0])
    for field in ("point", "quantiles"):
        broken = getattr(forecast, field).copy()
        broken[place] = np.nan
        broken_scores = metrics.scores(replace(forecast, **{field: broken}), truth, scales)
        seen = "mae" if field == "point" else "coverage_80"
        assert np.isnan(broken_scores[seen])


def test_the_crps_of_a_gaussian_is_near_the_closed_form() -> None:
    quantiles, truth = gaussian(20_000, 1.0)
    size = (quantiles[..., -1] - quantiles[..., 0]) / (NORMAL[-1] - NORMAL[0])
    z = (truth - quantiles[..., MEDIAN]) / size
    density, share = stats.norm.pdf(z), stats.norm.cdf(z)
    closed = (size * (z * (2 * share - 1) + 2 * density - 1 / np.sqrt(np.pi))).mean()
    forecast = Forecast(quantiles[..., MEDIAN], quantiles)
    got = metrics.scores(forecast, truth, metrics.Scales(np.ones((20_000, 2)), np.ones(2)))
    assert got["crps"] == pytest.approx(closed, rel=0.01)
    assert got["coverage_80"] == pytest.approx(0.8, abs=0.01)
    assert_allclose(metrics.reliability(forecast, truth), LEVELS, atol=0.01)


def test_scales_see_what_is_before_and_know_what_is_missing() -> None:
    panel = waves(days=12, stations=2)
    target = panel.series[1].target.copy()
    target[30:50, 0] = np.nan
    panel = replace(panel, series=(panel.series[0], replace(panel.series[1], target=target)))
    cuts = Cuts(100 * HOUR, 150 * HOUR, 288 * HOUR)
    scale, deviation = metrics.seasonal_scale(panel, cuts, 24), metrics.deviation(panel, cuts)
    for number, series in enumerate(panel.series):
        for column in range(2):
            wanted = reference_forecasts.seasonal_difference(series.target[:150, column], 24)
            assert scale[number, column] == pytest.approx(wanted, rel=1e-5)
    both = np.concatenate([series.target[:100] for series in panel.series])
    assert_allclose(deviation, np.nanstd(both.astype(np.float64), axis=0), rtol=1e-5)
    target[150:] = 1e6
    assert_array_equal(metrics.seasonal_scale(panel, cuts, 24), scale)
    windows = np.array([[1, 150], [0, 160]])
    assert_array_equal(metrics.scales_at(panel, cuts, 24, windows).seasonal, scale[[1, 0]])


# Comparison


def test_the_ratio_is_in_its_interval_which_is_the_same_every_time() -> None:
    rng = np.random.default_rng(3)
    windows, horizon = 3_000, 48
    noise = rng.normal(size=windows + horizon)
    truth = np.stack([noise[k : k + windows] for k in range(horizon)], axis=1)[..., np.newaxis]
    truth[rng.random(truth.shape) < 0.1] = np.nan
    zero = np.zeros_like(truth)
    halves = [Forecast(zero + np.nan_to_num(truth) * (1 - k), zero) for k in (0.3, 0.5)]
    origins = np.stack([np.zeros(windows, int), np.arange(100, 100 + windows)], axis=1)
    got = metrics.ratio(*halves, truth, origins)
    assert got == pytest.approx((0.6, 0.6, 0.6))  # errors in proportion leave nothing open
    naive, other = Forecast(zero, zero), Forecast(zero + rng.normal(size=zero.shape), zero)
    start = time.perf_counter()
    ratio, low, high = metrics.ratio(naive, other, truth, origins)
    assert time.perf_counter() - start < 2
    assert low < 1 / np.sqrt(2) < high  # E|y| over E|y - z|, of two standard normals
    assert low < ratio < high
    assert high - low < 0.1
    assert (ratio, low, high) == metrics.ratio(naive, other, truth, origins)
    order = rng.permutation(windows)
    moved = [Forecast(f.point[order], f.quantiles[order]) for f in (naive, other)]
    assert metrics.ratio(*moved, truth[order], origins[order]) == pytest.approx((ratio, low, high))


def test_overlapping_windows_make_the_interval_wider_than_single_ones_would() -> None:
    rng = np.random.default_rng(5)
    common = np.repeat(rng.gamma(1, 1, 60), 20)  # luck that 20 origins share
    truth = (common * rng.choice([-1, 1], 1200))[:, np.newaxis, np.newaxis]
    zero = np.zeros_like(truth)
    other = Forecast(truth - 1, zero)
    origins = np.stack([np.zeros(1200, int), np.arange(1200)], axis=1)
    _, low, high = metrics.ratio(Forecast(zero, zero), other, truth, origins)
    far = np.repeat(truth, 40, axis=1)
    zeros = np.zeros_like(far)
    _, lower, higher = metrics.ratio(Forecast(zeros, zeros), Forecast(far - 1, zeros), far, origins)
    assert higher - lower > 1.2 * (high - low)


def test_a_scaled_ratio_hears_small_targets_too_and_few_windows_have_no_interval() -> None:
    truth = np.array([[[2.0, 2000.0]], [[4.0, 1000.0]], [[6.0, np.nan]]])
    zero = np.zeros_like(truth)
    doubled = Forecast(np.nan_to_num(truth) - [[[4, 300]]], zero)
    origins = np.array([[0, 10], [0, 11], [0, 12]])
    scale = np.repeat([[2.0, 1000.0]], 3, axis=0)
    ratio, low, high = metrics.ratio(Forecast(zero, zero), doubled, truth, origins, scale)
    assert ratio == pytest.approx((1 + 2 + 2 + 1 + 3) / (2 + 2 + 2 + 0.3 + 0.3))
    assert low <= ratio <= high
    assert metrics.ratio(Forecast(zero, zero), doubled, truth, origins)[0] == pytest.approx(
        3012 / 612
    )
    _, low, high = metrics.ratio(
        *(Forecast(np.repeat(f, 9, 1), zero) for f in (zero, doubled.point)),
        np.repeat(truth, 9, axis=1),
        origins,
    )
    assert np.isnan([low, high]).all()


# Calibration


def test_residual_quantiles_are_errors_of_conformal_rank() -> None:
    errors = np.arange(1.0, 40.0)  # 39 of them: rank (n + 1) tau is whole
    point = np.zeros((60, 2, 1))
    truth = np.full((60, 2, 1), np.nan)
    truth[:39, 0, 0] = np.random.default_rng(0).permutation(errors)
    truth[:4, 1, 0] = [7, -1, 3, 5]
    got = calibration.residual_quantiles(point, truth)
    assert_allclose(got[0, 0], [40 * level for level in LEVELS])
    ranks = [1, 1, 1, 1, 2, 2.5, 3, 4, 4, 4, 4]  # of five possible places; 0 and 5 are not there
    assert_allclose(got[1, 0], np.interp(ranks, [1, 2, 3, 4], [-1, 3, 5, 7]))


def test_a_step_without_errors_has_those_of_the_others() -> None:
    rng = np.random.default_rng(1)
    point, truth = rng.normal(size=(2, 50, 3, 2))
    truth[:, 1, 0] = np.nan
    truth[:, :, 1] = np.nan
    got = calibration.residual_quantiles(point, truth)
    pooled = np.concatenate([point[:, [0, 2], 0], truth[:, [0, 2], 0]]).reshape(2, 100, 1, 1)
    assert_allclose(got[1, 0], calibration.residual_quantiles(*pooled)[0, 0])
    assert np.isnan(got[:, 1]).all()
    assert np.isnan(calibration.residual_quantiles(point[:0], truth[:0])).all()


def test_scaled_residuals_cover_series_of_any_size() -> None:
    rng = np.random.default_rng(2)
    scale = rng.choice([1.0, 1000.0], (4000, 1, 1))
    point = rng.normal(size=(4000, 3, 1)) * scale
    truth = point + scale * rng.gamma(2, 1, (4000, 3, 1)) * [[[1.0], [2.0], [3.0]]]
    old, new = slice(0, 2000), slice(2000, 4000)
    offsets = calibration.residual_quantiles(point[old], truth[old], scale[old])
    quantiles = calibration.widen(point[new], offsets, scale[new])
    for size in (1.0, 1000.0):
        here = scale[new, 0, 0] == size
        shares = metrics.reliability(Forecast(point[new][here], quantiles[here]), truth[new][here])
        assert_allclose(shares, LEVELS, atol=0.05)


def test_the_scale_of_a_window_is_its_deviation_and_never_zero() -> None:
    history = np.array([[1.0, np.nan, 5.0], [2, 2, 2], [np.nan] * 3])[..., np.newaxis]
    got = calibration.window_scale(history, np.full((3, 1, 1), 50.0))
    assert_allclose(got[:, 0, 0], [2, 0.5, 50])


def test_what_is_calibrated_is_left_alone_and_what_is_narrow_gets_wide() -> None:
    for spread, wanted in ((1.0, 1.0), (0.5, 2.0), (4.0, 0.25)):
        quantiles, truth = gaussian(30_000, spread)
        truth[:100] = np.nan
        factors = calibration.spread_factors(quantiles, truth)
        assert_allclose(np.delete(factors, MEDIAN), wanted, rtol=0.05)
        right = calibration.respread(quantiles, factors)
        assert_array_equal(right[..., MEDIAN], quantiles[..., MEDIAN])
        shares = metrics.reliability(Forecast(right[..., MEDIAN], right), truth)
        assert_allclose(np.delete(shares, MEDIAN), np.delete(LEVELS, MEDIAN), atol=1e-4)


def test_lopsided_quantiles_are_put_right_on_each_side() -> None:
    quantiles, truth = gaussian(30_000, 1.0)
    middle = quantiles[..., MEDIAN, np.newaxis]
    quantiles = middle + (quantiles - middle) * np.where(NORMAL > 0, 0.4, 1.6)
    factors = calibration.spread_factors(quantiles, truth)
    assert_allclose(factors[:MEDIAN], 1 / 1.6, rtol=0.06)
    assert_allclose(factors[MEDIAN + 1 :], 1 / 0.4, rtol=0.06)


def test_factors_stay_sane_where_there_is_nothing_to_learn_from() -> None:
    flat = np.zeros((9, 2, 1, len(LEVELS)), np.float32)
    missing = np.full((9, 2, 1), np.nan)
    assert_array_equal(calibration.spread_factors(flat, missing), 1)
    factors = calibration.spread_factors(flat, missing + np.nan_to_num(missing, nan=3.0))
    assert_array_equal(factors, 1)
    far = calibration.spread_factors(flat, np.full((9, 2, 1), 3.0))
    assert np.isfinite(far).all()
    assert (far >= calibration.NARROWEST).all()
    assert (far <= calibration.WIDEST).all()


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.float32, (3, 2, 1, len(LEVELS)), elements=st.floats(-1e6, 1e6, width=32)),
    arrays.arrays(np.float64, len(LEVELS), elements=st.floats(0.2, 5)),
    arrays.arrays(np.float64, (3, 2, 1), elements=st.floats(-1e6, 1e6) | st.just(np.nan)),
)
def test_quantiles_never_cross(values: np.ndarray, factors: np.ndarray, truth: np.ndarray) -> None:
    quantiles = np.sort(values, axis=-1)
    for chosen in (factors, calibration.spread_factors(quantiles, truth)):
        moved = calibration.respread(quantiles, chosen)
        assert moved.dtype == np.float32
        assert (np.diff(moved, axis=-1) >= 0).all()
    offsets = calibration.residual_quantiles(quantiles[..., 0], truth)
    widened = calibration.widen(quantiles[..., MEDIAN], offsets, np.full((3, 1, 1), 7.0))
    rising = np.diff(widened, axis=-1)
    assert ((rising >= 0) | np.isnan(rising)).all()


# Pictures


@pytest.mark.parametrize(("stations", "targets"), [(1, 1), (1, 7), (3, 1), (2, 2)])
def test_every_picture_can_be_drawn(stations: int, targets: int, tmp_path: object) -> None:
    panel = waves(days=10, stations=stations, targets=targets)
    count = 20
    origins = np.stack(
        [np.repeat(np.arange(stations), count), np.tile(np.arange(150, 150 + count), stations)], 1
    )
    rng = np.random.default_rng(0)
    quantiles = np.sort(rng.normal(size=(len(origins), 6, targets, len(LEVELS))), axis=-1)
    forecast = Forecast(quantiles[..., MEDIAN], quantiles)
    fans = plots.fans(panel, origins, forecast, history=48)
    assert len(fans.axes) == 6
    assert len(fans.legends) == 1
    titles = {(axes.get_title().partition(",")[0], axes.get_ylabel()) for axes in fans.axes}
    assert len(titles) >= min(6, targets) if stations == 1 else len(titles) >= stations
    # The future begins where the table ends.
    ends = tuple(
        replace(series, seconds=series.seconds[:200], target=series.target[:200])
        for series in panel.series
    )
    last = np.stack([np.arange(stations), np.full(stations, 200)], axis=1)
    ahead = Forecast(forecast.point[:stations], quantiles[:stations])
    future = plots.forecast(replace(panel, series=ends), last, ahead, history=48)
    drawn = [axes for axes in future.axes if axes.axison]
    assert len(drawn) == min(6, stations * targets)
    lines = plots.error_by_step({"network": np.ones(6), "seasonal_naive": np.ones(6)}, "mae", panel)
    assert lines.axes[0].get_xlabel() == "hours ahead"
    shares = plots.reliability({"network": np.array(LEVELS)})
    for figure in (fans, future, lines, shares):
        figure.canvas.draw()


@pytest.mark.parametrize(
    ("frequency", "step", "horizon", "wanted"),
    [
        ("30min", 1_800, 48, (0.5, "hours")),
        ("h", 3_600, 96, (1 / 24, "days")),
        ("D", 86_400, 1, (1.0, "days")),
        ("B", 86_400, 14, (1.0, "business days")),
        ("BME", 86_400 * 30, 12, (1.0, "months")),
        ("2W-SUN", 86_400 * 14, 4, (1.0, "weeks")),
        ("s", 1, 60, (1.0, "seconds")),
    ],
)
def test_the_axis_of_time_has_a_unit_that_fits(
    frequency: str, step: int, horizon: int, wanted: tuple[float, str]
) -> None:
    panel = waves(days=2, stations=1)
    series = replace(panel.series[0], seconds=np.arange(48, dtype=np.int64) * step)
    panel = replace(panel, series=(series,), frequency=frequency)
    figure = plots.error_by_step({"network": np.arange(1.0, horizon + 1)}, "mase", panel)
    assert figure.axes[0].get_xlabel() == f"{wanted[1]} ahead"
    assert_allclose(figure.axes[0].lines[0].get_xdata()[0], wanted[0])


def test_a_split_leaves_the_scale_the_training_and_validation_part() -> None:
    panel = waves(days=20, stations=1, targets=1)
    cuts = cut(panel, (0.7, 0.1, 0.2))
    wanted = reference_forecasts.seasonal_difference(panel.series[0].target[: 24 * 16, 0], 24)
    assert metrics.seasonal_scale(panel, cuts, 24)[0, 0] == pytest.approx(wanted, rel=1e-5)
