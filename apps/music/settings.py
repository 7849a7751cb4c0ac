"""What a run's model works on, and how it is asked to draw. Imports TensorFlow only to ask."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np

from apps.music import keys
from apps.music.config import Head
from apps.music.pieces import KEYS, LONGEST_BAR, Corpus, Piece
from apps.music.shape import Shape
from common import runs
from common.config import from_json
from common.errors import UserError

NAME = "schema.json"
BEFORE = "music.json"
"""What it was called; runs of that time stay of use."""
FEW = 16
"""Frames that are composed as an example."""


@dataclass(frozen=True)
class Settings:
    """``schema.json`` of a run."""

    resolution: int
    """Frames in a quarter note."""
    articulated: bool
    """Whether held keys are told from struck ones."""
    metres: bool
    """Whether the corpus has bar lines."""
    head: str
    """How a frame is decided upon; of a run, never auto."""
    voices: int
    """Keys at once, at most, of ``voices`` and ``events``."""
    keys: tuple[int, ...]
    """How many training pieces are in each key, by ``apps.music.keys``."""

    @classmethod
    def of(cls, corpus: Corpus, shape: Shape) -> "Settings":
        """Those of a run on a corpus, whose training keys are counted."""
        metres = any(piece.bar for piece in corpus.train)
        counted = tuple(keys.counts(corpus.train))
        grid = (corpus.resolution, corpus.articulated, metres)
        return cls(*grid, shape.head, shape.voices, counted)

    def write(self, run: runs.Run) -> None:
        """Into the run's folder."""
        runs.write_json(run.path / NAME, asdict(self))

    @classmethod
    def read(cls, run: runs.Run) -> "Settings":
        """Raises UserError if the file is missing or of another form."""
        path = run.path / NAME
        if not path.exists() and (run.path / BEFORE).exists():
            path = run.path / BEFORE
        found = from_json(cls, runs.read_json(path), str(path))
        if not (0 < found.resolution <= LONGEST_BAR and 0 < found.voices <= KEYS):
            raise UserError(f"{path}: expected a resolution and voices above 0, as a run has")
        if found.head not in get_args(Head) or len(found.keys) != keys.COUNT:
            raise UserError(f"{path}: expected a head and keys as a run has")
        return found


def asked(piece: Piece, settings: Settings) -> dict[str, np.ndarray]:
    """A piece as the inputs of ``score``: ``roll`` ``[1, time, 88]`` and scalars."""
    roll = piece.frames if settings.articulated else piece.sounding
    told = (piece.bar, piece.offset) if settings.metres else (0, 0)
    return {
        "roll": roll[np.newaxis].astype(np.int32),
        "bar": np.array(told[0], np.int32),
        "offset": np.array(told[1], np.int32),
        "key": np.array(0, np.int32),
    }


def draw(
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    bar: int = 0,
    offset: int = 0,
    key: int = 0,
    ending: bool = True,
) -> dict[str, Any]:
    """The scalars that ``generate`` and ``harmonise`` take, as tensors."""
    import tensorflow as tf

    whole = {"top_k": top_k, "seed": seed, "bar": bar, "offset": offset, "key": key}
    whole["after"] = 0 if ending else -1
    return {
        "temperature": tf.constant(temperature, tf.float32),
        "top_p": tf.constant(top_p, tf.float32),
        **{name: tf.constant(value, tf.int32) for name, value in whole.items()},
    }


def examples(asked: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """A request to those signatures that need no state, from one to ``score`` with a ``roll`` ``[1,
    time, 88]``: a bar to compose, and the beginning of a piece to be scored."""
    how = draw(bar=int(asked["bar"]), offset=int(asked["offset"]))
    start = {"start": asked["roll"][:, :0], "steps": np.array(FEW, np.int32)}
    composed = start | {name: value.numpy() for name, value in how.items()}
    scored = {**asked, "roll": asked["roll"][:, : 4 * FEW]}
    return {
        "serving_default": composed,
        "generate": composed,
        "score": scored,
        "weigh": scored,
    }
