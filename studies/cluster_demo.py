"""Two workers on one machine train what one process does; one is killed, and they go on.

    python -m studies.cluster_demo

Trains a small sentiment network three times: by one process; by two workers; and by two workers
of which one is killed by SIGKILL after the first checkpoint, whereupon the other ends by itself
and both are started again with --resume. Prints the largest difference between the weights of
the three, and fails if it is above 1e-6. Needs no network, some minutes, and writes to
runs/cluster_demo.
"""

import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import numpy as np

from common import launch, runs
from common.cli import main
from common.errors import UserError

TOLERANCE = 1e-6
FLAGS: list[object] = ["--units", 16, "--embedding", 16, "--epochs", 3, "--members", 1]
FLAGS += ["--batch-size", 30, "--word-dropout", 0, "--input-dropout", 0]
FLAGS += ["--readout-dropout", 0, "--patience", 9]


@dataclass(frozen=True)
class DemoConfig:
    """Show that two workers train like one process, and survive the loss of one."""

    folder: Path = Path("runs/cluster_demo")
    """Where the runs go; what this program left there is removed first."""
    reviews: int = 600
    """Made reviews to train on."""


def run(config: DemoConfig) -> dict[str, float]:
    """Returns the largest differences.

    Raises:
        UserError: if --folder has something else in it, if a training fails, or if the weights
            differ by more than rounding.
    """
    if config.folder.exists() and not (config.folder / "reviews.csv").exists():
        raise UserError(f"--folder {config.folder}: expected a new folder, or one of this program")
    shutil.rmtree(config.folder, ignore_errors=True)
    config.folder.mkdir(parents=True)
    data = reviews(config.folder / "reviews.csv", config.reviews)
    command = ["-m", "apps.sentiment.train", "--data", data, *FLAGS]
    one, two, killed = (config.folder / name for name in ("one", "two", "killed"))

    print("one process ...", flush=True)
    finish([start([*command, "--run-dir", one], one, 0)])
    command += ["--strategy", "multi-worker", "--checkpoint-minutes", 0.001]
    print("two workers ...", flush=True)
    finish(group([*command, "--run-dir", two], two))

    print("two workers, one of which is killed ...", flush=True)
    chief, other = group([*command, "--run-dir", killed], killed)
    wait_for(killed / "checkpoints", chief)
    other.send_signal(signal.SIGKILL)
    began = time.monotonic()
    try:
        code = chief.wait(60)
    finally:
        chief.kill()
    line = said(killed, 0).splitlines()[-1]
    print(f"  the other ended after {time.monotonic() - began:.0f} s with code {code}: {line}")
    finish(group(["-m", "apps.sentiment.train", "--resume", killed], killed))
    print("  " + next(line for line in said(killed, 0).splitlines() if "goes on at" in line))

    differences = {
        name: difference(one, path)
        for name, path in (("two workers", two), ("killed and resumed", killed))
    }
    for name, found in differences.items():
        print(f"{name}: weights within {found:.1e} of one process's")
    if max(differences.values()) > TOLERANCE:
        raise UserError(f"the weights differ by more than {TOLERANCE}")
    return differences


def reviews(path: Path, count: int) -> Path:
    """A made corpus: the mood of a review is that of most of its words."""
    random = np.random.default_rng(0)
    moods = {"good": ["fine", "warm", "bright"], "bad": ["dull", "cold", "loud"]}
    neutral = [f"word{n}" for n in range(50)]
    rows = []
    for number in range(count):
        mood = ("good", "bad")[number % 2]
        words = [*random.choice(moods[mood], 3), *random.choice(neutral, random.integers(3, 20))]
        rows.append(f"{' '.join(random.permutation(words))},{mood}")
    path.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    return path


def log(folder: Path, worker: int) -> Path:
    """What a worker says goes beside the run's folder."""
    return folder.with_name(f"{folder.name}_worker_{worker}.log")


def said(folder: Path, worker: int) -> str:
    """All that a worker has printed."""
    return log(folder, worker).read_text(encoding="utf-8")


def start(words: Sequence[object], folder: Path, worker: int, tf_config: str = "") -> Popen[str]:
    """A worker's process, which prints into its log."""
    with log(folder, worker).open("w", encoding="utf-8") as stream:
        return launch.start(words, stream, tf_config)


def group(words: Sequence[object], folder: Path) -> list[Popen[str]]:
    """Two workers; the chief first."""
    places = launch.tf_configs(2)
    return [start(words, folder, n, place) for n, place in enumerate(places)]


def finish(processes: Sequence[Popen[str]]) -> None:
    """Waits for all. Raises UserError if one of them fails."""
    try:
        codes = [process.wait() for process in processes]
    finally:
        for process in processes:
            process.kill()
    if any(codes):
        raise UserError(f"exit codes {codes}: see the .log files")


def wait_for(checkpoints: Path, process: Popen[str]) -> None:
    """Until there is a checkpoint.

    Raises:
        UserError: if the run has ended before.
    """
    while not any(checkpoints.glob("step-*")):
        if process.poll() is not None:
            raise UserError("the run ended before it had a checkpoint: see the .log files")
        time.sleep(0.05)


def difference(one: Path, other: Path) -> float:
    """The largest between the best weights of two runs."""
    first, second = (weights(runs.Run(path).weights()) for path in (one, other))
    return max(float(np.abs(first[name] - second[name]).max(initial=0)) for name in first | second)


def weights(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a weights file."""
    import h5py

    found: dict[str, np.ndarray] = {}

    def keep(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(keep)
    return found


if __name__ == "__main__":
    main(run, DemoConfig, prog="python -m studies.cluster_demo")
