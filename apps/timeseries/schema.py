"""What a run knows about the tables that it can forecast: its schema.json. Imports no
TensorFlow."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from apps.timeseries.config import TableConfig
from apps.timeseries.panel import Cuts, Panel, Roles
from apps.timeseries.shape import Shape
from common.errors import UserError
from common.runs import Run, write_json

NAME = "schema.json"


@dataclass(frozen=True)
class Schema:
    """Columns, frequency and lengths, as they were at training."""

    frequency: str
    """An alias of a pandas offset."""
    roles: Roles
    series: tuple[str, ...]
    """Names of the series trained on; others may be forecast as well."""
    cuts: Cuts
    shape: Shape

    @classmethod
    def of(cls, panel: Panel, cuts: Cuts, shape: Shape) -> "Schema":
        names = tuple(series.name for series in panel.series)
        return cls(panel.frequency, panel.roles, names, cuts, shape)

    def write(self, run: Run) -> None:
        write_json(run.path / NAME, asdict(self))

    @classmethod
    def read(cls, run: Run) -> "Schema":
        """That of a finished run.

        Raises:
            UserError: if it is missing or can't be understood.
        """
        path = run.path / NAME
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                str(found["frequency"]),
                Roles(**_tuples(found["roles"])),
                tuple(found["series"]),
                Cuts(**found["cuts"]),
                Shape(**_tuples(found["shape"])),
            )
        except FileNotFoundError:
            raise UserError(f"{run.path}: no {NAME} in it; expected a finished run") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise UserError(f"{path}: can't be read as a run's schema: {reason}") from None

    def table(self, time_column: str | None, series_column: str | None) -> TableConfig:
        """How a table with this run's columns is read."""
        return TableConfig(
            time_column=time_column,
            target=self.roles.targets,
            past_covariates=self.roles.past,
            future_covariates=self.roles.future,
            series_column=series_column,
        )

    def check(self, panel: Panel) -> None:
        """Raises UserError if the rows of `panel` come at another frequency."""
        if panel.frequency != self.frequency:
            raise UserError(
                f"{panel.name}: rows of frequency {panel.frequency}; expected {self.frequency}, "
                f"as the run was trained on"
            )


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    """JSON's lists back to tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
