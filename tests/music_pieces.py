"""Toy pieces, and one small real training on them that several test files look at."""

from pathlib import Path

import numpy as np

from apps.music.pieces import KEYS, Note, Piece, frames_of
from tests.commands import Answer, trained
from tests.once import folder, shared

TRAIN, PREDICT, EVALUATE = (f"apps.music.{name}" for name in ("train", "predict", "evaluate"))
SMALL: list[object] = ["--units", 8, "--density-units", 8, "--epochs", 2, "--batch-size", 4]
_FOLDER = folder("music")


def roll(random: np.random.Generator, time: int, most: int = 3) -> np.ndarray:
    """Random frames ``[time, 88]`` of 0 and 1."""
    frames = np.zeros((time, KEYS), np.uint8)
    for row in frames:
        row[random.choice(np.arange(20, 60), random.integers(0, most + 1), replace=False)] = 1
    return frames


def tune(random: np.random.Generator, notes: int = 30, key: int = 40) -> Piece:
    """A random melody of held and repeated notes over a bass, in bars of 8."""
    moves = key + np.clip(random.integers(-3, 4, notes).cumsum(), -12, 12)
    ends = random.integers(1, 4, notes).cumsum()
    begins = [0, *ends[:-1].tolist()]
    line = [Note(b, int(e), int(k)) for b, e, k in zip(begins, ends, moves, strict=True)]
    bass = [Note(b, b + 4, 20) for b in range(0, int(ends[-1]) - 4, 4)]
    return Piece(f"tune {key}", frames_of([*line, *bass], int(ends[-1])), 8, 4)


def lines(count: int, seed: int, top: int = 50) -> Piece:
    """So many voices of quarter and eighth notes, each lower than the one above, in bars of 16."""
    random = np.random.default_rng(seed)
    notes = []
    for voice in range(count):
        begin = 0
        while begin < 32:
            end = min(32, begin + int(random.choice([2, 4, 8])))
            notes.append(Note(begin, end, int(top - 6 * voice + random.integers(-2, 3))))
            begin = end
    return Piece(f"lines {seed}", frames_of(notes, 32), 16)


def write_rolls(path: Path, counts: tuple[int, int, int] = (6, 3, 3)) -> Path:
    """A benchmark file (.npz) of random pieces."""
    random = np.random.default_rng(0)
    arrays = {
        f"{part}_{number}": roll(random, int(random.integers(5, 15)))
        for part, count in zip(("train", "valid", "test"), counts, strict=True)
        for number in range(count)
    }
    np.savez(path, allow_pickle=False, **arrays)
    return path


def write_midi(piece: Piece, path: Path, tempo: float = 97.0) -> Path:
    from apps.music import render

    render.midi(piece, 4, True, tempo).write(str(path))
    return path


def train(data: Path, run_dir: Path, *words: object) -> Answer:
    return trained(TRAIN, data, run_dir, *SMALL, *words)


@shared
def small_data() -> Path:
    """A folder of MIDI files."""
    tunes = _FOLDER / "tunes"
    tunes.mkdir()
    random = np.random.default_rng(1)
    for number in range(4):
        write_midi(tune(random, key=38 + number), tunes / f"{number}.mid")
    return tunes


@shared
def small_run() -> tuple[Path, Answer]:
    """The folder of a small real run, and what its training said."""
    run = _FOLDER / "run"
    return run, train(small_data(), run)


@shared
def part_run(count: int) -> tuple[Path, Answer]:
    """The same of pieces in so many parts."""
    parts = _FOLDER / f"parts_{count}"
    parts.mkdir()
    for number in range(6):
        write_midi(lines(count, number), parts / f"{number}.mid")
    run = _FOLDER / f"run_{count}"
    return run, train(parts, run)
