"""A run's folder: what was asked for, what came out, and where each of them stands.

    config.json      all that is needed to run again
    unfinished.json  there until the run has ended: what its data was, to resume it
    metrics.json     the scores, the baselines' scores, versions
    history.csv      a row an epoch
    report.html      all of it to look at (``common.report``)
    report.json      what of that only the training knows
    plots/           pictures
    trials.json      the trials of a sweep, and trials/ with a run of each (``common.sweep``)
    checkpoints/     the best weights; until the end, where to go on from (``common.checkpoints``)
    tensorboard/     event files
    export/1/        the SavedModel

Every file is written whole or not at all: to a hidden neighbour first, which is forced to the
disk, then renamed. Imports no TensorFlow.
"""

import datetime
import importlib.metadata
import json
import os
import platform
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from common import files
from common.config import defaults, from_json, to_json
from common.errors import UserError
from common.fingerprints import fingerprints

MOST_BYTES = 2**26
"""Of a JSON file in a run's folder."""


@dataclass(frozen=True)
class Run:
    """The folder of one training run."""

    path: Path

    @property
    def config(self) -> Path:
        """What it was asked to do: all that is needed to run it again."""
        return self.path / "config.json"

    @property
    def unfinished(self) -> Path:
        """Is there as long as the run has not ended: what its data were when it began."""
        return self.path / "unfinished.json"

    @property
    def metrics(self) -> Path:
        """Its scores."""
        return self.path / "metrics.json"

    @property
    def is_finished(self) -> bool:
        """Whether it was written to the end, and not cut short by Ctrl-C."""
        return self.metrics.is_file() and not self.unfinished.exists()

    def history(self, member: int = 0) -> Path:
        """A row an epoch; one file for each network of an ensemble."""
        return self.path / f"history{_number(member)}.csv"

    def weights(self, member: int = 0) -> Path:
        """The best weights; one file for each network of an ensemble."""
        return self.path / "checkpoints" / f"best{_number(member)}.weights.h5"

    @property
    def plots(self) -> Path:
        """The folder of its pictures."""
        return self.path / "plots"

    @property
    def tensorboard(self) -> Path:
        """The folder that TensorBoard reads."""
        return self.path / "tensorboard"

    @property
    def export(self) -> Path:
        """The folder of its SavedModel, version 1."""
        return self.path / "export" / "1"


def _number(member: int) -> str:
    return f"_{member}" if member else ""


BEGUN = re.compile(r"unfinished\.json|\.[0-9a-f]{8}\.(unfinished|config)\.json")
"""What a run leaves that was killed before it had a config.json: it may be begun anew."""


def planned(app: str, run_dir: Path | None, resume: Path | None = None) -> Run:
    """The run that will be written to `run_dir`, or to runs/APP/TIME, and nothing is made yet; or
    the one that goes on in `resume` (``common.resuming``).

    Raises:
        UserError: if something else is there already.
    """
    if resume is not None:
        return Run(resume)
    if run_dir is None:
        now = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        run_dir = Path("runs") / app / now
        if run_dir.exists():
            run_dir = run_dir.with_name(f"{now}_{secrets.token_hex(2)}")
    if run_dir.exists() and not run_dir.is_dir():
        raise UserError(f"--run-dir {run_dir}: expected a folder, found a file")
    if run_dir.is_dir() and not all(BEGUN.fullmatch(p.name) for p in run_dir.iterdir()):
        raise UserError(f"--run-dir {run_dir}: expected a new or empty folder, found files in it")
    return Run(run_dir)


def start(run: Run, app: str, config: object) -> None:
    """Makes the folder and writes config.json; of a run that is resumed, sweeps away what it was
    writing when it was killed.

    Raises:
        UserError: if the folder can't be made.
    """
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        if not run.config.exists():
            write_json(run.unfinished, {"versions": versions(), **fingerprints(config, run.path)})
            write_config(run, app, config)
        run.plots.mkdir(exist_ok=True)
        run.weights().parent.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"--run-dir {run.path}: can't be made: {error.strerror}") from None
    for folder in (run.path, run.plots, run.weights().parent, run.export.parent):
        for left in folder.glob(".*"):
            if re.match(r"\.[0-9a-f]{8}\.|\.writing-", left.name):
                remove(left)


def write_config(run: Run, app: str, config: object) -> None:
    """Writes config.json."""
    values = to_json(config)
    values.pop("resume", None)  # how it was called, not what it is
    write_json(run.config, {"app": app, **values, "defaults": defaults(config)})


