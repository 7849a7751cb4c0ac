"""Sections of a report as they are kept with the run and put into its page: pictures and sounds
become data URIs, so that the page is one file. Imports no TensorFlow.

``report.json`` keeps what only the training could make, so that the page can be written anew
(``python -m common.report RUN``) when the training is over.
"""

import base64
import io
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from common import files
from common.errors import UserError
from common.page import Block, Commands, Section, Sound, Table, Text

MOST_BYTES = 2**24
"""Of a picture: ours have less than one million."""
PNG = b"\x89PNG\r\n\x1a\n"
MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""Samples a second that the format has. Every browser plays it."""
RUN = re.compile(r"\{run((?:/[\w./-]*)?)\}")
"""The run's folder, or a path in it, in a command that is kept."""
SOUND = re.compile(r"data:audio/(mpeg|flac);base64,[A-Za-z0-9+/]*={0,2}")


@dataclass(frozen=True)
class Kept:
    """A block as JSON can hold it.

    Args:
        kind: which of ``common.page`` it is.
        text: the paragraph, the caption, or what a picture shows.
        header, rows: of a table.
        lines: of commands, the run's folder in them as ``RUN``.
        source: of a picture its path below the run's folder, or, as of sounds, a data URI.
    """

    kind: Literal["text", "table", "picture", "sound", "commands"]
    text: str = ""
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    lines: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True)
class KeptSection:
    """A section of such blocks."""

    title: str
    blocks: tuple[Kept, ...] = ()


@dataclass(frozen=True)
class KeptReport:
    """What report.json holds."""

    sections: tuple[KeptSection, ...] = ()


def kept(sections: Sequence[Section], folder: Path) -> KeptReport:
    """What the sections of a run in `folder` are kept as.

    Raises:
        UserError: for a picture that is no PNG file.
    """
    return KeptReport(
        tuple(
            KeptSection(section.title, tuple(_kept(block, folder) for block in section.blocks))
            for section in sections
        )
    )


def _kept(block: Block, folder: Path) -> Kept:
    if isinstance(block, Text):
        return Kept("text", block.text)
    if isinstance(block, Table):
        rows = tuple(tuple(map(str, row)) for row in block.rows)
        return Kept("table", block.caption, tuple(map(str, block.header)), rows)
    if isinstance(block, Commands):
        return Kept("commands", lines=tuple(_anywhere(line, folder) for line in block.lines))
    if isinstance(block, Sound):
        return Kept("sound", block.caption, source=sound_uri(block))
    if files.inside(block.path, folder):
        return Kept("picture", block.alt, source=os.path.relpath(block.path, folder))
    return Kept("picture", block.alt, source=picture_uri(block.path))


def _anywhere(line: str, folder: Path) -> str:
    """A command with `folder`, and paths in it, as ``{run}``: a run may be moved."""
    there = rf"(?<![^\s=])('?){re.escape(str(folder))}((?:/[\w./-]*)?)\1(?!\S)"
    return re.sub(there, r"{run\2}", line)


def _here(line: str, folder: Path) -> str:
    return RUN.sub(lambda found: shlex.quote(f"{folder}{found[1]}"), line)


def embedded(section: KeptSection, folder: Path) -> KeptSection:
    """The same with its pictures read; what is not there any more says so.

    Raises:
        UserError: for a sound that is none.
    """
    return replace(section, blocks=tuple(_embedded(block, folder) for block in section.blocks))


def _embedded(block: Kept, folder: Path) -> Kept:
    if block.kind == "commands":
        return replace(block, lines=tuple(_here(line, folder) for line in block.lines))
    if block.kind == "sound" and not SOUND.fullmatch(block.source):
        raise UserError(f"{folder / 'report.json'}: {block.text!r}: expected a sound as data URI")
    if block.kind != "picture" or block.source.startswith("data:"):
        return block
    try:
        if not files.inside(folder / block.source, folder):
            raise UserError(f"{block.source}: leads out of the run's folder")
        return replace(block, source=picture_uri(folder / block.source))
    except UserError as error:
        return Kept("text", f"A picture that can't be shown: {error}")


def picture_uri(path: Path) -> str:
    """A PNG file as data URI.

    Raises:
        UserError: if it is missing, too large, or something else.
    """
    files.check(path, MOST_BYTES)
    content = path.read_bytes()
    if not content.startswith(PNG):
        raise UserError(f"{path}: expected a PNG picture")
    return _uri("image/png", content)


def sound_uri(sound: Sound) -> str:
    """A sound as data URI: MP3, or FLAC at rates that MP3 does not have."""
    samples = np.clip(np.nan_to_num(np.asarray(sound.samples, np.float32)), -1, 1)
    kind = "MP3" if sound.rate in MP3_RATES else "FLAC"
    file = io.BytesIO()
    soundfile.write(file, samples, sound.rate, format=kind)
    return _uri("audio/mpeg" if kind == "MP3" else "audio/flac", file.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
