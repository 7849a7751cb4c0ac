"""MIDI, MusicXML and piano-roll files that are broken, or lie: one line, little memory and time."""

import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.io import savemat

from apps.music import benchmark, corpora, scores
from common.errors import UserError
from tests.broken_files import (
    END,
    FUZZ,
    LAUGHS,
    NOTE,
    OUTSIDE,
    array,
    claiming,
    compressed,
    container,
    damages,
    mat,
    midi,
    read_or_refused,
    refused,
    score,
    write,
    zipped,
)

MIDI: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "can't be read as MIDI: EOFError"),
    "one byte": (b"M", "can't be read as MIDI"),
    "65,535 tracks of which one is there": (midi(NOTE + END, count=65_535), "can't be read"),
    "a track of 4 GB": (midi(NOTE + END, length=2**32 - 1), "can't be read as MIDI: EOFError"),
    "2^28 ticks": (midi(b"\0\x90\x3c\x40\xff\xff\xff\x7f\x80\x3c\x40" + END), "largest tick"),
    "2^42 ticks": (midi(b"\0\x90\x3c\x40\xff\xff\xff\xff\xff\x7f\x80\x3c\x40" + END), "largest"),
    "a message of 256 MB": (midi(b"\0\xf0\xff\xff\xff\x7f" + END), "exceeds maximum length"),
    "no tempo": (midi(b"\0\xff\x51\x03\0\0\0" + NOTE + END), "ZeroDivisionError"),
    "a bar of nothing": (midi(b"\0\xff\x58\x04\0\xff\0\0" + NOTE + END), "numerator"),
    "a bar of next to nothing": (midi(b"\0\xff\x58\x04\xff\xff\0\0" + NOTE + END), "metre"),
    "too large": (b"MThd" + bytes(scores.MOST_MIDI), "expected at most 4,194,304"),
}
XML: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "can't be read as MusicXML: ExpatError"),
    "another language": ("<html/>", "can't be read as MusicXML: MusicXMLImportException"),
    "cut": (score()[:300], "can't be read as MusicXML: ExpatError"),
    "a billion laughs": (score(head=LAUGHS, name="&a11;"), "declares an XML entity, 'a0'"),
    "another file's content": (score(head=OUTSIDE, name="&e;"), "declares an XML entity, 'e'"),
    "elements 100,000 deep": ("<a>" * 100_000, "inside 100 others"),
    "a note of NaN": (score(duration="NaN"), "can't be read as MusicXML: ValueError"),
    "a note of infinity": (score(duration="1e400"), "can't be read as MusicXML: OverflowError"),
    "a note of a billion": (score(1, duration=10**9), "4,000,000,000 frames long"),
    "too large": (" " * (scores.MOST_BYTES + 1), "expected at most 16,777,216"),
}
MXL: dict[str, tuple[bytes, str]] = {
    "empty archive": (zipped([]), "no score in it"),
    "cut": (zipped([("a.xml", score())])[:80], "can't be read"),
    "a bomb": (zipped([("a.xml", bytes(30_000_000))]), "'a.xml' in it has more than 16,777,216"),
    "a bomb that says it is none": (
        claiming(zipped([("a.xml", bytes(30_000_000))]), 1_000),
        "can't be read as MusicXML: BadZipFile",
    ),
    "a bomb of a container": (
        zipped([("META-INF/container.xml", bytes(30_000_000)), ("a.xml", score())]),
        "'META-INF/container.xml' in it has more than",
    ),
    "a billion laughs": (
        zipped([("META-INF/container.xml", LAUGHS + "<a>&a11;</a>"), ("a.xml", score())]),
        "declares an XML entity",
    ),
    "an archive in it": (zipped([("a.xml", zipped([("a.xml", score())]))]), "can't be read"),
    "20,000 members": (zipped((f"{n}.xml", "x") for n in range(20_000)), "can't be read"),
}


@pytest.mark.parametrize("case", MIDI)
def test_a_broken_midi_file_is_refused(case: str, tmp_path: Path) -> None:
    content, expected = MIDI[case]
    path = write(tmp_path / "a.mid", content)
    assert refused(lambda: scores.read(path, 4), expected).startswith(f"{path}: ")


@pytest.mark.parametrize("case", XML)
def test_a_broken_score_is_refused(case: str, tmp_path: Path) -> None:
    content, expected = XML[case]
    path = write(tmp_path / "a.musicxml", content)
    assert refused(lambda: scores.read(path, 4), expected).startswith(f"{path}: ")


@pytest.mark.parametrize("case", MXL)
def test_a_broken_compressed_score_is_refused(case: str, tmp_path: Path) -> None:
    content, expected = MXL[case]
    path = write(tmp_path / "a.mxl", content)
    assert refused(lambda: scores.read(path, 4), expected).startswith(f"{path}: ")


