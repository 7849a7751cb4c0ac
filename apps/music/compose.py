"""New pieces from a trained model: what it must be told, and what comes out."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from apps.music.pieces import KEYS, Corpus, Piece
from common import runs
from common.errors import UserError

TEMPO = 80.0


@dataclass(frozen=True)
class Settings:
    """What a run's model works on: ``music.json``."""

    resolution: int
    """Frames in a quarter note."""
    articulated: bool
    """Whether held keys are told from struck ones."""
    metres: bool
    """Whether the corpus has bar lines."""

    @classmethod
    def of(cls, corpus: Corpus) -> "Settings":
        metres = any(piece.bar for piece in corpus.train)
        return cls(corpus.resolution, corpus.articulated, metres)

    def write(self, run: runs.Run) -> None:
        runs.write_json(run.path / "music.json", asdict(self))

    @classmethod
    def read(cls, run: runs.Run) -> "Settings":
        """Raises UserError if the file is missing or of another form."""
        path = run.path / "music.json"
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{path}: can't be read: {error}") from None


def sample(ensemble: Any, corpus: Corpus, steps: int, seed: int = 0) -> Piece:
    """A piece from nothing, in the metre that the corpus has most of."""
    bars = [piece.bar for piece in corpus.train]
    bar = max(set(bars), key=bars.count)
    given = inputs(np.zeros((1, 0, KEYS), np.uint8), steps=steps, seed=seed, bar=bar)
    roll = ensemble.compose(**given)["roll"]
    return Piece("composed", roll.numpy()[0].astype(np.uint8), bar)


def inputs(
    start: np.ndarray,
    *,
    steps: int,
    seed: int = 0,
    bar: int = 0,
    offset: int = 0,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> dict[str, tf.Tensor]:
    """Of the signature ``generate``.

    Args:
        start: ``[batch, time, 88]``.
    """
    return {
        "start": tf.constant(start, tf.int32),
        "temperature": tf.constant(temperature, tf.float32),
        "top_p": tf.constant(top_p, tf.float32),
        **{
            name: tf.constant(value, tf.int32)
            for name, value in {
                "steps": steps,
                "top_k": top_k,
                "seed": seed,
                "bar": bar,
                "offset": offset,
            }.items()
        },
    }
