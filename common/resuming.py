"""Whether, and how, a run that was killed may go on. Imports no TensorFlow.

A run goes on with the configuration that it was started with, on the data that it was started
with: anything else would end in a model that no configuration describes.
"""

import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from common import runs
from common.config import from_json, to_json
from common.errors import UserError
from common.fingerprints import fingerprints

Config = TypeVar("Config")

HARMLESS = ("checkpoint_minutes", "keep_checkpoints", "worker_minutes")
"""Fields that a run may go on with another value of: they change nothing in its end."""


def configuration(app: str, kind: type[Config], path: Path) -> Config:
    """What the run in `path` was started with, and that it is to be resumed.

    Raises:
        UserError: if there is no run of `app` in it.
    """
    if not path.is_dir():
        raise UserError(f"--resume {path}: no such folder")
    run = runs.Run(path)
    values = runs.read_config(run)
    found = values.pop("app", None)
    values.pop("defaults", None)  # for the reader
    if found != app:
        raise UserError(f"--resume {path}: a run of {found!r}, expected one of {app!r}")
    saved: Any = from_json(kind, values, str(run.config), exact=True)
    return replace(saved, resume=path, run_dir=path)


def refuse_changes(saved: Config, asked: Config) -> None:
    """Raises UserError, naming the first field, if a flag beside --resume says something else
    than the run's configuration."""
    old, new = to_json(saved), to_json(asked)
    for field in fields(saved):  # type: ignore[arg-type]
        name = field.name
        if old[name] != new[name] and name not in HARMLESS:
            raise UserError(
                f"--resume {getattr(saved, 'resume', '')}: {name} differs: the run has "
                f"{old[name]!r}, asked was {new[name]!r}; a run goes on with what it has"
            )


def refuse_other_data(path: Path, config: object) -> None:
    """Raises UserError if the data behind the run in `path` is not what it was, or if the run is
    of a version that could not be resumed; says on stderr which packages are."""
    run = runs.Run(path)
    if not run.unfinished.is_file():
        raise UserError(f"--resume {path}: no {run.unfinished.name} in it: it can't be resumed")
    before = runs.read_json(run.unfinished)
    for name, found in fingerprints(config, path).items():
        if before.get(name) != found:
            where = getattr(config, name)
            raise UserError(
                f"--resume {path}: {where} has changed: it was {before.get(name)} when the run "
                f"was started, now it is {found}"
            )
    if before.get("versions") != runs.versions():
        print(
            f"{path}: begun with other versions ({before.get('versions')}): its end may differ",
            file=sys.stderr,
        )
