"""Settings of the time series application. Imports no TensorFlow."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from common.config import TrainConfig
from common.errors import UserError
from common.sweep import Between, Space

LEVELS = (0.025, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.975)
"""Of the quantiles that every model gives: 80 % and 95 % intervals, and enough between them
for the CRPS."""

Fill = Literal["forward", "mean", "zero"]
Loss = Literal["pinball", "mae", "mse"]
Decoder = Literal["direct", "autoregressive"]
Centre = Literal["last", "window", "training"]
Scale = Literal["training", "window"]


SUITED: dict[str, dict[str, Any]] = {
    "electricity": {"horizon": 48, "history": 336},
    "weather": {"horizon": 24, "history": 168},
    "stocks": {"horizon": 10, "history": 60, "scale": "window"},
}
"""Settings that suit a packaged dataset, where a flag leaves them open."""


@dataclass(frozen=True)
class TableConfig:
    """How a table of one's own is read: which column is what."""

    time_column: str | None = None
    """Column of the timestamps. Default: the first whose cells are dates."""
    target: tuple[str, ...] | None = None
    """Column or columns to forecast; together, each in its own unit."""
    past_covariates: tuple[str, ...] | None = None
    """Columns known up to now. `none` takes a packaged dataset's away."""
    future_covariates: tuple[str, ...] | None = None
    """Columns known over the horizon as well; the calendar comes by itself. `none`: no others."""
    series_column: str | None = None
    """Column that says which of several series a row belongs to."""
    frequency: str | None = None
    """pandas alias (h, 30min, D, B, MS) that the rows must have. Default: found out."""


@dataclass(frozen=True)
class TimeSeriesConfig(TrainConfig, TableConfig):
    """Train a recurrent network to forecast with honest error bars: many-to-many."""

    units: int = 128
    """Width of the hidden state. Raise it when there is much data."""
    average: float = 0.99
    """Momentum of the running average of the weights that is validated and kept; 0 is off."""
    dataset: str = "electricity"
    """electricity, weather or stocks; or a TFDS dataset of tables, with --target."""
    split: tuple[float, float, float] = (0.7, 0.1, 0.2)
    """Parts by time: training, validation, test; as shares, per cent, or numbers of rows."""
    horizon: int | None = None
    """Rows to forecast. Default: a day of shorter steps, of at most 96 rows; two weeks of days;
    a year of months."""
    history: int | None = None
    """Rows that a forecast looks back on. Default: as many horizons as hold a week, or a day
    where a week is more than eight of them; two at least."""
    patch: int | None = None
    """Rows in one step of the recurrence (SegRNN); must divide history and horizon. Default:
    about 14 steps of history."""
    season: int | None = None
    """Rows in a season, for the seasonal naive and the MASE. Default: the one that fits best."""
    fill: Fill = "forward"
    """What stands for a missing value: the last one known, the window's mean, or zero (of
    demand: none was asked). Never a target of the loss."""
    loss: Loss = "pinball"
    """pinball learns quantiles; mae and mse learn a point, and take the spread of the
    validation part's errors for intervals."""
    decoder: Decoder = "direct"
    """direct: all patches of the horizon at once; autoregressive: one after the other, each
    fed with the forecast before it."""
    teacher_forcing: float = 0.0
    """Share of a batch that the autoregressive decoder feeds with true values in training."""
    centre: Centre = "last"
    """Subtracted from each window: its last value, its mean, or the training part's mean."""
    scale: Scale | None = None
    """Each window is divided by the training part's deviation, or by its own: for levels
    that grow, and for series of unlike sizes. Default: training; of stocks, window."""
    dropout: float = 0.3
    """Rate of dropout before the recurrence and before the readout."""
    seasonal_lags: bool = True
    """Show the decoder the values a day and a week before each step, where there are some."""
    linear: bool = True
    """Add a linear forecast from the history, learnt beside the recurrence (as in LSTNet)."""
    members: int = 3
    """Train so many networks, one after the other, and average their quantiles."""
    refit: bool = True
    """When epochs are chosen, train anew on training and validation part together."""
    calibrate: bool = True
    """Widen or narrow the quantiles to be right on the validation part."""
    stride: int = 1
    """Every so many rows a forecast is made of the test part, and scored."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("horizon", "history", "patch", "season", "members", "stride"):
            value = getattr(self, name)
            self.require(name, value is None or value > 0, "above 0")
        self.require("dropout", 0 <= self.dropout < 1, "at least 0 and below 1")
        self.require("teacher_forcing", 0 <= self.teacher_forcing <= 1, "from 0 to 1")
        if self.decoder == "direct" and self.teacher_forcing:
            raise UserError("--teacher-forcing goes with --decoder autoregressive")

    def suited(self) -> "TimeSeriesConfig":
        """With what suits the packaged dataset, where a flag leaves it open."""
        settings = {} if self.data is not None else SUITED.get(self.dataset, {})
        return replace(self, **{k: v for k, v in settings.items() if getattr(self, k) is None})


SPACE = Space(
    monitor="loss",
    lower_is_better=True,
    fields={
        "learning_rate": Between(3e-4, 1e-2, log=True),
        "units": (32, 64, 128, 256),
        "layers": (1, 2),
        "cell": ("gru", "lstm", "mingru"),
        "dropout": Between(0.0, 0.6),
        "weight_decay": Between(1e-3, 0.1, log=True),
    },
)
"""What --sweep goes over, and the score that it chooses by."""


@dataclass(frozen=True)
class PredictConfig:
    """Forecast from the last rows of a table with a trained run."""

    run: Path
    """Folder of a finished run."""
    data: Path
    """A .csv or .parquet file with the run's columns. Its forecast begins after the last row
    with a target; rows below it give the future covariates."""
    out: Path = Path("forecast.csv")
    """Where to write the forecast: a row for each series, target and step."""
    png: Path | None = None
    """Where to draw it. Default: --out with .png."""
    time_column: str | None = None
    """Column of the timestamps. Default: as in training."""
    series_column: str | None = None
    """Column that says which series a row belongs to. Default: as in training."""


@dataclass(frozen=True)
class EvaluateConfig:
    """Score a trained run at rolling origins."""

    run: Path
    """Folder of a finished run."""
    dataset: str | None = None
    """A dataset with the run's columns: its test part. Default: the run's own data."""
    data: Path | None = None
    """Your own .csv or .parquet file with the run's columns: all of it."""
    time_column: str | None = None
    """Column of the timestamps. Default: as in training."""
    series_column: str | None = None
    """Column that says which series a row belongs to. Default: as in training."""
    stride: int = 1
    """Rows from one origin to the next."""
    out: Path | None = None
    """Where to write the scores as JSON."""

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise UserError(f"--stride {self.stride}: expected a value above 0")
