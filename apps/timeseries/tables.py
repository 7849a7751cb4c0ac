"""Tables of one's own: read, checked, and laid on a regular grid of time."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyarrow.parquet import ParquetFile

from apps.timeseries.config import TableConfig
from apps.timeseries.frequency import frequency_of, grid
from apps.timeseries.panel import Panel, Roles, Series
from apps.timeseries.timestamps import (
    Clock,
    Index,
    as_text,
    looks_like_time,
    series_of,
    shown,
)
from common import files
from common.data import read_chunks
from common.errors import UserError

MISSING = ("", "na", "n/a", "nan", "null", "none")
"""Cells, in small letters, that stand for a value nobody knows."""
LARGEST = float(np.finfo(np.float32).max)
BATCH = 65_536
"""Rows of a .parquet file that are read at a time."""
SPARE_ROWS = 2**20
"""So many more rows than bytes may a .parquet file unfold into."""


def read(path: Path) -> Iterator[pd.DataFrame]:
    """The rows of a .csv or .tsv file as tables of strings, or of a .parquet file as they are,
    some at a time: memory does not grow with the file.

    Raises:
        UserError: for a missing or empty file, another suffix, what can't be read; see
            ``common.data.read_chunks``.
    """
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        chunks = read_chunks(path)
    elif suffix == ".parquet":
        chunks = _parquet(path)
    else:
        raise UserError(f"{path}: expected a .csv, .tsv or .parquet file")
    return chain([next(chunks)], chunks)  # what is no table at all is said at once


def _parquet(path: Path) -> Iterator[pd.DataFrame]:
    files.check(path)
    begin = 0
    batches: Iterator[pd.DataFrame] | None = None
    while True:
        try:
            with files.bounded(path):
                batches = batches or _batches(path)
                table = next(batches, None)
        except (UserError, MemoryError):
            raise
        except Exception as error:  # the parser fails in as many ways as files can be broken
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{path}: can't be read as parquet: {reason}") from None
        if table is None:
            break
        table.index = pd.RangeIndex(begin, begin + len(table))
        begin += len(table)
        if begin > SPARE_ROWS + path.stat().st_size:
            raise UserError(f"{path}: more rows than bytes: broken, or not what it claims to be")
        yield table
    if not begin:
        raise UserError(f"{path}: no rows in it")


def _batches(path: Path) -> Iterator[pd.DataFrame]:
    for batch in ParquetFile(path).iter_batches(BATCH):
        table = batch.to_pandas()
        if not isinstance(table.index, pd.RangeIndex):
            table = table.reset_index()  # pandas writes timestamps there
        if len(table):
            yield table.rename(columns=str)


def to_panel(table: pd.DataFrame | Iterable[pd.DataFrame], name: str, config: TableConfig) -> Panel:
    """A table's series on their grid; rows that it lacks become rows of NaN.

    The target may be missing in rows at the end whose future covariates are given, as when the
    future is handed over to be forecast, and anywhere else.

    Memory: 8 bytes a number at the most (two float32) of the columns that have a role, and some
    100 bytes a row; a column that has none takes nothing.

    Args:
        table: whole, or in pieces one below the other, the first of which tells what a column
            is. Columns of strings, numbers or datetimes; "", NA, N/A, NaN, null and None in any
            letters are missing values, true and false are 1 and 0.
        name: what errors call the table, and the panel's name.
        config: which column is what; empty where it is to be found out.

    Raises:
        UserError: for columns that don't exist or stand in two roles; naming the first row
            (counted from 1) with a cell that is no finite number, a timestamp that can't be
            read, is empty, twice, out of order, of another time zone or off the grid; for
            series of unequal frequencies; for a series, or a target, without any known value.
    """
    chunks = iter([table.reset_index(drop=True)] if isinstance(table, pd.DataFrame) else table)
    first = next(chunks)
    time = config.time_column or _find_time(first, name, config)
    roles = _roles(first, name, config, time)
    _column(first, time, name, "--time-column")
    columns = [*roles.targets, *roles.past, *roles.future]
    clock = Clock(name)
    parts: list[tuple[np.ndarray, np.ndarray, pd.Series]] = []
    for chunk in chain([first], chunks):
        seconds = clock.read(chunk[time])
        values = np.stack(_numbers(chunk, columns, name), axis=1)
        parts.append((seconds, values, _series_names(chunk, name, config)))
    del first, chunk
    seconds = np.concatenate([part[0] for part in parts])
    names = pd.concat([part[2] for part in parts])
    values = np.concatenate([part[1] for part in parts])
    del parts
    rows = series_of(names, seconds, name)
    frequency = frequency_of(rows, config.frequency, name)
    series = tuple(_on_grid(index, values, roles, frequency, name) for index in rows)
    _check_known(series, roles, name)
    return Panel(name, series, roles, frequency)


def _series_names(table: pd.DataFrame, where: str, config: TableConfig) -> pd.Series:
    """Of each row; the file's own name where there is no such column."""
    if config.series_column is None:
        return pd.Series(Path(where).stem, index=table.index)
    names = as_text(table[config.series_column])
    if (names == "").any():
        row = names.index[int((names == "").to_numpy().argmax())] + 1
        raise UserError(
            f"{where}: row {row}: {config.series_column!r} is empty; expected the name of a series"
        )
    return names