def test_a_compressed_score_is_unpacked_nowhere(tmp_path: Path) -> None:
    for name in ("../../escaped.xml", "/escaped.xml", "a/../../escaped.xml"):
        inside = tmp_path / "in" / "deeper" / "a.mxl"
        write(inside, zipped([container(name), (name, score())]))
        assert len(scores.read(inside, 4)) == 16
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["a.mxl"]
    stranger = write(tmp_path / "b.mxl", zipped([container("/etc/hostname"), ("a.xml", score())]))
    assert len(scores.read(stranger, 4)) == 16  # what is named and not in it is not looked for


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_a_score_may_say_its_encoding(encoding: str, tmp_path: Path) -> None:
    text = score(name="é").replace('"1.0"?', f'"1.0" encoding="{encoding}"?')
    assert len(scores.read(write(tmp_path / "a.xml", text.encode(encoding)), 4)) == 16


def test_a_score_may_name_the_usual_document_type(tmp_path: Path) -> None:
    usual = '<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 3.1 Partwise//EN" "p.dtd">'
    assert len(scores.read(write(tmp_path / "a.xml", score(head=usual)), 4)) == 16


def test_scores_are_no_longer_read_than_they_deserve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounded = scores.files.bounded
    monkeypatch.setattr(scores.files, "bounded", lambda where: bounded(where, seconds=0.2))
    path = write(tmp_path / "a.mid", midi(b"\0\x90\x3c\x40" + b"\0\x3c\x40" * 200_000 + END))
    refused(lambda: scores.read(path, 4), "reading it takes more than 0.2 s: broken")


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("a.mid", midi(NOTE * 4 + END)),
        ("a.xml", score().encode()),
        ("a.mxl", zipped([container("a.xml"), ("a.xml", score())])),
    ],
    ids=["MIDI", "MusicXML", "compressed"],
)
def test_whatever_was_done_to_a_score_it_is_read_or_refused(
    name: str, whole: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("scores") / name
    assert len(scores.read(write(path, whole), 4))

    @FUZZ
    @given(damages(whole))
    def each(content: bytes) -> None:
        read_or_refused(lambda: scores.read(write(path, content), 4))

    each()


def test_a_folder_names_what_leads_out_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = tmp_path / "in"
    write(inside / "a.mid", midi(NOTE * 4 + END))
    outside = write(tmp_path / "b.mid", midi(NOTE * 4 + END))
    (inside / "b.mid").symlink_to(outside)
    (inside / "zero.mid").symlink_to("/dev/zero")
    os.mkfifo(inside / "pipe.mid")
    assert [piece.name for piece in corpora.own(inside, 4, strict=False)] == ["a"]
    assert capsys.readouterr().err.count("leads out of the folder") == 2
    with pytest.raises(UserError, match=r"b\.mid: a link that leads out of the folder.*1 more"):
        corpora.own(inside, 4, strict=True)


# .mat, .npz, .json

NAMES = tuple(benchmark.MAT_NAMES.values())
ROLL = (np.random.default_rng(0).random((5, 88)) < 0.1).astype(np.uint8)


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


def cells(compress: bool = True) -> bytes:
    pieces = np.empty(2, object)
    pieces[:] = [ROLL, ROLL[:3]]
    file = io.BytesIO()
    savemat(file, dict.fromkeys(NAMES, pieces), do_compression=compress)
    return file.getvalue()


def matrices() -> bytes:
    file = io.BytesIO()
    savemat(file, dict.fromkeys(NAMES, ROLL))
    return file.getvalue()


def rolls(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def header(shape: str) -> bytes:
    """Of a .npy file."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\0\x76\0" + text.ljust(117).encode() + b"\n"


def pieces(train: str) -> str:
    return f'{{"train": {train}, "valid": [[[60]]], "test": [[[60]]]}}'


MOST = 2**31 - 1
ROLLS: dict[str, tuple[str, bytes | str, str]] = {
    "empty .mat": (".mat", b"", "can't be read as a MATLAB 5 file"),
    "cut .mat": (".mat", cells()[:300], "can't be read as a MATLAB 5 file"),
    "rows of 2^31": (
        ".mat",
        mat(*(array(name, (MOST, 88), 6, 2**32 - 8) for name in NAMES)),
        "can't be read as a MATLAB 5 file: MemoryError|could not read bytes",
    ),
    "blanks of 2^32": (
        ".mat",
        mat(*(array(name, (MOST, 2), 4, 0, stored=16) for name in NAMES)),
        "can't be read as a MATLAB 5 file: .*Memory",
    ),
    "cells of 2^31": (
        ".mat",
        mat(*(array(name, (MOST, 1), 1, 0) for name in NAMES)),
        "can't be read as a MATLAB 5 file: .*Unable to allocate",
    ),
    "values of no type, which end SciPy's process": (
        ".mat",
        mat(*(array(name, (5, 88), 9, 0, stored=200) for name in NAMES)),
        "can't be read as a MATLAB 5 file: it ended the process reading it",
    ),
    "no cells": (".mat", matrices(), "expected cells of matrices"),
    "a bomb": (".mat", mat(compressed(100_000_000)), "can't be read"),
    "empty .npz": (".npz", b"", "can't be read"),
    "one byte": (".npz", b"P", "can't be read"),
    "cut .npz": (".npz", rolls(train_0=ROLL)[:100], "can't be read"),
    "a number that is none": (".npz", rolls(**{"train_²": ROLL}), "expected names like train_0"),
    "an array of 8 TB": (
        ".npz",
        zipped([("train_0.npy", header("(100000000000, 88)"))]),
        "can't be read|more than 2 GB",
    ),
    "a bomb of a roll": (
        ".npz",
        zipped([("train_0.npy", header("(500000, 88)") + bytes(44_000_000))]),
        "no validation pieces|500,000 frames",
    ),
    "code in a header": (".npz", zipped([("train_0.npy", header("open('x', 'w')"))]), "malformed"),
    "NaN in a roll": (
        ".npz",
        rolls(train_0=np.full((3, 88), np.nan), valid_0=ROLL, test_0=ROLL),
        "expected a matrix of 0 and 1",
    ),
    "nested 100,000 deep": (".json", "[" * 100_000, "can't be read as JSON: .*recursion"),
    "objects 100,000 deep": (".json", '{"train":' * 100_000, "can't be read as JSON: .*recursion"),
    "a note of infinity": (".json", pieces("[[[Infinity]]]"), "note 1e.09: expected a whole MIDI"),
    "a note of 4,000 digits": (".json", pieces(f"[[[{'1' * 4000}]]]"), "note 1e.09: expected"),
    "a day of frames": (".json", pieces(json.dumps([[60] * 20_001])), "20,001 frames, expected"),
    "no lists": (".json", pieces('{"a": 1}'), "expected lists of pieces"),
    "text": (".json", pieces('["abc"]'), "expected frames, found str"),
    "UTF-16": (".json", pieces("[[[60]]]").encode("utf-16"), "can't be read as JSON"),
}


@pytest.mark.parametrize("case", ROLLS)
def test_a_broken_file_of_rolls_is_refused(case: str, tmp_path: Path) -> None:
    suffix, content, expected = ROLLS[case]
    path = write(tmp_path / f"a{suffix}", content)
    assert refused(lambda: benchmark.read(path), expected).startswith(f"{path}: ")


@pytest.mark.parametrize("kind", ["in an archive", "alone"])
def test_no_pickle_is_loaded(kind: str, tmp_path: Path) -> None:
    evil = Evil(tmp_path / "evil")
    objects = np.array([evil], object)
    content = rolls(train=objects) if kind == "in an archive" else pickle.dumps(evil)
    path = write(tmp_path / "a.npz", content)
    refused(lambda: benchmark.read(path), "it holds pickled objects")
    write(tmp_path / "a.mid", pickle.dumps(evil))
    write(tmp_path / "a.mat", pickle.dumps(evil))
    write(tmp_path / "a.xml", pickle.dumps(evil))
    read: Callable[[Path], object]
    for name, read in {
        "a.mid": lambda path: scores.read(path, 4),
        "a.xml": lambda path: scores.read(path, 4),
        "a.mat": benchmark.read,
    }.items():
        refused(lambda name=name, read=read: read(tmp_path / name))
    assert not evil.path.exists()


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("a.mat", cells()),
        ("b.mat", cells(compress=False)),
        ("a.npz", rolls(train_0=ROLL, valid_0=ROLL, test_0=ROLL)),
        ("a.json", pieces("[[[60, 64], [60.0], []]]").encode()),
    ],
    ids=["mat", "mat, not compressed", "npz", "json"],
)
def test_whatever_was_done_to_a_file_of_rolls_it_is_read_or_refused(
    name: str, whole: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("rolls") / name
    assert set(benchmark.read(write(path, whole))) == {"train", "validation", "test"}
    examples = 3 if name.endswith(".mat") else FUZZ.max_examples  # each has a process of its own

    @settings(FUZZ, max_examples=examples)
    @given(damages(whole))
    def each(content: bytes) -> None:
        read_or_refused(lambda: benchmark.read(write(path, content)))

    each()
