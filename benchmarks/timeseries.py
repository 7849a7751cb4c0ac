"""A trained forecaster beside ridge regression on the same inputs, a linear model in the manner of
DLinear, statsforecast's AutoETS and MSTL, and its SeasonalNaive as a check.

All forecast from the same origins, one drawn from each of N equal stretches of the test part (a
fixed stride could meet the same hour again and again), in turn in one process. The network is
asked through its SavedModel, one window a call. Ridge and the linear model are fitted once, and
have the intervals of their errors on the validation part, as the application gives its baselines.
statsforecast's are used as their users do: fitted anew at each origin to what was known before it,
each target by itself. What counts is the ratio to the network, of scores and of the median
seconds for a forecast. Who was how soon as good as ridge is told by the mean absolute error on the
validation part, of the run's first network as its history has it. Peaks of memory are of a training
and a forecast, each contender in a process of its own; the network's is trained there for some
steps only.

Where they are not equals: statsforecast's methods and DLinear see the target alone, as does a run
trained with ``--future-covariates none`` (but for the calendar); and a fit of statsforecast's runs
on one core, TensorFlow on all. Writes benchmarks/results/timeseries.json.
"""

import importlib.util
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from tqdm import tqdm

from apps.timeseries import baselines, metrics
from apps.timeseries.config import LEVELS, EvaluateConfig
from apps.timeseries.panel import Cuts, Forecast, Panel, gather, origins
from apps.timeseries.predict import ask
from apps.timeseries.ridge import Point, ridge
from apps.timeseries.schema import Schema
from apps.timeseries.shape import Shape, turns_of
from apps.timeseries.standardise import before, carried, moments
from benchmarks import dlinear, measure
from benchmarks.dlinear import Settings
from benchmarks.measure import MEMORY, SIZE, Column
from common import runs
from common.cli import main, start_tensorflow
from common.errors import UserError

WIDTHS = {level: round(100 * abs(1 - 2 * level), 6) for level in LEVELS if level != 0.5}
"""Level of a quantile -> per cent of the central interval that it is an end of."""
LONGEST = 24  # season that AutoETS models; a longer one it drops, after many times the seconds
FEWEST = 16  # rows that AutoETS can be fitted to
COMPARED = ("mase", "crps", "seconds")
COLUMNS = (
    Column("MASE", "mase"),
    Column("times the network's", "times", best=None),
    Column("CRPS", "crps", ".3g"),
    Column("MSE, standardised", "scaled_mse"),
    Column("in the 80 % interval", "coverage_80", ".1%", best=None),
    Column("s to ridge's MAE", "target_seconds", ",.1f"),
    Column("training, s", "train_seconds", ",.1f", best=None, missing="at each forecast"),
    MEMORY,
    Column("a forecast, ms", "seconds", ",.2f", 1e3),
    SIZE,
)
Peer = Literal["ridge", "DLinear", "SeasonalNaive", "AutoETS", "MSTL"]
PEERS: tuple[Peer, ...] = get_args(Peer)
FITTED = ("ridge", "DLinear")
Contender = Callable[[np.ndarray], Forecast]


@dataclass(frozen=True)
class BenchmarkConfig:
    """Compare a finished run of apps.timeseries with linear models and statsforecast's."""

    run: Path
    """Folder of a finished run."""
    peers: tuple[Peer, ...] = PEERS
    """What it is compared with; ridge and DLinear alone need no statsforecast."""
    origins: int = 50
    """Forecasts of each contender, spread over the test part."""
    rows: int = 4032
    """At most so many rows before an origin are what statsforecast is fitted to, for MSTL takes
    seconds for a few thousand; the default is twelve weeks of half-hours."""
    linear: Settings = field(default_factory=Settings)
    """As DLinear's authors have them for electricity; for ETTh1 batches of 8 and a rate of 1e-4."""
    out: Path = Path(__file__).parent / "results" / "timeseries.json"
    """Where to write the results."""

    def __post_init__(self) -> None:
        if self.origins < 1:
            raise UserError(f"--origins {self.origins}: expected a value above 0")
        if self.linear.history < 1:
            raise UserError(f"--linear.history {self.linear.history}: expected a value above 0")


