"""Training on tables of 2 GB, in memory that has a bound.

What is kept of a table: of time series 4 bytes a number of the columns that have a role, twice
while they are laid on their grid, and some 100 bytes a row; of texts the texts themselves and 4
bytes a word; and one piece of ``common.data.CHUNK`` bytes at a time of the rest. The ridge beside
the forecaster has a standardised copy of the numbers.
"""

from pathlib import Path

import pytest

from tests import big_tables

SIZE = 2 * 10**9
BASE = 3e9
"""Bytes of TensorFlow, a small network, the scores and the baselines, whatever the table."""


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
