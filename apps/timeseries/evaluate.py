"""Scores a finished run at rolling origins: on a dataset's test part, or on the user's file."""

import sys
from typing import TYPE_CHECKING, Any

from apps.timeseries.config import EvaluateConfig, TimeSeriesConfig
from common.cli import main, start_tensorflow
from common.errors import UserError

if TYPE_CHECKING:
    from apps.timeseries.panel import Cuts, Panel
    from apps.timeseries.schema import Schema

SHOWN = ("mae", "rmse", "mase", "smape", "pinball", "crps")
INTERVALS = ("80", "95")
RATIO = ("mae_ratio", "mae_ratio_low", "mae_ratio_high")
POINT = ("mae", "mse", "rmse", "mase", "smape", "scaled_mse", "scaled_mae", *RATIO)
"""What can be said of a forecast without quantiles."""


def run(config: EvaluateConfig) -> dict[str, Any]:
    """Prints the scores, and writes them to --out.

    Raises:
        UserError: for data that the run can't forecast, and where no window is long enough.
    """
    from common import runs

    finished = runs.to_evaluate("timeseries", config.run, config.dataset, config.data, config.out)
    start_tensorflow()

    from apps.timeseries import baselines, metrics, standardise, tables
    from apps.timeseries.comparison import compare
    from apps.timeseries.panel import Forecast, origins, scored
    from apps.timeseries.predict import ask
    from apps.timeseries.schema import Schema
    from apps.timeseries.windows import truth_at
    from common import export

    schema = Schema.read(finished)
    where, panel, cuts, past = labelled(config, runs.settings(finished, TimeSeriesConfig), schema)
    schema.check(panel)
    print("\n".join(tables.describe(panel)))
    shape = schema.shape
    at = origins(panel, cuts, "test", shape.history, shape.horizon)[:: config.stride]
    at = scored(at, shape.horizon, len(panel.roles.targets))
    if not len(at):
        raise UserError(
            f"{where}: no window of {shape.history} rows of history and {shape.horizon} rows "
            f"after them; its longest series has {max(map(len, panel.series)):,} rows"
        )
    truth = truth_at(panel, at, shape)
    forecast = ask(export.load(finished.export, "serving_default"), panel, at, shape, progress=True)
    mean, _ = standardise.moments(
        [series.target for series in standardise.before(panel, past.validation)]
    )
    others = {
        name: Forecast.certain(method(at))
        for name, method in baselines.naive(panel, shape, mean).items()
    }
    scales = metrics.scales_at(panel, past, shape.season, at)
    scores, compared = compare(forecast, others, truth, at, scales)
    print(f"{where}: {len(at):,} origins")
    print("\n".join(describe(scores, compared)))
    result = {
        "app": "timeseries",
        "run": str(config.run),
        "dataset": where,
        "origins": len(at),
        "test": scores,
        "baselines": {name: {k: v[k] for k in POINT} for name, v in compared.items()},
    }
    if config.out is not None:
        runs.write_json(config.out, result)
        print(f"written to {config.out}", file=sys.stderr)
    return result


def labelled(
    config: EvaluateConfig, trained: dict[str, Any], schema: "Schema"
) -> tuple[str, "Panel", "Cuts", "Cuts"]:
    """Where the series are from, the series, the parts of which the last is scored, and the
    parts that scales are taken from: of a file of one's own both are all of it."""
    from pathlib import Path

    from apps.timeseries import data
    from apps.timeseries.panel import Cuts, cut

    like = schema.table(
        config.time_column or trained.get("time_column"),
        config.series_column or trained.get("series_column"),
    )
    if config.data is not None:
        panel = data.load("", config.data, like)
        first = min(int(series.seconds[0]) for series in panel.series)
        end = max(int(series.seconds[-1]) for series in panel.series) + 1
        return str(config.data), panel, Cuts(first, first, end), Cuts(end, end, end)
    own = trained.get("data") if config.dataset is None else None
    dataset = config.dataset or str(trained["dataset"])
    panel = data.load(dataset, Path(own) if own else None, like)
    cuts = schema.cuts if config.dataset is None else cut(panel, tuple(trained["split"]))
    return f"{panel.name} (test)", panel, cuts, cuts


def describe(scores: dict[str, float], others: dict[str, dict[str, float]]) -> list[str]:
    """Lines for a person: the scores, the intervals, and what is gained."""
    lines = [f"  {name:9s} {scores[name]:10.4f}" for name in SHOWN]
    for level in INTERVALS:
        inside, width = scores[f"coverage_{level}"], scores[f"width_{level}"]
        lines.append(f"  {level} % interval: {inside:.1%} inside, {width:.4g} wide")
    for name, other in others.items():
        low, high = other["mae_ratio_low"], other["mae_ratio_high"]
        lines.append(f"  {other['mae_ratio']:.3f} [{low:.3f}, {high:.3f}] of the error of {name}")
    return lines


if __name__ == "__main__":
    main(run, EvaluateConfig, prog="python -m apps.timeseries.evaluate")
