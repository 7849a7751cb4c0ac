"""Streams of one's own: CSV files, one long CSV, and recordings in `.ts` files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apps.gesture import ts_files
from apps.gesture.config import TableConfig
from apps.gesture.data import load
from apps.gesture.streams import Corpus, fixed_streams, split
from apps.gesture.tables import read
from common.errors import UserError

PLAIN = TableConfig()


def frames(count: int = 40, rate: float = 20.0, seed: int = 0) -> pd.DataFrame:
    """As a CSV holds it: a time, two channels, a label for each row."""
    values = np.random.default_rng(seed).normal(size=(count, 2)).round(4)
    return pd.DataFrame(
        {
            "time": (np.arange(count) / rate + 3).round(6),
            "ax": values[:, 0],
            "ay": values[:, 1],
            "label": np.where(np.arange(count) < count // 2, "walk", "run"),
        }
    )


def write(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def refused(path: Path, config: TableConfig = PLAIN) -> str:
    with pytest.raises(UserError) as error:
        read(path, config)
    message = str(error.value)
    assert len(message.splitlines()) == 1
    return message


def assert_is(corpus: Corpus, number: int, frame: pd.DataFrame) -> None:
    """Whether a stream has the values and labels of a table."""
    stream = corpus.streams[number]
    assert stream.values.dtype == np.float32
    assert_allclose(stream.values, frame[["ax", "ay"]].to_numpy(), rtol=1e-6)
    assert [corpus.classes[label] for label in stream.labels] == frame["label"].tolist()


# What is read


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".CSV"])
def test_a_folder_has_a_stream_in_each_file(tmp_path: Path, suffix: str) -> None:
    tables = [frames(40 + n, seed=n) for n in range(3)]
    for name, table in zip("cab", tables, strict=True):
        write(table, tmp_path / f"{name}{suffix}")
    (tmp_path / "notes.txt").write_text("no stream")
    corpus = read(tmp_path, PLAIN)
    assert corpus.classes == ("run", "walk")
    assert corpus.channels == ("ax", "ay")
    assert corpus.rate == pytest.approx(20)
    assert not corpus.isolated
    assert [s.name for s in corpus.streams] == [s.subject for s in corpus.streams] == [*"abc"]
    for number, table in enumerate([tables[1], tables[2], tables[0]]):
        assert_is(corpus, number, table)
    assert fixed_streams(corpus) == corpus.streams


def test_one_long_file_has_streams_and_subjects_in_columns(tmp_path: Path) -> None:
    tables = [frames(30, seed=n).assign(stream=f"s{n}", subject=f"p{n % 3}") for n in range(6)]
    path = write(pd.concat(tables), tmp_path / "all.csv")
    mixed = write(
        pd.concat(tables).sort_values("time", kind="stable"), tmp_path / "interleaved.csv"
    )
    for file in (path, mixed):
        corpus = load("watch", file, PLAIN)
        assert [s.name for s in corpus.streams] == [f"s{n}" for n in range(6)]
        assert [s.subject for s in corpus.streams] == [f"p{n % 3}" for n in range(6)]
        assert corpus.subjects == ("p0", "p1", "p2")
        for number, table in enumerate(tables):
            assert_is(corpus, number, table)
        for fold in range(3):
            parts = split(corpus, fold)
            assert [len(part.streams) for part in parts.values()] == [2, 2, 2]
            assert len({s for part in parts.values() for s in part.subjects}) == 3


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    table = frames().assign(who="ann", session="one")
    names = {"time": "t", "label": "what"}
    path = write(table.rename(columns=names), tmp_path / "x.csv")
    config = TableConfig(
        time_column="t", label_column="what", subject_column="who", stream_column="session"
    )
    corpus = read(path, config)
    assert corpus.channels == ("ax", "ay")
    assert (corpus.streams[0].name, corpus.streams[0].subject) == ("one", "ann")
    assert_is(corpus, 0, table)


def test_labels_are_not_needed_to_be_labelled(tmp_path: Path) -> None:
    write(frames().drop(columns="label"), tmp_path / "a.csv")
    some = frames()
    some.loc[7, "label"] = ""
    write(some, tmp_path / "b.csv")
    write(frames(), tmp_path / "c.csv")
    corpus = read(tmp_path, PLAIN, labelled=False)
    assert corpus.channels == ("ax", "ay")
    for stream in corpus.streams[:2]:
        assert_array_equal(stream.labels, np.full(40, -1))
    assert_is(corpus, 2, frames())
    assert "a.csv: no column 'label' among 'time', 'ax', 'ay'; name another with --la" in refused(
        tmp_path
    )
    (tmp_path / "a.csv").unlink()
    assert refused(tmp_path).endswith("b.csv: row 8: no label")


# The sample rate


@pytest.mark.parametrize("rate", [12.5, 50.0, 102.4])
@pytest.mark.parametrize("written", ["seconds", "since 1970", "timestamps", "with a zone"])
def test_the_rate_is_found_out(tmp_path: Path, rate: float, written: str) -> None:
    seconds = np.arange(200) / rate
    since = pd.Timestamp("2026-03-01 12:00:00") + pd.to_timedelta(seconds, unit="s")
    times = {
        "seconds": seconds,
        "since 1970": 1_772_366_400 + seconds.round(4),
        "timestamps": since.astype(str),
        "with a zone": [f"{t.isoformat()}+02:00" for t in since],
    }
    path = write(frames(200).assign(time=times[written]), tmp_path / "x.csv")
    assert read(path, PLAIN).rate == pytest.approx(rate, rel=1e-3)


def test_a_rate_that_is_declared_needs_no_time(tmp_path: Path) -> None:
    path = write(frames().drop(columns="time"), tmp_path / "x.csv")
    assert read(path, TableConfig(rate=64)).rate == 64
    assert "x.csv: no column 'time' to find the sample rate by; name another with" in refused(path)


def test_a_rate_that_is_declared_is_checked(tmp_path: Path) -> None:
    path = write(frames(rate=20.3), tmp_path / "x.csv")
    assert read(path, TableConfig(rate=20)).rate == 20
    message = refused(path, TableConfig(rate=50))
    assert message.endswith("x.csv: 20.3 frames a second, --rate says 50")


def test_streams_of_other_rates_are_brought_to_one_on_request(tmp_path: Path) -> None:
    for rate in (20, 50):
        at = np.arange(10 * rate) / rate
        swing = {"ax": np.sin(2 * np.pi * at), "ay": np.cos(2 * np.pi * at)}
        label = np.where(at < 4, "walk", "run")
        write(pd.DataFrame({"time": at, **swing, "label": label}), tmp_path / f"{rate}.csv")
    message = refused(tmp_path)
    assert message.endswith(
        "stream 50 has 50 frames a second, 20 has 20; --resample brings all to one rate"
    )
    corpus = read(tmp_path, TableConfig(resample=20))
    assert corpus.rate == 20
    assert [len(stream) for stream in corpus.streams] == [200, 200]
    slow, fast = corpus.streams
    assert_allclose(fast.values[10:-10], slow.values[10:-10], atol=0.02)
    assert_array_equal(fast.labels, slow.labels)


def test_clocks_may_differ_a_little(tmp_path: Path) -> None:
    write(frames(rate=50), tmp_path / "a.csv")
    write(frames(rate=50.6), tmp_path / "b.csv")
    assert read(tmp_path, PLAIN).rate == pytest.approx(50.3, abs=0.01)


# What is refused, with file and row


def with_cell(row: int, name: str, cell: object) -> pd.DataFrame:
    table = frames().astype(object)
    table.loc[row - 1, name] = cell
    return table


@pytest.mark.parametrize("cell", ["", "nan", "NaN", "x", "inf", "-inf", "1e39", "1,5", "0x1f"])
@pytest.mark.parametrize("row", [1, 17, 40])
def test_a_channel_that_is_no_finite_number_is_named(tmp_path: Path, cell: str, row: int) -> None:
    path = write(with_cell(row, "ay", cell), tmp_path / "x.csv")
    assert refused(path) == f"{path}: row {row}: ay is {cell!r}, expected a finite number"


def test_rows_are_those_of_the_file_where_streams_alternate(tmp_path: Path) -> None:
    whole = pd.concat([frames(20).assign(stream=s) for s in "ab"]).astype(object)
    whole = whole.sort_values("time", kind="stable").reset_index(drop=True)
    for name, cell in {"ax": "x", "label": "", "time": "soon", "stream": ""}.items():
        wrong = whole.copy()
        wrong.loc[24, name] = cell
        path = write(wrong, tmp_path / f"{name}.csv")
        assert refused(path).startswith(f"{path}: row 25: ")
    gap = whole.drop(index=[20, 22])  # readings of stream a
    path = write(gap, tmp_path / "gap.csv")
    assert refused(path).startswith(f"{path}: row 23: 0.15 s after the row before")


def test_milliseconds_are_taken_for_no_seconds(tmp_path: Path) -> None:
    table = frames()
    path = write(table.assign(time=1000 * table["time"]), tmp_path / "a.csv")
    expected = f"{path}: row 2: 50 s after the row before; expected seconds, not milliseconds"
    assert expected in refused(path)
    assert read(path, TableConfig(rate=0.02)).rate == 0.02


@pytest.mark.parametrize("kept", [slice(0, 12), slice(13, 40)])
def test_dropped_samples_are_named(tmp_path: Path, kept: slice) -> None:
    path = write(frames().drop(index=12), tmp_path / "x.csv")
    assert refused(path) == (
        f"{path}: row 13: 0.1 s after the row before, expected 0.05 s: samples were dropped; "
        f"split the stream there"
    )
    assert refused(path, TableConfig(rate=20)) == refused(path)
    parts = write(frames()[kept], tmp_path / "part.csv")
    assert read(parts, PLAIN).rate == pytest.approx(20)


def test_a_clock_that_jitters_drops_nothing(tmp_path: Path) -> None:
    jitter = np.random.default_rng(0).uniform(-0.01, 0.01, 40)
    path = write(frames().assign(time=np.arange(40) / 20 + jitter), tmp_path / "x.csv")
    assert read(path, PLAIN).rate == pytest.approx(20, rel=0.02)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (1772366403.05, "time 1772366403.05 s after 1772366403.05 s, expected a later one"),
        (1772366402, "time 1772366402 s after 1772366403.05 s, expected a later one"),
    ],
)
def test_time_that_stands_still_or_goes_back_is_named(
    tmp_path: Path, cell: float, expected: str
) -> None:
    table = frames().assign(time=1772366400 + frames()["time"])
    table.loc[2, "time"] = cell
    path = write(table, tmp_path / "x.csv")
    assert refused(path) == f"{path}: row 3: {expected}"


@pytest.mark.parametrize("cell", ["", "soon", "nan", "inf", "2026-03-01"])
def test_a_time_that_is_none_is_named(tmp_path: Path, cell: str) -> None:
    path = write(with_cell(9, "time", cell), tmp_path / "x.csv")
    assert refused(path) == (
        f"{path}: row 9: time is {cell!r}, expected seconds or an ISO 8601 timestamp"
    )


def test_other_channels_than_the_first_file_has_are_named(tmp_path: Path) -> None:
    write(frames(), tmp_path / "a.csv")
    path = write(frames().assign(az=0), tmp_path / "b.csv")
    assert refused(tmp_path) == (
        f"{path}: 3 channels (ax, ay, az), expected the 2 of {tmp_path / 'a.csv'} (ax, ay)"
    )
    write(frames().rename(columns={"ay": "gy"}), path)
    assert "b.csv: 2 channels (ax, gy), expected the 2 of" in refused(tmp_path)


def test_a_row_of_another_length_is_named(tmp_path: Path) -> None:
    path = write(frames(), tmp_path / "x.csv")
    lines = path.read_text().splitlines()
    lines[6] += ",1"
    path.write_text("\n".join(lines))
    assert refused(path).startswith(f"{path}: line 7: 5 cells, expected as many as the header")


@pytest.mark.parametrize("cell", ["bob", ""])
def test_a_stream_has_one_subject(tmp_path: Path, cell: str) -> None:
    table = frames().assign(subject="ann")
    table.loc[4, "subject"] = cell
    path = write(table, tmp_path / "x.csv")
    wanted = "subject 'bob' in a stream of 'ann'; --stream-column" if cell else "subject is empty"
    assert refused(path).startswith(f"{path}: row 5: {wanted}")


def test_one_label_is_nothing_to_learn(tmp_path: Path) -> None:
    path = write(frames().assign(label="walk"), tmp_path / "x.csv")
    with pytest.raises(UserError, match=r"x\.csv: one label, 'walk'; expected two or more$"):
        load("watch", path, PLAIN)


def test_what_is_no_stream_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "none").endswith("none: no such file or folder")
    assert refused(tmp_path).endswith("no .csv, .tsv or .ts files in it")
    path = write(frames()[["time", "label"]], tmp_path / "x.csv")
    assert refused(path).endswith("no column of numbers beside time, label")
    path = write(frames(1), tmp_path / "x.csv")
    assert refused(path).endswith("row 1: one frame alone has no rate: give --rate")
    assert len(read(path, TableConfig(rate=20)).streams[0]) == 1
    (tmp_path / "y.ts").write_text("@data\n1:a\n")
    assert refused(tmp_path).endswith("both tables and .ts files in it, expected one kind")


# The `.ts` format

HEADER = """# recordings of a wrist
@problemName Wrist
@timeStamps false
@missing false
@univariate false
@dimensions 2
@equalLength false
@classLabel true Walk run
@data
"""
ROWS = ("1,2,3:4,5,6:Walk", "-1.5,2e1:0,7:run", "9,9,9,9:8,8,8,8: Walk ")


def write_ts(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.write_text(header + "\n".join(rows) + "\n")
    return path


def refused_ts(path: Path) -> str:
    with pytest.raises(UserError) as error:
        ts_files.read(path)
    assert str(error.value).startswith(f"{path}: ")
    return str(error.value).removeprefix(f"{path}: ")


def test_recordings_are_streams_with_a_constant_label(tmp_path: Path) -> None:
    path = write_ts(tmp_path / "wrist.ts", ROWS[0], "", "# a remark", *ROWS[1:])
    for place in (path, tmp_path):
        corpus = read(place, TableConfig(rate=10))
        assert corpus.classes == ("Walk", "run")
        assert corpus.channels == ("channel 1", "channel 2")
        assert corpus.rate == 10
        assert_array_equal(corpus.streams[0].values, [[1, 4], [2, 5], [3, 6]])
        assert_array_equal(corpus.streams[1].values, [[-1.5, 0], [20, 7]])
        assert [s.labels.tolist() for s in corpus.streams] == [[0, 0, 0], [1, 1], [0, 0, 0, 0]]
        assert corpus.subjects == ("wrist 00001", "wrist 00002", "wrist 00003")
    assert refused(path).endswith("a .ts file says no sample rate: give it with --rate")


def test_one_dimension_and_a_plain_header_are_enough(tmp_path: Path) -> None:
    header = "@PROBLEMNAME X\n@classlabel TRUE\n@DATA\n"
    path = write_ts(tmp_path / "x.ts", "1,2:a", "3:b b", header=header)
    found = ts_files.read(path)
    assert [(r.values.tolist(), r.label) for r in found] == [
        ([[1.0], [2.0]], "a"),
        ([[3.0]], "b b"),
    ]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("1,2:3,4,5:run", "line 11: dimensions of 2 to 3 values"),
        ("1,2:run", "line 11: 1 dimensions, expected 2 as above"),
        ("1,?:3,4:run", "line 11: found '?', expected a number"),
        ("1,:3,4:run", "line 11: found '', expected a number"),
        ("1,nan:3,4:run", "line 11: found nan, expected finite numbers"),
        ("1,1e39:3,4:run", "line 11: found 1e+39, expected finite numbers"),
        ("1,2:3,4:jump", "line 11: label 'jump', expected one of the header's Walk, run"),
        ("1,2:3,4:walk", "line 11: label 'walk', expected one of the header's Walk, run"),
        ("1,2:3,4:", "line 11: expected values, a colon and a class label"),
        ("1,2,3,4", "line 11: expected values, a colon and a class label"),
    ],
)
def test_a_line_that_can_not_be_used_is_named(tmp_path: Path, row: str, expected: str) -> None:
    assert refused_ts(write_ts(tmp_path / "x.ts", ROWS[0], row)) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (HEADER.replace("@timeStamps false", "@timeStamps true"), "line 3: found '@timeStamps tr"),
        (HEADER.replace("@classLabel true Walk run", "@classLabel false"), "line 8: found '@class"),
        (HEADER.replace("@classLabel true Walk run", "@targetLabel true"), "line 8: found '@targ"),
        (HEADER.replace("@data\n", ""), "line 9: expected an @ line or @data before values"),
        ("# nothing but this\n" * 2, "line 3: expected an @ line or @data before values"),
    ],
)
def test_a_header_that_can_not_be_used_is_named(tmp_path: Path, header: str, expected: str) -> None:
    assert refused_ts(write_ts(tmp_path / "x.ts", *ROWS, header=header)).startswith(expected)


def test_a_file_without_recordings_is_refused(tmp_path: Path) -> None:
    assert refused_ts(write_ts(tmp_path / "x.ts")) == "no recordings in it"
    assert refused_ts(write_ts(tmp_path / "y.ts", header="@problemName X")) == "no @data line in it"
    (tmp_path / "z.ts").write_bytes(b"@data\n1:\xff\n")
    assert refused_ts(tmp_path / "z.ts").startswith("line 2: expected UTF-8 text, found byte 0xff")
