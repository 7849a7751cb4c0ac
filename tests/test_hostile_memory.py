"""Training on tables of 2 GB, in memory that does not follow from how large the file is.

What is kept of a table: of time series 4 bytes a number of the columns that have a role, twice
while they are laid on their grid, and some 100 bytes a row; of texts the texts themselves and 4
bytes a word; and one piece of ``common.data.CHUNK`` bytes at a time of the rest.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import big_tables
from tests.commands import ROOT

SIZE = 2 * 10**9
BASE = 3e9
"""Bytes of TensorFlow, a small network, the scores and the baselines, whatever the table."""

# Runs the command, and says how it ended and what it took at its peak: the peak of this process's
# children is that of the largest, so each has a parent of its own.
PEAK = """
import resource, subprocess, sys
done = subprocess.run([sys.executable, "-m", *sys.argv[1:]], stdout=2)
print(done.returncode, 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak(*words: object) -> int:
    """Bytes that a command took that ended well."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    code, taken = map(int, done.stdout.split())
    assert code == 0, done.stderr[-3000:]
    return taken


def timeseries(path: Path, run: Path) -> list[object]:
    columns = [f"c{number}" for number in range(big_tables.CHANNELS)]
    words: list[object] = ["apps.timeseries.train", "--data", path, "--run-dir", run]
    words += ["--target", "y", "--series-column", "series", "--past-covariates", *columns]
    words += ["--history", 24, "--horizon", 6, "--units", 8, "--epochs", 1, "--members", 1]
    return [*words, "--no-refit", "--batch-size", 8192]


def sentiment(path: Path, run: Path) -> list[object]:
    words: list[object] = ["apps.sentiment.train", "--data", path, "--run-dir", run]
    words += ["--units", 8, "--embedding", 8, "--epochs", 1, "--members", 1]
    return [*words, "--batch-size", 256, "--max-tokens", 100]


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_training_on_2_gb_of_numbers_takes_a_few_times_what_they_are(tmp_path: Path) -> None:
    """At most 12 bytes a number (three float32) above what a small table takes."""
    count = big_tables.numbers(tmp_path / "t.csv", SIZE)
    assert (tmp_path / "t.csv").stat().st_size > 0.95 * SIZE
    assert peak(*timeseries(tmp_path / "t.csv", tmp_path / "run")) < BASE + 12 * count


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_training_on_2_gb_of_texts_takes_twice_what_they_are(tmp_path: Path) -> None:
    """At most twice the size of the file above what a small one takes."""
    big_tables.reviews(tmp_path / "t.csv", SIZE)
    assert (tmp_path / "t.csv").stat().st_size >= SIZE
    assert peak(*sentiment(tmp_path / "t.csv", tmp_path / "run")) < BASE + 2 * SIZE
