"""What a forecaster looks like for a given table: lengths, seasons, and the calendar it sees.
Imports no TensorFlow."""

from dataclasses import dataclass

import numpy as np

from apps.timeseries.config import TimeSeriesConfig
from apps.timeseries.panel import Cuts, Panel, gather, origins
from common.errors import UserError

DAY, WEEK, YEAR = 86_400, 604_800, 31_556_952
MONDAY = 4 * DAY  # 1970-01-05: weeks are counted from one
HARMONICS = {DAY: 3, WEEK: 3, YEAR: 2}


@dataclass(frozen=True)
class Shape:
    """Lengths in rows; everything else that is found out about a table before training."""

    history: int
    horizon: int
    patch: int
    season: int
    """Of the seasonal naive and the MASE."""
    lags: tuple[int, ...]
    """Rows back to what the decoder is shown for each step, all at least the horizon."""
    cycles: tuple[int, ...]
    """Seconds of each turn of the calendar that the network is shown."""


def shape_of(config: TimeSeriesConfig, panel: Panel, cuts: Cuts) -> Shape:
    """The configuration's lengths, and where it leaves them open those that the frequency
    suggests.

    Raises:
        UserError: if they don't fit together, or the table is too short for them.
    """
    turns = turns_of(panel)
    default = next((rows for rows in _horizons(turns) if rows >= 10), 24)
    horizon = config.horizon or min(default, 96)
    history = config.history or _history(horizon, list(turns.values()))
    patch = config.patch or _patch(history, horizon)
    if history % patch or horizon % patch:
        raise UserError(
            f"--patch {patch}: expected a divisor of the history ({history}) and of the horizon "
            f"({horizon})"
        )
    for part in ("train", "validation", "test"):
        if not len(origins(panel, cuts, part, history, horizon)):
            rows = max(len(series) for series in panel.series)
            raise UserError(
                f"{panel.name}: no window of {history} rows of history and {horizon} of forecast "
                f"in the {part} part; its longest series has {rows:,} rows: lower --history or "
                f"--horizon, or change --split"
            )
    seasons = [1, *(rows for rows in turns.values() if rows > 1)]
    season = config.season or _best_season(panel, cuts, seasons, history, horizon)
    if season > history:
        raise UserError(
            f"--season {season}: expected no more than the history, {history} rows: the seasonal "
            f"naive looks back so far"
        )
    lags = tuple(sorted({_lag(rows, horizon) for rows in [*turns.values(), season] if rows > 1}))
    span = cuts.train - min(int(series.seconds[0]) for series in panel.series)
    return Shape(
        history,
        horizon,
        patch,
        season,
        tuple(lag for lag in lags if lag <= history) if config.seasonal_lags else (),
        tuple(seconds for seconds in turns if 2 * seconds <= span),
    )


def turns_of(panel: Panel) -> dict[int, int]:
    """Seconds of day, week and year -> rows in them, where there are at least two."""
    step = panel.step
    turns = {seconds: round(seconds / step) for seconds in (DAY, WEEK, YEAR)}
    if panel.frequency == "B":  # BMS and BME are months
        turns = {WEEK: 5, YEAR: 261}
    return {seconds: rows for seconds, rows in turns.items() if rows > 1}


def _horizons(turns: dict[int, int]) -> list[int]:
    """Lengths that people ask for, the shortest first: a day, a week, two weeks, a year."""
    week = turns.get(WEEK, 0)
    return [turns.get(DAY, 0), week, 2 * week, turns.get(YEAR, 0)]


def _history(horizon: int, turns: list[int]) -> int:
    """Whole horizons that hold the longest turn within eight of them, two at least."""
    reach = max([rows for rows in turns if rows <= 8 * horizon], default=horizon)
    return horizon * max(2, -(-reach // horizon))


def _patch(history: int, horizon: int) -> int:
    """The largest common divisor that leaves at least 12 steps of history, or else 1."""
    divisors = [rows for rows in range(1, horizon + 1) if not (history % rows or horizon % rows)]
    return max([rows for rows in divisors if history // rows >= 12], default=1)


def _lag(season: int, horizon: int) -> int:
    """The least number of whole seasons that is known for every step of the horizon."""
    return season * -(-horizon // season)


def _best_season(panel: Panel, cuts: Cuts, seasons: list[int], history: int, horizon: int) -> int:
    """The season whose naive forecast errs least over the training part's windows."""
    windows = origins(panel, cuts, "train", history, horizon)
    windows = windows[:: max(1, len(windows) // 500)]
    before = gather(panel, windows, -history, 0, "target")
    after = gather(panel, windows, 0, horizon, "target")
    scale = np.nanstd(before, axis=(0, 1)) + 1e-12
    errors = {}
    for season in seasons:
        if season <= history:
            tiled = before[:, -season:][:, np.arange(horizon) % season]
            apart = np.abs(tiled - after) / scale
            if np.isfinite(apart).any():
                errors[season] = float(np.nanmean(apart))
    return min(errors, key=lambda season: errors[season], default=1)
