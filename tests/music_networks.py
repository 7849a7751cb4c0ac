"""Small networks with random weights, and frames to ask them of."""

import numpy as np

from apps.music import model
from apps.music.config import MusicConfig
from apps.music.pieces import HELD, KEYS
from apps.music.shape import Shape
from tests.music_pieces import roll

COUNT = 3
"""Voices."""


def network(head: str, articulated: bool, seed: int = 0, **words: object) -> model.Composer:
    config = MusicConfig(units=6, density_units=5, **words)  # type: ignore[arg-type]
    shape = Shape(head, articulated, most=COUNT, voices=COUNT)  # type: ignore[arg-type]
    built = model.build(config, shape, seed)
    random = np.random.default_rng(seed)
    for weight in built.weights:
        weight.assign(random.normal(size=weight.shape) * 0.4)
    return built


def frames(articulated: bool, time: int = 6) -> np.ndarray:
    random = np.random.default_rng(9)
    found = roll(random, time).astype(np.int32)
    found[2] = found[1]  # something to hold
    found[3] = 0
    found[3, [*np.flatnonzero(found[2])[:1], 33]] = 1
    found[4] = 0
    found[4, [30, 41]] = 1  # fewer keys than voices
    if articulated:
        was = np.concatenate([np.zeros((1, KEYS), bool), found[:-1] > 0])
        found[(found > 0) & was & (random.random(found.shape) < 0.5)] = HELD
    return found


def clock(time: int, bar: int = 4) -> np.ndarray:
    """Told of each frame: its place in the bar, the bar, and how many are left."""
    parts = [np.arange(time) % bar + 1, np.full(time, bar), np.arange(time, 0, -1)]
    return np.stack(parts, axis=1).astype(np.int32)[np.newaxis]
