"""What the exported model does: whole recordings at once, or sound as it arrives."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from apps.speech import features
from apps.speech.attention import Heard, Memory
from apps.speech.decoding import Texts, greedy
from apps.speech.model import Encoded, Recogniser
from common import plain
from common.export import Signature

Tensors = dict[str, tf.Tensor]
NORMAL = ("frames", "weights", "sums", "squares")  # the state of the causal normalisation


class Serving:
    """A network's answers; every function can be traced by itself.

    Args:
        network: of ``build``.
        symbols: the text of each symbol, by id from 1.
    """

    PORTABLE: ClassVar = {"encode": ("litert", "onnx")}

    def __init__(self, network: Recogniser, symbols: Sequence[str]) -> None:
        self.network = network
        self.symbols = tf.constant(["", *symbols, ""])

    def text(self, texts: Texts) -> Any:
        """Ids as strings, ``[batch]``."""
        return tf.strings.strip(tf.strings.reduce_join(tf.gather(self.symbols, texts.ids), axis=1))

    def whole(self, inputs: Tensors) -> Tensors:
        """Recordings from beginning to end, decoded greedily.

        Args:
            inputs: ``waveform`` ``[batch, samples]`` from -1 to 1 at 16,000 Hz, and ``length``
                ``[batch]``, samples of each.

        Returns:
            ``text`` and ``confidence`` ``[batch]``: how likely the network finds that text, from
            0 to 1; ``ids`` ``[batch, length]``, its symbols, padded by 0.
        """
        texts, log_p = greedy(self.network, self._encoded(inputs))
        confidence = tf.exp(tf.minimum(log_p, 0.0))
        said = {"text": self.text(texts), "confidence": confidence, "ids": texts.ids}
        return _asked_for(said, inputs)

    def _encoded(self, inputs: Tensors) -> Encoded:
        """Of one recording at least: a convolution over none of them fails."""
        more = [0, tf.maximum(1 - tf.shape(inputs["length"])[0], 0)]
        waveform = tf.pad(inputs["waveform"], [more, [0, 0]])
        return self.network((waveform, tf.pad(inputs["length"], [more])), training=False)

    def hear(self, inputs: Tensors) -> Tensors:
        """What a beam search goes by. Inputs as of ``whole``.

        Returns:
            ``steps`` ``[batch]``, of each recording; ``log_p`` ``[batch, time, symbols + 1]``, of
            CTC, the blank first; ``states`` ``[batch, time, width]``, of the encoder. What the
            network's decoder does not use is left out.
        """
        encoded = self._encoded(inputs)
        return _asked_for({"steps": encoded.lengths, **self._heard(encoded)}, inputs)

    def encode(self, inputs: Tensors) -> Tensors:
        """As ``hear``, of one recording's log-mel frames, ``log_mel`` ``[1, frames, mels]`` (at
        least one), for runtimes that have no Fourier transform: ``log_p`` and ``states``."""
        network, log_mel = self.network, inputs["log_mel"]
        frames = tf.fill([1], tf.shape(log_mel)[1])
        with plain.recurrences(1):
            z = network.normal(log_mel, frames)
            encoded = network.encode(z, frames, training=False)
        return self._heard(encoded)

    def _heard(self, encoded: Encoded) -> Tensors:
        found = {}
        if self.network.by_ctc:
            found["log_p"] = tf.nn.log_softmax(self.network.ctc_logits(encoded.states))
        if self.network.by_attention:
            found["states"] = tf.cast(encoded.states, tf.float32)
        return found

    def say(self, inputs: Tensors) -> Tensors:
        """One symbol of the attention decoder, for texts side by side of one recording each.

        Args:
            inputs: ``states`` and ``steps`` of ``hear``, ``last`` symbol of each text ``[batch]``
                (0 before the first), and the decoder's state: ``alignment`` ``[batch, time]`` and
                ``state_0`` ... ``[batch, units]``, all zero before the first.

        Returns:
            ``log_p`` ``[batch, symbols + 2]`` of the next symbol (the last one ends the text),
            and the state after.
        """
        decoder = self.network.decoder
        states = [inputs[name] for name in self._decoder_states()]
        memory = self._memory(inputs)
        logits, after = decoder.step(inputs["last"], Heard(states, inputs["alignment"]), memory)
        found = dict(zip(self._decoder_states(), after.states, strict=True))
        return {"log_p": tf.nn.log_softmax(logits), "alignment": after.alignment, **found}

    def _memory(self, inputs: Tensors) -> Memory:
        states = tf.cast(inputs["states"], self.network.compute_dtype)
        mask = tf.sequence_mask(inputs["steps"], tf.shape(states)[1])
        return self.network.memory(Encoded(states, mask))

    def start(self, inputs: Tensors) -> Tensors:
        """The state before the first sample of so many streams (``batch``, a scalar)."""
        network, batch = self.network, inputs["batch"]
        mels, units = network.settings.mels, network.settings.units
        normal = features.normalise_start(batch, mels)
        sizes = {name: spec.shape[-1] for name, spec in self._recurrent_states().items()}
        return {
            "state_samples": tf.zeros([batch, 0]),
            "state_frames": tf.zeros([batch, network.context, mels]),
            **{f"state_normal_{n}": s for n, s in zip(NORMAL, normal, strict=True)},
            **{name: tf.zeros([batch, size]) for name, size in sizes.items()},
            "state_ahead": tf.zeros([batch, 0, units]),
            "state_last": tf.zeros([batch], tf.int32),
        }

    def step(self, inputs: Tensors) -> Tensors:
        """The next samples, however many, and the state before them.

        Args:
            inputs: ``waveform`` ``[batch, n]`` and the state, of ``start`` or of a step before.

        Returns:
            ``text`` ``[batch]``, what is to be added to the text (a space that begins it belongs
            to it); ``log_p`` ``[batch, m, symbols + 1]`` of the encoder's steps that can be
            answered now; and the state after the chunk.
        """
        network = self.network
        samples = tf.concat([inputs["state_samples"], inputs["waveform"]], axis=1)
        count = features.frames_of(tf.shape(samples)[1])
        normal = tuple(inputs[f"state_normal_{n}"] for n in NORMAL)

        def some() -> tuple[Any, ...]:
            size = tf.fill([tf.shape(samples)[0]], tf.shape(samples)[1])
            log_mel, frames = network.log_mel(samples, size)
            z, after = features.normalise_causal(log_mel, frames, *network.statistics, normal)
            return z, *after

        def none() -> tuple[Any, ...]:
            return tf.zeros([tf.shape(samples)[0], 0, network.settings.mels]), *normal

        z, *normal_after = tf.cond(count > 0, some, none)
        rows = tf.concat([inputs["state_frames"], z], axis=1)
        return {
            **self._advance(rows, inputs),
            "state_samples": samples[:, count * features.HOP :],
            **{f"state_normal_{n}": s for n, s in zip(NORMAL, normal_after, strict=True)},
        }

    def finish(self, inputs: Tensors) -> Tensors:
        """What the state still owes when a stream has ended: ``text`` and ``log_p`` of a step of
        silence; nothing of a stream that has not begun."""
        anything = tf.reduce_any(inputs["state_normal_frames"] > 0)
        anything |= tf.shape(inputs["state_samples"])[1] > 0
        tail = tf.where(anything, self.network.tail, 0)
        silence = tf.zeros([tf.shape(inputs["state_last"])[0], tail])
        said = self.step({"waveform": silence, **inputs})
        return {name: said[name] for name in ("text", "log_p")}

    def _advance(self, rows: Any, state: Tensors) -> Tensors:
        """Normalised frames, those that are pending and the context before them ahead, to what can
        be said now."""
        network = self.network
        hop, context = network.hop, network.context
        names = list(self._recurrent_states())
        before = [state[name] for name in names]
        count = (tf.shape(rows)[1] - context) // hop

        def some() -> list[Any]:
            u = network.front(rows[:, : context + count * hop])
            x, _, after = network.recur(u, None, self._by_layer(before))
            return [tf.cast(s, tf.float32) for s in (x, *(s for layer in after for s in layer))]

        def none() -> list[Any]:
            return [tf.zeros([tf.shape(rows)[0], 0, network.settings.units]), *before]

        x, *after = tf.cond(count > 0, some, none)
        pending = tf.concat([state["state_ahead"], x], axis=1)
        ready = tf.maximum(tf.shape(pending)[1] - network.settings.delay, 0)
        log_p = tf.cond(
            ready > 0,
            lambda: self._log_p(pending),
            lambda: tf.zeros([tf.shape(rows)[0], 0, network.symbols + 1]),
        )
        text, last = self._new_text(log_p, state["state_last"])
        return {
            "text": text,
            "log_p": log_p,
            "state_frames": rows[:, count * hop :],
            **dict(zip(names, after, strict=True)),
            "state_ahead": pending[:, ready:],
            "state_last": last,
        }

    def _log_p(self, pending: Any) -> Any:
        network = self.network
        x = network.look_ahead(tf.cast(pending, network.compute_dtype))
        return tf.nn.log_softmax(network.ctc_logits(x))

    def _new_text(self, log_p: Any, last: Any) -> tuple[Any, Any]:
        """What greedy decoding adds, and the last step's symbol."""
        ids = tf.concat([last[:, tf.newaxis], tf.argmax(log_p, -1, output_type=tf.int32)], axis=1)
        new = tf.where(ids[:, 1:] != ids[:, :-1], ids[:, 1:], 0)
        return tf.strings.reduce_join(tf.gather(self.symbols, new), axis=1), ids[:, -1]

    def _recurrent_states(self) -> dict[str, tf.TensorSpec]:
        found = {}
        for number, layer in enumerate(self.network.forward):
            for place, size in enumerate(_sizes(layer.cell)):
                name = f"state_{number}_{place}"
                found[name] = tf.TensorSpec([None, size], tf.float32, name)
        return found

    def _decoder_states(self) -> dict[str, tf.TensorSpec]:
        sizes = enumerate(_sizes(self.network.decoder.cell))
        return {f"state_{n}": tf.TensorSpec([None, s], tf.float32, f"state_{n}") for n, s in sizes}

    def _by_layer(self, states: Sequence[Any]) -> list[list[Any]]:
        each = len(states) // len(self.network.forward)
        return [list(states[n : n + each]) for n in range(0, len(states), each)]

    def signatures(self) -> dict[str, Signature]:
        """What ``common.export.write`` writes: ``serving_default``, ``hear`` and ``encode``;
        ``say`` where there is an attention decoder; ``start``, ``step`` and ``finish`` of a
        causal model."""
        waveform = tf.TensorSpec([None, None], tf.float32, "waveform")
        sound = [{"waveform": waveform, "length": tf.TensorSpec([None], tf.int32, "length")}]
        found: dict[str, Signature] = {
            "serving_default": (self.whole, sound),
            "hear": (self.hear, sound),
            "encode": (self.encode, [{"log_mel": self._frames()}]),
        }
        if self.network.by_attention:
            found["say"] = (self.say, [self._say_inputs()])
        if self.network.settings.causal:
            state = self._stream_state()
            batch = tf.TensorSpec([], tf.int32, "batch")
            found |= {
                "start": (self.start, [{"batch": batch}]),
                "step": (self.step, [{"waveform": waveform, **state}]),
                "finish": (self.finish, [state]),
            }
        return found

    def examples(self, waveform: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
        """A request to those that need no state, of one recording ``[samples]``."""
        sound = {"waveform": waveform[np.newaxis], "length": np.array([len(waveform)], np.int32)}
        log_mel, _ = self.network.log_mel(sound["waveform"], sound["length"])
        frames = {"log_mel": log_mel.numpy()}
        return {"serving_default": sound, "hear": sound, "encode": frames}

    def _frames(self) -> tf.TensorSpec:
        return tf.TensorSpec([1, None, self.network.settings.mels], tf.float32, "log_mel")

    def _say_inputs(self) -> dict[str, tf.TensorSpec]:
        width = self.network.decoder.key.kernel.shape[0]
        return {
            "states": tf.TensorSpec([None, None, width], tf.float32, "states"),
            "steps": tf.TensorSpec([None], tf.int32, "steps"),
            "last": tf.TensorSpec([None], tf.int32, "last"),
            "alignment": tf.TensorSpec([None, None], tf.float32, "alignment"),
            **self._decoder_states(),
        }

    def _stream_state(self) -> dict[str, tf.TensorSpec]:
        settings = self.network.settings
        shapes: dict[str, list[int | None]] = {
            "state_samples": [None, None],
            "state_frames": [None, None, settings.mels],
            "state_normal_frames": [None, 1],
            "state_normal_weights": [None, 1],
            "state_normal_sums": [None, settings.mels],
            "state_normal_squares": [None, settings.mels],
            "state_ahead": [None, None, settings.units],
        }
        return {
            **{name: tf.TensorSpec(s, tf.float32, name) for name, s in shapes.items()},
            **self._recurrent_states(),
            "state_last": tf.TensorSpec([None], tf.int32, "state_last"),
        }


def _asked_for(said: Tensors, inputs: Tensors) -> Tensors:
    """Without the row that stands in for none."""
    count = tf.shape(inputs["length"])[0]
    return {name: value[:count] for name, value in said.items()}


def _sizes(cell: Any) -> list[int]:
    sizes = cell.state_size
    return sizes if isinstance(sizes, list) else [sizes]
