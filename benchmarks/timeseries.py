"""A trained forecaster beside statsforecast's AutoETS and MSTL, and its SeasonalNaive as a check.

All forecast from the same origins, one drawn from each of N equal stretches of the test part (a
fixed stride could meet the same hour again and again), in turn in one process. The network is
asked through its SavedModel, one window a call. The others are used as their users do: fitted
anew at each origin to what was known before it, each target by itself. What counts is the ratio
to the network, of scores and of the median seconds for a forecast.

Where they are not equals: statsforecast's methods see the target alone, as does a run trained
with ``--future-covariates none`` (but for the calendar); they need no training, of which the
table says the seconds; and a fit runs on one core, TensorFlow on all. Writes
benchmarks/results/timeseries.json.
"""

import importlib.util
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from apps.timeseries import metrics
from apps.timeseries.config import LEVELS, EvaluateConfig
from apps.timeseries.panel import Cuts, Forecast, Panel, gather, origins
from apps.timeseries.predict import ask
from apps.timeseries.schema import Schema
from apps.timeseries.shape import Shape, turns_of
from apps.timeseries.standardise import before, carried, moments
from common import runs
from common.cli import main, start_tensorflow
from common.errors import UserError

WIDTHS = {level: round(100 * abs(1 - 2 * level), 6) for level in LEVELS if level != 0.5}
"""Level of a quantile -> per cent of the central interval that it is an end of."""
LONGEST = 24  # season that AutoETS models; a longer one it drops, after many times the seconds
FEWEST = 16  # rows that AutoETS can be fitted to
COMPARED = ("mase", "crps", "seconds")
SHOWN = (*COMPARED, "coverage_80", "width_80")
Contender = Callable[[np.ndarray], Forecast]


@dataclass(frozen=True)
class BenchmarkConfig:
    """Compare a finished run of apps.timeseries with statsforecast's AutoETS and MSTL."""

    run: Path
    """Folder of a finished run."""
    origins: int = 50
    """Forecasts of each contender, spread over the test part."""
    rows: int = 4032
    """At most so many rows before an origin are what statsforecast is fitted to, for MSTL takes
    seconds for a few thousand; the default is twelve weeks of half-hours."""
    out: Path = Path(__file__).parent / "results" / "timeseries.json"
    """Where to write the results."""

    def __post_init__(self) -> None:
        if self.origins < 1:
            raise UserError(f"--origins {self.origins}: expected a value above 0")


def run(config: BenchmarkConfig) -> dict[str, Any]:
    """Prints a row for each contender; returns what it writes."""
    finished = runs.finished("timeseries", config.run)
    if importlib.util.find_spec("statsforecast") is None:
        raise UserError(
            "the package statsforecast is missing: pip install -c constraints.txt -e '.[bench]'"
        )
    start_tensorflow()
    from apps.timeseries.evaluate import labelled
    from common import export

    asked, trained = runs.read_config(finished), runs.read_json(finished.metrics)
    schema = Schema.read(finished)
    shape = schema.shape
    _, panel, cuts, _ = labelled(EvaluateConfig(config.run), asked, schema)
    everywhere = origins(panel, cuts, "test", shape.history, shape.horizon)
    drawn = one_of_each_stretch(everywhere, config.origins)
    shortest = min(config.rows, int(drawn[:, 1].min()))
    if shortest < max(shape.season, FEWEST):
        raise UserError(
            f"--rows {config.rows}: expected {max(shape.season, FEWEST)} rows before each origin "
            f"at least, found {shortest}"
        )
    seasons = seasons_of(panel, shape, shortest)
    model = export.load(finished.export)
    network = f"{asked['cell']} network"
    contenders = {network: of_model(model, panel, shape)}
    for name, method in methods(seasons, shape.season).items():
        contenders[name] = of_method(method, panel, cuts, shape.horizon, config.rows)
    config.out.parent.mkdir(parents=True, exist_ok=True)  # rather now than after minutes
    forecasts, seconds = in_turn(contenders, drawn)
    result = {
        "dataset": panel.name,
        "rows": config.rows,
        "seasons": seasons,
        "horizon": shape.horizon,
        "train_seconds": trained["train_seconds"],
        "contenders": compared(forecasts, seconds, panel, cuts, shape, drawn),
        "origins": drawn.tolist(),
        "versions": {**runs.versions(), "statsforecast": version("statsforecast")},
    }
    show(result)
    runs.write_json(config.out, result)
    return result


# What is asked for


def one_of_each_stretch(origins: np.ndarray, count: int) -> np.ndarray:
    """So many of the origins ``[windows, 2]``, or all if they are fewer; always the same."""
    random = np.random.default_rng(0)
    return np.stack([random.choice(part) for part in np.array_split(origins, count) if len(part)])


