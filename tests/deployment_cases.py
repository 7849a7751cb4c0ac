"""What exported models are asked when nothing but TensorFlow is there: of each application the
shortest and the longest that its contract allows, and what it does not allow."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from apps.music.pieces import KEYS
from tests import gesture_runs, music_pieces, sentiment_runs, speech_runs, timeseries_runs

Arrays = dict[str, np.ndarray]
TRAINED: dict[str, Callable[[], tuple[Path, object]]] = {
    "sentiment": sentiment_runs.small_run,
    "timeseries": timeseries_runs.small_run,
    "music": music_pieces.small_run,
    "speech": speech_runs.small_run,
    "gesture": gesture_runs.small_run,
}
APPS = list(TRAINED)


class Case(NamedTuple):
    """A question."""

    signature: str
    inputs: Arrays
    refused: str = ""
    """What the error says, of a question that the application does not take."""


def run_of(app: str) -> Path:
    """The folder of a small run: a trained one, but of speech, where a network of random weights
    has more to say than one that has hardly learnt."""
    return speech_runs.random_run() if app == "speech" else TRAINED[app]()[0]


def export_of(app: str) -> Path:
    """Its SavedModel."""
    return run_of(app) / "export" / "1"


@functools.cache
def cases(app: str) -> dict[str, Case]:
    """By name: ``empty``, ``one`` (element), ``alone`` (a sequence), ``mixed`` (that one first,
    among others of other lengths), ``longest``, ``no rows``; and more."""
    return {
        "sentiment": _sentiment,
        "timeseries": _timeseries,
        "music": _music,
        "speech": _speech,
        "gesture": _gesture,
    }[app]()


def _sentiment() -> dict[str, Case]:
    def ask(*texts: str) -> Case:
        return Case("serving_default", {"text": np.array(texts, "U")})

    some = "A good film, not bad at all"
    longest = "dull " * 5000  # beyond the 1,000 words that are read
    return {
        "empty": ask(""),
        "one": ask("good"),
        "alone": ask(some),
        "mixed": ask(some, "", longest, "good"),
        "longest": ask(longest),
        "no rows": ask(),
        "trajectory": Case("trajectory", {"text": np.array([some, "", "good"])}),
    }


def _timeseries() -> dict[str, Case]:
    random = np.random.default_rng(0)
    horizon = timeseries_runs.HORIZON

    def ask(rows: int, batch: int = 1, refused: str = "") -> Case:
        ahead = rows + horizon
        seconds = 3600 * np.arange(470_000, 470_000 + ahead)
        inputs = {
            "target": 50 + random.normal(size=(batch, rows, 1)).astype(np.float32),
            "seconds": np.tile(seconds, (batch, 1)),
            "future": random.normal(size=(batch, ahead, 1)).astype(np.float32),
        }
        return Case("serving_default", inputs, refused)

    short, long = ask(12), ask(30)
    missing = np.full((1, 18, 1), np.nan, np.float32)  # what a shorter history is filled up with
    filled = {
        "target": np.concatenate([missing, short.inputs["target"]], 1),
        "seconds": np.concatenate([long.inputs["seconds"][:, :18], short.inputs["seconds"]], 1),
        "future": np.concatenate([missing, short.inputs["future"]], 1),
    }
    both = {name: np.concatenate([a, filled[name]]) for name, a in long.inputs.items()}
    nothing = ask(24)
    nothing.inputs["target"][:] = np.nan
    return {
        "empty": ask(0, refused="at least one"),
        "one": ask(1),
        "alone": long,
        "mixed": Case("serving_default", both),
        "longest": ask(2000),
        "no rows": ask(24, batch=0),
        "nothing known": nothing,
    }


def _music() -> dict[str, Case]:
    random = np.random.default_rng(0)
    told = {"bar": np.int32(8), "offset": np.int32(4), "key": np.int32(0)}
    draw = {"temperature": np.float32(1), "top_k": np.int32(0), "top_p": np.float32(0.9)}

    def score(*rolls: np.ndarray, **other: np.ndarray) -> Case:
        time = max(map(len, rolls))
        padded = [np.pad(roll, ((0, time - len(roll)), (0, 0))) for roll in rolls]
        return Case("score", {"roll": np.stack(padded).astype(np.int32), **told, **other})

    def compose(frames: int, batch: int = 1, primed: int = 0) -> Case:
        start = np.stack([music_pieces.roll(random, primed)] * batch) if primed else None
        if start is None:
            start = np.zeros((batch, 0, KEYS))
        whole = {"start": start.astype(np.int32), "steps": np.int32(frames), "seed": np.int32(1)}
        return Case("serving_default", {**whole, **draw, **told, "after": np.int32(0)})

    some = music_pieces.roll(random, 12)
    return {
        "empty": compose(0),
        "one": compose(1),
        "alone": score(some),
        "mixed": score(some, music_pieces.roll(random, 30), music_pieces.roll(random, 1)),
        "longest": score(music_pieces.roll(random, 600)),
        "no rows": compose(4, batch=0, primed=0),
        "primed": compose(64, batch=2, primed=5),
        "nothing to score": score(np.zeros((0, KEYS))),
        "no such key": score(some, key=np.int32(99))._replace(refused="99"),
        "too long a bar": score(some, bar=np.int32(9999))._replace(refused="9999"),
    }


def _speech() -> dict[str, Case]:
    def ask(*lengths: int) -> Case:
        longest = max(lengths, default=0)
        waveform = np.zeros((len(lengths), longest), np.float32)
        for number, length in enumerate(lengths):
            waveform[number, :length] = speech_runs.sound(number, 20.0)[:length] / 32768
        return Case(
            "serving_default", {"waveform": waveform, "length": np.array(lengths, np.int32)}
        )

    return {
        "empty": ask(0),
        "one": ask(1),
        "alone": ask(9000),
        "mixed": ask(9000, 0, 1, 20_000),
        "longest": ask(20 * 16_000),
        "no rows": ask(),
    }


def _gesture() -> dict[str, Case]:
    values = gesture_runs.movement(7)[["ax", "ay", "az"]].to_numpy(np.float32)
    values = np.tile(values, (7, 1))

    def ask(*lengths: int) -> Case:
        longest = max(lengths, default=0)
        frames = np.zeros((len(lengths), longest, 3), np.float32)
        for number, length in enumerate(lengths):
            frames[number, :length] = values[number : number + length]
        mask = np.arange(longest) < np.reshape(np.array(lengths, int), (-1, 1))
        return Case("serving_default", {"frames": frames, "mask": mask})

    return {
        "empty": ask(0),
        "one": ask(1),
        "alone": ask(50),
        "mixed": ask(50, 1, 0, 90),
        "longest": ask(5000 - 1),
        "no rows": ask(),
    }


def first_of(app: str, said: Arrays) -> Arrays:
    """What is answered to the sequence ``alone`` by a batch that has it first."""
    length = {"music": 12, "gesture": 50}.get(app)  # an answer for every frame
    whole = {"classes", "levels", "likeliest"}
    rows = {name: value[:1] for name, value in said.items() if name not in whole}
    if app == "speech":  # ids are padded to the longest text
        rows.pop("ids")
    return rows if length is None else {name: value[:, :length] for name, value in rows.items()}
