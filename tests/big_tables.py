"""Tables of any size, and what a training on them takes.

python -m tests.big_tables timeseries 200    # megabytes; or sentiment
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pandas as pd

from tests.commands import ROOT

CHANNELS = 40
SERIES = 8

# Runs the command, and says how it ended and what it took at its peak: the peak of a process's
# children is that of the largest, so each has a parent of its own.
_PARENT = """
import resource, subprocess, sys
done = subprocess.run([sys.executable, "-m", *sys.argv[1:]], stdout=2)
print(done.returncode, 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def numbers(path: Path, size: int) -> int:
    """A CSV of `size` bytes: hourly rows of eight series, a target ``y`` and 40 covariates ``c0``
    ... that say something about it. Returns how many numbers it holds."""
    random = np.random.default_rng(0)
    values = random.normal(size=(997, CHANNELS + 1))
    values[:, 0] += values[:, 1:].mean(axis=1)
    cells = [",".join(f"{value:.5f}" for value in row) for row in values]
    rows = size // (sum(map(len, cells)) // len(cells) + 24)
    each = rows // SERIES
    hours = pd.date_range("1400-01-01", periods=each, freq="h", unit="s").astype(str).tolist()
    ring = cycle(cells)
    with path.open("w") as file:
        file.write(f"series,time,y,{','.join(f'c{n}' for n in range(CHANNELS))}\n")
        for number in range(SERIES):
            for begin in range(0, each, 10_000):
                part = hours[begin : begin + 10_000]
                lines = (f"s{number},{h},{row}\n" for h, row in zip(part, ring, strict=False))
                file.write("".join(islice(lines, len(part))))
    return each * SERIES * (CHANNELS + 1)


def reviews(path: Path, size: int) -> int:
    """A CSV of `size` bytes of texts of 400 words, of which few are frequent, and their labels.
    Returns how many texts it holds."""
    random = np.random.default_rng(0)
    words = np.array([f"word{n}" for n in range(20_000)])
    chance = 1 / np.arange(1, len(words) + 1)
    pool = [" ".join(random.choice(words, 100, p=chance / chance.sum())) for _ in range(2_000)]
    count = written = 0
    with path.open("w") as file:
        written += file.write("text,label\n")
        while written < size:
            label = int(random.integers(2))
            parts = [pool[n] for n in random.integers(0, len(pool), 4)]
            mood = "good" if label else "bad"
            written += file.write(f"{' '.join(parts)} {mood} {count},{label}\n")
            count += 1
    return count


WRITE: dict[str, Callable[[Path, int], int]] = {"timeseries": numbers, "sentiment": reviews}
SMALL: dict[str, list[object]] = {
    "timeseries": ["--target", "y", "--series-column", "series", "--past-covariates"]
    + [f"c{number}" for number in range(CHANNELS)]
    + ["--history", 24, "--horizon", 6, "--no-refit", "--batch-size", 8192],
    "sentiment": ["--embedding", 8, "--batch-size", 256, "--max-tokens", 100],
}


def peak(app: str, table: Path, run: Path) -> int:
    """Bytes that an epoch of a small network on the table took at its peak."""
    words: list[object] = [f"apps.{app}.train", "--data", table, "--run-dir", run, *SMALL[app]]
    words += ["--units", 8, "--epochs", 1, "--members", 1]
    done = subprocess.run(
        [sys.executable, "-c", _PARENT, *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    code, taken = map(int, done.stdout.split())
    assert code == 0, done.stderr[-3000:]
    return taken


def main(app: str, megabytes: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        count = WRITE[app](table, int(megabytes) * 10**6)
        taken = peak(app, table, Path(folder) / "run")
        kind = "numbers" if app == "timeseries" else "texts"
        size = table.stat().st_size
        print(f"{size / 1e6:,.0f} MB, {count:,} {kind}: at its peak {taken / 1e6:,.0f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])