@dataclass(frozen=True)
class Ready:
    """A contender that can be asked."""

    forecast: Contender
    train_seconds: float | None = None
    """None: it is fitted at each forecast."""
    bytes: int | None = None
    """Of what is kept of it; None: nothing is."""
    errors: tuple[tuple[float, float], ...] = ()
    """Seconds of training, and the mean absolute error on the validation part after them."""


@dataclass(frozen=True)
class Task:
    """What all contenders are given."""

    panel: Panel
    cuts: Cuts
    shape: Shape
    origins: np.ndarray
    """``[windows, 2]``."""
    seasons: list[int]
    cell: str


def run(config: BenchmarkConfig) -> dict[str, Any]:
    """Prints a row for each contender; returns what it writes."""
    finished = runs.finished("timeseries", config.run)
    statsforecasts = set(config.peers) - set(FITTED)
    if statsforecasts and importlib.util.find_spec("statsforecast") is None:
        raise UserError(
            "the package statsforecast is missing: pip install -c constraints.txt -e '.[bench]'"
        )
    machine = measure.machine()
    start_tensorflow()

    task = task_of(config, finished)
    config.out.parent.mkdir(parents=True, exist_ok=True)  # rather now than after minutes
    network = f"{task.cell} network"
    contenders = {network: of_model(finished, task)}
    for other in config.peers:
        if other != "MSTL" or task.seasons:  # without a season there is nothing to take apart
            contenders[other] = peer(other, config, task)
    forecasts, seconds = in_turn({k: v.forecast for k, v in contenders.items()}, task.origins)
    table = compared(forecasts, seconds, task)
    target = contenders["ridge"].errors[0][1] if "ridge" in contenders else None
    for name, ready in contenders.items():
        kept = {"train_seconds": ready.train_seconds, "bytes": ready.bytes}
        there = (s for s, error in ready.errors if target is not None and error <= target)
        kept["target_seconds"] = next(there, None)
        kept["validation_mae"] = min((error for _, error in ready.errors), default=None)
        peak = measure.alone(peak_of, config, None if name == network else name)
        table[name] |= kept | {"peak_bytes": peak}
    versions = {"statsforecast": version("statsforecast")} if statsforecasts else {}
    result = {
        "dataset": task.panel.name,
        "rows": config.rows,
        "seasons": task.seasons,
        "horizon": task.shape.horizon,
        "target": target,
        "contenders": table,
        "origins": task.origins.tolist(),
        "machine": machine,
        "versions": runs.versions() | versions,
    }
    show(result)
    runs.write_json(config.out, result)
    return result


# What is asked for


def task_of(config: BenchmarkConfig, finished: runs.Run) -> Task:
    """The run's table and the origins to forecast from.

    Raises:
        UserError: if there are too few rows before them.
    """
    from apps.timeseries.evaluate import labelled

    schema = Schema.read(finished)
    shape, asked = schema.shape, runs.read_config(finished)
    _, panel, cuts, _ = labelled(EvaluateConfig(config.run), asked, schema)
    longest = max(shape.history, config.linear.history if "DLinear" in config.peers else 0)
    everywhere = origins(panel, cuts, "test", longest, shape.horizon)
    if not len(everywhere):
        raise UserError(f"no origin of the test part has {longest} rows before it to be read")
    drawn = one_of_each_stretch(everywhere, config.origins)
    shortest = min(config.rows, int(drawn[:, 1].min()))
    if set(config.peers) - set(FITTED) and shortest < max(shape.season, FEWEST):
        raise UserError(
            f"--rows {config.rows}: expected {max(shape.season, FEWEST)} rows before each origin "
            f"at least, found {shortest}"
        )
    return Task(panel, cuts, shape, drawn, seasons_of(panel, shape, shortest), asked["cell"])


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


def of_model(finished: runs.Run, task: Task) -> Ready:
    """The network, as one calls it who has only its SavedModel."""
    from common import export

    model = export.load(finished.export)
    return Ready(
        lambda origin: ask(model, task.panel, origin, task.shape),
        runs.read_json(finished.metrics)["train_seconds"],
        measure.size_of(finished.export),
        tuple((row["seconds"], row["val_mae"]) for row in measure.history(finished.history())),
    )


