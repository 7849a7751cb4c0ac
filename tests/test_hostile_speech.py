"""Recordings, manifests, language models and word lists that are broken, or lie."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from apps.speech import language, lexicon, manifest
from apps.speech.config import DataConfig
from apps.speech.intake import Intake
from common.errors import UserError
from tests.broken_files import (
    FOUR_GB,
    FUZZ,
    damages,
    overwritten,
    read_or_refused,
    refused,
    sound,
    write,
)

WAV, FLAC, OGG = sound(), sound("FLAC"), sound("OGG")
SOUNDS: dict[str, tuple[str, bytes, str]] = {
    "empty": ("a.wav", b"", "Format not recognised"),
    "one byte": ("a.wav", b"R", "Format not recognised"),
    "text": ("a.wav", b"hello " * 100, "Format not recognised"),
    "FLAC cut": ("a.flac", FLAC[:5000], "can't be read as WAV, FLAC or OGG"),
    "FLAC of 2^36 samples": (
        "a.flac",
        overwritten(FLAC, (21, bytes([FLAC[21] | 15])), (22, b"\xff" * 4)),
        "can't be read as WAV, FLAC or OGG",
    ),
    "OGG cut": ("a.ogg", OGG[:2000], "can't be read as WAV, FLAC or OGG"),
    "no rate": ("a.wav", overwritten(WAV, (24, bytes(4))), "can't be read"),
    "a sample a second": ("a.wav", overwritten(WAV, (24, b"\1\0\0\0")), "1 samples a second"),
    "2^31 samples a second": ("a.wav", overwritten(WAV, (24, b"\xff\xff\xff\x7f")), "2,147,483,6"),
    "NaN": (
        "a.wav",
        overwritten(sound(subtype="FLOAT"), (1000, struct.pack("<f", np.nan))),
        "samples that are no numbers",
    ),
    "no header": ("a.raw", os.urandom(1000), "can't be read as WAV, FLAC or OGG"),
}


@pytest.mark.parametrize("case", SOUNDS)
def test_a_broken_recording_is_refused(case: str, tmp_path: Path) -> None:
    name, content, expected = SOUNDS[case]
    path = write(tmp_path / name, content)
    assert refused(lambda: manifest.read_sound(path), expected).startswith(f"{path}: ")


def test_a_header_that_claims_4_gb_is_worth_what_the_file_has(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", overwritten(WAV, *FOUR_GB))
    assert len(manifest.read_sound(path)) == 8000


def test_what_was_squeezed_into_little_is_not_read_for_hours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "LONGEST", 5)
    assert len(manifest.read_sound(write(tmp_path / "a.flac", sound("FLAC", 4.9)))) == 78_400
    path = write(tmp_path / "b.flac", sound("FLAC", 12.0))
    refused(lambda: manifest.read_sound(path), "it lasts more than 5 s")


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_read_in_pieces_a_recording_is_what_it_is_in_one(
    rate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.wav", sound(seconds=1.5, rate=rate))
    whole = manifest.read_sound(path)
    monkeypatch.setattr(manifest, "PIECE", 777)
    np.testing.assert_array_equal(manifest.read_sound(path), whole)
    assert len(whole) == 24_000


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_whatever_was_done_to_a_recording_it_is_read_or_refused(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = {"a.wav": WAV, "a.flac": FLAC, "a.ogg": OGG}[name]
    path = tmp_path_factory.mktemp("sounds") / name

    @FUZZ
    @given(damages(whole))
    def each(content: bytes) -> None:
        read_or_refused(lambda: manifest.read_sound(write(path, content)))

    each()


# Manifests


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recordings, links and what is none, in a folder; another recording beside it."""
    inside = tmp_path / "in"
    write(inside / "a.wav", WAV)
    write(tmp_path / "out.wav", WAV)
    (inside / "within.wav").symlink_to(inside / "a.wav")
    (inside / "link.wav").symlink_to(tmp_path / "out.wav")
    (inside / "zero.wav").symlink_to("/dev/zero")
    (inside / "folder.wav").mkdir()
    os.mkfifo(inside / "pipe.wav")
    return inside


def heard(folder: Path, name: str, **options: bool) -> int:
    path = write(folder / "m.csv", f"path,text\n{name},hello\n")
    config = DataConfig(strict=True, **options)  # type: ignore[arg-type]
    return len(manifest.read(path, config, Intake(strict=True)))


@pytest.mark.parametrize("name", ["a.wav", "within.wav", "../in/a.wav"])
def test_a_manifest_names_what_is_in_its_folder(name: str, folder: Path) -> None:
    assert heard(folder, name) == 1


