"""Recordings of one's own: a manifest of files and transcripts, or a folder in LJSpeech's form."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from apps.speech.config import DataConfig
from apps.speech.intake import Intake, worded
from apps.speech.utterances import RATE, Utterance, int16
from common.data import SPLIT_NAMES, column, read_table
from common.errors import UserError

LJSPEECH = "metadata.csv"


@dataclass(frozen=True)
class Row:
    """A line of a manifest."""

    where: str
    """File and row, for messages."""
    path: Path
    text: str
    speaker: str = ""
    split: str = ""


def read_splits(path: Path, config: DataConfig, intake: Intake) -> dict[str, list[Utterance]]:
    """The recordings of `path` in the splits that it names; all in train, where it names none.

    Raises:
        UserError: naming file and row, for what can't be used; a recording that can't be read is
            left out, unless ``--strict`` says otherwise.
    """
    rows = rows_of(path, config)
    splits: dict[str, list[Utterance]] = {row.split or "train": [] for row in rows}
    for row in _watched(rows):
        utterance = read_row(row, config, intake)
        if utterance is not None:
            splits[row.split or "train"].append(utterance)
    return splits


def read(path: Path, config: DataConfig, intake: Intake) -> list[Utterance]:
    """All recordings of `path`, whatever their split.

    Raises:
        UserError: as ``read_splits``.
    """
    found = [read_row(row, config, intake) for row in _watched(rows_of(path, config))]
    return [utterance for utterance in found if utterance is not None]


def _watched(rows: Sequence[Row]) -> tqdm:
    return tqdm(rows, desc="reading", unit="file", disable=None, leave=False)


def rows_of(path: Path, config: DataConfig) -> list[Row]:
    """What a manifest, or an LJSpeech folder, says.

    Raises:
        UserError: naming file and row, for what is neither.
    """
    if path.is_dir():
        return _ljspeech(path)
    table = read_table(path)
    paths = column(table, config.path_column, path, "--path-column")
    texts = column(table, config.text_column, path, "--text-column")
    none = [""] * len(paths)
    speakers = (
        table[config.speaker_column].tolist() if config.speaker_column in table.columns else none
    )
    splits = table[config.split_column].tolist() if config.split_column in table.columns else none
    rows = []
    for number, (name, text, speaker, split) in enumerate(
        zip(paths, texts, speakers, splits, strict=True), 1
    ):
        where = f"{path}: row {number}"
        if not name:
            raise UserError(f"{where}: {config.path_column} is empty")
        if any(splits) and split.lower() not in SPLIT_NAMES:
            raise UserError(
                f"{where}: {config.split_column} is {split!r}, expected train, validation or test"
            )
        split = SPLIT_NAMES[split.lower()] if any(splits) else ""
        rows.append(Row(where, path.parent / name, text, speaker, split))
    _check_speakers(rows, path)
    return rows


def _check_speakers(rows: Sequence[Row], path: Path) -> None:
    """A speaker who is heard in training makes a test easier than it says."""
    split_of: dict[str, str] = {}
    for row in rows:
        if row.speaker and row.split and split_of.setdefault(row.speaker, row.split) != row.split:
            raise UserError(
                f"{row.where}: speaker {row.speaker!r} is in the {row.split} and the "
                f"{split_of[row.speaker]} split, expected one; leave the column out of {path.name} "
                f"or name others with --speaker-column"
            )


def _ljspeech(folder: Path) -> list[Row]:
    """``metadata.csv``: id|transcript|normalised transcript, and ``wavs/ID.wav``."""
    listing = folder / LJSPEECH
    if not listing.is_file():
        raise UserError(f"{folder}: no {LJSPEECH} in it, expected a folder in LJSpeech's form")
    try:
        lines = listing.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{listing}: expected UTF-8 text: {error}") from None
    rows = []
    for number, cells in enumerate(csv.reader(lines, delimiter="|", quoting=csv.QUOTE_NONE), 1):
        if not cells:
            continue
        if len(cells) not in (2, 3):
            raise UserError(
                f"{listing}: line {number}: {len(cells)} cells, expected id|transcript or "
                f"id|transcript|normalised transcript"
            )
        rows.append(Row(f"{listing}: line {number}", _sound(folder / "wavs", cells[0]), cells[-1]))
    if not rows:
        raise UserError(f"{listing}: the file is empty")
    return rows


def _sound(folder: Path, name: str) -> Path:
    """The file of that id, of whatever kind it is."""
    kinds = (".wav", ".flac", ".ogg")
    found = (folder / f"{name}{kind}" for kind in kinds)
    return next((path for path in found if path.is_file()), folder / f"{name}.wav")


def read_row(row: Row, config: DataConfig, intake: Intake) -> Utterance | None:
    """The recording of a row; None if it was left out."""
    where = f"{row.where}: {row.path}"
    try:
        samples = read_sound(row.path)
    except UserError as error:
        intake.leave_out(row.where, str(error))
        return None
    return Utterance(where, samples, worded(row.text, config), row.speaker)


def read_sound(path: Path) -> np.ndarray:
    """A sound file (WAV, FLAC, OGG) of any rate; channels are averaged. ``[n]`` int16 at ``RATE``.

    Raises:
        UserError: if it is missing, is no sound, or has samples that are no numbers.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        reason = str(error).rpartition(": ")[2].strip() or "not a sound file"
        raise UserError(f"{path}: can't be read as WAV, FLAC or OGG: {reason}") from None
    if not np.isfinite(samples).all():
        raise UserError(f"{path}: can't be read: samples that are no numbers")
    mono = samples.mean(axis=1)
    return int16(soxr.resample(mono, rate, RATE) if rate != RATE else mono)
