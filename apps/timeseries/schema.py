"""What a run knows about the tables that it can forecast: its schema.json. Imports no
TensorFlow."""

from dataclasses import asdict, dataclass

from apps.timeseries.config import TableConfig
from apps.timeseries.frequency import step_of
from apps.timeseries.panel import Cuts, Panel, Roles
from apps.timeseries.shape import Shape
from common.config import from_json
from common.errors import UserError
from common.runs import Run, read_json, write_json

NAME = "schema.json"
LONGEST = 1_000_000
"""Rows in a window: more than anybody trains on."""


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
        """That of a run on a table."""
        names = tuple(series.name for series in panel.series)
        return cls(panel.frequency, panel.roles, names, cuts, shape)

    def write(self, run: Run) -> None:
        """Into the run's folder."""
        write_json(run.path / NAME, asdict(self))

    @classmethod
    def read(cls, run: Run) -> "Schema":
        """That of a finished run.

        Raises:
            UserError: if it is missing or can't be understood.
        """
        path = run.path / NAME
        if not path.exists():
            raise UserError(f"{run.path}: no {NAME} in it; expected a finished run")
        schema = from_json(cls, read_json(path), str(path))
        schema._check(str(path))
        return schema

    def _check(self, where: str) -> None:
        """Raises UserError for what no training writes."""
        try:
            step_of(self.frequency)
        except (ValueError, TypeError, OverflowError):
            raise UserError(f"{where}: frequency {self.frequency[:60]!r} is none") from None
        lengths = [getattr(self.shape, name) for name in ("history", "horizon", "patch", "season")]
        if not all(0 < rows <= LONGEST for rows in (*lengths, *self.shape.lags)):
            raise UserError(f"{where}: shape: expected lengths of 1 to {LONGEST:,} rows")
        if not self.roles.targets:
            raise UserError(f"{where}: roles: expected a target at least")

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
