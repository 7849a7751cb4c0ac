"""What a run says about itself, of whatever version, finished or not. Imports no TensorFlow."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from common import charts, files, runs
from common.errors import UserError


@dataclass(frozen=True)
class Record:
    """What config.json, metrics.json and history.csv hold; the last two may not be there yet."""

    config: Mapping[str, Any]
    result: Mapping[str, Any]
    history: charts.History

    @property
    def app(self) -> str:
        """The application that it is of; "?" where the files don't say."""
        return str(self.result.get("app", self.config.get("app", "?")))

    @property
    def dataset(self) -> str:
        """What it was trained on."""
        usual = self.config.get("data") or self.config.get("dataset", "?")
        return str(self.result.get("dataset", usual))


def read(run: runs.Run, result: Mapping[str, Any] | None = None) -> Record:
    """The record of a run.

    Args:
        result: what metrics.json will hold, of a run that is about to write it.

    Raises:
        UserError: naming the file, for one that is broken, or that a link has outside the folder;
            if there is no config.json.
    """
    for path in (run.config, run.metrics, run.history()):
        if not files.inside(path, run.path):
            raise UserError(f"{path}: leads out of the run's folder")
    if result is None:
        result = runs.read_json(run.metrics) if run.metrics.exists() else {}
    history = charts.read_history(run.history()) if run.history().exists() else {}
    return Record(runs.read_config(run), result, history)


def is_trial(run: runs.Run) -> bool:
    """Whether it was made by a sweep (``common.sweep``), to choose by."""
    place = run.path.absolute().parent
    return place.name == "trials" and (place.parent / "trials.json").is_file()
