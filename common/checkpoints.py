"""Where a training goes on from after it was killed, and how that place is written.

    checkpoints/
      best.weights.h5       the best weights so far (``common.runs``)
      step-120/             a checkpoint, named by the optimiser steps that were made
        variables.npz       weights, dropout seeds, optimiser, running averages, in order
        progress.json       position, sums of the epoch so far, early stopping, history, event files
        flow.npz            the gradient flow recorded so far, if it is recorded
        best.weights.h5     the best weights at that time: another name of the same file
        manifest.json       which training it is of; size and SHA-256 of each file above
      finished-history_1/   a training that has ended: its progress and its best weights
      interrupted-history   a training was ended by Ctrl-C: the run is not finished

What is equal after any number of kills: weights, history and metrics but for times, and what
TensorBoard shows but for ``epoch/seconds``. That holds because the position, the variables and
what is in ``Progress`` are all that a step depends on (``common.training``).

Every folder is filled under a hidden name, forced to the disk and renamed once, so that one
with a name is whole, unless the disk has damaged it; checksums tell. No pickle is read, and no
name of a file is taken from a file.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import sys
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from common import runs
from common.config import TrainConfig, from_json
from common.errors import UserError
from common.monitoring import Monitor

Rows = list[dict[str, float]]
FILES = ("progress.json", "variables.npz", "flow.npz", "best.weights.h5")
DAMAGE = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, MemoryError),
    *(RecursionError, zipfile.BadZipFile, UserError),
)
"""What reading a damaged folder may raise."""


@dataclass
class Progress:
    """Where a training stands between two batches, beyond what its variables hold."""

    epoch: int = 0
    """Epochs finished."""
    batch: int = 0
    """Batches done of the epoch after them."""
    totals: dict[str, float] = field(default_factory=dict)
    """Sums over those batches."""
    rows: Rows = field(default_factory=list)
    """The history: a row an epoch."""
    best: float = -float("inf")
    """The best score so far, higher being better."""
    best_epoch: int = 0
    """Counted from 1; 0: none yet."""
    seconds: float = 0.0
    """Spent in this training, in all processes that it went through."""
    events: dict[str, int] = field(default_factory=dict)
    """TensorBoard's files and their sizes at this place."""
    flow: dict[str, Any] = field(default_factory=dict)
    """The gradient flow recorded so far: layer -> ``[times recorded, time]``."""


