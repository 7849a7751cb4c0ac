"""The packaged scores of music21, and folders of one's own, parsed by several processes.
Imports no TensorFlow, so that these start at once."""

import importlib.util
import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from apps.music import scores
from apps.music.pieces import STRUCK, Piece
from common import files
from common.errors import UserError

RESOLUTION = 4
"""Frames in a quarter note of the packaged corpora."""
VOICES = ("soprano", "alto", "tenor", "bass")
SHORTEST = 8
"""Notes in a tune that can teach anything."""
SHOWN = 5

Found = tuple[list[Piece], list[str]]
"""Pieces, and why others are none."""


def chorales() -> Found:
    """Bach's chorales: every score of his in the package that has just four voices."""
    return _parsed(_folder() / "bach", "bwv*.mxl", _chorale)


def folk() -> Found:
    """The melodies of the Essen folk song collection."""
    # Its files test0, test1 ... are the package's own tests.
    return _parsed(_folder() / "essenFolksong", "[!t]*.abc", _songbook)


def own(folder: Path, resolution: int, *, strict: bool) -> list[Piece]:
    """Every MIDI and MusicXML file below `folder`; those that can't be used are named, and
    refused if `strict`.

    Raises:
        UserError: where there is none to read, or none is left.
    """
    suffixes = (*scores.MIDI, *scores.XML)
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in suffixes)
    paths = [p for p in found if p.is_file() and files.inside(p, folder)]
    outside = [p for p in found if not files.inside(p, folder)]
    if not paths and not outside:
        raise UserError(f"{folder}: no files in it that end in {', '.join(suffixes)}")
    pieces, refused = _in_parallel(paths, partial(_own, resolution=resolution))
    refused += [f"{p}: a link that leads out of the folder: expected a copy" for p in outside]
    if refused and (strict or not pieces):
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        raise UserError(f"{refused[0]}{more}")
    tell(refused)
    return pieces


def tell(refused: Sequence[str]) -> None:
    """Names on stderr what was left out: a few of each reason."""
    reasons = Counter(line.rpartition(": ")[2] for line in refused)
    for line in refused[:SHOWN]:
        print(f"skipped: {line}", file=sys.stderr)
    if len(refused) > SHOWN:
        shown = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(SHOWN))
        print(f"skipped {len(refused)} pieces in all: {shown}", file=sys.stderr)


def _folder() -> Path:
    package = importlib.util.find_spec("music21")
    if package is None or not package.submodule_search_locations:
        raise UserError("the package music21 is missing: pip install music21")
    return Path(package.submodule_search_locations[0]) / "corpus"


def _parsed(folder: Path, pattern: str, parse: Callable[[Path], Found]) -> Found:
    paths = sorted(folder.glob(pattern))
    if not paths:
        raise UserError(f"{folder}: no files {pattern}: expected the corpus of music21")
    return _in_parallel(paths, parse)


def _in_parallel(paths: Sequence[Path], parse: Callable[[Path], Found]) -> Found:
    """What `parse` finds in each file, in the order of `paths`."""
    pieces: list[Piece] = []
    refused: list[str] = []
    # Not forked: TensorFlow's threads would not survive it.
    context = multiprocessing.get_context("spawn")
    workers = min(os.cpu_count() or 1, -(-len(paths) // 4))
    largest_first = sorted(range(len(paths)), key=lambda i: -paths[i].stat().st_size)
    ordered = [paths[i] for i in largest_first]
    if workers <= 1:
        results = list(_shown(map(parse, ordered), len(paths)))
    else:
        try:
            with ProcessPoolExecutor(workers, mp_context=context) as pool:
                results = list(_shown(pool.map(parse, ordered), len(paths)))
        except BrokenProcessPool:
            raise UserError(
                f"{paths[0].parent}: one of its files ended the process that read it"
            ) from None
    found = dict(zip(largest_first, results, strict=True))
    for number in range(len(paths)):
        pieces += found[number][0]
        refused += found[number][1]
    return pieces, refused


def _shown(results: Any, count: int) -> Any:
    return tqdm(results, total=count, desc="parse", unit="file", disable=None)


def _own(path: Path, resolution: int) -> Found:
    try:
        return [scores.read(path, resolution)], []
    except UserError as error:
        return [], [str(error)]


def _chorale(path: Path) -> Found:
    from music21 import converter, stream

    score = converter.parse(path, forceSource=True)
    sung = [part for part in score.parts if str(part.partName).lower() in VOICES]
    parts = sung if len(sung) == len(VOICES) else list(score.parts)
    if len(parts) != len(VOICES):
        return [], [f"{path.name}: {len(parts)} parts, expected four voices"]
    try:
        return [scores.of_score(stream.Score(parts), path.stem, RESOLUTION)], []
    except UserError as error:
        return [], [f"{path.name}: {error}"]


def _songbook(path: Path) -> Found:
    from music21 import converter

    book = converter.parse(path, forceSource=True)
    pieces, refused = [], []
    for number, song in enumerate(getattr(book, "scores", None) or [book], 1):
        name = f"{path.stem} {number}"
        try:
            piece = scores.of_score(song, name, RESOLUTION)
            if (piece.sounding.sum(axis=1) > 1).any():
                raise UserError("several notes at once, expected a melody")
            if np.count_nonzero(piece.frames == STRUCK) < SHORTEST:
                raise UserError(f"fewer than {SHORTEST} notes")
            pieces.append(piece)
        except UserError as error:
            refused.append(f"{name}: {error}")
    return pieces, refused
