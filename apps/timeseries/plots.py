"""Pictures of forecasts. Each returns a matplotlib figure. Imports no TensorFlow."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import dates as mdates
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from apps.timeseries.config import LEVELS
from apps.timeseries.metrics import INTERVALS
from apps.timeseries.panel import Forecast, Panel
from common.plots import plain

MOST_PANELS = 6
BANDS = {"95": "#cfe2f1", "80": "#93bfdf"}
HISTORY, TRUTH, MEDIAN = "black", "#d55e00", "#1764ab"  # to be told apart by everybody
NAMES = {
    "mae": "mean absolute error",
    "rmse": "root of the mean squared error",
    "mase": "MASE",
    "pinball": "pinball loss",
    "crps": "CRPS",
    "coverage_80": "share inside the 80 % interval",
    "coverage_95": "share inside the 95 % interval",
    "width_80": "width of the 80 % interval",
}
# Frequencies whose steps are not equally long are counted.
CALENDAR = {"B": "business days", "W": "weeks", "M": "months", "Q": "quarters", "Y": "years"}
UNITS = ((86_400, "days"), (3_600, "hours"), (60, "minutes"))


def fans(panel: Panel, origins: np.ndarray, forecasts: Forecast, history: int) -> Figure:
    """History, truth and forecast at six origins, spread evenly over all of them; with several
    series or targets, each panel shows the next one.

    Args:
        origins: ``[windows, 2]``, of the forecasts.
        history: rows that each forecast looked back on; no more than three horizons are drawn.
    """
    order = np.argsort(origins[:, 1], kind="stable")  # one series' windows follow another's
    count = min(MOST_PANELS, len(origins))
    # The middles of so many stretches of equal length.
    places = order[((np.arange(count) + 0.5) * len(origins) / count).astype(int)]
    every = [
        (number, target)
        for target in range(len(panel.roles.targets))
        for number in np.unique(origins[:, 0])
    ]
    pairs = []
    for panel_number, place in enumerate(places):
        number, target = every[panel_number % len(every)]
        own = np.flatnonzero(origins[:, 0] == number)
        near = np.abs(origins[own, 1] - origins[place, 1]).argmin()
        pairs.append((int(own[near]), target))
    return _panels(panel, origins, forecasts, history, pairs, f"{panel.name}: forecasts")


def forecast(panel: Panel, origins: np.ndarray, forecasts: Forecast, history: int) -> Figure:
    """One forecast of each series and target, up to six panels; the truth need not be known.

    Args:
        panel: its series may end where the forecast begins.
        origins: ``[windows, 2]``, one for each series.
        history: rows that each forecast looked back on; no more than three horizons are drawn.
    """
    targets = range(len(panel.roles.targets))
    pairs = [(place, target) for place in range(len(origins)) for target in targets]
    return _panels(
        panel, origins, forecasts, history, pairs[:MOST_PANELS], f"{panel.name}: forecast"
    )


def examples(
    panel: Panel,
    origins: np.ndarray,
    forecasts: Forecast,
    history: int,
    chosen: Mapping[str, tuple[int, int]],
) -> Figure:
    """The forecasts of some windows and targets, each under its name.

    Args:
        origins: ``[windows, 2]``, of the forecasts.
        history: rows that each forecast looked back on; no more than three horizons are drawn.
        chosen: name -> window, target.
    """
    pairs = list(chosen.values())
    return _panels(
        panel, origins, forecasts, history, pairs, f"{panel.name}: forecasts", tuple(chosen)
    )


def error_by_step(
    errors: Mapping[str, np.ndarray], metric: str, panel: Panel, unit: str = ""
) -> Figure:
    """A score against how far ahead the forecast looks, a line for each model.

    Args:
        errors: model -> ``[horizon]``, such as ``metrics.by_step`` gives; the first, the
            network, is drawn boldly.
        metric: the score's name in ``metrics.scores``.
        panel: its step gives the axis of time.
        unit: of the score, if it has one.
    """
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots()
    size, name = _axis(panel, max(len(values) for values in errors.values()))
    for number, (model, values) in enumerate(errors.items()):
        ahead = np.arange(1, len(values) + 1) * size
        style = _style(number)
        mark = "o" if len(values) <= 30 else None
        axes.plot(ahead, values, label=_words(model), marker=mark, markersize=3, **style)
    label = NAMES.get(metric, metric)
    label = plain(f"{label} [{unit}]" if unit else label)
    title = plain(f"{panel.name}: error against the horizon")
    axes.set(xlabel=f"{name} ahead", ylabel=label, title=title)
    if metric.startswith("coverage"):
        axes.axhline(int(metric[-2:]) / 100, color="grey", linestyle="--", linewidth=0.8)
        axes.set(title=plain(f"{panel.name}: coverage against the horizon"))
    else:
        axes.set_ylim(bottom=0)
    axes.margins(x=0.02)
    axes.xaxis.set_major_locator(MaxNLocator(9, steps=[1, 2, 3, 4, 5, 6, 10]))
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure


def reliability(observed: Mapping[str, np.ndarray]) -> Figure:
    """How much of the truth is below each quantile: on the diagonal if the forecast is honest.

    Args:
        observed: model -> ``[levels]``, from ``metrics.reliability``; the first is drawn boldly.
    """
    figure = Figure(figsize=(6.6, 4.8), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", linewidth=1, label="honest")
    for number, (model, shares) in enumerate(observed.items()):
        axes.plot(LEVELS, shares, marker="o", markersize=4, label=_words(model), **_style(number))
    axes.set(
        xlabel="level of the quantile",
        ylabel="share of the truth below it",
        xlim=(0, 1),
        ylim=(0, 1),
        aspect="equal",
        title="Reliability of the quantiles",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure


def _panels(
    panel: Panel,
    origins: np.ndarray,
    forecasts: Forecast,
    history: int,
    pairs: Sequence[tuple[int, int]],
    title: str,
    names: Sequence[str] = (),
) -> Figure:
    """A panel for each window and target of `pairs`, three in a row; one legend."""
    columns = {1: 1, 2: 2, 4: 2}.get(len(pairs), 3)
    rows = -(-len(pairs) // columns)
    width = 9.0 if columns == 1 else 4.6 * columns
    figure = Figure(figsize=(width, 3.1 * rows + 0.9))
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.07)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (place, target) in zip(grid, pairs, strict=False):
        _fan(axes, panel, origins[place], forecasts, place, target, history)
    for axes, name in zip(grid, names, strict=False):
        axes.set_title(f"{plain(name)}: {axes.get_title()}", fontsize=10)
    for axes in grid[len(pairs) :]:
        axes.set_axis_off()
    artists: dict[str, Any] = {}
    for axes in grid[: len(pairs)]:
        handles, labels = axes.get_legend_handles_labels()
        artists |= dict(zip(labels, handles, strict=True))
    figure.suptitle(plain(title))
    legend: dict[str, Any] = {"loc": "outside lower center", "ncols": 5, "frameon": False}
    figure.legend(artists.values(), artists.keys(), **legend)
    return figure


def _fan(
    axes: Axes,
    panel: Panel,
    origin: np.ndarray,
    forecasts: Forecast,
    place: int,
    target: int,
    history: int,
) -> None:
    """One window of one target: what was known, what came, and what was said."""
    number, row = int(origin[0]), int(origin[1])
    series = panel.series[number]
    horizon = forecasts.point.shape[1]
    begin = max(0, row - min(history, 3 * horizon))
    known, before = series.target[begin:row, target], series.times[begin:row]
    # A forecast of the future goes beyond the table's end.
    ahead = pd.date_range(before[-1], periods=horizon + 1, freq=panel.frequency)[1:]
    truth = series.target[row : row + horizon, target]
    axes.plot(before, known, color=HISTORY, linewidth=1, label="history")
    quantiles = forecasts.quantiles[place, :, target]
    for interval, colour in BANDS.items():
        lower, upper = (quantiles[:, index] for index in INTERVALS[interval])
        label = f"{interval} % interval"
        axes.fill_between(ahead, lower, upper, color=colour, linewidth=0, label=label)
    middle = quantiles[:, LEVELS.index(0.5)]
    axes.plot(ahead, middle, color=MEDIAN, linewidth=1.8, label="median forecast")
    if np.isfinite(truth).any():
        times, values = before[-1:].append(ahead[: len(truth)]), np.append(known[-1:], truth)
        axes.plot(times, values, color=TRUTH, linewidth=1.1, label="truth")
    axes.axvline(mdates.date2num(before[-1]), color="grey", linewidth=0.8, linestyle=":")
    locator = mdates.AutoDateLocator(minticks=3, maxticks=6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))
    axes.margins(x=0.01)
    axes.grid(alpha=0.25)
    start = ahead[0].strftime("%Y-%m-%d %H:%M" if panel.step < UNITS[0][0] else "%Y-%m-%d")
    several = len(panel.series) > 1
    axes.set_title(f"{plain(series.name)}, {start}" if several else f"from {start}", fontsize=10)
    axes.set_ylabel(plain(panel.roles.targets[target]))


def _axis(panel: Panel, horizon: int) -> tuple[float, str]:
    """How long a step is on the axis of time, and in which unit: one that the horizon has at
    least two of."""
    rule = panel.frequency.lstrip("0123456789")
    rule = rule.removeprefix("B") or "B"  # business months are months
    for first, name in CALENDAR.items():
        if rule.startswith(first):
            return 1.0, name
    longest = max(panel.step, panel.step * horizon / 2)
    fitting = [unit for unit in UNITS if unit[0] <= longest]
    seconds, name = fitting[0] if fitting else (1, "seconds")
    return panel.step / seconds, name


def _style(number: int) -> dict[str, Any]:
    return {"linewidth": 2.5, "zorder": 3} if number == 0 else {"linewidth": 1.3}


def _words(model: str) -> str:
    return model.replace("_", " ")