@dataclass
class Checkpoints:
    """Those of one training, among others in the same folder.

    Args:
        training: a name that no other training of the run has.
        best: the file of its best weights; checkpoints go beside it.
        writes: whether this process is the one that writes files (``Trainer.chief``).
    """

    training: str
    best: Path
    variables: Sequence[Any]
    board: Monitor
    config: TrainConfig
    writes: bool = True

    def __post_init__(self) -> None:
        self._saved = time.monotonic()
        self._damaged: set[Path] = set()
        if self.writes:
            self._interrupted.unlink(missing_ok=True)

    @property
    def _folder(self) -> Path:
        return self.best.parent

    @property
    def _interrupted(self) -> Path:
        return self._folder / f"interrupted-{self.training}"

    @property
    def _end(self) -> Path:
        return self._folder / f"finished-{self.training}"

    @property
    def due(self) -> bool:
        """Whether as much time has gone by as the configuration allows without a checkpoint."""
        minutes = self.config.checkpoint_minutes
        return minutes > 0 and time.monotonic() - self._saved >= 60 * minutes

    def finished(self) -> Progress | None:
        """How this training ended, if it has; the file of its best weights is as it was then."""
        progress = self._read(self._end) if self._end.exists() else None
        if progress is not None:
            self._go_on(self._end, progress)
            self._remove(keep=0)
        return progress

    def newest(self) -> tuple[Progress, Path | None]:
        """The newest whole checkpoint of this training, which is named; or a start, and None.
        The variables, the best weights and TensorBoard's files are as they were then."""
        for place in steps_in(self._folder)[::-1]:
            progress = self._read(place)
            if progress is not None:
                self._go_on(place, progress)
                return progress, place
        self.board.go_on({})
        return Progress(), None

    def save(self, progress: Progress, made: int) -> None:
        """Writes a checkpoint after `made` steps and removes old ones. On a full disk it says so,
        the ones before stay, and training goes on.

        Raises:
            OSError: if what TensorBoard is to show can't be written.
        """
        if self.writes and self._written(self._folder / f"step-{made}", progress, self.variables):
            self._remove(keep=self.config.keep_checkpoints)
        self._saved = time.monotonic()

    def finish(self, progress: Progress) -> None:
        """Writes that this training has ended, and how; its checkpoints go."""
        if self.writes and self._written(self._end, progress, None):
            self._remove(keep=0)

    def interrupt(self) -> None:
        """Leaves word that this training was ended before its time."""
        if self.writes:
            self._interrupted.touch()

    # Writing

    def _written(self, place: Path, progress: Progress, variables: Sequence[Any] | None) -> bool:
        progress.events = self.board.sizes()
        try:
            runs.write_folder(place, lambda folder: self._fill(folder, progress, variables))
        except OSError as error:
            why = error.strerror or error
            tqdm.write(f"{place}: checkpoint not written: {why}; training goes on", sys.stderr)
            return False
        self._damaged.discard(place)  # in whose place this one is
        return True

    def _fill(self, folder: Path, progress: Progress, variables: Sequence[Any] | None) -> None:
        if variables is not None:
            values = {f"{n}": variable.numpy() for n, variable in enumerate(variables)}
            np.savez(folder / "variables.npz", allow_pickle=False, **values)
        if progress.flow:
            np.savez(folder / "flow.npz", allow_pickle=False, **progress.flow)
        if progress.best_epoch or variables is None:
            link(self.best, folder / "best.weights.h5")
        values = {f.name: getattr(progress, f.name) for f in dataclasses.fields(progress)}
        values.pop("flow")
        (folder / "progress.json").write_text(json.dumps(values), encoding="utf-8")
        sums = {p.name: [p.stat().st_size, checksum(p)] for p in sorted(folder.iterdir())}
        manifest = {"training": self.training, "files": sums}
        (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")

    def _remove(self, keep: int) -> None:
        """All checkpoints of this training but the newest `keep`, and those found damaged."""
        own = [place for place in steps_in(self._folder) if self._owns(place)]
        for place in {*own[: max(0, len(own) - keep)], *self._damaged}:
            runs.remove(place)

    def _owns(self, place: Path) -> bool:
        if place in self._damaged:
            return False
        try:
            return bool(self._manifest(place)["training"] == self.training)
        except DAMAGE:
            return False

    def _manifest(self, place: Path) -> Any:
        return runs.read_json(place / "manifest.json")

    # Reading

    def _read(self, place: Path) -> Progress | None:
        """What stands in a folder; None, after a line on stderr, if it is damaged; None if it is
        another training's."""
        try:
            manifest = self._manifest(place)
            if manifest["training"] != self.training:
                return None
            check(place, manifest["files"])
            values = runs.read_json(place / "progress.json")
            progress = from_json(Progress, values, "progress.json", exact=True, finite=False)
            if (place / "flow.npz").exists():
                progress.flow = arrays(place / "flow.npz")
            ended = place == self._end
            if (ended or progress.best_epoch) and not (place / "best.weights.h5").is_file():
                raise ValueError("best.weights.h5 is missing")
            if not ended:
                self._assign(arrays(place / "variables.npz"))
        except DAMAGE as error:
            print(f"{place}: damaged, skipped: {' '.join(str(error).split())}", file=sys.stderr)
            self._damaged.add(place)
            return None
        return progress

    def _assign(self, values: dict[str, np.ndarray]) -> None:
        """Nothing, unless all of them fit."""
        found = [values[f"{n}"] for n in range(len(self.variables))]
        for variable, value in zip(self.variables, found, strict=True):
            if tuple(variable.shape) != value.shape:
                raise ValueError(f"{value.shape} found where {tuple(variable.shape)} is expected")
        for variable, value in zip(self.variables, found, strict=True):
            variable.assign(value)

    def _go_on(self, place: Path, progress: Progress) -> None:
        self.board.go_on(progress.events)
        if (place / "best.weights.h5").is_file():
            runs.write_whole(self.best, lambda path: link(place / "best.weights.h5", path))


def steps_in(folder: Path) -> list[Path]:
    """Its checkpoints, the oldest first."""
    places = [p for p in folder.glob("step-*") if p.name.removeprefix("step-").isdecimal()]
    return sorted(places, key=lambda p: int(p.name.removeprefix("step-")))


def link(path: Path, name: Path) -> None:
    """Another name of a file, which is always replaced and never written into; where the file
    system has no such thing, a copy."""
    try:
        os.link(path, name)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            name.unlink()
        shutil.copyfile(path, name)


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check(place: Path, files: dict[str, Any]) -> None:
    """Raises ValueError unless the files in a folder are those of its manifest."""
    for name in FILES:
        path = place / name
        if path.is_file() != (name in files):
            raise ValueError(f"{name} is {'missing' if name in files else 'not in its manifest'}")
        if name in files and [path.stat().st_size, checksum(path)] != files[name]:
            raise ValueError(f"{name} is not what was written")


def arrays(path: Path) -> dict[str, np.ndarray]:
    """What ``np.savez`` wrote: not compressed, so that no small file can unfold into a large one.

    Raises:
        ValueError: for anything else.
    """
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED or info.file_size > path.stat().st_size:
                raise ValueError(f"{path.name} has compressed arrays in it")
    with np.load(path, allow_pickle=False) as loaded:
        return dict(loaded)
