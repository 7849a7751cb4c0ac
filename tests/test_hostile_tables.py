"""Tables and `.ts` files that are broken, or lie: refused in one line, in little memory."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.gesture import tables as streams
from apps.gesture import ts_files
from apps.gesture.config import TableConfig as StreamConfig
from apps.sentiment import texts
from apps.timeseries import tables as series
from apps.timeseries.config import TableConfig as SeriesConfig
from common import data, files
from tests.broken_files import FUZZ, damages, read_or_refused, refused, write

SERIES = SeriesConfig(target=("y",))
STREAM = StreamConfig()


def table(path: Path) -> object:
    return data.read_table(path)


def labelled(path: Path) -> object:
    return texts.split_file(path, "text", "label")


def panel(path: Path) -> object:
    return series.to_panel(series.read(path), str(path), SERIES)


def corpus(path: Path) -> object:
    return streams.read(path, STREAM)


USERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "table": (table, "a,b\n1,2\n"),
    "texts": (labelled, "text,label\n" + "".join(f"t {n},{n % 2}\n" for n in range(30))),
    "series": (panel, "time,y\n" + "".join(f"2024-01-{d:02d},{d}.5\n" for d in range(1, 15))),
    "streams": (
        corpus,
        "time,ax,label,subject\n" + "".join(f"{n / 10},{n},a,s\n" for n in range(9)),
    ),
}
ENCODED = {
    "empty": (b"", "the file is empty"),
    "one byte": (b"\xff", "line 1: expected UTF-8 text, found byte 0xff"),
    "UTF-16": ("time,y\n1,2\n".encode("utf-16"), "0xff; `iconv -f UTF-16"),
    "UTF-16 without a mark": ("time,y\n1,2\n".encode("utf-16-le"), "0x00; `iconv -f UTF-16"),
    "Latin-1 further down": (b"time,y\n" + b"1,2\n" * 9 + b"\xe9,1\n", "line 11: .*LATIN1"),
    "a NUL": (b"time,y\n1,2\n\x00,3\n", "line 3: expected UTF-8 text, found byte 0x00"),
    "a device's worth on one line": (b"x" * (files.LONGEST_LINE + 1), "line 1: expected at most"),
}
LARGE = {
    "a million columns": (
        ".csv",
        b"a," * 1_000_000 + b"b\n",
        "1,000,001 columns, expected at most",
    ),
    "a cell of 10 MB": (".csv", b"a\n" + b"x" * 10_000_000 + b"\n", "line 2: .*field limit"),
    "a quote that ends nowhere": (".csv", b'a\n"' + b"x\n" * 3_000_000, "line 2: .*field limit"),
    "ever new keys": (
        ".jsonl",
        b"".join(b'{"k%d": 1}\n' % n for n in range(data.MOST_COLUMNS + 1)),
        "10,001 columns",
    ),
    "a line of all keys, the rest empty": (
        ".jsonl",
        json.dumps({f"k{n}": 1 for n in range(9000)}).encode() + b"\n{}" * 500,
        "9,000 keys over 501 lines",
    ),
    "JSON nested 990 deep": (".jsonl", b'{"a": ' + b"[" * 990 + b"]" * 990 + b"}", "JSON object|"),
    "JSON nested 100,000 deep": (".jsonl", b'{"a": ' + b"[" * 100_000, "line 1: .*JSON object"),
    "a number of 5,000 digits": (".jsonl", b'{"a": ' + b"9" * 5_000 + b"}", "line 1: .*object"),
}


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("case", ENCODED)
def test_a_table_in_another_encoding_is_refused_by_everyone(
    case: str, user: str, tmp_path: Path
) -> None:
    content, expected = ENCODED[case]
    path = write(tmp_path / "t.csv", content)
    assert refused(lambda: USERS[user][0](path), expected).startswith(f"{path}: ")


@pytest.mark.parametrize("case", LARGE)
def test_a_table_that_claims_too_much_is_refused(case: str, tmp_path: Path) -> None:
    suffix, content, expected = LARGE[case]
    refused(lambda: table(write(tmp_path / f"t{suffix}", content)), expected)


@pytest.fixture
def odd(tmp_path: Path) -> dict[str, Path]:
    """What is no file, with the suffix of one."""
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    return {
        "found a pipe": tmp_path / "pipe.csv",
        "found a folder": tmp_path / "folder.csv",
        "can't be opened: too many levels": tmp_path / "loop.csv",
        "found a device": tmp_path / "zero.csv",
        "no such file": tmp_path / "none.csv",
        "file name too long": tmp_path / f"{'x' * 5000}.csv",
        "embedded null": tmp_path / "a\0b.csv",
    }


@pytest.mark.parametrize("user", USERS)
def test_what_is_no_file_is_never_waited_for(user: str, odd: dict[str, Path]) -> None:
    if user == "streams":  # of which a folder may hold several
        odd = {said: odd[said] for said in ("found a pipe", "found a device")}
    for expected, path in odd.items():
        refused(lambda path=path: USERS[user][0](path), expected)


@pytest.mark.parametrize("user", USERS)
def test_whatever_was_done_to_a_table_it_is_read_or_refused(
    user: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    read, whole = USERS[user]
    path = tmp_path_factory.mktemp("tables") / "t.csv"
    read(write(path, whole))

    @FUZZ
    @given(damages(whole.encode()))
    def each(content: bytes) -> None:
        read_or_refused(lambda: read(write(path, content)))

    each()


@FUZZ
@given(damages(b'{"a": 1, "b": "x"}\n{"a": null, "b": [1, "\xc3\xa9"]}\n'))
def test_whatever_was_done_to_json_lines_they_are_read_or_refused(content: bytes) -> None:
    path = write(Path(os.environ["TFDS_DATA_DIR"]) / "t.jsonl", content)
    read_or_refused(lambda: table(path))


@pytest.mark.parametrize("user", ["series", "streams"])
@pytest.mark.parametrize("cell", ["inf", "-inf", "1e999", "1e39", "x" * 900_000])
def test_what_is_no_finite_number_is_named_and_not_repeated_at_length(
    cell: str, user: str, tmp_path: Path
) -> None:
    read, whole = USERS[user]
    lines = whole.splitlines()
    cells = lines[5].split(",")
    lines[5] = ",".join([cells[0], cell, *cells[2:]])
    path = write(tmp_path / "t.csv", "\n".join(lines) + "\n")
    message = refused(lambda: read(path), "row 5: .*expected a finite number")
    assert len(message) < 400


def test_rows_and_columns_without_a_name_are_told_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "a,,\n1,2,3\n")
    assert list(data.read_table(path).columns) == ["a", "", "Unnamed: 2"]
    path = write(tmp_path / "s.csv", "time,ax,label,,\n0,1,a,,\n0.1,2,a,,\n")
    refused(lambda: corpus(path), "row 1: .*expected a finite number")


def test_names_of_thousands_of_digits_are_names(tmp_path: Path) -> None:
    digits = "1" * 5_000
    rows = "".join(f"{n / 10},{n},a,{digits}\n" for n in range(9))
    found = streams.read(write(tmp_path / "s.csv", f"time,ax,label,subject\n{rows}"), STREAM)
    assert found.subjects == (digits,)


def test_labels_take_as_much_memory_as_they_say(tmp_path: Path) -> None:
    """As an array of equal strings, 20,000 labels of which one is long would take 72 GB."""
    rows = "".join(f"{n / 10},{n},a\n" for n in range(1, 20_000))
    path = write(tmp_path / "s.csv", f"time,ax,label\n0,1,{'L' * 900_000}\n{rows}")
    assert [len(name) for name in streams.read(path, STREAM).classes] == [900_000, 1]


def test_a_link_out_of_a_folder_of_streams_is_refused(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        write(folder / "a.csv", USERS["streams"][1])
    (inside / "b.csv").symlink_to(inside / "a.csv")
    assert len(streams.read(inside, STREAM).streams) == 2
    (inside / "c.csv").symlink_to(outside / "a.csv")
    refused(lambda: corpus(inside), "c.csv: a link that leads out of the folder")


# Piece by piece


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "CHUNK", 1_000)


def chunks(path: Path) -> Iterator[pd.DataFrame]:
    return data.read_chunks(path)


@pytest.mark.usefixtures("small_chunks")
def test_pieces_are_the_table(tmp_path: Path) -> None:
    content = "a,b\n" + "".join(f"{n},x{n}\n" for n in range(100))
    parts = list(chunks(write(tmp_path / "t.csv", content)))
    assert len(parts) > 5
    together = pd.concat(parts)
    assert together.index.tolist() == list(range(100))
    assert together["b"].tolist() == [f"x{n}" for n in range(100)]
    lines = "".join(f'{{"{"ab"[n % 2]}": {n}}}\n' for n in range(100))
    for part in chunks(write(tmp_path / "t.jsonl", lines)):
        assert list(part.columns) == ["a", "b"]


@pytest.mark.usefixtures("small_chunks")
def test_rows_are_counted_over_all_pieces(tmp_path: Path) -> None:
    hours = pd.date_range("2024-01-01", periods=200, freq="h").astype(str).tolist()
    rows = [f"{hour},{n}" for n, hour in enumerate(hours)]
    whole = "\n".join(["time,y", *rows]) + "\n"
    found = series.to_panel(series.read(write(tmp_path / "t.csv", whole)), "t", SERIES)
    np.testing.assert_array_equal(found.series[0].target[:, 0], np.arange(200))
    for cell, expected in {"x": "row 150: 'x'", "1e60": "row 150: '1e60'"}.items():
        broken = whole.replace(f"{rows[149]}\n", f"{hours[149]},{cell}\n")
        refused(lambda text=broken: panel(write(tmp_path / "t.csv", text)), expected)
    for old, new, expected in (
        (hours[149], "soon", "row 150: timestamp 'soon'"),
        (hours[149], f"{hours[149]}+02:00", r"row 150: .* has offset \+02:00, row 1 has no zone"),
        (hours[149], hours[148], "row 150: .* stands in row 149 already"),
    ):
        text = whole.replace(f"\n{old},", f"\n{new},")
        refused(lambda text=text: panel(write(tmp_path / "t.csv", text)), expected)
    times = "".join(f"{n / 10},{n},a,s{n // 100}\n" for n in range(200))
    streamed = f"time,ax,label,stream\n{times}"
    path = write(tmp_path / "s.csv", streamed)
    assert [len(s) for s in streams.read(path, STREAM).streams] == [100, 100]
    path = write(tmp_path / "s.csv", streamed.replace("\n15.0,150,", "\n15.0,nan,"))
    refused(lambda: corpus(path), "row 151: ax is 'nan'")
    path = write(tmp_path / "x.csv", "text,label\n" + "word,a\n" * 120 + ",a\n" * 2)
    refused(lambda: labelled(path), r"row 121: the text is empty \(and 1 more rows\)")


# Parquet


def test_whatever_was_done_to_a_parquet_file_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("parquet") / "t.parquet"
    times = pd.date_range("2024-01-01", periods=50, freq="h")
    pd.DataFrame({"time": times, "y": np.arange(50.0)}).to_parquet(path)
    assert len(series.to_panel(series.read(path), "t", SERIES).series[0]) == 50
    whole = path.read_bytes()

    @FUZZ
    @given(damages(whole))
    def each(content: bytes) -> None:
        read_or_refused(lambda: panel(write(path, content)))

    each()


# .ts

TS = b"@problemname x\n@classlabel true a b\n@data\n1,2,3:4,5,6:a\n3,2,1:6,5,4:b\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "no @data"),
        (b"@data\n1,NaN:a\n", "line 2: found nan, expected finite"),
        (b"@data\n1,1e39:a\n", "line 2: found 1e.39, expected finite"),
        (b"@data\n1,?:a\n", r"line 2: found '\?', expected a number"),
        (b"@data\n1,2:\n", "line 2: expected values, a colon and a class label"),
        (b"@data\n" + b":" * 100_000 + b"a\n", "line 2: 100,000 dimensions, expected at most"),
        (b"@data\n" + b"1," * 9_000_000 + b"1:a\n", "line 2: expected at most"),
        (TS.decode().encode("utf-16"), "0xff"),
        (b"@data\n\0:a\n", "line 2: .*0x00"),
    ],
)
def test_a_broken_ts_file_is_refused_with_its_line(
    content: bytes, expected: str, tmp_path: Path
) -> None:
    refused(lambda: ts_files.read(write(tmp_path / "a.ts", content)), expected)


@FUZZ
@given(damages(TS), st.booleans())
def test_whatever_was_done_to_a_ts_file_it_is_read_or_refused(content: bytes, crlf: bool) -> None:
    content = content.replace(b"\n", b"\r\n") if crlf else content
    path = write(Path(os.environ["TFDS_DATA_DIR"]) / "t.ts", content)
    read_or_refused(lambda: ts_files.read(path))


def test_a_parquet_file_of_more_rows_than_bytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series, "SPARE_ROWS", 10_000)
    path = tmp_path / "t.parquet"
    pd.DataFrame({"y": np.zeros(300_000)}).to_parquet(path, compression="zstd")
    refused(lambda: list(series.read(path)), "more rows than bytes")
    pd.DataFrame({"y": np.arange(300_000)}).to_parquet(path)
    assert sum(map(len, series.read(path))) == 300_000
