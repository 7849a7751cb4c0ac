"""A beam over bars: several pieces side by side, each drawn on in several ways, of which the
likeliest are kept.

Frames are drawn, not chosen: the likeliest piece of all is one note held for ever. So the beam
does not replace chance; it lets go of what chance has spoilt.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class Search:
    """Asks an exported model."""

    model: Any
    how: dict[str, tf.Tensor]
    """Of ``settings.draw``, for the whole piece."""
    beam: int
    """Pieces that are kept, and ways in which each is drawn on."""
    stretch: int
    """Frames drawn before the beam is looked at: a bar."""

    def composed(self, start: tf.Tensor, total: int) -> tf.Tensor:
        """``[batch, total, 88]``: the likeliest found for each row of `start`."""

        def draw(rolls: tf.Tensor, upto: int, how: dict[str, tf.Tensor]) -> tf.Tensor:
            steps = tf.constant(upto - rolls.shape[1], tf.int32)
            return self.model.signatures["generate"](start=rolls, steps=steps, **how)["roll"]

        return self._search(start, total, draw)

    def harmonised(self, given: tf.Tensor) -> tf.Tensor:
        """``[batch, time, 88]``: the likeliest found for each melody."""
        melody = tf.repeat(given, self.beam**2, axis=0)

        def draw(rolls: tf.Tensor, upto: int, how: dict[str, tf.Tensor]) -> tf.Tensor:
            harmonise = self.model.signatures["harmonise"]
            return harmonise(given=melody[:, :upto], start=rolls, **how)["roll"]

        return self._search(given[:, :0], given.shape[1], draw)

    def _search(self, start: tf.Tensor, total: int, draw: Any) -> tf.Tensor:
        pieces, first = start.shape[0], start.shape[1]
        rolls = tf.repeat(start, self.beam**2, axis=0)
        told = {name: self.how[name] for name in ("bar", "offset", "key")}
        ends = int(self.how["after"]) == 0
        while rolls.shape[1] < total:
            upto = min(rolls.shape[1] + self.stretch, total)
            after = tf.constant(total - upto if ends else -1, tf.int32)
            drawn = draw(rolls, upto, {**self.how, "after": after})
            nats = self.model.signatures["score"](roll=drawn, **told)["nll"][:, first:]
            nats = tf.reduce_sum(nats, axis=1).numpy().reshape(pieces, -1)
            by_piece = drawn.numpy().reshape(pieces, self.beam**2, upto, -1)
            kept = [self._best(*each) for each in zip(by_piece, nats, strict=True)]
            rolls = tf.constant(np.repeat(np.concatenate(kept), self.beam, axis=0))
        return rolls[:: self.beam**2]

    def _best(self, rolls: np.ndarray, nats: np.ndarray) -> np.ndarray:
        """The likeliest, each once if there are enough that differ; the best first."""
        order = np.argsort(nats, kind="stable")
        _, first = np.unique(rolls[order].reshape(len(order), -1), axis=0, return_index=True)
        others = np.setdiff1d(np.arange(len(order)), first)
        return rolls[order[np.concatenate([np.sort(first), others])][: self.beam]]
