"""What an exported model of melodies does: score one, sing one, or say the next note."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from apps.music import melody
from apps.music.melody import BEGIN, EARLIER, LONGEST, REST, Before
from apps.music.pieces import KEYS, LONGEST_BAR
from apps.music.sampling import Choice, narrowed
from apps.music.serving import (
    LINES,
    Outputs,
    States,
    Together,
    Told,
    frame_clock,
    state_names,
)
from common.export import Signature


class Singers(Together):
    """Singers of melodies, note by note: the nats of one stand where it begins."""

    def nats(
        self, frames: tf.Tensor, clock: tf.Tensor, key: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        """Of each frame, ``[batch, time]``."""
        events = melody.events_of(frames, mask)
        contexts, before = self._known(events, clock, key)
        pitches = tf.reshape(events.pitches, [-1])
        lengths = tf.clip_by_value(tf.reshape(events.lengths, [-1]), 1, LONGEST)
        each = -tf.gather(self._pitch(contexts, before), pitches, batch_dims=1)
        lasts = self._length(contexts, before, pitches)
        each -= tf.gather(lasts, lengths - 1, batch_dims=1)
        return melody.on_frames(each, events, strict=True)

    def likeliest(
        self, frames: tf.Tensor, clock: tf.Tensor, key: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        """The notes that are expected, ``[batch, time, 88]``."""
        events = melody.events_of(frames, mask)
        contexts, before = self._known(events, clock, key)
        pitch = tf.argmax(self._pitch(contexts, before), axis=1, output_type=tf.int32)
        length = 1 + tf.argmax(self._length(contexts, before, pitch), axis=1, output_type=tf.int32)
        number = tf.maximum(tf.cumsum(tf.cast(events.begins, tf.int32), axis=1) - 1, 0)
        time = tf.range(tf.shape(frames)[1])
        place, pitch, length = (
            tf.gather(tf.reshape(part, tf.shape(events.pitches)), number, batch_dims=1)
            for part in (events.places, pitch, length)
        )
        pitch = tf.where(time - place < length, pitch, REST)
        return tf.one_hot(pitch, KEYS, dtype=tf.int32)

    def _known(
        self, events: melody.Events, clock: tf.Tensor, key: tf.Tensor
    ) -> tuple[list[tf.Tensor], Before]:
        answers = [network.known(events, clock, key) for network in self.networks]
        return [context for context, _ in answers], answers[0][1]

    def _pitch(self, contexts: Sequence[tf.Tensor], before: Before) -> tf.Tensor:
        pairs = zip(self.networks, contexts, strict=True)
        return _mean([network.pitch(context, before) for network, context in pairs])

    def _length(self, contexts: Sequence[tf.Tensor], before: Before, pitch: tf.Tensor) -> tf.Tensor:
        pairs = zip(self.networks, contexts, strict=True)
        return _mean([network.length(context, before, pitch) for network, context in pairs])

    def continued(
        self, start: tf.Tensor, steps: tf.Tensor, choice: Choice, told: Told
    ) -> tf.Tensor:
        batch, primed = tf.unstack(tf.shape(start)[:2])
        time = primed + steps
        given = melody.events_of(
            tf.pad(start, [[0, 0], [0, 1], [0, 0]]),  # a frame to look at where there is none
            tf.tile(tf.range(primed + 1)[tf.newaxis] < primed, [batch, 1]),
        )
        led = tf.shape(given.pitches)[1]
        lead = [tf.pad(part, [[0, 0], [0, 1]]) for part in (given.pitches, given.lengths)]
        key = tf.fill([batch], told.key)

        def body(i: Any, place: Any, before: Any, lines: Any, states: Any, sung: Any) -> Any:
            left = tf.minimum(time - place + told.after, LONGEST_BAR)
            left = tf.maximum(tf.where(told.after >= 0, left, 0), 0)
            clock = frame_clock(place, told.bar, told.offset, left)
            known = Before(before[0], before[1], lines, clock, key)
            contexts, states = self._advanced(known, states)
            seed = tf.stack([choice.seed, 2 * i])
            pitch, length = self._drawn(contexts, known, choice._replace(seed=seed))
            forced = [part[:, tf.minimum(i, led)] for part in lead]
            pitch = tf.where(forced[1] > 0, forced[0], pitch)
            length = tf.where(forced[1] > 0, forced[1], length)
            length = tf.minimum(length, time - place)  # nothing is sung after the end
            new = [pitch, length]
            sung = [each.write(i, part) for each, part in zip(sung, new, strict=True)]
            seen = [pitch, tf.minimum(length, LONGEST)]
            return i + 1, place + length, seen, melody.after(lines, pitch), states, sung

        arrays = [
            tf.TensorArray(tf.int32, size=0, dynamic_size=True, element_shape=[None])
            for _ in range(2)
        ]
        nothing = tf.zeros([batch], tf.int32)
        first = [nothing + BEGIN, nothing]
        lines = tf.fill([batch, EARLIER], -1)
        states = [network.first_states(batch) for network in self.networks]
        *_, sung = tf.while_loop(
            lambda i, place, *_: (i == 0) | tf.reduce_any(place < time),  # one, even of nothing
            body,
            (tf.constant(0), nothing, first, lines, states, arrays),
            maximum_iterations=time + 1,
        )
        pitches, lengths = (tf.transpose(each.stack()) for each in sung)
        return tf.ensure_shape(melody.roll_of(pitches, lengths, time), [None, None, KEYS])

    def _drawn(
        self, contexts: Sequence[tf.Tensor], before: Before, choice: Choice
    ) -> tuple[tf.Tensor, tf.Tensor]:
        def one(logs: tf.Tensor, number: int) -> tf.Tensor:
            seed = choice.seed + tf.constant([0, number])
            options = narrowed(logs, choice)
            return tf.random.stateless_categorical(options, 1, seed, tf.int32)[:, 0]

        pitch = one(self._pitch(contexts, before), 0)
        return pitch, 1 + one(self._length(contexts, before, pitch), 1)

    def _advanced(self, before: Before, states: States) -> tuple[list[tf.Tensor], States]:
        contexts, after = [], []
        for network, held in zip(self.networks, states, strict=True):
            context, new = network.advance(before, held)
            contexts.append(context)
            after.append(new)
        return contexts, after

    def step(self, inputs: Outputs) -> Outputs:
        """The next note: ``pitch`` (0 the lowest key, 88 a rest) and ``length`` in frames,
        ``[batch]``, their ``nll`` (at temperature 1), and the states, whose first are zeros.

        Args:
            inputs: ``pitch`` and ``length`` of the note before (89 and 0, of the first);
                ``place`` where the note begins, counted from 1, ``bar``, ``left`` and ``key``, or
                zeros, ``[batch]``; how to draw; and ``state_...``.
        """
        names = state_names(self.networks)
        states = [[[inputs[name] for name in layer] for layer in member] for member in names]
        clock = tf.stack([inputs["place"], inputs["bar"], inputs["left"]], axis=1)
        lines = melody.after(tf.cast(inputs[LINES], tf.int32) - 1, inputs["pitch"])
        before = Before(inputs["pitch"], inputs["length"], lines, clock, inputs["key"])
        contexts, after = self._advanced(before, states)
        seed = tf.stack([inputs["seed"], 0])
        choice = Choice(inputs["temperature"], inputs["top_k"], inputs["top_p"], seed)
        pitch, length = self._drawn(contexts, before, choice)
        nll = -tf.gather(self._pitch(contexts, before), pitch, batch_dims=1)
        nll -= tf.gather(self._length(contexts, before, pitch), length - 1, batch_dims=1)
        flat = zip(tf.nest.flatten(names), tf.nest.flatten(after), strict=True)
        return {
            "pitch": pitch,
            "length": length,
            "nll": nll,
            LINES: tf.cast(lines + 1, tf.float32),
            **{name: tf.cast(state, tf.float32) for name, state in flat},
        }

    def signatures(self) -> dict[str, Signature]:
        """What ``common.export.write`` writes."""
        roll = [tf.TensorSpec([None, None, KEYS], tf.int32, name) for name in ("start", "roll")]
        whole = _scalars(tf.int32, "bar", "offset", "key")
        drawing = [
            *_scalars(tf.float32, "temperature"),
            *_scalars(tf.int32, "top_k"),
            *_scalars(tf.float32, "top_p"),
            *_scalars(tf.int32, "seed"),
        ]
        each = ("pitch", "length", "place", "bar", "left", "key")
        stepped = {name: tf.TensorSpec([None], tf.int32, name) for name in each}
        stepped |= {spec.name: spec for spec in drawing}
        states = tf.nest.flatten([network.first_states(1) for network in self.networks])
        for name, state in zip(tf.nest.flatten(state_names(self.networks)), states, strict=True):
            stepped[name] = tf.TensorSpec([None, state.shape[-1]], tf.float32, name)
        stepped[LINES] = tf.TensorSpec([None, EARLIER], tf.float32, LINES)
        last = [*drawing, *whole, *_scalars(tf.int32, "after")]
        drawn = [roll[0], *_scalars(tf.int32, "steps"), *last]
        one = tf.TensorSpec([1, None, KEYS], tf.int32, "roll")
        return {
            "serving_default": (self.compose, drawn),
            "generate": (self.compose, drawn),
            "score": (self.score, [roll[1], *whole]),
            "weigh": (self.weigh, [one, *whole]),
            "step": (self.step, [stepped]),
        }


def _scalars(dtype: Any, *names: str) -> list[tf.TensorSpec]:
    return [tf.TensorSpec([], dtype, name) for name in names]


def _mean(members: list[tf.Tensor]) -> tf.Tensor:
    if len(members) == 1:
        return members[0]
    return tf.reduce_logsumexp(tf.stack(members), axis=0) - np.log(len(members))
