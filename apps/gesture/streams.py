"""Sensor streams, their folds by subject, and streams composed of recordings. Imports no
TensorFlow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy import signal

from common.errors import UserError

PARTS = ("train", "validation", "test")
FOLDS = 5
SHORTEST, LONGEST = 2.0, 15.0  # seconds of a bout
CROSS_FADE = 0.2  # seconds
SAME_RATE = 0.02  # relative: clocks differ by less, sensors' settings by more


@dataclass(frozen=True)
class Stream:
    """Frames of one sensor in the order of time, equally far apart."""

    name: str
    subject: str
    values: np.ndarray
    """``[time, channels]`` float32, in the sensor's unit."""
    labels: np.ndarray
    """``[time]`` int32, indices of classes."""
    place: str = ""
    """Where the subject wore the sensor: what is composed is of one subject and one place."""
    begin: float = 0.0
    """Time of the first frame, seconds, as its file has it."""

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Corpus:
    """Streams that are alike: the same channels, classes and rate."""

    name: str
    classes: tuple[str, ...]
    channels: tuple[str, ...]
    rate: float
    """Frames in a second."""
    streams: tuple[Stream, ...]
    isolated: bool = False
    """Each stream is a recording of one exercise: streams to learn from are composed of them."""
    mirror: tuple[float, ...] | None = None
    """What each channel is multiplied by when the sensor changes sides, where that is known."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """In their order: numbers by size, other names by letter."""
        found = {stream.subject for stream in self.streams}
        return tuple(sorted(found, key=lambda s: (float(s) if s.isdecimal() else np.inf, s)))

    def of(self, subjects: Sequence[str]) -> "Corpus":
        """The streams of some subjects alone."""
        return replace(self, streams=tuple(s for s in self.streams if s.subject in subjects))


def split(corpus: Corpus, fold: int) -> dict[str, Corpus]:
    """The parts of one fold: subject number i is tested in fold i modulo the number of folds,
    and validated on in the fold before. No subject is in two parts.

    Raises:
        UserError: for fewer than three subjects, or a fold that there is not.
    """
    subjects = corpus.subjects
    if len(subjects) < 3:
        raise UserError(
            f"{corpus.name}: {len(subjects)} subject(s), expected at least 3: one each to train "
            f"on, to validate and to test; streams without subjects count as one each"
        )
    folds = folds_of(corpus)
    if fold >= folds:
        raise UserError(f"--fold {fold}: expected 0 to {folds - 1}, as {corpus.name} allows")
    turns = {s: number % folds for number, s in enumerate(subjects)}
    parts = {"test": fold, "validation": (fold + 1) % folds}
    found = {part: [s for s in subjects if turns[s] == turn] for part, turn in parts.items()}
    taken = {s for names in found.values() for s in names}
    found["train"] = [s for s in subjects if s not in taken]
    return {part: corpus.of(found[part]) for part in PARTS}


def folds_of(corpus: Corpus) -> int:
    """Five, or as many as there are subjects."""
    return min(FOLDS, len(corpus.subjects))


def joined(bouts: Sequence[Stream], fade: int) -> tuple[np.ndarray, np.ndarray]:
    """Values ``[time, channels]`` and labels ``[time]`` of bouts one after the other. Each runs
    into the next over `fade` frames, linearly; the label changes in the middle of them."""
    values, labels = bouts[0].values.astype(np.float32), bouts[0].labels
    pieces, marks = [], []
    for bout in bouts[1:]:
        n = min(fade, len(values) // 2, len(bout) // 2)
        weight = ((np.arange(n, dtype=np.float32) + 1) / (n + 1))[:, np.newaxis]
        both = (1 - weight) * values[len(values) - n :] + weight * bout.values[:n]
        pieces += [values[: len(values) - n], both]
        marks += [labels[: len(labels) - (n - n // 2)]]
        values, labels = bout.values[n:], bout.labels[n // 2 :]
    return np.concatenate([*pieces, values]).astype(np.float32), np.concatenate([*marks, labels])


def fixed_streams(corpus: Corpus, seed: int = 0) -> tuple[Stream, ...]:
    """Streams to score on, the same every time: every frame of every recording once (but for
    the cross-fades), one stream for each subject and place. Streams that need no composing are
    given as they are."""
    if not corpus.isolated:
        return corpus.streams
    random = np.random.default_rng(seed)
    found = []
    for subject, place, recordings in groups(corpus):
        bouts = _shuffled([b for r in recordings for b in _cut(r, corpus.rate, random)], random)
        values, labels = joined(bouts, _fade(corpus))
        name = " ".join(word for word in (subject, place) if word)
        found.append(Stream(name, subject, values, labels, place))
    return tuple(found)


def groups(corpus: Corpus) -> list[tuple[str, str, list[Stream]]]:
    """Subject, place and recordings of what may be composed with each other."""
    found: dict[tuple[str, str], list[Stream]] = {}
    for stream in corpus.streams:
        found.setdefault((stream.subject, stream.place), []).append(stream)
    return [(*key, found[key]) for key in sorted(found)]


def _fade(corpus: Corpus) -> int:
    return round(CROSS_FADE * corpus.rate)


def _cut(recording: Stream, rate: float, random: np.random.Generator) -> list[Stream]:
    """A recording as bouts of 2 to 15 s, without a rest."""
    shortest = SHORTEST * rate
    ends = [0]
    while len(recording) - ends[-1] >= 2 * shortest:
        longest = min(LONGEST * rate, len(recording) - ends[-1] - shortest)
        ends.append(ends[-1] + int(random.uniform(shortest, longest)))
    if len(recording) - ends[-1] or not ends[1:]:
        ends.append(len(recording))
    return [_slice(recording, a, b) for a, b in pairwise(ends)]


def _slice(stream: Stream, begin: int, end: int) -> Stream:
    return replace(stream, values=stream.values[begin:end], labels=stream.labels[begin:end])


def _shuffled(bouts: list[Stream], random: np.random.Generator) -> list[Stream]:
    """In an order in which, as far as can be, no two of one exercise meet: of those exercises
    that are not the last one's, any, by how many bouts of it are left; but one that has more
    than half of what is left comes first."""
    left: dict[int, list[Stream]] = {}
    for number in random.permutation(len(bouts)):
        left.setdefault(int(bouts[number].labels[0]), []).append(bouts[number])
    order: list[Stream] = []
    while any(left.values()):
        last = int(order[-1].labels[0]) if order else None
        counts = {label: len(rest) for label, rest in sorted(left.items()) if rest}
        if len(counts) > 1:
            counts.pop(last, None)  # type: ignore[arg-type]
        waiting = len(bouts) - len(order)
        counts = {label: n for label, n in counts.items() if 2 * n > waiting} or counts
        weights = np.array(list(counts.values()), float) ** 2
        chosen = random.choice(list(counts), p=weights / weights.sum())
        order.append(left[int(chosen)].pop())
    return order


def drawn(
    corpus: Corpus,
    length: int,
    random: np.random.Generator,
    vary: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> tuple[np.ndarray, ...]:
    """A fresh piece to learn from: values ``[length, channels]`` and labels ``[length]``.

    Of recordings: composed of one subject's and place's, bouts of 2 to 15 s that begin
    anywhere, no exercise after itself. Of streams: cut out of one of them anywhere. What is
    shorter than `length` ends with its last frame repeated, its labels -1 from there on.

    Args:
        vary: what is made of the values ``[time, channels]`` of each bout, or of what was cut.
    """
    if not corpus.isolated:
        sizes = np.array([len(stream) for stream in corpus.streams], float)
        stream = corpus.streams[random.choice(len(sizes), p=sizes / sizes.sum())]
        begin = int(random.integers(0, max(1, len(stream) - length + 1)))
        piece = _slice(stream, begin, begin + length)
        return filled(vary(piece.values), piece.labels, length)
    together = groups(corpus)
    _, _, recordings = together[random.integers(len(together))]
    bouts: list[Stream] = []
    total, last = 0, -1
    while total < length:
        others = [r for r in recordings if r.labels[0] != last] or recordings
        recording = others[random.integers(len(others))]
        size = int(random.uniform(SHORTEST, LONGEST) * corpus.rate)
        begin = int(random.integers(0, max(1, len(recording) - size + 1)))
        bout = _slice(recording, begin, begin + size)
        bouts.append(replace(bout, values=vary(bout.values)))
        total += len(bouts[-1]) - min(_fade(corpus), len(bouts[-1]) // 2)
        last = int(recording.labels[0])
    values, labels = joined(bouts, _fade(corpus))
    begin = int(random.integers(0, len(values) - length + 1))
    return values[begin : begin + length], labels[begin : begin + length]


def filled(values: np.ndarray, labels: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Values ``[time, channels]`` and labels ``[time]`` up to `length` frames: the last one is
    repeated, its label is -1."""
    missing = length - len(values)
    return (
        np.pad(values, [(0, missing), (0, 0)], mode="edge"),
        np.pad(labels, (0, missing), constant_values=-1),
    )


def resampled(stream: Stream, rate: float, wanted: float) -> Stream:
    """At another rate: linear interpolation, after a low pass (a zero-phase Butterworth filter
    of order 4 at 0.8 of the new Nyquist frequency) where frames are taken away; each frame
    has the label of the nearest."""
    if rate == wanted:
        return stream
    values = stream.values.astype(np.float64)
    if wanted < rate and len(values) > 27:  # less is too short for the filter's ends
        low_pass = signal.butter(4, 0.8 * wanted / rate, output="sos")
        values = signal.sosfiltfilt(low_pass, values, axis=0, padlen=min(27, len(values) - 1))
    count = max(1, int(np.floor((len(values) - 1) * wanted / rate)) + 1)
    at = np.arange(count) * rate / wanted
    columns = [np.interp(at, np.arange(len(values)), column) for column in values.T]
    labels = stream.labels[np.minimum(np.rint(at).astype(int), len(values) - 1)]
    return replace(stream, values=np.stack(columns, axis=1).astype(np.float32), labels=labels)
