"""What checkpoints cost: the share of a training's time that goes into writing them.

Each application's ``train.py`` runs with default flags, on its default corpus, up to the moment
that its first network is to be trained; then some steps are timed, and some checkpoints of the very
variables that a training keeps, best weights included. From both follows the share, with a
checkpoint at every end of an epoch and every so many minutes; validation, which writes nothing and
takes its time too, is not counted; nor are TensorBoard's pictures, which a run writes anyway.
Writes benchmarks/results/checkpoints.json.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from benchmarks import measure
from common import runs
from common.cli import main, start_tensorflow

WARM = 3  # steps that are not counted: the first one compiles
App = Literal["sentiment", "timeseries", "music", "speech", "gesture"]
APPS: tuple[App, ...] = get_args(App)


@dataclass(frozen=True)
class BenchmarkConfig:
    """Measure what share of a training its checkpoints take."""

    apps: tuple[App, ...] = APPS
    """Applications to measure."""
    steps: int = 20
    """Optimiser steps that are timed."""
    saves: int = 5
    """Checkpoints that are timed."""
    out: Path = Path(__file__).parent / "results" / "checkpoints.json"
    """Where to write the results."""


def run(config: BenchmarkConfig) -> dict[str, Any]:
    """Prints a row for each application, and writes them to --out."""
    config.out.parent.mkdir(parents=True, exist_ok=True)
    machine = measure.machine()
    start_tensorflow()
    rows = {}
    for app in config.apps:
        print(f"{app} ...", flush=True)
        rows[app] = measured(app, config)
    result = {"apps": rows, "machine": machine, "versions": runs.versions()}
    runs.write_json(config.out, result)
    show(rows)
    return result


def measured(app: str, config: BenchmarkConfig) -> dict[str, float]:
    """Seconds of a step and of a checkpoint of one application, and the share."""
    found: dict[str, float] = {}

    def measure_it(trainer: Any, batches: Any, *, weights: Path, board: Any, **_: Any) -> None:
        found.update(timed(trainer, batches, weights, board, config))

    # Beside the results, so that the same disk is written to as by a run.
    with tempfile.TemporaryDirectory(dir=config.out.parent) as folder:
        asked = measure.config_type(app)(run_dir=Path(folder) / "run")
        measure.up_to_fit(app, asked, measure_it)
    epoch = found["step_seconds"] * found["steps_an_epoch"]
    found["saves_an_epoch"] = 1 + epoch / (60 * asked.checkpoint_minutes)
    found["share"] = found["save_seconds"] * found["saves_an_epoch"] / epoch
    return found


def timed(
    trainer: Any, batches: Any, weights: Path, board: Any, config: BenchmarkConfig
) -> dict[str, float]:
    """Medians, with the files where they would be."""
    from common.checkpoints import Checkpoints, Progress

    steps, saves = [], []
    feed = iter(trainer.strategy.experimental_distribute_dataset(batches.epoch(0)))
    for _ in range(min(WARM + config.steps, batches.steps)):
        started = time.perf_counter()
        float(trainer.step(feed)["loss"])
        steps.append(time.perf_counter() - started)
    trainer.model.save_weights(weights)
    kept = Checkpoints("benchmark", weights, trainer.variables, board, trainer.config)
    for number in range(config.saves):
        started = time.perf_counter()
        kept.save(Progress(best_epoch=1), number)
        saves.append(time.perf_counter() - started)
    size = sum(file.stat().st_size for file in (weights.parent / f"step-{number}").iterdir())
    return {
        "step_seconds": float(np.median(steps[WARM:])),
        "steps_an_epoch": batches.steps,
        "save_seconds": float(np.median(saves)),
        "bytes": size,
    }


def show(rows: dict[str, dict[str, float]]) -> None:
    """A row for each application."""
    print(f"{'':12s}{'ms a save':>12s}{'MB':>8s}{'s an epoch':>12s}{'share':>9s}")
    for app, row in rows.items():
        epoch = row["step_seconds"] * row["steps_an_epoch"]
        print(
            f"{app:12s}{1e3 * row['save_seconds']:12.1f}{row['bytes'] / 1e6:8.1f}"
            f"{epoch:12.1f}{row['share']:9.2%}"
        )


if __name__ == "__main__":
    main(run, BenchmarkConfig, prog="python -m benchmarks.checkpoints")
