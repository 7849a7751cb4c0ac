"""Pieces as files to hear and to read: MIDI, MusicXML and WAV. Imports no TensorFlow."""

from pathlib import Path
from typing import Any

import numpy as np

from apps.music.pieces import LOWEST, Note, Piece, notes_of
from common import runs

RATE = 22_050
VELOCITY = 80
TEMPO = 80.0
ORGAN = "Church Organ"
PARTIALS = (1.0, 0.5, 0.25, 0.12, 0.06)
"""Loudness of the harmonics of the sound."""
EDGE = 0.012
"""Seconds over which a note begins and ends, not to click."""


def midi(piece: Piece, resolution: int, articulated: bool, tempo: float) -> Any:
    """A ``pretty_midi.PrettyMIDI`` of one track.

    Args:
        resolution: frames in a quarter note.
        tempo: quarter notes a minute.
    """
    import pretty_midi

    song = pretty_midi.PrettyMIDI(initial_tempo=tempo)
    if piece.bar:
        numerator, denominator = metre(piece.bar, resolution)
        song.time_signature_changes.append(pretty_midi.TimeSignature(numerator, denominator, 0))
    program = pretty_midi.instrument_name_to_program(ORGAN)
    track = pretty_midi.Instrument(program, name=piece.name)
    frame = 60 / tempo / resolution
    for begin, end, key in notes_of(piece.frames, articulated):
        track.notes.append(pretty_midi.Note(VELOCITY, key + LOWEST, begin * frame, end * frame))
    song.instruments.append(track)
    return song


def metre(bar: int, resolution: int) -> tuple[int, int]:
    """The time signature of a bar of so many frames, in quarter notes if it has whole ones."""
    denominator = 4
    while bar * denominator % (4 * resolution):
        denominator *= 2
    return bar * denominator // (4 * resolution), denominator


def sound(piece: Piece, resolution: int, articulated: bool, tempo: float) -> np.ndarray:
    """Samples ``[n]`` from -1 to 1, ``RATE`` a second: each note a sum of harmonics that fades
    slowly."""
    frame = 60 / tempo / resolution
    total = int((len(piece) * frame + 0.5) * RATE)
    mixed = np.zeros(total)
    for begin, end, key in notes_of(piece.frames, articulated):
        first, last = int(begin * frame * RATE), int(end * frame * RATE)
        t = np.arange(last - first) / RATE
        pitch = 440 * 2 ** ((key + LOWEST - 69) / 12)
        audible = [(n, a) for n, a in enumerate(PARTIALS, 1) if n * pitch < RATE / 2]
        wave = sum(a * np.sin(2 * np.pi * n * pitch * t) for n, a in audible)
        edge = np.minimum(1, np.minimum(t, t[-1] - t) / EDGE)
        mixed[first:last] += wave * edge * np.exp(-0.6 * t)
    return (mixed / max(1.0, np.abs(mixed).max() / 0.9)).astype(np.float32)


def score(piece: Piece, resolution: int, articulated: bool, tempo: float) -> Any:
    """A music21 score of as many parts as notes sound together at most, the highest first.

    A note goes to the part of its rank when it begins, or the next free one below, so that the
    parts of a chorale are its voices unless they cross.
    """
    from music21 import metadata, meter, note, stream
    from music21 import tempo as marks

    parts = voices(piece, articulated)
    whole = stream.Score()
    whole.metadata = metadata.Metadata(title=piece.name)
    for number, line in enumerate(parts):
        part = stream.Part(id=f"voice {number + 1}")
        if not number:
            part.insert(0, marks.MetronomeMark(number=tempo))
        if piece.bar:
            numerator, denominator = metre(piece.bar, resolution)
            part.insert(0, meter.TimeSignature(f"{numerator}/{denominator}"))
        lead = piece.offset / resolution  # rests fill the first bar up to the upbeat
        for begin, end, key in line:
            written = note.Note(key + LOWEST, quarterLength=(end - begin) / resolution)
            part.insert(lead + begin / resolution, written)
        whole.insert(0, part)
    return whole


def voices(piece: Piece, articulated: bool) -> list[list[Note]]:
    """The notes in lines of one note at a time, the highest line first."""
    notes = notes_of(piece.frames, articulated)
    count = int(piece.sounding.sum(axis=1).max()) if notes else 1
    free = [0] * count
    lines: list[list[Note]] = [[] for _ in range(count)]
    for note in notes:
        above = sum(other.key > note.key for other in notes if _overlap(note, other))
        below = sum(other.key < note.key for other in notes if _overlap(note, other))
        ready = [line for line in range(count) if free[line] <= note.begin]
        wanted = above if above + below + 1 <= count else min(above, count - 1)
        line = min(ready, key=lambda each: abs(each - wanted))
        lines[line].append(note)
        free[line] = note.end
    return lines


def _overlap(note: Note, other: Note) -> bool:
    """Whether the other sounds when the note begins."""
    return other.begin <= note.begin < other.end and other != note


def write(piece: Piece, path: Path, resolution: int, articulated: bool, tempo: float) -> None:
    """Writes `path` (MIDI) and, beside it, .musicxml and .wav."""
    from scipy.io import wavfile

    song = midi(piece, resolution, articulated, tempo)
    runs.write_whole(path, lambda neighbour: song.write(str(neighbour)))
    written = score(piece, resolution, articulated, tempo)
    runs.write_whole(
        path.with_suffix(".musicxml"), lambda neighbour: _write_xml(written, neighbour)
    )
    samples = (sound(piece, resolution, articulated, tempo) * 32767).astype(np.int16)
    runs.write_whole(
        path.with_suffix(".wav"), lambda neighbour: wavfile.write(neighbour, RATE, samples)
    )


def _write_xml(score: Any, path: Path) -> None:
    from music21.musicxml.m21ToXml import GeneralObjectExporter

    path.write_bytes(GeneralObjectExporter(score).parse())
