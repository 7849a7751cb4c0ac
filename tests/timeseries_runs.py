"""A table of sales, and one small real training on it that several test files look at."""

from pathlib import Path

import numpy as np
import pandas as pd

from tests.commands import Answer, trained
from tests.once import folder, shared

TRAIN, PREDICT, EVALUATE = (f"apps.timeseries.{name}" for name in ("train", "predict", "evaluate"))
HORIZON, HISTORY = 6, 24
SMALL: list[object] = ["--units", 6, "--epochs", 2, "--members", 1, "--no-refit"]
SMALL += ["--horizon", HORIZON, "--history", HISTORY, "--target", "sales"]
_FOLDER = folder("timeseries")


def sales(rows: int = 400) -> pd.DataFrame:
    """Hourly sales with a day in them, moved by a warmth that may be known ahead."""
    random = np.random.default_rng(0)
    hours = np.arange(rows)
    warmth = random.normal(size=rows).cumsum() / 5
    sold = 50 + 8 * np.sin(hours * np.pi / 12) + 3 * warmth + random.normal(size=rows)
    times = pd.date_range("2024-01-01", periods=rows, freq="h")
    return pd.DataFrame({"time": times, "sales": sold, "warmth": warmth})


def write(table: pd.DataFrame, path: Path) -> Path:
    table.to_csv(path, index=False)
    return path


def train(data: Path, run_dir: Path, *words: object) -> Answer:
    return trained(TRAIN, data, run_dir, *SMALL, *words)


@shared
def small_data() -> Path:
    return write(sales(), _FOLDER / "sales.csv")


@shared
def small_run() -> tuple[Path, Answer]:
    """The folder of a small real run, and what its training said."""
    run = _FOLDER / "run"
    return run, train(small_data(), run, "--future-covariates", "warmth")
