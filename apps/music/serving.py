"""What the exported model does: score a piece, compose one, or go one frame further."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from apps.music import density, sampling
from apps.music.model import Composer
from apps.music.pieces import KEYS, Corpus, Piece
from apps.music.rolls import RollBatches
from apps.music.settings import draw
from common.export import Signature

Outputs = dict[str, tf.Tensor]
States = list[list[list[tf.Tensor]]]
"""Of each member, of each layer."""


class Ensemble:
    """Networks as one: every decision has the mean of their probabilities.

    Rolls are ``[batch, time, 88]`` int32: 0 silent, 1 struck, 2 held (of a corpus that does not
    tell them apart, 1 alone). ``bar`` is the frames in a bar and ``offset`` the place of the
    first frame in it, scalars; bar 0 where the corpus has no metre.
    """

    def __init__(self, networks: Sequence[Composer]) -> None:
        self.networks = tuple(networks)
        self.articulated = networks[0].shape.articulated
        self._scored = tf.function(self._losses, reduce_retracing=True)
        self._guessed = tf.function(self._guesses, reduce_retracing=True)
        self.compose = tf.function(self.generate, reduce_retracing=True)

    def losses(self, batches: RollBatches) -> list[np.ndarray]:
        """Negative log-likelihood in nats of each frame of each piece."""
        return self._each(batches, self._scored)

    def guesses(self, batches: RollBatches) -> list[np.ndarray]:
        """The likeliest frame, key by key, at each place of each piece, given what was there
        before it: ``[time, 88]``."""
        return self._each(batches, self._guessed)

    def _each(self, batches: RollBatches, function: Any) -> list[np.ndarray]:
        found = []
        for inputs, lengths in batches.in_order():
            rows = function(inputs["frames"], inputs["clock"]).numpy()
            found += [row[:length] for row, length in zip(rows, lengths.numpy(), strict=True)]
        return batches.restore(found)

    def _losses(self, frames: tf.Tensor, clock: tf.Tensor) -> tf.Tensor:
        before, contexts = self._contexts(frames, clock)
        here = tf.reshape(frames, [-1, KEYS])
        most = tf.reduce_max(tf.reduce_sum(tf.cast(here > 0, tf.int32), axis=1))
        parts = density.take_apart(here, most, self.articulated, tf.float32)
        logits = self._asked(contexts, before, parts.chosen)
        return tf.reshape(density.losses(logits, parts.ranks, here, before), tf.shape(frames)[:2])

    def _guesses(self, frames: tf.Tensor, clock: tf.Tensor) -> tf.Tensor:
        before, contexts = self._contexts(frames, clock)
        greedy = sampling.Choice(
            tf.constant(0.0), tf.constant(1), tf.constant(1.0), tf.constant([0, 0])
        )
        guessed = sampling.frame(
            lambda chosen: self._asked(contexts, before, chosen), before, greedy, self.articulated
        )
        return tf.reshape(guessed, tf.shape(frames))

    def _contexts(self, frames: tf.Tensor, clock: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        before = tf.pad(frames, [[0, 0], [1, 0], [0, 0]])[:, :-1]
        contexts = [network.contexts(before, clock, None) for network in self.networks]
        flat = [tf.reshape(c, [-1, c.shape[-1]]) for c in contexts]
        return tf.reshape(before, [-1, KEYS]), flat

    def _asked(
        self, contexts: Sequence[tf.Tensor], before: tf.Tensor, chosen: tf.Tensor
    ) -> density.Logits:
        pairs = zip(self.networks, contexts, strict=True)
        answers = []
        for network, context in pairs:
            known = tf.cast(chosen, network.compute_dtype)
            answers.append(network.density(context, before, known))
        return density.mean(answers)

    def sample(self, corpus: Corpus, steps: int) -> Piece:
        """A piece from nothing, in the metre that the corpus has most of; always drawn by the
        same seed, so that one hears a model change."""
        bars = [piece.bar for piece in corpus.train]
        bar = max(set(bars), key=bars.count)
        nothing = tf.zeros([1, 0, KEYS], tf.int32)
        roll = self.compose(nothing, tf.constant(steps), **draw(bar=bar))["roll"]
        return Piece("composed", roll.numpy()[0].astype(np.uint8), bar)

    def score(self, roll: tf.Tensor, bar: tf.Tensor, offset: tf.Tensor) -> Outputs:
        """Given what stands before each frame: ``nll`` ``[batch, time]``, its nats, and
        ``likeliest`` ``[batch, time, 88]``, the frame that was expected, key by key."""
        clock = _clock(tf.range(tf.shape(roll)[1]), bar, offset)
        clock = tf.tile(clock[tf.newaxis], [tf.shape(roll)[0], 1, 1])
        return {"nll": self._losses(roll, clock), "likeliest": self._guesses(roll, clock)}

    def generate(
        self,
        start: tf.Tensor,
        steps: tf.Tensor,
        temperature: tf.Tensor,
        top_k: tf.Tensor,
        top_p: tf.Tensor,
        seed: tf.Tensor,
        bar: tf.Tensor,
        offset: tf.Tensor,
    ) -> Outputs:
        """``roll`` ``[batch, time + steps, 88]``: `start`, of none or more frames, and `steps`
        frames after it. A seed gives the same roll each time."""
        nothing = tf.zeros_like(start[:, :0])
        choice = sampling.Choice(temperature, top_k, top_p, seed)
        return {"roll": self._composed(start, nothing, steps, choice, bar, offset)}

    def harmonise(
        self,
        given: tf.Tensor,
        temperature: tf.Tensor,
        top_k: tf.Tensor,
        top_p: tf.Tensor,
        seed: tf.Tensor,
        bar: tf.Tensor,
        offset: tf.Tensor,
    ) -> Outputs:
        """``roll`` as long as `given`, ``[batch, time, 88]``, whose highest line it keeps; what
        sounds below is drawn, each frame without looking ahead."""
        choice = sampling.Choice(temperature, top_k, top_p, seed)
        steps = tf.shape(given)[1]
        return {"roll": self._composed(given[:, :0], given, steps, choice, bar, offset)}

    def _composed(
        self,
        start: tf.Tensor,
        given: tf.Tensor,
        steps: tf.Tensor,
        choice: sampling.Choice,
        bar: tf.Tensor,
        offset: tf.Tensor,
    ) -> tf.Tensor:
        batch, primed = tf.unstack(tf.shape(start)[:2])
        time = primed + steps
        led = tf.shape(given)[1]
        roll = tf.TensorArray(tf.int32, size=time, element_shape=[None, KEYS])

        def body(t: Any, before: Any, states: Any, roll: Any) -> Any:
            clock = tf.tile(_clock(t[tf.newaxis], bar, offset), [batch, 1])
            contexts, states = self._advanced(before, clock, states)

            def drawn() -> tf.Tensor:
                line = tf.cond(
                    t < led, lambda: given[:, tf.minimum(t, led - 1)], lambda: before * 0
                )
                seed = tf.stack([choice.seed, t * sampling.DRAWS])
                return sampling.frame(
                    lambda chosen: self._asked(contexts, before, chosen),
                    before,
                    choice._replace(seed=seed),
                    self.articulated,
                    line,
                )

            frame = tf.cond(t < primed, lambda: start[:, tf.minimum(t, primed - 1)], drawn)
            frame = tf.ensure_shape(frame, before.shape)
            return t + 1, frame, states, roll.write(t, frame)

        silence = tf.zeros([batch, KEYS], tf.int32)
        states = [network.first_states(batch) for network in self.networks]
        start_values = (tf.constant(0), silence, states, roll)
        *_, roll = tf.while_loop(lambda t, *_: t < time, body, start_values)
        return tf.transpose(roll.stack(), [1, 0, 2])

    def _advanced(
        self, before: tf.Tensor, clock: tf.Tensor, states: States
    ) -> tuple[list[tf.Tensor], States]:
        contexts, after = [], []
        for network, held in zip(self.networks, states, strict=True):
            context, new = network.advance(before, clock, held)
            contexts.append(context)
            after.append(new)
        return contexts, after

    def step(self, inputs: Outputs) -> Outputs:
        """One frame further: ``frame`` ``[batch, 88]`` drawn, its ``nll`` ``[batch]`` (at
        temperature 1), and the states, whose first are zeros.

        Args:
            inputs: ``before``, the frame before (silence, of the first); ``place``, counted from
                1, and ``bar``, or zeros, ``[batch]``; how to draw; and ``state_...``.
        """
        before = inputs["before"]
        names = self._state_names()
        states = [[[inputs[name] for name in layer] for layer in member] for member in names]
        clock = tf.stack([inputs["place"], inputs["bar"]], axis=1)
        contexts, after = self._advanced(before, clock, states)
        seed = tf.stack([inputs["seed"], 0])
        choice = sampling.Choice(inputs["temperature"], inputs["top_k"], inputs["top_p"], seed)
        frame = sampling.frame(
            lambda chosen: self._asked(contexts, before, chosen), before, choice, self.articulated
        )
        most = tf.reduce_max(tf.reduce_sum(tf.cast(frame > 0, tf.int32), axis=1))
        parts = density.take_apart(frame, most, self.articulated, tf.float32)
        nll = density.losses(
            self._asked(contexts, before, parts.chosen), parts.ranks, frame, before
        )
        flat = zip(tf.nest.flatten(names), tf.nest.flatten(after), strict=True)
        return {"frame": frame, "nll": nll, **{name: tf.cast(s, tf.float32) for name, s in flat}}

    def _state_names(self) -> list[list[list[str]]]:
        return [
            [
                [f"state_{member}_{layer}_{part}" for part in range(len(parts))]
                for layer, parts in enumerate(network.first_states(1))
            ]
            for member, network in enumerate(self.networks)
        ]

    def signatures(self) -> dict[str, Signature]:
        """What ``common.export.write`` writes."""
        whole = {"bar": tf.int32, "offset": tf.int32}
        draw = {"temperature": tf.float32, "top_k": tf.int32, "top_p": tf.float32, "seed": tf.int32}

        def rolls(name: str) -> tf.TensorSpec:
            return tf.TensorSpec([None, None, KEYS], tf.int32, name)

        def scalars(**types: Any) -> list[tf.TensorSpec]:
            return [tf.TensorSpec([], dtype, name) for name, dtype in types.items()]

        stepped = {
            "before": tf.TensorSpec([None, KEYS], tf.int32, "before"),
            **{name: tf.TensorSpec([None], tf.int32, name) for name in ("place", "bar")},
            **{spec.name: spec for spec in scalars(**draw)},
        }
        states = [network.first_states(1) for network in self.networks]
        flat = zip(tf.nest.flatten(self._state_names()), tf.nest.flatten(states), strict=True)
        for name, state in flat:
            stepped[name] = tf.TensorSpec([None, state.shape[-1]], tf.float32, name)
        return {
            "generate": (
                self.generate,
                [rolls("start"), *scalars(steps=tf.int32, **draw, **whole)],
            ),
            "harmonise": (self.harmonise, [rolls("given"), *scalars(**draw, **whole)]),
            "score": (self.score, [rolls("roll"), *scalars(**whole)]),
            "step": (self.step, [stepped]),
        }


def _clock(frames: tf.Tensor, bar: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """As ``pieces.clock``, of frames by number: ``[time, 2]``."""
    places = tf.where(bar > 0, (frames + offset) % tf.maximum(bar, 1) + 1, 0)
    return tf.stack([places, tf.fill(tf.shape(frames), bar)], axis=1)
