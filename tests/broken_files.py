"""Files as they should not be: cut short, full of what does not belong there, claiming too much."""

import contextlib
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import settings
from hypothesis import strategies as st

from common.errors import UserError

FUZZ = settings(derandomize=True, max_examples=40, deadline=None, database=None)
"""The same few examples every time."""


def refused(read: Callable[[], object], expected: str | None = None) -> str:
    """The one line that a reader refuses with."""
    with pytest.raises(UserError, match=expected) as error:
        read()
    message = str(error.value)
    assert message
    assert len(message.splitlines()) == 1, message
    return message


def read_or_refused(read: Callable[[], object]) -> None:
    """Whatever the bytes: an answer, or one line; any other exception fails the test."""
    with contextlib.suppress(UserError):
        read()


@st.composite
def damages(draw: st.DrawFn, whole: bytes) -> bytes:
    """A file that was cut, overwritten in places, or had something put into it."""
    found = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(found) - 1)))
        strange = draw(
            st.sampled_from([b"\0", b"\xff" * 4, b"nan", b"-1e999", b'"', b"\n", b"{[", b"\x80"])
            | st.binary(max_size=8)
        )
        kind = draw(st.sampled_from(["cut", "over", "into", "out"]))
        if kind == "cut":
            del found[place:]
        elif kind == "over":
            found[place : place + len(strange)] = strange
        elif kind == "into":
            found[place:place] = strange
        else:
            del found[place : place + draw(st.integers(1, 50))]
    return bytes(found)


# MIDI

END = b"\0\xff\x2f\0"
NOTE = b"\0\x90\x3c\x40" + b"\x60\x80\x3c\x40"


def midi(*tracks: bytes, count: int | None = None, length: int | None = None) -> bytes:
    """Tracks as a MIDI file, which may claim to have more of them, or longer ones."""
    head = struct.pack(">IHHH", 6, 1, len(tracks) if count is None else count, 480)
    parts = [b"MThd" + head]
    for track in tracks:
        parts.append(b"MTrk" + struct.pack(">I", len(track) if length is None else length) + track)
    return b"".join(parts)


# MusicXML


def score(notes: int = 4, *, head: str = "", name: str = "a", duration: object = 1) -> str:
    note = (
        f"<note><pitch><step>C</step><octave>4</octave></pitch><duration>{duration}</duration>"
        f"<type>quarter</type></note>"
    )
    return (
        f'<?xml version="1.0"?>{head}<score-partwise version="3.1"><part-list><score-part id="P1">'
        f'<part-name>{name}</part-name></score-part></part-list><part id="P1"><measure number="1">'
        f"<attributes><divisions>1</divisions><time><beats>4</beats><beat-type>4</beat-type></time>"
        f"</attributes>{note * notes}</measure></part></score-partwise>"
    )


LAUGHS = (
    "<!DOCTYPE x [<!ENTITY a0 'ha'>"
    + "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 12))
    + "]>"
)
OUTSIDE = "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/hostname'>]>"


def zipped(members: Iterable[tuple[str, str | bytes]]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def container(path: str) -> tuple[str, str]:
    return (
        "META-INF/container.xml",
        f'<container><rootfiles><rootfile full-path="{path}"/></rootfiles></container>',
    )


def claiming(archive: bytes, size: int) -> bytes:
    """A zip file of one member that says it is `size` bytes long."""
    found = bytearray(archive)
    directory = found.rindex(b"PK\1\2")
    found[22:26] = found[directory + 24 : directory + 28] = struct.pack("<I", size)
    return bytes(found)


# MATLAB 5


def mat(*elements: bytes) -> bytes:
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<HH", 0x0100, 0x4D49)
    return head + b"".join(elements)


def array(name: str, shape: tuple[int, int], kind: int, claimed: int, stored: int = 9) -> bytes:
    """An array of that class and shape that claims so many bytes of values, and has none."""

    def element(code: int, content: bytes) -> bytes:
        head = struct.pack("<II", code, len(content))
        return head + content + b"\0" * (-len(content) % 8)

    body = element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack("<2i", *shape))
    body += element(1, name.encode()) + struct.pack("<II", stored, claimed)
    return struct.pack("<II", 14, len(body)) + body


def compressed(zeros: int) -> bytes:
    content = zlib.compress(struct.pack("<II", 14, 2**32 - 8) + bytes(zeros), 9)
    return struct.pack("<II", 15, len(content)) + content


# Sound


def sound(kind: str = "WAV", seconds: float = 0.5, rate: int = 16_000, **options: str) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).normal(size=round(seconds * rate)) / 10
    soundfile.write(file, noise, rate, format=kind, **options)
    return file.getvalue()


def overwritten(content: bytes, *patches: tuple[int, bytes]) -> bytes:
    found = bytearray(content)
    for place, patch in patches:
        found[place : place + len(patch)] = patch
    return bytes(found)


FOUR_GB = (4, b"\xff" * 4), (40, b"\xff" * 4)
"""What a WAV header's two lengths become."""
WAV_4_GB = overwritten(sound(), *FOUR_GB)


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
