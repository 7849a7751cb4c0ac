"""What the exported model does: score a piece, compose one, or go one frame further."""

import abc
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from apps.music import keys, sampling, voices
from apps.music.density import Past
from apps.music.model import Composer
from apps.music.pieces import KEYS, LONGEST_BAR, Corpus, Piece
from apps.music.rolls import RollBatches
from apps.music.settings import draw
from common import plain
from common.export import Signature

Outputs = dict[str, tf.Tensor]
States = list[list[list[tf.Tensor]]]
"""Of each member, of each layer."""


PORTABLE = {"weigh": ("onnx",)}
LINES = "state_lines"
"""The key of each voice, counted from 1, of the frame before the one before."""


class Told(NamedTuple):
    """What is told of a piece, scalars."""

    bar: tf.Tensor
    offset: tf.Tensor
    key: tf.Tensor
    after: tf.Tensor
    """Frames that the piece goes on for; -1: not told."""


class Together(abc.ABC):
    """Networks as one: every decision has the mean of their probabilities.

    Rolls are ``[batch, time, 88]`` int32: 0 silent, 1 struck, 2 held (of a corpus that does not
    tell them apart, 1 alone). ``bar`` is the frames in a bar and ``offset`` the place of the
    first frame in it, scalars; bar 0 where the corpus has no metre. ``key`` is of
    ``apps.music.keys``, 0 if it is not told.
    """

    def __init__(self, networks: Sequence[Any]) -> None:
        self.networks = tuple(networks)
        self._scored = tf.function(self.nats, reduce_retracing=True)
        self._guessed = tf.function(self.likeliest, reduce_retracing=True)
        self.compose = tf.function(self.generate, reduce_retracing=True)

    @abc.abstractmethod
    def nats(
        self, frames: tf.Tensor, clock: tf.Tensor, key: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        """Of each frame, ``[batch, time]``."""

    @abc.abstractmethod
    def likeliest(
        self, frames: tf.Tensor, clock: tf.Tensor, key: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        """What is expected at each place, ``[batch, time, 88]``."""

    @abc.abstractmethod
    def continued(
        self, start: tf.Tensor, steps: tf.Tensor, choice: sampling.Choice, told: Told
    ) -> tf.Tensor:
        """``[batch, time + steps, 88]``: `start`, and what is drawn after it."""

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
        key: tf.Tensor,
        after: tf.Tensor,
    ) -> Outputs:
        """``roll`` ``[batch, time + steps, 88]``: `start`, of none or more frames, and `steps`
        frames after it. A seed gives the same roll each time. The piece is told to go on for
        `after` frames, 0 to end; -1 tells it nothing."""
        choice = sampling.Choice(temperature, top_k, top_p, seed)
        return {"roll": self.continued(start, steps, choice, Told(bar, offset, key, after))}

    def losses(self, batches: RollBatches) -> list[np.ndarray]:
        """Negative log-likelihood in nats of each frame of each piece, ``[time]``."""
        return batches.each(self._scored)

    def guesses(self, batches: RollBatches) -> list[np.ndarray]:
        """The likeliest frame, decision by decision, at each place of each piece, given what was
        there before it: ``[time, 88]``."""
        return batches.each(self._guessed)

    def score(self, roll: tf.Tensor, bar: tf.Tensor, offset: tf.Tensor, key: tf.Tensor) -> Outputs:
        """Given what stands before each frame: ``nll`` ``[batch, time]``, its nats, and
        ``likeliest`` ``[batch, time, 88]``, the frame that was expected."""
        time, roll = tf.shape(roll)[1], at_least_one(roll)
        told = told_of(roll, bar, offset, key)
        said = {"nll": self.nats(roll, *told), "likeliest": self.likeliest(roll, *told)}
        return {name: value[:, :time] for name, value in said.items()}

    def weigh(self, roll: tf.Tensor, bar: tf.Tensor, offset: tf.Tensor, key: tf.Tensor) -> Outputs:
        """For other runtimes: ``nll`` of ``score``, ``[1, time]``, of one piece."""
        with plain.recurrences(1):
            return {"nll": self.nats(roll, *told_of(roll, bar, offset, key))}


class Ensemble(Together):
    """Composers of rolls, frame by frame."""

    def __init__(self, networks: Sequence[Composer]) -> None:
        super().__init__(networks)
        self.shape = networks[0].shape
        self.way, self.first = networks[0].way, networks[0].density

    def nats(
        self, frames: tf.Tensor, clock: tf.Tensor, key: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        """Of each frame, ``[batch, time]``."""
        asked, past = self._known(frames, clock, key, mask)
        each = self.way.nll(asked, past, tf.reshape(frames, [-1, KEYS]))
        return tf.reshape(each, tf.shape(frames)[:2])

    def likeliest(
        self, frames: tf.Tensor, clock: tf.Tensor, key: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        """The frame that is expected at each place, ``[batch, time, 88]``."""
        asked, past = self._known(frames, clock, key, mask)
        greedy = sampling.Choice(
            tf.constant(0.0), tf.constant(1), tf.constant(1.0), tf.constant([0, 0])
        )
        return tf.reshape(self._drawn(asked, past, greedy, None), tf.shape(frames))

    def _known(
        self, frames: tf.Tensor, clock: tf.Tensor, key: tf.Tensor, mask: tf.Tensor
    ) -> tuple[list[tuple[Any, tf.Tensor]], Past]:
        answers = [network.known(frames, clock, key, mask) for network in self.networks]
        return self._asked([context for context, _ in answers]), answers[0][1]

    def _asked(self, contexts: Sequence[tf.Tensor]) -> list[tuple[Any, tf.Tensor]]:
        densities = [network.density for network in self.networks]
        return list(zip(densities, contexts, strict=True))

    def _drawn(self, asked: Any, past: Past, choice: Any, given: tf.Tensor | None) -> tf.Tensor:
        way = voices if self.way is voices else sampling
        return way.frame(asked, past, choice, given)

    def continued(
        self, start: tf.Tensor, steps: tf.Tensor, choice: sampling.Choice, told: Told
    ) -> tf.Tensor:
        return self._composed(start, start[:, :0], steps, choice, told)

    def harmonise(
        self,
        given: tf.Tensor,
        start: tf.Tensor,
        temperature: tf.Tensor,
        top_k: tf.Tensor,
        top_p: tf.Tensor,
        seed: tf.Tensor,
        bar: tf.Tensor,
        offset: tf.Tensor,
        key: tf.Tensor,
        after: tf.Tensor,
    ) -> Outputs:
        """``roll`` as long as `given`, ``[batch, time, 88]``: `start`, of none or more frames, and
        then the highest line of `given`; what sounds below is drawn, each frame without looking
        ahead."""
        choice = sampling.Choice(temperature, top_k, top_p, seed)
        told, steps = Told(bar, offset, key, after), tf.shape(given)[1] - tf.shape(start)[1]
        return {"roll": self._composed(start, given, steps, choice, told)}

    def _composed(
        self,
        start: tf.Tensor,
        given: tf.Tensor,
        steps: tf.Tensor,
        choice: sampling.Choice,
        told: "Told",
    ) -> tf.Tensor:
        batch, primed = tf.unstack(tf.shape(start)[:2])
        time = primed + steps
        led = tf.shape(given)[1]
        given = tf.pad(given, [[0, 0], [0, 1], [0, 0]])  # one to look at where there is none
        key = tf.fill([batch], told.key)
        silence = tf.zeros([batch, KEYS], tf.int32)
        roll = tf.TensorArray(tf.int32, size=tf.maximum(time, 1), element_shape=[None, KEYS])
        roll = roll.write(0, silence)  # something to stack, where no frame is asked for

        def body(t: Any, before: Any, lines: Any, states: Any, roll: Any) -> Any:
            left = tf.minimum(time - t + told.after, LONGEST_BAR) * tf.cast(
                told.after >= 0, tf.int32
            )
            clock = frame_clock(t[tf.newaxis], told.bar, told.offset, left[tf.newaxis])
            past = Past(before, lines, key)
            contexts, states = self._advanced(past, tf.tile(clock, [batch, 1]), states)

            def drawn() -> tf.Tensor:
                seed = tf.stack([choice.seed, t * sampling.DRAWS])
                how, line = choice._replace(seed=seed), given[:, tf.minimum(t, led)]
                return self._drawn(self._asked(contexts), past, how, line)

            frame = tf.cond(t < primed, lambda: start[:, tf.minimum(t, primed - 1)], drawn)
            frame = tf.ensure_shape(frame, before.shape)
            return t + 1, frame, self.first.follow(frame, lines), states, roll.write(t, frame)

        lines = tf.fill([batch, self.shape.voices], -1)
        states = [network.first_states(batch) for network in self.networks]
        start_values = (tf.constant(0), silence, lines, states, roll)
        *_, roll = tf.while_loop(lambda t, *_: t < time, body, start_values)
        return tf.transpose(roll.stack()[:time], [1, 0, 2])

    def _advanced(
        self, past: Past, clock: tf.Tensor, states: States
    ) -> tuple[list[tf.Tensor], States]:
        contexts, after = [], []
        for network, held in zip(self.networks, states, strict=True):
            context, new = network.advance(past, clock, held)
            contexts.append(context)
            after.append(new)
        return contexts, after

    def step(self, inputs: Outputs) -> Outputs:
        """One frame further: ``frame`` ``[batch, 88]`` drawn, its ``nll`` ``[batch]`` (at
        temperature 1), and the states, whose first are zeros.

        Args:
            inputs: ``before``, the frame before (silence, of the first); ``given``, whose highest
                key is taken where there is one; ``place``, counted from 1, ``bar``, ``left`` and
                ``key``, or zeros, ``[batch]``; how to draw; and ``state_...``.
        """
        names = state_names(self.networks)
        states = [[[inputs[name] for name in layer] for layer in member] for member in names]
        clock = tf.stack([inputs["place"], inputs["bar"], inputs["left"]], axis=1)
        earlier = tf.cast(inputs[LINES], tf.int32) - 1  # zeros at first: no voice has a key
        lines = self.first.follow(inputs["before"], earlier)
        past = Past(inputs["before"], lines, inputs["key"])
        contexts, after = self._advanced(past, clock, states)
        seed = tf.stack([inputs["seed"], 0])
        choice = sampling.Choice(inputs["temperature"], inputs["top_k"], inputs["top_p"], seed)
        asked = self._asked(contexts)
        frame = self._drawn(asked, past, choice, inputs["given"])
        flat = zip(tf.nest.flatten(names), tf.nest.flatten(after), strict=True)
        return {
            "frame": frame,
            "nll": self.way.nll(asked, past, frame),
            LINES: tf.cast(lines + 1, tf.float32),
            **{name: tf.cast(state, tf.float32) for name, state in flat},
        }

    def signatures(self) -> dict[str, Signature]:
        """What ``common.export.write`` writes."""
        whole = {"bar": tf.int32, "offset": tf.int32, "key": tf.int32}
        after = {"after": tf.int32}
        draw = {"temperature": tf.float32, "top_k": tf.int32, "top_p": tf.float32, "seed": tf.int32}

        def rolls(name: str) -> tf.TensorSpec:
            return tf.TensorSpec([None, None, KEYS], tf.int32, name)

        def scalars(**types: Any) -> list[tf.TensorSpec]:
            return [tf.TensorSpec([], dtype, name) for name, dtype in types.items()]

        stepped = {
            **{name: tf.TensorSpec([None, KEYS], tf.int32, name) for name in ("before", "given")},
            **{n: tf.TensorSpec([None], tf.int32, n) for n in ("place", "bar", "left", "key")},
            **{spec.name: spec for spec in scalars(**draw)},
        }
        states = [network.first_states(1) for network in self.networks]
        flat = zip(
            tf.nest.flatten(state_names(self.networks)), tf.nest.flatten(states), strict=True
        )
        for name, state in flat:
            stepped[name] = tf.TensorSpec([None, state.shape[-1]], tf.float32, name)
        stepped[LINES] = tf.TensorSpec([None, self.shape.voices], tf.float32, LINES)
        drawn = [rolls("start"), *scalars(steps=tf.int32, **draw, **whole, **after)]
        return {
            "serving_default": (self.compose, drawn),
            "generate": (self.compose, drawn),
            "harmonise": (
                self.harmonise,
                [rolls("given"), rolls("start"), *scalars(**draw, **whole, **after)],
            ),
            "score": (self.score, [rolls("roll"), *scalars(**whole)]),
            "weigh": (
                self.weigh,
                [tf.TensorSpec([1, None, KEYS], tf.int32, "roll"), *scalars(**whole)],
            ),
            "step": (self.step, [stepped]),
        }


def state_names(networks: Sequence[Any]) -> list[list[list[str]]]:
    """What the states are called outside: of each network, of each layer."""
    return [
        [
            [f"state_{member}_{layer}_{part}" for part in range(len(parts))]
            for layer, parts in enumerate(network.first_states(1))
        ]
        for member, network in enumerate(networks)
    ]


def sample(composer: Any, corpus: Corpus, steps: int, seed: int = 0) -> Piece:
    """A piece from nothing, in the metre and the key that the corpus has most of; the same `seed`
    draws the same, so that one hears a model change."""
    bar = usual_bar(corpus)
    nothing = tf.zeros([1, 0, KEYS], tf.int32)
    how = draw(seed=seed, bar=bar, key=int(np.argmax(keys.counts(corpus.train))))
    roll = composer.compose(nothing, tf.constant(steps), **how)["roll"]
    return Piece("composed", roll.numpy()[0].astype(np.uint8), bar)


def usual_bar(corpus: Corpus) -> int:
    """Frames of the bar that most training pieces have."""
    bars = [piece.bar for piece in corpus.train]
    return max(sorted(set(bars)), key=bars.count)


def at_least_one(roll: tf.Tensor) -> tf.Tensor:
    """A roll ``[batch, time, 88]`` of no frames gets one of silence: a recurrence needs something
    to run over."""
    return tf.pad(roll, [[0, 0], [0, tf.maximum(1 - tf.shape(roll)[1], 0)], [0, 0]])


def told_of(roll: tf.Tensor, bar: tf.Tensor, offset: tf.Tensor, key: tf.Tensor) -> tuple:
    """Clock ``[batch, time, 3]``, key ``[batch]`` and mask ``[batch, time]`` of whole rolls whose
    end is not told."""
    batch, time = tf.unstack(tf.shape(roll)[:2])
    clock = frame_clock(tf.range(time), bar, offset, tf.zeros([time], tf.int32))
    clock = tf.tile(clock[tf.newaxis], [batch, 1, 1])
    return clock, tf.fill([batch], key), tf.ones([batch, time], tf.bool)


def frame_clock(frames: tf.Tensor, bar: tf.Tensor, offset: tf.Tensor, left: tf.Tensor) -> tf.Tensor:
    """As ``pieces.clock``, of frames by number: ``[time, 3]``; `left` is ``[time]``."""
    places = tf.where(bar > 0, (frames + offset) % tf.maximum(bar, 1) + 1, 0)
    return tf.stack([places, tf.fill(tf.shape(frames), bar), left], axis=1)
