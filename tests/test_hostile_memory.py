"""Training on tables of 2 GB, in memory that has a bound.

What is kept of a table: of time series 4 bytes a number of the columns that have a role, twice
while they are laid on their grid, and some 100 bytes a row; of texts the texts themselves and 4
bytes a word; and one piece of ``common.data.CHUNK`` bytes at a time of the rest. The ridge beside
the forecaster has a standardised copy of the numbers.
"""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from apps.timeseries import standardise
from apps.timeseries.config import LEVELS
from apps.timeseries.panel import MOST_QUANTILES, scored
from tests import big_tables

SIZE = 2 * 10**9
BASE = 3e9
"""Bytes of TensorFlow, a small network, the scores and the baselines, whatever the table."""


def test_moments_block_by_block_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    parts = [random.normal(3, 5, (count, 3)).astype(np.float32) for count in (100, 7, 1)]
    parts[0][::3, 1] = np.nan
    parts[1][:] = np.nan
    monkeypatch.setattr(standardise, "BLOCK", 13)
    mean, deviation = standardise.together(parts)
    whole = np.concatenate(parts).astype(np.float64)
    assert_allclose(mean, np.nanmean(whole, axis=0), rtol=1e-12)
    assert_allclose(deviation, np.nanstd(whole, axis=0), rtol=1e-12)
    means, deviations = standardise.moments(parts)
    assert_allclose(means[0], np.nanmean(parts[0].astype(np.float64), axis=0), rtol=1e-12)
    assert_allclose([means[1], deviations[1]], [mean, deviation])


def test_no_more_windows_are_scored_than_fit_in_memory() -> None:
    windows = np.arange(2 * 10**6).reshape(-1, 2)
    assert len(scored(windows[:1000], horizon=24, targets=2)) == 1000
    few = scored(windows, horizon=24, targets=2)
    assert MOST_QUANTILES / 2 < len(few) * 24 * 2 * len(LEVELS) <= MOST_QUANTILES
    assert set(np.diff(few[:, 0])) == {few[1, 0] - few[0, 0]}


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_training_on_2_gb_of_numbers_takes_a_few_times_what_they_are(tmp_path: Path) -> None:
    """At most 12 bytes a number (three float32) above what a small table takes."""
    count = big_tables.numbers(tmp_path / "t.csv", SIZE)
    assert (tmp_path / "t.csv").stat().st_size > 0.95 * SIZE
    assert big_tables.peak("timeseries", tmp_path / "t.csv", tmp_path / "run") < BASE + 12 * count


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_training_on_2_gb_of_texts_takes_twice_what_they_are(tmp_path: Path) -> None:
    """At most twice the size of the file above what a small one takes."""
    big_tables.reviews(tmp_path / "t.csv", SIZE)
    assert (tmp_path / "t.csv").stat().st_size >= SIZE
    assert big_tables.peak("sentiment", tmp_path / "t.csv", tmp_path / "run") < BASE + 2 * SIZE
