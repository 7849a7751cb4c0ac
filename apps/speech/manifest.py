"""Recordings of one's own: a manifest of files and transcripts, or a folder in LJSpeech's form."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from apps.speech.config import DataConfig
from apps.speech.intake import Intake, worded
from apps.speech.utterances import RATE, Utterance, int16
from common import files
from common.data import SPLIT_NAMES, column, read_table
from common.errors import UserError

LJSPEECH = "metadata.csv"
LONGEST_LINE = 100_000  # bytes of its transcripts
LONGEST = 3600  # seconds of one recording
PIECE = 2**16  # samples of a channel that are read at a time
RATES = 1_000, 768_000  # samples in a second
MOST_CHANNELS = 64


@dataclass(frozen=True)
class Row:
    """A line of a manifest."""

    where: str
    """File and row, for messages."""
    path: Path
    folder: Path
    """That the path must not lead out of, unless ``--outside`` says that it may."""
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
        rows.append(Row(where, path.parent / name, path.parent, text, speaker, split))
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
    rows = []
    for number, line in files.lines(listing, LONGEST_LINE):
        if not line:
            continue
        cells = line.split("|")
        if len(cells) not in (2, 3):
            raise UserError(
                f"{listing}: line {number}: {len(cells)} cells, expected id|transcript or "
                f"id|transcript|normalised transcript"
            )
        sound = _sound(folder / "wavs", cells[0])
        rows.append(Row(f"{listing}: line {number}", sound, folder, cells[-1]))
    if not rows:
        raise UserError(f"{listing}: the file is empty")
    return rows


def _sound(folder: Path, name: str) -> Path:
    """The file of that id, of whatever kind it is."""
    kinds = (".wav", ".flac", ".ogg")
    found = (folder / f"{name}{kind}" for kind in kinds)
    return next((path for path in found if os.path.isfile(path)), folder / f"{name}.wav")


def read_row(row: Row, config: DataConfig, intake: Intake) -> Utterance | None:
    """The recording of a row; None if it was left out.

    Raises:
        UserError: if it is not in the manifest's folder; and as ``Intake.leave_out``.
    """
    where = f"{row.where}: {row.path}"
    if not config.outside and not files.inside(row.path, row.folder):
        raise UserError(
            f"{where}: it leads out of the folder {row.folder}; --outside takes recordings from "
            f"anywhere"
        )
    try:
        samples = read_sound(row.path)
    except UserError as error:
        intake.leave_out(row.where, str(error))
        return None
    return Utterance(where, samples, worded(row.text, config), row.speaker)


def read_sound(path: Path) -> np.ndarray:
    """A sound file (WAV, FLAC, OGG) of any rate; channels are averaged. ``[n]`` int16 at ``RATE``.

    It is read and resampled piece by piece: what a header claims takes no memory, 230 MB an hour
    of sound do.

    Raises:
        UserError: if it is missing, is no sound, lasts more than ``LONGEST``, has samples that are
            no numbers, or more channels or another rate than sound has.
    """
    files.check(path)
    try:
        with soundfile.SoundFile(path) as file:
            _check_form(file, path)
            parts = list(_parts(file, path))
    except (soundfile.LibsndfileError, OSError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).rpartition(": ")[2].strip() or "not a sound file"
        raise UserError(f"{path}: can't be read as WAV, FLAC or OGG: {reason}") from None
    return np.concatenate(parts) if parts else np.zeros(0, np.int16)


def _check_form(file: soundfile.SoundFile, path: Path) -> None:
    lowest, highest = RATES
    if not lowest <= file.samplerate <= highest:
        raise UserError(
            f"{path}: can't be read: {file.samplerate:,} samples a second, expected {lowest:,} to "
            f"{highest:,}"
        )
    if file.channels > MOST_CHANNELS:
        raise UserError(
            f"{path}: can't be read: {file.channels} channels, expected at most {MOST_CHANNELS}"
        )


def _parts(file: soundfile.SoundFile, path: Path) -> Iterator[np.ndarray]:
    """One piece ``[n]`` int16 at ``RATE`` after the other."""
    rate, read = file.samplerate, 0
    resampler = soxr.ResampleStream(rate, RATE, 1, dtype="float32") if rate != RATE else None
    ended = False
    while not ended:
        samples = file.read(PIECE, dtype="float32", always_2d=True)
        ended, read = len(samples) < PIECE, read + len(samples)
        if not np.isfinite(samples).all():
            raise UserError(f"{path}: can't be read: samples that are no numbers")
        if read > LONGEST * rate:
            raise UserError(f"{path}: can't be read: it lasts more than {LONGEST} s")
        mono = samples.mean(axis=1)
        yield int16(resampler.resample_chunk(mono, last=ended) if resampler else mono)
