"""Scores and MIDI files as pieces on a grid. Imports no TensorFlow.

What can't stand on the grid is refused: no notes, drums alone, notes outside the 88 keys, bars
that are no whole number of frames, metres that change.
"""

import warnings
import zipfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from apps.music.pieces import KEYS, LONGEST_BAR, LOWEST, Note, Piece, frames_of
from common import files
from common.errors import UserError

MIDI = (".mid", ".midi")
XML = (".musicxml", ".mxl", ".xml")
MOST_BYTES = 2**24
"""Of a file, and of a compressed score when it is unpacked; a symphony has some 10 million."""
MOST_MIDI = 2**22
"""Of a MIDI file; a symphony has half a million."""
CONTAINER = "META-INF/container.xml"
DEEPEST = 100
"""Elements inside each other; MusicXML has 10."""
LONGEST = 20_000
"""Frames; 20 minutes of sixteenth notes at a quarter note of 60 a minute are 4,800."""


def read(path: Path, resolution: int) -> Piece:
    """A MIDI or MusicXML file as a piece of `resolution` frames a quarter note.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    reader: Callable[[Path, int], Piece] = _midi if path.suffix.lower() in MIDI else _musicxml
    files.check(path, MOST_MIDI if path.suffix.lower() in MIDI else MOST_BYTES)
    try:
        with files.bounded(path):
            return reader(path, resolution)
    except UserError as error:
        said = str(error)
        raise UserError(said if said.startswith(f"{path}: ") else f"{path}: {said}") from None


def _midi(path: Path, resolution: int) -> Piece:
    import pretty_midi

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tempo changes on other tracks are read all the same
            song = pretty_midi.PrettyMIDI(str(path))
    except MemoryError:
        raise
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
        text = _unzipped(path) if zipfile.is_zipfile(path) else path.read_bytes()
        _check_xml(text)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Of text, not of a path: nothing is looked up in, or left in, caches of pickles.
            plain = ElementTree.tostring(ElementTree.fromstring(text), encoding="unicode")
            score = converter.parseData(plain, format="musicxml", forceSource=True)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # as above
        raise UserError(f"can't be read as MusicXML: {_said(error)}") from None
    return of_score(score, path.stem, resolution)


def _unzipped(path: Path) -> bytes:
    """The score in a compressed MusicXML file, which is unpacked in memory alone: the names inside
    lead nowhere."""
    with zipfile.ZipFile(path) as archive:
        inside = [i for i in archive.infolist() if not i.filename.startswith("META-INF/")]
        scores = [i for i in inside if i.filename.lower().endswith((".xml", ".musicxml"))]
        container = next((i for i in archive.infolist() if i.filename == CONTAINER), None)
        if container is not None:
            described = _member(archive, container)
            _check_xml(described)
            roots = (e.get("full-path") for e in ElementTree.fromstring(described).iter())
            named = next((name for name in roots if name), None)
            scores = [i for i in scores if i.filename == named] or scores
        if not scores:
            raise UserError("no score in it: expected an archive with a .musicxml or .xml file")
        return _member(archive, scores[0])


def _member(archive: zipfile.ZipFile, found: zipfile.ZipInfo) -> bytes:
    with archive.open(found) as file:
        text = file.read(MOST_BYTES + 1)  # whatever it claims
    if len(text) > MOST_BYTES or found.file_size > MOST_BYTES:
        raise UserError(
            f"{found.filename[:60]!r} in it has more than {MOST_BYTES:,} bytes when unpacked, more "
            f"than a score has"
        )
    return text


def _check_xml(text: bytes) -> None:
    """Refuses what no score needs, and parsers suffer from: entities of its own, which may grow
    without end or lie in other files, and elements nested without end."""
    parser = expat.ParserCreate()
    depth = 0

    def declared(name: str, *rest: Any) -> None:
        raise UserError(f"it declares an XML entity, {name!r}: expected a score without any")

    def begin(name: str, attributes: Any) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            raise UserError(f"XML elements inside {DEEPEST} others: expected a score")

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1

    parser.EntityDeclHandler = declared
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.Parse(text, True)


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