def _on_grid(index: Index, values: np.ndarray, roles: Roles, frequency: str, where: str) -> Series:
    seconds = grid(index, frequency, where)
    laid = np.full((len(seconds), values.shape[1]), np.nan, np.float32)
    laid[np.searchsorted(seconds, index.seconds)] = values[index.rows]
    ends = np.cumsum([len(roles.targets), len(roles.past)])
    return Series(index.name, seconds, *np.split(laid, ends, axis=1))


def _check_known(series: tuple[Series, ...], roles: Roles, where: str) -> None:
    known = np.stack([np.isfinite(one.target).any(axis=0) for one in series])
    for number, column in enumerate(roles.targets):
        if not known[:, number].any():
            raise UserError(f"{where}: column {column!r} (--target) has no value in any row")
    for number, one in enumerate(series):
        if not known[number].any():
            raise UserError(
                f"{where}: series {one.name!r} has no known value of {', '.join(roles.targets)}; "
                f"expected one at least"
            )


# Columns


def _names(columns: tuple[str, ...] | None) -> tuple[str, ...]:
    return () if columns is None or columns == ("none",) else columns


def _named(config: TableConfig) -> dict[str, tuple[str, ...]]:
    """For each flag the columns that it names."""
    single = {"--time-column": config.time_column, "--series-column": config.series_column}
    return {
        **{flag: (column,) for flag, column in single.items() if column is not None},
        "--target": config.target or (),
        "--past-covariates": _names(config.past_covariates),
        "--future-covariates": _names(config.future_covariates),
    }


def _list(columns: Any) -> str:
    return ", ".join(map(repr, columns[:12])) + (" ..." if len(columns) > 12 else "")


def _column(table: pd.DataFrame, column: str, where: str, flag: str) -> pd.Series:
    if column not in table.columns:
        raise UserError(
            f"{where}: {flag} {column}: expected one of its columns: {_list(list(table.columns))}"
        )
    return table[column]


def _find_time(table: pd.DataFrame, where: str, config: TableConfig) -> str:
    taken = {column for columns in _named(config).values() for column in columns}
    for column in table.columns:
        if column not in taken and looks_like_time(table[column]):
            return str(column)
    raise UserError(
        f"{where}: no column of timestamps, such as 2014-03-31 17:30:00, among "
        f"{_list(list(table.columns))}; name it with --time-column"
    )


def _roles(table: pd.DataFrame, where: str, config: TableConfig, time: str) -> Roles:
    named = _named(config)
    flag_of = {time: "the timestamps"}
    for flag, columns in named.items():
        for column in columns:
            _column(table, column, where, flag)
            if column in flag_of and flag != "--time-column":
                raise UserError(
                    f"{where}: {flag} {column}: it is {_said(flag_of[column])} already; expected "
                    f"one role for each column"
                )
            flag_of[column] = flag
    targets = named["--target"]
    if not targets:
        left = [column for column in table.columns if column not in flag_of]
        numeric = [c for c in left if c not in ("", "Unnamed: 0") and _mostly_numbers(table[c])]
        if len(numeric) != 1:
            raise UserError(
                f"{where}: which column is to be forecast? name it with --target; of numbers "
                f"there are {_list(numeric) or 'none'}"
            )
        targets = (numeric[0],)
    return Roles(targets, named["--past-covariates"], named["--future-covariates"])