def seasons_of(panel: Panel, shape: Shape, rows: int) -> list[int]:
    """Rows in each season that is seen twice in so many rows: day, week, year, the run's own."""
    turns = {*turns_of(panel).values(), shape.season}
    return sorted(turn for turn in turns if 1 < turn <= rows // 2)


def methods(seasons: list[int], naive: int) -> dict[str, Any]:
    """statsforecast's, by name; without a season there is nothing for MSTL to take apart."""
    from statsforecast.models import MSTL, AutoETS, SeasonalNaive

    modelled = max([season for season in seasons if season <= LONGEST], default=1)
    found = {"SeasonalNaive": SeasonalNaive(naive), "AutoETS": AutoETS(season_length=modelled)}
    return {**found, "MSTL": MSTL(season_length=seasons)} if seasons else found


# Contenders: origin [1, 2] -> Forecast of one window


def of_model(model: Any, panel: Panel, shape: Shape) -> Contender:
    """The network, as one calls it who has only its SavedModel."""
    return lambda origin: ask(model, panel, origin, shape)


def of_method(method: Any, panel: Panel, cuts: Cuts, horizon: int, rows: int) -> Contender:
    """A method of statsforecast, fitted to the last rows before the origin; a missing value is
    the last one known."""
    mean, _ = moments([series.target for series in before(panel, cuts.train)])
    widths = sorted(set(WIDTHS.values()))

    def forecast(origin: np.ndarray) -> Forecast:
        number, row = origin[0]
        known = panel.series[number].target[np.newaxis, max(0, row - rows) : row]
        columns = np.ascontiguousarray(carried(known, mean[number])[0].T, np.float64)
        said = [method.forecast(column, horizon, level=widths) for column in columns]
        point = np.stack([one["mean"] for one in said], axis=-1)
        quantiles = np.stack([quantiles_of(one) for one in said], axis=1)
        return Forecast(point[np.newaxis], quantiles[np.newaxis])

    return forecast


def quantiles_of(said: Mapping[str, np.ndarray]) -> np.ndarray:
    r"""``[horizon, levels]`` out of statsforecast's central intervals.

    The quantile of level :math:`\tau` is an end of the interval of :math:`100\,|1 - 2\tau|` per
    cent, the lower one below the middle; the middle is the mean, as these are Gaussian.
    """
    ends = {level: f"{'lo' if level < 0.5 else 'hi'}-{width}" for level, width in WIDTHS.items()}
    return np.stack([said[ends.get(level, "mean")] for level in LEVELS], axis=-1)


def in_turn(
    contenders: Mapping[str, Contender], drawn: np.ndarray
) -> tuple[dict[str, Forecast], dict[str, float]]:
    """Forecasts of each contender at all origins, and its median seconds for one; what a first
    call compiles is not counted."""
    for forecast in contenders.values():
        forecast(drawn[:1])
    said: dict[str, list[Forecast]] = {name: [] for name in contenders}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for place in tqdm(range(len(drawn)), unit="origin"):
        for name, forecast in contenders.items():
            started = time.perf_counter()
            said[name].append(forecast(drawn[place : place + 1]))
            seconds[name].append(time.perf_counter() - started)
    whole = {
        name: Forecast(
            np.concatenate([one.point for one in found]),
            np.concatenate([one.quantiles for one in found]),
        )
        for name, found in said.items()
    }
    return whole, {name: float(np.median(taken)) for name, taken in seconds.items()}


def compared(
    forecasts: Mapping[str, Forecast],
    seconds: Mapping[str, float],
    panel: Panel,
    cuts: Cuts,
    shape: Shape,
    drawn: np.ndarray,
) -> dict[str, dict[str, Any]]:
    """Every score of each contender, its seconds, and the ratios to the first one's, of the MASE
    with a 95 % interval."""
    truth = gather(panel, drawn, 0, shape.horizon, "target")
    scales = metrics.scales_at(panel, cuts, shape.season, drawn)
    table: dict[str, dict[str, Any]] = {}
    for name, forecast in forecasts.items():
        row = metrics.scores(forecast, truth, scales) | {"seconds": seconds[name]}
        network, first = next(iter(table.items()), (name, row))
        interval = metrics.ratio(forecast, forecasts[network], truth, drawn, scales.seasonal)[1:]
        ratios = {key: row[key] / first[key] for key in COMPARED}
        table[name] = {**row, "vs_network": {**ratios, "mase_interval": interval}}
    return table


def show(result: Mapping[str, Any]) -> None:
    """The table, with the ratio to the network beside a score."""
    seasons = ", ".join(map(str, result["seasons"])) or "none"
    print(
        f"{result['dataset']}: {len(result['origins'])} origins of the test part, "
        f"{result['horizon']} rows ahead; the network was trained for "
        f"{result['train_seconds']:.0f} s,\nstatsforecast {result['versions']['statsforecast']} "
        f"is fitted at each origin to {result['rows']:,} rows at most; seasons: {seasons}"
    )
    heads = (f"{key:>13s}" + f"{'ratio':>9s}" * (key in COMPARED) for key in SHOWN)
    print(" " * 16 + "".join(heads) + "   95 % of MASE's ratio")
    for name, row in result["contenders"].items():
        ratios = {key: f"{row['vs_network'][key]:9.2f}" for key in COMPARED}
        cells = "".join(f"{row[key]:13.4f}{ratios.get(key, '')}" for key in SHOWN)
        low, high = row["vs_network"]["mase_interval"]
        print(f"{name:16s}{cells}   [{low:.2f}, {high:.2f}]")


if __name__ == "__main__":
    main(run, BenchmarkConfig, prog="python -m benchmarks.timeseries")
