"""What a training run says: what it will do, how it went, and what to type next."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from apps.timeseries.comparison import verdict
from apps.timeseries.config import TimeSeriesConfig
from apps.timeseries.panel import Panel
from apps.timeseries.shape import Shape
from common import export
from common.cli import command, say_next

RATIO = "network's MAE / its own"
CHECKED = 16  # windows that the exported model is asked again in a clean process
SHOWN = ("mae", "rmse", "mase", "smape", "crps", "coverage_80", "width_80", "coverage_95")


def begin(panel: Panel, shape: Shape, windows: Mapping[str, np.ndarray]) -> None:
    """Says how the table will be looked at; `windows` by part, ``[windows, 2]``."""
    roles = panel.roles
    print(f"forecast {', '.join(roles.targets)}: {shape.horizon} rows from {shape.history}", end="")
    for names, what in ((roles.past, "past"), (roles.future, "future")):
        print(f"; {what} covariates {', '.join(names)}" if names else "", end="")
    counts = " / ".join(f"{len(found):,}" for found in windows.values())
    print(f"\n{counts} windows to train, validate and test; season of {shape.season} rows")


def fewer(part: str, windows: np.ndarray, kept: np.ndarray) -> None:
    """Says how many windows ``[windows, 2]`` of a large table's part are scored."""
    if len(kept) < len(windows):
        print(f"of {len(windows):,} windows of the {part} part {len(kept):,} are scored")


def plan(config: TimeSeriesConfig, shape: Shape, epochs: int, steps: int, folder: Path) -> None:
    """Says what will be done."""
    networks = f"{config.members} networks, each of " if config.members > 1 else ""
    again = ", then as many as were best on both parts" if config.refit else ""
    print(
        f"{networks}{config.layers} {config.cell} layer(s) of {config.units} over "
        f"{shape.history // shape.patch} patches of {shape.patch}, {config.decoder} decoder; at "
        f"most {epochs} epochs of {steps:,} batches{again}\neverything goes to {folder}",
        flush=True,
    )


def check_export(path: Path, given: Mapping[str, np.ndarray], expected: np.ndarray) -> float:
    """Asks the exported model in a process that knows only TensorFlow; returns the largest
    difference from the `expected` quantiles ``[windows, horizon, targets, levels]``, in units of
    their spread.

    Raises:
        RuntimeError: if they differ by more than rounding.
    """
    found = export.answer_in_clean_process(path, "serving_default", given)["quantiles"]
    difference = float(np.abs(found - expected[: len(found)]).max() / (expected.std() + 1e-12))
    if not np.isfinite(found).all() or difference > 1e-3:
        raise RuntimeError(f"{path}: the exported model differs by {difference} from the trained")
    return difference


def end(result: dict[str, Any], folder: Path, *, several: bool) -> None:
    """Prints the scores beside the baselines' and the commands to type next; of `several`
    targets what is comparable between them as well."""
    print(f"\n{result['dataset']}, test part ({result['train_seconds']:.0f} s of training):")
    rows = {f"{result['cell']} network": result["test"], **result["baselines"]}
    head = "".join(f"{name:>13s}" for name in SHOWN)
    print(f"  {'':16s}{head}  {RATIO}")
    for label, scores in rows.items():
        shown = "".join(f"{scores[name]:13.4f}" for name in SHOWN)
        print(f"  {label:16s}{shown}  {ratio(scores)}".rstrip())
    if several:
        each = ", ".join(f"{label} {scores['scaled_mse']:.4f}" for label, scores in rows.items())
        print(f"  standardised by the training part, MSE: {each}")
    best = result["best_baseline"]
    print(verdict(f"the best baseline, {best}", result["baselines"][best]))
    say_next(commands(folder), folder)


def commands(folder: Path) -> list[str]:
    """What to type next."""
    python, run = command("python"), shlex.quote(str(folder))
    return [
        f"{python} -m apps.timeseries.predict --run {run} --data recent.csv --out forecast.csv",
        f"{python} -m apps.timeseries.evaluate --run {run} --stride 24",
    ]


def ratio(scores: Mapping[str, float]) -> str:
    """The network's error over this baseline's, with its interval, if it has them."""
    if "mae_ratio" not in scores:
        return ""
    low, high = scores["mae_ratio_low"], scores["mae_ratio_high"]
    return f"{scores['mae_ratio']:10.3f} [{low:.3f}, {high:.3f}]"