def peer(name: str, config: BenchmarkConfig, task: Task) -> Ready:
    """Another one; ridge and DLinear are fitted here."""
    panel, cuts, shape = task.panel, task.cuts, task.shape
    if name not in FITTED:
        method = methods(task.seasons, shape.season)[name]
        return Ready(of_method(method, panel, cuts, shape.horizon, config.rows))
    started = time.perf_counter()
    early, final, size = fitted(name, config, task)
    seconds = time.perf_counter() - started
    back = max(shape.history, config.linear.history if name == "DLinear" else 0)
    validation = origins(panel, cuts, "validation", back, shape.horizon)
    truth = gather(panel, validation, 0, shape.horizon, "target")
    error = float(np.nanmean(np.abs(early(validation) - truth)))
    spread = baselines.intervals(panel, cuts, shape, back)(early, final)
    return Ready(spread, seconds, size, ((seconds, error),))


def fitted(name: str, config: BenchmarkConfig, task: Task) -> tuple[Point, Point, int]:
    """What forecasts from the training part alone, what forecasts in the end, and its bytes."""
    if name == "ridge":
        early, final = ridge(task.panel, task.cuts, task.shape, seed=0)
        return early, final, sum(array.nbytes for array in final.weights)
    print("DLinear is trained ...", flush=True)
    linear = dlinear.fit(task.panel, task.cuts, task.shape.horizon, config.linear, seed=0)
    return linear.point, linear.point, 4 * linear.parameters


def peak_of(config: BenchmarkConfig, name: str | None) -> int:
    """Peak of memory of the training and a forecast of a peer, or of the run (None); to be called
    in a process of its own."""
    if name is None:
        with tempfile.TemporaryDirectory() as folder:
            return measure.training_peak("timeseries", config.run, Path(folder) / "run")
    start_tensorflow()  # which reading the table needs, whoever the contender is
    task = task_of(config, runs.finished("timeseries", config.run))
    peer(name, config, task).forecast(task.origins[:1])
    return measure.peak_bytes()


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
    forecasts: Mapping[str, Forecast], seconds: Mapping[str, float], task: Task
) -> dict[str, dict[str, Any]]:
    """Every score of each contender, its seconds, and the ratios to the first one's, of the MASE
    with a 95 % interval."""
    truth = gather(task.panel, task.origins, 0, task.shape.horizon, "target")
    scales = metrics.scales_at(task.panel, task.cuts, task.shape.season, task.origins)
    table: dict[str, dict[str, Any]] = {}
    for name, forecast in forecasts.items():
        row = metrics.scores(forecast, truth, scales) | {"seconds": seconds[name]}
        network, first = next(iter(table.items()), (name, row))
        other = forecasts[network]
        interval = metrics.ratio(forecast, other, truth, task.origins, scales.seasonal)[1:]
        ratios = {key: row[key] / first[key] for key in COMPARED}
        table[name] = {**row, "vs_network": {**ratios, "mase_interval": interval}}
    return table


def show(result: Mapping[str, Any]) -> None:
    """The table, with the ratio of each MASE to the network's."""
    seasons = ", ".join(map(str, result["seasons"])) or "none"
    print(
        f"{result['dataset']}: {len(result['origins'])} origins of the test part, "
        f"{result['horizon']} rows ahead; {measure.on(result['machine'])};\n"
        f"statsforecast is fitted at each origin to {result['rows']:,} rows at most, seasons: "
        f"{seasons}\n"
    )
    rows = {}
    for name, row in result["contenders"].items():
        ratio, (low, high) = row["vs_network"]["mase"], row["vs_network"]["mase_interval"]
        rows[name] = {**row, "times": f"{ratio:.2f} [{low:.2f}, {high:.2f}]"}
        raced = result["target"] is not None and row["validation_mae"] is not None
        if raced and row["target_seconds"] is None:
            rows[name]["target_seconds"] = "never"
    print(measure.markdown(rows, COLUMNS))


if __name__ == "__main__":
    main(run, BenchmarkConfig, prog="python -m benchmarks.timeseries")
