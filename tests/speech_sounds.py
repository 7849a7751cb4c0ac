"""Sounds with transcripts to read in: made of tones, in files as a person would have them."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile


def tones(seconds: float, rate: int = 16_000, frequency: float = 440.0) -> np.ndarray:
    """``[n]`` float: a tone that swells, so that beginning and end differ."""
    time = np.arange(round(seconds * rate)) / rate
    return 0.5 * np.sin(2 * np.pi * frequency * time) * (0.2 + 0.8 * time / seconds)


def manifest(folder: Path, rows: Sequence[Mapping[str, str]], name: str = "manifest.csv") -> Path:
    """Writes a CSV with the columns of the first row."""
    path = folder / name
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def word(number: int) -> str:
    """Another one for each number, all of the same two letters."""
    return f"{number:05b}".replace("0", "a").replace("1", "b")


def recordings(folder: Path, count: int, text: str = "say {}") -> list[dict[str, str]]:
    """So many sound files of one second and a bit each, and the rows that name them."""
    rows = []
    for number in range(count):
        name = f"{number}.wav"
        soundfile.write(folder / name, tones(1 + number / 10, frequency=200 + 50 * number), 16_000)
        rows.append({"path": name, "text": text.format(word(number))})
    return rows
