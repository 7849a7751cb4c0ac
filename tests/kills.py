"""Kills trainings of every application at random moments, and compares what they end with.

    python -m tests.kills --kills 40 --log FOLDER [APP ...]

Each application's own ``train.py`` runs in a child process, which SIGKILL ends: after a random
time, after a random number of new checkpoints, or after a training of the run has ended; it is
resumed and killed again until it comes to its end, and so on until it was killed often enough.
Every end is compared with that of a run that was left alone: SHA-256 of the weights, of metrics
and history without times, and what TensorBoard shows. A line of JSON for each kill and each end
goes to FOLDER/APP.jsonl. With --fork the processes are forked off one that has imported
TensorFlow and the application, and nothing more: that saves some seconds of each.
"""

import argparse
import csv
import hashlib
import json
import multiprocessing
import os
import runpy
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.commands import ROOT

COMMON: list[object] = ["--checkpoint-minutes", 0.003, "--patience", 99]
RECIPES: dict[str, list[object]] = {
    "sentiment": [
        *("--units", 6, "--embedding", 8, "--members", 2, "--epochs", 2, "--batch-size", 8),
        *("--pretrain-epochs", 3, "--word-dropout", 0.1),
    ],
    "timeseries": [
        *("--units", 6, "--members", 2, "--epochs", 2, "--batch-size", 16, "--horizon", 6),
        *("--history", 24, "--target", "sales", "--decoder", "autoregressive"),
        *("--teacher-forcing", 0.4),
    ],
    "music": [
        *("--units", 8, "--density-units", 8, "--members", 2, "--epochs", 4, "--batch-size", 1),
    ],
    "speech": [
        *("--units", 8, "--width", 8, "--filters", 3, "--attention", 8, "--mels", 20),
        *("--layers", 1, "--epochs", 4, "--short-first", 2, "--batch-size", 2),
    ],
    "gesture": [
        *("--units", 8, "--width", 8, "--layers", 1, "--epochs", 2, "--piece", 4),
        *("--members", 2, "--batch-size", 4, "--hop", 5, "--learning-rate", 0.02),
    ],
}
"""Small networks that use all that is random: dropout, drawn words, coins, augmentation."""
WAYS = ("time", "checkpoints", "checkpoints", "checkpoints", "ended")
"""To choose the moment of a kill by."""
STARTED = 12.0
"""Seconds of CPU that a process needs before it trains, or a little more."""


def data_of(app: str, folder: Path) -> Path:
    """A small corpus of the user's own."""
    from tests import gesture_runs, music_pieces, sentiment_runs, speech_sounds, timeseries_runs

    folder.mkdir(parents=True)
    if app == "sentiment":
        return sentiment_runs.moods(folder / "moods.csv", 40)
    if app == "timeseries":
        return timeseries_runs.write(timeseries_runs.sales(), folder / "sales.csv")
    if app == "speech":
        return speech_sounds.manifest(folder, speech_sounds.recordings(folder, 24))
    if app == "music":
        return music_pieces.write_rolls(folder / "rolls.npz")
    for subject in range(5):
        table = gesture_runs.movement(subject, seconds=20)
        gesture_runs.write(table, folder / f"stream_{subject}.csv")
    return folder


@dataclass
class Killer:
    """Trains one application to its end, by way of as many kills as are wanted."""

    app: str
    folder: Path
    log: Path
    seed: int = 0
    fork: bool = False
    kills: int = 0
    ends: int = 0
    unequal: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng([self.seed, *self.app.encode()])
        self.data = data_of(self.app, self.folder / "data")
        self.log.mkdir(parents=True, exist_ok=True)

    def run(self, kills: int) -> None:
        """Kills and resumes until there were so many kills, and lets the last run end."""
        whole = self.folder / "whole"
        began = time.monotonic()
        assert self._process(whole, None) is None
        self._write(event="whole", seconds=round(time.monotonic() - began, 1))
        wanted = outcome(whole)
        while self.kills < kills:
            run = self.folder / f"run_{self.ends}"
            place: Any = ""
            while place is not None:
                way = str(self.random.choice(WAYS)) if self.kills < kills else None
                place = self._process(run, way)
                if place is not None:
                    self.kills += 1
                    self._write(event="kill", number=self.kills, by=way, **place)
            found = outcome(run)
            differs = sorted(k for k in wanted | found if wanted.get(k) != found.get(k))
            self.ends += 1
            self.unequal += differs
            self._write(
                event="end",
                run=self.ends,
                kills=self.kills,
                equal=not differs,
                **({"differs": differs} if differs else {"sha256": found["weights"]}),
            )
            if not differs:
                shutil.rmtree(run)

    def _process(self, run: Path, way: str | None) -> dict[str, Any] | None:
        """Starts the run, or resumes it, and kills it in a way, if any. Returns where it was; None
        if it came to its end."""
        words = ["--data", self.data, "--run-dir", run, *RECIPES[self.app], *COMMON]
        if (run / "config.json").exists():
            words = ["--resume", run]
        before, seen = marks(run), set[str]()
        most = float(self.random.uniform(0, 2 * STARTED)) if way == "time" else 20 * STARTED
        count = int(self.random.integers(1, 12)) if way == "checkpoints" else 1
        linger = float(self.random.uniform(0, 8 if way == "ended" else 0.3))
        said = self.folder / "said.txt"
        process = self._started(list(map(str, words)), said)
        try:
            while process.is_alive() and way is not None:
                seen |= marks(run) - before
                new = [mark for mark in seen if way != "ended" or mark.startswith("finished")]
                if work(process.pid) > most or (way != "time" and len(new) >= count):
                    time.sleep(linger)
                    break
                time.sleep(0.01)
            if way is not None:
                process.kill()
            process.join()
        finally:
            process.kill()
        lines = said.read_text(errors="replace").splitlines()
        if process.exitcode == 0:
            return None
        if process.exitcode != -signal.SIGKILL:
            raise AssertionError("\n".join([f"{words} ended with {process.exitcode}", *lines]))
        resumed = [line for line in lines if "goes on at" in line or "trained already" in line]
        return {"resumed_at": resumed, "said_last": lines[-1:], "left": sorted(marks(run))}

    def _started(self, words: list[str], said: Path) -> Any:
        """The application's train.py in a process of its own, its output in `said`."""
        kind = "forkserver" if self.fork else "spawn"
        context = multiprocessing.get_context(kind)
        if self.fork:
            context.set_forkserver_preload(list(preloaded(self.app)))
        process = context.Process(target=train, args=(f"apps.{self.app}.train", words, said))
        process.start()
        return process

    def _write(self, **line: Any) -> None:
        with (self.log / f"{self.app}.jsonl").open("a") as log:
            log.write(json.dumps({"app": self.app, **line}) + "\n")


