"""Tables of any size, written line by line."""

from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pandas as pd

CHANNELS = 40
SERIES = 8


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
