"""Scores and MIDI files as pieces on a grid. Imports no TensorFlow.

What can't stand on the grid is refused: no notes, drums alone, notes outside the 88 keys, bars
that are no whole number of frames, metres that change.
"""

import warnings
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from apps.music.pieces import KEYS, LONGEST_BAR, LOWEST, Note, Piece, frames_of
from common.errors import UserError

MIDI = (".mid", ".midi")
XML = (".musicxml", ".mxl", ".xml")
LONGEST = 20_000
"""Frames; 20 minutes of sixteenth notes at a quarter note of 60 a minute are 4,800."""


def read(path: Path, resolution: int) -> Piece:
    """A MIDI or MusicXML file as a piece of `resolution` frames a quarter note.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    reader: Callable[[Path, int], Piece] = _midi if path.suffix.lower() in MIDI else _musicxml
    try:
        return reader(path, resolution)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _midi(path: Path, resolution: int) -> Piece:
    import pretty_midi

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tempo changes on other tracks are read all the same
            song = pretty_midi.PrettyMIDI(str(path))
    except Exception as error:  # the parser fails in as many ways as files can be broken
        raise UserError(f"can't be read as MIDI: {_said(error)}") from None
    played = [track for track in song.instruments if not track.is_drum]
    if song.instruments and not played:
        raise UserError("drums alone: expected at least one pitched track")

    def quarters(seconds: float) -> Fraction:
        return Fraction(song.time_to_tick(seconds), song.resolution)

    events = [
        (quarters(note.start), quarters(note.end), note.pitch)
        for track in played
        for note in track.notes
    ]
    metres = [(m.numerator, m.denominator) for m in song.time_signature_changes]
    bar = _bar([Fraction(4 * n, d) for n, d in metres], resolution)
    return _piece(path.stem, events, resolution, bar, Fraction(0))


def _musicxml(path: Path, resolution: int) -> Piece:
    from music21 import converter

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            score = converter.parse(path, forceSource=True)
    except Exception as error:  # as above
        raise UserError(f"can't be read as MusicXML: {_said(error)}") from None
    return of_score(score, path.stem, resolution)


def _said(error: Exception) -> str:
    """What kind of error it is and, if it says more, that."""
    return ": ".join(part for part in (type(error).__name__, str(error)) if part)


def of_score(score: Any, name: str, resolution: int) -> Piece:
    """A music21 score as a piece.

    Raises:
        UserError: for what can't stand on the grid.
    """
    flat = score.flatten()
    metres = [m.barDuration.quarterLength for m in flat.getElementsByClass("TimeSignature")]
    bar = _bar([Fraction(metre) for metre in metres], resolution)
    events = []
    for part in score.parts or [score]:
        for element in part.stripTies().flatten().notes:
            if element.duration.isGrace or not element.quarterLength:
                continue
            begin = Fraction(element.offset)
            pitches = [pitch.midi for pitch in getattr(element, "pitches", ())]
            events += [(begin, begin + Fraction(element.quarterLength), p) for p in pitches]
    return _piece(name, events, resolution, bar, _upbeat(score))


def _upbeat(score: Any) -> Fraction:
    """Quarter notes that the first bar lacks at its beginning."""
    from music21 import stream

    for measure in score.recurse().getElementsByClass(stream.Measure):
        whole, filled = measure.barDuration.quarterLength, measure.duration.quarterLength
        return Fraction(whole - filled) if 0 < filled < whole else Fraction(0)
    return Fraction(0)


def _bar(metres: Sequence[Fraction], resolution: int) -> int:
    """Frames in a bar, from the bars' lengths in quarter notes; 0 where there are none."""
    frames = {metre * resolution for metre in metres}
    if not frames:
        return 0
    if len(frames) > 1:
        shown = ", ".join(str(float(f / resolution)) for f in sorted(frames))
        raise UserError(f"unsupported metre: bars of {shown} quarter notes: expected one length")
    (bar,) = frames
    if bar.denominator != 1 or not 0 < bar <= LONGEST_BAR:
        raise UserError(
            f"unsupported metre: a bar of {float(bar / resolution):g} quarter notes: expected a "
            f"whole number of 1/{resolution} notes, {LONGEST_BAR} at most"
        )
    return int(bar)


def _piece(
    name: str,
    events: Sequence[tuple[Fraction, Fraction, int]],
    resolution: int,
    bar: int,
    upbeat: Fraction,
) -> Piece:
    if not events:
        raise UserError("no notes in it")
    outside = [pitch for *_, pitch in events if not LOWEST <= pitch < LOWEST + KEYS]
    if outside:
        raise UserError(
            f"MIDI note {outside[0]} is outside the 88 keys ({LOWEST} to {LOWEST + KEYS - 1})"
        )
    notes = []
    for begin, end, pitch in events:
        first = round(begin * resolution)
        notes.append(Note(first, max(first + 1, round(end * resolution)), pitch - LOWEST))
    start = min(note.begin for note in notes)  # silence ahead of the first note says nothing
    length = max(note.end for note in notes) - start
    if length > LONGEST:
        raise UserError(f"{length:,} frames long: expected at most {LONGEST:,}")
    shifted = [Note(begin - start, end - start, key) for begin, end, key in notes]
    offset = (round(upbeat * resolution) + start) % bar if bar else 0
    return Piece(name, frames_of(shifted, length), bar, offset)
