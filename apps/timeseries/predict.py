"""Forecasts what follows on the last rows of a table, with an exported model."""

import dataclasses
from typing import TYPE_CHECKING, Any

from apps.timeseries.config import PredictConfig, TimeSeriesConfig
from common.cli import main, start_tensorflow
from common.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from apps.timeseries.panel import Forecast, Panel
    from apps.timeseries.shape import Shape

BATCH = 256


def run(config: PredictConfig) -> None:
    """Writes the forecast to --out and draws it to --png.

    Raises:
        UserError: for places that can't be written to, and for a table that can't be forecast.
    """
    from common import runs

    finished = runs.finished("timeseries", config.run)
    png = config.png or config.out.with_suffix(".png")
    for flag, path in (("--out", config.out), ("--png", png)):
        if not path.absolute().parent.is_dir():
            raise UserError(f"{flag} {path}: no such folder")
    if png == config.out:
        raise UserError(f"--out {config.out}: expected a table's name, such as forecast.csv")
    start_tensorflow()  # only now: the errors above come without the wait

    from apps.timeseries import plots, recent, tables
    from apps.timeseries.schema import Schema
    from common import export
    from common.plots import save

    settings, schema = runs.settings(finished, TimeSeriesConfig), Schema.read(finished)
    like = schema.table(
        config.time_column or settings.get("time_column"),
        config.series_column or settings.get("series_column"),
    )
    panel = tables.to_panel(tables.read(config.data), str(config.data), like)
    panel, origins = recent.ready(panel, schema)
    print("\n".join(tables.describe(recent.history_of(panel, origins))), flush=True)
    model = export.load(finished.export, "serving_default")
    forecast = ask(model, panel, origins, schema.shape)
    table = written(panel, origins, forecast)
    runs.write_whole(config.out, lambda neighbour: table.to_csv(neighbour, index=False))
    named = dataclasses.replace(panel, name=config.data.name)
    save(plots.forecast(named, origins, forecast, schema.shape.history), png)
    print(f"{len(table):,} rows written to {config.out}; picture: {png}")


def ask(
    model: Any, panel: "Panel", origins: "np.ndarray", shape: "Shape", *, progress: bool = False
) -> "Forecast":
    """What an exported model says at each origin, ``[windows, 2]``."""
    import numpy as np
    import tensorflow as tf
    from tqdm import tqdm

    from apps.timeseries.panel import Forecast
    from apps.timeseries.windows import inputs_at

    points, quantiles = [], []
    starts = range(0, len(origins), BATCH)
    for start in tqdm(starts, desc="forecast", unit="batch", disable=None if progress else True):
        given = inputs_at(panel, origins[start : start + BATCH], shape)
        said = model.signatures["serving_default"](
            **{name: tf.constant(rows) for name, rows in given.items()}
        )
        points.append(said["point"].numpy())
        quantiles.append(said["quantiles"].numpy())
    return Forecast(np.concatenate(points), np.concatenate(quantiles))


def written(panel: "Panel", origins: "np.ndarray", forecast: "Forecast") -> "pd.DataFrame":
    """A row for each series, target and step of the horizon; origins ``[windows, 2]``."""
    import pandas as pd

    from apps.timeseries.config import LEVELS

    tables = []
    for place, (number, row) in enumerate(origins):
        series = panel.series[number]
        for k, target in enumerate(panel.roles.targets):
            said = {"series": series.name, "timestamp": series.times[row:], "target": target}
            said["point"] = forecast.point[place, :, k]
            for level, values in zip(LEVELS, forecast.quantiles[place, :, k].T, strict=True):
                said[f"q{level:g}"] = values
            tables.append(pd.DataFrame(said))
    return pd.concat(tables, ignore_index=True)


if __name__ == "__main__":
    main(run, PredictConfig, prog="python -m apps.timeseries.predict")
