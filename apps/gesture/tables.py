"""Streams of one's own: a folder of CSV files, one long CSV, or recordings in `.ts` files; read,
and checked."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from apps.gesture import ts_files
from apps.gesture.config import TableConfig
from apps.gesture.streams import SAME_RATE, Corpus, Stream, resampled
from common import files
from common.data import column, read_chunks
from common.errors import UserError

TABLES = (".csv", ".tsv")
LARGEST = float(np.finfo(np.float32).max)
SLOWEST = 1.0  # seconds between frames, unless a rate is declared
FASTEST = 1e6  # frames in a second
LATEST = 1e15  # seconds; more is no time
DROPPED = 1.5  # periods: a frame is missing where two are further apart


def read(path: Path, config: TableConfig, *, labelled: bool = True) -> Corpus:
    """All streams of a file or a folder.

    Args:
        labelled: whether each row must have a label. If not, all labels of a stream that lacks
            some are -1.

    Raises:
        UserError: naming file and row, for whatever in them can't be used.
    """
    sources = _files(path)
    found: list[tuple[Stream, float]] = []
    names: list[str] = []  # of classes, row by row
    channels: tuple[str, ...] = ()
    for file in sources:
        if file.suffix.lower() == ".ts":
            tables = [_of_recording(r, config, file) for r in ts_files.read(file)]
        else:
            tables = _of_table(file, config, labelled)
        for table in tables:
            channels = channels or table.channels
            if table.channels != channels:
                raise UserError(
                    f"{file}: {len(table.channels)} channels ({_some(table.channels)}), expected "
                    f"the {len(channels)} of {sources[0]} ({_some(channels)})"
                )
            marks = np.arange(len(names), len(names) + len(table.labels), dtype=np.int32)
            names += table.labels
            labels = marks if table.labels else np.full(len(table.values), -1, np.int32)
            stream = Stream(table.name, table.subject, table.values, labels, begin=table.begin)
            found.append((stream, table.rate))
    classes = sorted(set(names))
    places = {name: number for number, name in enumerate(classes)}
    indices = np.array([*(places[name] for name in names), -1], np.int32)  # the last one for -1
    streams = [replace(stream, labels=indices[stream.labels]) for stream, _ in found]
    rate = _one_rate(path, [r for _, r in found], [s.name for s in streams], config.resample)
    if not rate <= FASTEST:
        raise UserError(f"{path}: {rate:.4g} frames a second, expected at most {FASTEST:,.0f}")
    if config.resample:
        pairs = zip(streams, found, strict=True)
        streams = [resampled(stream, own, config.resample) for stream, (_, own) in pairs]
    return Corpus(str(path), tuple(classes), channels, rate, tuple(streams))


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if not path.is_dir():
        return [path]  # what is no file its reader refuses
    found = sorted(p for p in path.iterdir() if p.suffix.lower() in (*TABLES, ".ts"))
    if not found:
        raise UserError(f"{path}: no .csv, .tsv or .ts files in it")
    if len({file.suffix.lower() == ".ts" for file in found}) > 1:
        raise UserError(f"{path}: both tables and .ts files in it, expected one kind")
    for file in found:
        if not files.inside(file, path):
            raise UserError(f"{file}: a link that leads out of the folder: expected a copy")
    return found


class Table:
    """One stream as it stands in a file.

    Args:
        labels: of each frame, or none at all.
        begin: time of the first frame, seconds.
    """

    def __init__(
        self,
        name: str,
        subject: str,
        channels: Sequence[str],
        values: np.ndarray,
        labels: list[str],
        rate: float,
        begin: float = 0.0,
    ) -> None:
        self.name, self.subject, self.channels = name, subject, tuple(channels)
        self.values, self.labels, self.rate, self.begin = values, labels, rate, begin


def _of_recording(recording: ts_files.Recording, config: TableConfig, file: Path) -> Table:
    if config.rate is None:
        raise UserError(f"{file}: a .ts file says no sample rate: give it with --rate")
    channels = [f"channel {number + 1}" for number in range(recording.values.shape[1])]
    labels = [recording.label] * len(recording.values)
    name = recording.name
    return Table(name, name, channels, recording.values, labels, config.rate)


def _of_table(file: Path, config: TableConfig, labelled: bool) -> list[Table]:
    # Numbers are kept as float32 alone: memory does not grow with how the file writes them.
    table = pd.concat([_in_numbers(chunk, config, file) for chunk in read_chunks(file)])
    rows = np.arange(len(table))
    if config.stream_column not in table.columns:
        return [_stream(table, rows, file.stem, file, config, labelled)]
    _given(table, config.stream_column, rows, file)
    parts = pd.Series(rows).groupby(table[config.stream_column].to_numpy(object), sort=False)
    return [
        _stream(table, part.to_numpy(), str(name), file, config, labelled) for name, part in parts
    ]


def _channels(table: pd.DataFrame, config: TableConfig) -> list[str]:
    said = (config.time_column, config.label_column, config.subject_column, config.stream_column)
    return [column for column in table.columns if column not in said]


def _in_numbers(chunk: pd.DataFrame, config: TableConfig, file: Path) -> pd.DataFrame:
    """The same rows, with the channels as float32."""
    channels = _channels(chunk, config)
    if not channels:
        raise UserError(f"{file}: no column of numbers beside {', '.join(chunk.columns)}")
    rows = chunk.index.to_numpy()
    columns = {name: numbers(chunk[name].tolist(), rows, name, file) for name in channels}
    others = {name: chunk[name] for name in chunk.columns if name not in columns}
    return pd.DataFrame({**others, **columns}, index=chunk.index)


def _stream(
    table: pd.DataFrame,
    rows: np.ndarray,
    name: str,
    file: Path,
    config: TableConfig,
    labelled: bool,
) -> Table:
    part = table.iloc[rows]
    channels = _channels(table, config)
    values = np.stack([part[channel].to_numpy() for channel in channels], axis=1)
    labels: list[str] = []
    if labelled or config.label_column in table.columns:
        labels = column(part, config.label_column, file, "--label-column")
        if "" in labels and labelled:
            raise UserError(f"{file}: row {rows[labels.index('')] + 1}: no label")
        labels = labels if all(labels) else []
    subject = name
    if config.subject_column in table.columns:
        subjects = _given(part, config.subject_column, rows, file)
        subject = subjects[0]
        other = next((n for n, s in enumerate(subjects) if s != subject), None)
        if other is not None:
            raise UserError(
                f"{file}: row {rows[other] + 1}: subject {subjects[other]!r} in a stream of "
                f"{subject!r}; --stream-column tells streams apart"
            )
    begin = 0.0
    if config.time_column in table.columns:
        times = seconds(part[config.time_column].tolist(), rows, config.time_column, file)
        rate, begin = rate_of(times, rows, file, config.rate), float(times[0])
    elif config.rate is not None:
        rate = config.rate
    else:
        raise UserError(
            f"{file}: no column {config.time_column!r} to find the sample rate by; name another "
            f"with --time-column, or give --rate"
        )
    return Table(name, subject, channels, values, labels, rate, begin)


def _given(part: pd.DataFrame, name: str, rows: np.ndarray, file: Path) -> list[str]:
    cells = part[name].tolist()
    if "" in cells:
        raise UserError(f"{file}: row {rows[cells.index('')] + 1}: {name} is empty")
    return cells


def numbers(cells: Sequence[str], rows: np.ndarray, name: str, file: Path) -> np.ndarray:
    """Cells of one channel as float32, ``[frames]``; `rows` ``[frames]`` says where they stood.

    Raises:
        UserError: naming the row, for what is no finite number.
    """
    found = pd.to_numeric(pd.Series(cells, dtype=object), errors="coerce").to_numpy(np.float64)
    wrong = np.flatnonzero(~(np.abs(found) <= LARGEST))
    if len(wrong):
        row, cell = rows[wrong[0]] + 1, cells[wrong[0]]
        raise UserError(f"{file}: row {row}: {name} is {cell[:60]!r}, expected a finite number")
    return found.astype(np.float32)


def seconds(cells: Sequence[str], rows: np.ndarray, name: str, file: Path) -> np.ndarray:
    """Times as seconds, ``[frames]``: numbers are seconds already; anything else is a timestamp.

    Raises:
        UserError: naming the row, for what is neither.
    """
    column = pd.Series(cells, dtype=object)
    found = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
    if not np.isfinite(found).any():
        stamps = pd.to_datetime(column, errors="coerce", format="ISO8601", utc=True)
        since = (stamps - stamps.min()).dt.total_seconds()
        found = since.to_numpy(np.float64)
    wrong = np.flatnonzero(~(np.abs(found) <= LATEST))
    if len(wrong):
        row, cell = rows[wrong[0]] + 1, cells[wrong[0]]
        raise UserError(
            f"{file}: row {row}: {name} is {cell[:60]!r}, expected seconds or an ISO 8601 timestamp"
        )
    return found


def rate_of(times: np.ndarray, rows: np.ndarray, file: Path, declared: float | None) -> float:
    """Frames in a second.

    Args:
        times: seconds, ``[frames]``.
        rows: where they stood in the file, ``[frames]``.
        declared: what the user says it is; checked.

    Raises:
        UserError: where time stands still or goes back, where frames are missing, and where the
            rate is not the one declared.
    """
    if len(times) < 2:
        if declared is None:
            raise UserError(f"{file}: row {rows[0] + 1}: one frame alone has no rate: give --rate")
        return declared
    apart = np.diff(times)
    period = float(np.median(apart)) if declared is None else 1 / declared
    back = np.flatnonzero(apart <= 0)
    if len(back):
        at = back[0] + 1
        raise UserError(
            f"{file}: row {rows[at] + 1}: time {times[at]:.15g} s after {times[at - 1]:.15g} s, "
            f"expected a later one"
        )
    rate = float((len(times) - 1) / (times[-1] - times[0]))
    gaps = np.flatnonzero(apart > DROPPED * period)
    if declared is not None and abs(1 / np.median(apart) / declared - 1) > 0.1:
        raise UserError(f"{file}: {rate:.4g} frames a second, --rate says {declared:g}")
    if declared is None and period > SLOWEST:
        raise UserError(
            f"{file}: row {rows[1] + 1}: {apart[0]:g} s after the row before; expected seconds, "
            f"not milliseconds; if it is meant, say --rate {rate:.4g}"
        )
    if len(gaps):
        at = gaps[0] + 1
        raise UserError(
            f"{file}: row {rows[at] + 1}: {apart[gaps[0]]:.4g} s after the row before, expected "
            f"{period:.4g} s: samples were dropped; split the stream there"
        )
    return rate if declared is None else declared


def _one_rate(
    path: Path, rates: Sequence[float], names: Sequence[str], wanted: float | None
) -> float:
    if wanted is not None:
        return wanted
    for rate, name in zip(rates, names, strict=True):
        if abs(rate / rates[0] - 1) > SAME_RATE:
            raise UserError(
                f"{path}: stream {name} has {rate:.4g} frames a second, {names[0]} has "
                f"{rates[0]:.4g}; --resample brings all to one rate"
            )
    return float(np.median(rates))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
