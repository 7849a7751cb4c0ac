"""Sound that arrives on stdin, written down while it does."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from apps.speech import words
from apps.speech.schema import Schema
from apps.speech.utterances import RATE
from common.errors import UserError

CHUNK = 800  # samples that are waited for at most: 50 ms
FLOOR = -60.0  # dB: nobody speaks as quietly
FADE = 1.0  # dB in a second, by which the loudest sound is forgotten
LONGEST = 3.0  # seconds without a new symbol that end a text in a noise without pauses
Said = dict[str, np.ndarray]
"""``text`` ``[1]``, to be added, and ``log_p`` ``[1, steps, symbols + 1]``."""


def follow(model: Any, schema: Schema, silence: float) -> None:
    """Prints ``seconds, partial, text`` whenever the text grows, and ``seconds, final, text,
    confidence`` after `silence` seconds of silence, after ``LONGEST`` without a new symbol where it
    is never silent, and at the end. Seconds are of sound read so far.

    Raises:
        UserError: at a terminal, and for half a sample at the end.
    """
    read, line, stream, pause = 0, Line(schema), Stream(model), Pause()

    def take(said: Said) -> None:
        if line.take(said["text"][0].decode(), said["log_p"][0]):
            print(f"{read / RATE:.2f}\tpartial\t{line.text}", flush=True)

    for waveform in sound_of(sys.stdin):
        read += len(waveform)
        take(stream.hear(waveform))
        pause.hear(waveform)
        if (pause.follows and pause.seconds >= silence) or (line.text and line.still >= LONGEST):
            take(stream.end())  # what it has heard and not said yet
            if line.text:
                finish(line, read)
            stream = Stream(model)  # it has learnt what utterances are like, not hours
            pause.follows = False
    take(stream.end())
    if line.text:
        finish(line, read)


def finish(line: "Line", read: int) -> None:
    """Prints a line that has come to its end, and empties it."""
    print(f"{read / RATE:.2f}\tfinal\t{line.text}\t{line.confidence():.4f}", flush=True)
    line.begin()


@dataclass
class Pause:
    """How long it has been silent: ``words.SILENT`` dB below the loudest that was heard, which is
    forgotten by and by, or below ``FLOOR``."""

    loudest: float = FLOOR
    """dB of full scale."""
    seconds: float = 0.0
    follows: bool = False
    """Whether there was sound before it."""

    def hear(self, waveform: np.ndarray) -> None:
        """The next samples ``[n]``."""
        taken = len(waveform) / RATE
        level = 10 * np.log10(np.square(waveform).mean() + 1e-10)
        self.loudest = max(level, self.loudest - FADE * taken, FLOOR)
        if level > max(self.loudest - words.SILENT, FLOOR):
            self.seconds, self.follows = 0.0, True
        else:
            self.seconds += taken


@dataclass
class Line:
    """The text since the last silence."""

    schema: Schema
    raw: str = ""
    heard: list[np.ndarray] = field(default_factory=list)
    last: int = 0
    """The symbol of the step before the line."""
    still: float = 0.0
    """Seconds since a symbol was added."""

    @property
    def text(self) -> str:
        """Without the spaces around it."""
        return self.raw.strip()

    def begin(self) -> None:
        """Empties the line."""
        path = self.path()
        self.raw, self.heard, self.last = "", [], int(path[-1]) if len(path) else self.last

    def path(self) -> np.ndarray:
        """The likeliest symbol at each step of the line, ``[steps]``."""
        return np.concatenate([log_p.argmax(axis=1) for log_p in self.heard])

    def take(self, new: str, log_p: np.ndarray) -> bool:
        """Adds what a step said, ``[steps, symbols + 1]``; returns whether the text grew."""
        before = self.text
        if not self.raw:
            new = new.lstrip()
            if self.heard:  # silence is not kept, however long
                self.begin()
        self.raw += new
        self.heard.append(log_p)
        if new:
            self.still = 0.0
        else:
            self.still += len(log_p) * self.schema.seconds_a_step
        return self.text != before

    def confidence(self) -> float:
        """How likely all its symbols were said, each in its place (``words.chances``)."""
        log_p, path = np.concatenate(self.heard), self.path()
        new = (path != 0) & (path != np.concatenate([[self.last], path[:-1]]))
        ids = [int(i) for i in path[new]]
        return float(np.prod(words.chances(log_p, ids, words.align(log_p, ids))))


class Stream:
    """A causal model that hears one stream, chunk by chunk.

    Args:
        model: an exported causal model; it is kept alive.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.state = model.signatures["start"](batch=tf.constant(1))

    def hear(self, waveform: np.ndarray) -> Said:
        """What can be said now that ``[n]`` more samples have been heard."""
        said = self._model.signatures["step"](
            waveform=tf.constant(waveform[np.newaxis]), **self.state
        )
        self.state = {name: value for name, value in said.items() if name.startswith("state_")}
        return {name: said[name].numpy() for name in ("text", "log_p")}

    def end(self) -> Said:
        """What is still owed when the stream has ended."""
        said = self._model.signatures["finish"](**self.state)
        return {name: said[name].numpy() for name in ("text", "log_p")}


def sound_of(stdin: Any) -> Iterator[np.ndarray]:
    """Samples ``[n]`` from -1 to 1, one or more, as soon as they are there.

    Raises:
        UserError: if stdin is a terminal, or brings a sound file or half a sample.
    """
    if stdin is None or stdin.isatty():
        raise UserError(
            "--live: expected raw sound on stdin, as in "
            "`arecord -q -f S16_LE -r 16000 -c 1 -t raw | ... --live`"
        )
    rest = b""
    while data := stdin.buffer.read1(2 * CHUNK):
        if not rest and data[:4] in (b"RIFF", b"fLaC", b"OggS"):
            raise UserError("--live: expected raw samples on stdin, found a sound file: name it")
        rest += data
        whole = len(rest) // 2 * 2
        if whole:  # half a sample is none yet
            yield np.frombuffer(rest[:whole], "<i2").astype(np.float32) / 32768
            rest = rest[whole:]
    if rest:
        raise UserError("stdin: ends with half a sample, expected 16 bits a sample")