@pytest.mark.parametrize(
    "name", ["../out.wav", "link.wav", "/etc/passwd", "../../etc/passwd", "/dev/zero", "zero.wav"]
)
def test_what_leads_out_of_the_folder_is_refused_unless_it_is_asked_for(
    name: str, folder: Path
) -> None:
    message = refused(lambda: heard(folder, name), "m.csv: row 1: .*leads out of the folder")
    assert "--outside" in message
    if name in ("../out.wav", "link.wav"):
        assert heard(folder, name, outside=True) == 1
    else:
        refused(lambda: heard(folder, name, outside=True), "no such file|can't be read|a device")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pipe.wav", "found a pipe"),
        ("folder.wav", "found a folder"),
        ("none.wav", "no such file"),
        ("x" * 5000, "file name too long"),
    ],
)
def test_what_is_no_recording_is_never_waited_for(name: str, expected: str, folder: Path) -> None:
    refused(lambda: heard(folder, name), expected)
    config = DataConfig()
    intake = Intake(strict=False)
    assert manifest.read(folder / "m.csv", config, intake) == []
    assert len(intake.skipped) == 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the file is empty"),
        (b"../../out|hello", "line 1: .*leads out of the folder"),
        (b"a|b|c|d", "line 1: 4 cells"),
        (b"a|hi\n\xff", "line 2: expected UTF-8 text"),
        ("a|hello".encode("utf-16"), "0xff"),
        (b"a|\0", "line 1: .*0x00"),
        (b"a|" + b"x" * 200_000, "line 1: expected at most 100,000 bytes"),
    ],
)
def test_a_broken_ljspeech_folder_is_refused(content: bytes, expected: str, tmp_path: Path) -> None:
    write(tmp_path / "in" / "wavs" / "a.wav", WAV)
    write(tmp_path / "out.wav", WAV)
    write(tmp_path / "in" / "metadata.csv", content)
    intake = Intake(strict=True)
    refused(lambda: manifest.read(tmp_path / "in", DataConfig(), intake), expected)


# Language models and word lists

ARPA = b"\\data\\\nngram 1=2\n\n\\1-grams:\n-1\ta\t-0.3\n-0.5\t</s>\n\n\\2-grams:\n-0.2\ta </s>\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "no n-grams in it"),
        (b"\\1-grams:\nnan a\n", "line 2: 'nan a', expected a logarithm"),
        (b"\\1-grams:\n-inf a\n", "line 2: '-inf a', expected a logarithm"),
        (b"\\1-grams:\n-1 a inf\n", "line 2: '-1 a inf', expected a logarithm"),
        ("\\²-grams:\n-1 a\n".encode(), r"line 1: .*-grams:', expected"),
        (b"\\" + b"9" * 5000 + b"-grams:\n", r"line 1: '.{60,70}', expected"),
        (b"\\2-grams:\n-1 a\n", "line 2: 2 cells"),
        (ARPA.decode().encode("utf-16"), "0xff"),
        (b"\\1-grams:\n-1 \0\n", "line 2: .*0x00"),
    ],
)
def test_a_broken_arpa_file_is_refused_with_its_line(
    content: bytes, expected: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.arpa", content)
    assert refused(lambda: language.from_arpa(path), expected).startswith(f"{path}: ")


@FUZZ
@given(damages(ARPA))
def test_whatever_was_done_to_an_arpa_file_it_is_read_or_refused(content: bytes) -> None:
    path = write(Path(os.environ["TFDS_DATA_DIR"]) / "t.arpa", content)
    read_or_refused(lambda: language.from_arpa(path).perplexity(["a a b"]))


def test_a_word_list_that_is_none_is_refused(tmp_path: Path) -> None:
    for content, expected in {
        b"": "no words in it",
        b"\xff": "0xff",
        "a\n".encode("utf-16"): "0xff",
        b"a\n\0\n": "line 2: .*0x00",
        b"a b\n": "expected one word a line",
        b"a\n" + b"x " * 100_000: "line 2: '.{60}', expected one word",
    }.items():
        path = write(tmp_path / "words.txt", content)
        refused(lambda path=path: lexicon.from_file(path), expected)
    for place, expected in {"/dev/zero": "a device", str(tmp_path): "a folder"}.items():
        with pytest.raises(
            UserError, match=f"--lexicon {place}: expected a file, found {expected}"
        ):
            lexicon.from_file(Path(place))