def _said(flag: str) -> str:
    return f"named by {flag}" if flag.startswith("--") else flag


# Cells


def _to_numbers(cells: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """``[rows]`` float64 and which of the cells are no numbers, nor missing."""
    if pd.api.types.is_numeric_dtype(cells.dtype):  # bool is one
        values = cells.to_numpy(np.float64, na_value=np.nan)
        return values, np.zeros(len(values), bool)
    text = as_text(cells)
    values = pd.to_numeric(text, errors="coerce").to_numpy(np.float64, copy=True, na_value=np.nan)
    odd = np.flatnonzero(np.isnan(values))
    words = text.iloc[odd].str.lower()
    values[odd] = words.map({"true": 1.0, "false": 0.0}).astype(float)
    bad = np.zeros(len(values), bool)
    bad[odd] = ~words.isin(["true", "false", *MISSING]).to_numpy()
    return values, bad


def _mostly_numbers(cells: pd.Series) -> bool:
    values, bad = _to_numbers(cells)
    return bool(np.isfinite(values).any() and bad.sum() <= np.isfinite(values).sum())


def _numbers(table: pd.DataFrame, columns: list[str], where: str) -> list[np.ndarray]:
    """For each column ``[rows]`` float32; the error is of the first row of them all, which the
    index counts from 0."""
    found, first, message = [], len(table), ""
    for column in columns:
        values, bad = _to_numbers(table[column])
        bad |= np.abs(values) > LARGEST
        if bad.any() and bad.argmax() < first:
            first = int(bad.argmax())
            cell = str(table[column].iloc[first])[:60]
            message = (
                f"{where}: row {table.index[first] + 1}: {cell!r} in column {column!r}: expected a "
                f"finite number such as 3.5, or an empty cell"
            )
        found.append(values)
    if message:
        raise UserError(message)
    return [values.astype(np.float32) for values in found]


# What a person is told


def describe(panel: Panel) -> list[str]:
    """Lines for a person: how many series and rows, from when to when, how often, what is
    missing, and the longest gap.

    A gap is a run of rows that the table lacks, or in which it has no value at all.
    """
    every = [len(series) for series in panel.series]
    total = sum(every)
    begin = shown(min(series.seconds[0] for series in panel.series))
    end = shown(max(series.seconds[-1] for series in panel.series))
    count = f"{len(panel.series):,} series, together " if len(panel.series) > 1 else "one series, "
    lines = [f"{count}{total:,} rows of frequency {panel.frequency}, from {begin} to {end}"]
    gaps = [_gaps(series) for series in panel.series]
    rows = sum(int(lengths.sum()) for _, lengths in gaps)
    if rows:
        widest = int(np.argmax([lengths.max(initial=0) for _, lengths in gaps]))
        starts, lengths = gaps[widest]
        series, place = panel.series[widest], int(lengths.argmax())
        of = f" in series {series.name}" if len(panel.series) > 1 else ""
        lines.append(
            f"gaps: {rows:,} rows without any value; the longest of {lengths[place]:,} from "
            f"{shown(series.seconds[starts[place]])} on{of}"
        )
    roles = panel.roles
    for field, columns in (
        ("target", roles.targets),
        ("past", roles.past),
        ("future", roles.future),
    ):
        missing = sum(np.isnan(getattr(series, field)).sum(axis=0) for series in panel.series)
        for column, lost in zip(columns, np.atleast_1d(missing), strict=True):
            share = f"{lost:,} of {total:,} values missing ({lost / total:.1%})"
            lines.append(f"{column} ({field}): {share if lost else 'no value missing'}")
    return lines


def _gaps(series: Series) -> tuple[np.ndarray, np.ndarray]:
    """The first rows of a series' gaps, and how many rows each has."""
    values = np.concatenate([series.target, series.past, series.future], axis=1)
    gone = np.concatenate([[False], np.isnan(values).all(axis=1), [False]])
    edges = np.flatnonzero(gone[1:] != gone[:-1])
    return edges[::2], edges[1::2] - edges[::2]