def train(module: str, words: list[str], said: Path) -> None:
    """``python -m module words``, with its output in a file: all that a child process does."""
    with said.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def preloaded(app: str) -> Iterator[str]:
    """Modules that a training imports."""
    yield from ("tensorflow", "keras", "tensorflow_datasets", "sklearn.linear_model")
    for path in sorted([*ROOT.glob("common/*.py"), *ROOT.glob(f"apps/{app}/*.py")]):
        if path.stem not in ("__init__", "train", "predict", "evaluate", "live", "synthesise"):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts)


def work(process: int) -> float:
    """Seconds of CPU that a process has had; waiting does not count, however busy the machine."""
    try:
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def marks(run: Path) -> set[str]:
    """Checkpoints and ended trainings of a run."""
    places = [*run.glob("checkpoints/step-*"), *run.glob("checkpoints/finished-*")]
    return {place.name for place in places}


def outcome(run: Path) -> dict[str, str]:
    """SHA-256 of all that must be equal, by what it is."""
    import h5py
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found: dict[str, Any] = {"weights": hashlib.sha256()}
    for path in sorted(run.rglob("*.weights.h5")):
        with h5py.File(path) as file:
            file.visititems(lambda name, item: _hash(found["weights"], name, item))
    for path in sorted(run.rglob("*.csv")):
        rows = list(csv.DictReader(path.open()))
        kept = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
        found[str(path.relative_to(run))] = hashlib.sha256(json.dumps(kept).encode())
    for path in sorted(run.rglob("metrics.json")):
        kept = _without_times(json.loads(path.read_text()))
        found[str(path.relative_to(run))] = hashlib.sha256(json.dumps(kept).encode())
    for folder in sorted({path.parent for path in run.rglob("events.out.tfevents.*")}):
        board = EventAccumulator(str(folder), {"tensors": 0})
        board.Reload()
        digest = hashlib.sha256(json.dumps(sorted(board.Tags()["tensors"])).encode())
        for tag in sorted(board.Tags()["tensors"]):
            for event in board.Tensors(tag):
                value = event.tensor_proto.SerializeToString()
                scalar = "/" in tag and tag != "epoch/seconds"
                digest.update(f"{tag} {event.step}".encode() + (value if scalar else b""))
        found[str(folder.relative_to(run))] = digest
    found["checkpoints left"] = hashlib.sha256(json.dumps(sorted(marks(run))).encode())
    assert not marks(run)
    return {name: digest.hexdigest() for name, digest in found.items()}


def _hash(digest: Any, name: str, item: Any) -> None:
    if hasattr(item, "shape"):
        digest.update(name.encode() + np.asarray(item).tobytes())


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_times(v) for k, v in value.items() if "seconds" not in k}
    return [_without_times(v) for v in value] if isinstance(value, list) else value


def main() -> None:
    """Kills the trainings of all applications asked for; ends with 1 if one ended otherwise."""
    parser = argparse.ArgumentParser(description="Kill trainings, resume them, compare their ends.")
    parser.add_argument("apps", nargs="*", default=list(RECIPES), help="default: all five")
    parser.add_argument("--kills", type=int, default=40, help="of each application")
    parser.add_argument("--log", type=Path, default=Path("runs/kills"), help="folder of the log")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--fork", action="store_true", help="import once, fork each process off")
    asked = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    bad = 0
    for app in asked.apps:
        with tempfile.TemporaryDirectory(prefix=f"kills-{app}-") as folder:
            killer = Killer(app, Path(folder), asked.log, asked.seed, asked.fork)
            killer.run(asked.kills)
        bad += len(killer.unequal)
        said = "all equal" if not killer.unequal else f"UNEQUAL: {killer.unequal}"
        print(f"{app}: {killer.kills} kills, {killer.ends} runs to their end, {said}", flush=True)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