def end(run: Run, result: Mapping[str, Any]) -> None:
    """Writes metrics.json; what only --resume needs is removed, unless Ctrl-C cut some training of
    the run short: then it can still be trained to its end."""
    write_json(run.metrics, result)
    if any(run.path.rglob("checkpoints/interrupted-*")):
        print(f"interrupted: the same command with --resume {run.path} trains on")
        return
    run.unfinished.unlink(missing_ok=True)
    tidy(run)


def tidy(run: Run) -> None:
    """Removes what only --resume needs, of a run that has ended."""
    for kind in ("step-*", "finished-*"):
        for place in run.weights().parent.glob(kind):
            remove(place)


def finished(app: str, path: Path) -> Run:
    """The run in folder `path`, with an exported model in it.

    Raises:
        UserError: if it is no run of `app`, or has no export.
    """
    run = Run(path)
    if not path.is_dir():
        raise UserError(f"--run {path}: no such folder")
    found = read_config(run).get("app")
    if found != app:
        raise UserError(f"--run {path}: a run of {found!r}, expected one of {app!r}")
    if not (run.export / "saved_model.pb").is_file():
        raise UserError(f"--run {path}: no exported model in it, expected {run.export}")
    return run


def to_evaluate(
    app: str, path: Path, dataset: str | None, data: Path | None, out: Path | None
) -> Run:
    """The finished run that an ``evaluate`` is to score, on `dataset` or `data`, into `out`.

    Raises:
        UserError: as ``finished``; for both of `dataset` and `data`; for places that don't exist.
    """
    run = finished(app, path)
    if out is not None and not out.absolute().parent.is_dir():
        raise UserError(f"--out {out}: no such folder")
    if dataset is not None and data is not None:
        raise UserError("expected --dataset or --data, found both")
    if data is not None and not data.exists():
        raise UserError(f"{data}: no such file or folder")
    return run


def read_config(run: Run) -> dict[str, Any]:
    """config.json of a run.

    Raises:
        UserError: if it is missing or is not a JSON object.
    """
    if not run.config.exists():
        raise UserError(f"{run.path}: not a run's folder: no config.json in it")
    return read_json(run.config)


def settings(run: Run, config_type: type[Any]) -> dict[str, Any]:
    """The configuration of a run, field by field: the defaults of what its config.json lacks,
    and nothing that `config_type` does not know, so that runs of other versions stay of use.

    Raises:
        UserError: as ``read_config``; naming the field, for a value that it can't have.
    """
    config = from_json(config_type, read_config(run), str(run.config))
    return {field.name: getattr(config, field.name) for field in fields(config_type)}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object in a file: values alone, whatever they say.

    Raises:
        UserError: if it is missing, too large, can't be read, or is something else.
    """
    text = files.read_text(path, MOST_BYTES)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: can't be read as JSON: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: expected a JSON object")
    return found


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Has `write` fill a neighbour of `path` with the same suffix, then renames it."""
    neighbour = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        write(neighbour)
        sync(neighbour)
        os.replace(neighbour, path)
        sync(path.parent)
    finally:
        neighbour.unlink(missing_ok=True)


def write_folder(path: Path, write: Callable[[Path], None]) -> None:
    """The same of a folder; one that is there already is replaced."""
    neighbour = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        neighbour.mkdir()
        write(neighbour)
        for file in neighbour.iterdir():
            sync(file)
        sync(neighbour)
        remove(path)
        os.replace(neighbour, path)
        sync(path.parent)
    finally:
        remove(neighbour)


def sync(path: Path) -> None:
    """Forces a file, or the names in a folder, to the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def remove(place: Path) -> None:
    """A file, or a folder of ours with all in it; of a symbolic link the link alone."""
    if place.is_symlink() or not place.is_dir():
        place.unlink(missing_ok=True)
    else:
        shutil.rmtree(place, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8, whole or not at all.

    Raises:
        OSError: if it can't be written.
    """
    write_whole(path, lambda neighbour: _write_utf8(neighbour, text))


def _write_utf8(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes JSON, whole or not at all.

    Raises:
        OSError: if it can't be written.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def versions() -> dict[str, str]:
    """Versions of what decides a result."""
    packages = ("tensorflow", "keras", "numpy", "scikit-learn", "tensorflow-datasets")
    return {
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in packages},
    }
