"""What the exported model does: whole streams at once, or a stream as it arrives."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from apps.gesture.model import Labeller, States, compiled, mean
from common import plain
from common.export import Signature

Tensors = dict[str, tf.Tensor]
FEW = 256
"""Frames of an example, at the most."""


class Serving:
    """The answers of one network, or the mean of several; every function can be traced by itself.

    Args:
        networks: of ``build``, alike but for their weights.
        classes: names, in the order of the logits.
    """

    def __init__(self, networks: Sequence[Labeller], classes: Sequence[str]) -> None:
        self.networks = tuple(networks)
        self.network = networks[0]  # for what all have in common: shapes, and the unit
        self.classes = tf.constant(list(classes))
        self.answer = compiled(networks)

    def whole(self, inputs: Tensors) -> Tensors:
        """Streams from their first frame to their last.

        Args:
            inputs: ``frames`` ``[batch, time, channels]`` in the sensor's unit, and ``mask``
                ``[batch, time]``, true up to the end of each stream.

        Returns:
            ``probabilities`` ``[batch, time, classes]``, ``label`` ``[batch, time]`` (what they
            say after a stream's end means nothing) and, the same for all, ``classes``.
        """
        frames, mask = inputs["frames"], inputs["mask"]
        batch, time = tf.unstack(tf.shape(mask))
        more = [[0, tf.maximum(1 - size, 0)] for size in (batch, time)]  # one to run over
        said = self.answer(tf.pad(frames, [*more, [0, 0]]), tf.pad(mask, more))[:batch, :time]
        return {**self._named(said), "classes": self.classes}

    def stream(self, inputs: Tensors) -> Tensors:
        """For other runtimes: ``frames`` ``[1, time, channels]`` of one whole stream, at least one,
        to ``probabilities`` ``[1, time, classes]``."""
        with plain.recurrences(1):
            said = [network(inputs["frames"], training=False) for network in self.networks]
        return {"probabilities": mean(said)}

    def start(self, inputs: Tensors) -> Tensors:
        """The state before the first frame of so many streams (``batch``, a scalar)."""
        network, batch = self.network, inputs["batch"]
        state = {
            "state_recent": tf.zeros([batch, network.context, network.channels]),
            "state_hops": tf.constant(0),
        }
        sizes = {name: spec.shape[-1] for name, spec in self._recurrent_states().items()}
        return state | {name: tf.zeros([batch, size]) for name, size in sizes.items()}

    def step(self, inputs: Tensors) -> Tensors:
        """The next frames, however many, and the state before them.

        Args:
            inputs: ``frames`` ``[batch, n, channels]`` and the state, of ``start`` or of a step
                before.

        Returns:
            ``probabilities`` and ``label`` of the frames that can be answered for now: each frame
            of a stream once, in their order, none before its look-ahead has arrived; and the
            state after the chunk.
        """
        z = tf.cast(self.network.standard(inputs["frames"]), tf.float32)
        rows = tf.concat([inputs["state_recent"], z], axis=1)
        return self._advance(rows, inputs)

    def finish(self, inputs: Tensors) -> Tensors:
        """The answers that the state still owes when a stream has ended: its last frame stands
        in for those that will not come, as at the end of a whole stream."""
        network = self.network
        recent, hops = inputs["state_recent"], inputs["state_hops"]
        pending = tf.shape(recent)[1] - network.context
        missing = -pending % network.hop + network.delay * network.hop
        rows = tf.concat([recent, tf.repeat(recent[:, -1:], missing, axis=1)], axis=1)
        owed = pending + hops * network.hop
        said = self._advance(rows, inputs)
        return {name: said[name][:, :owed] for name in ("probabilities", "label")}

    def _advance(self, rows: Any, state: Tensors) -> Tensors:
        network = self.network
        hops, context, hop = state["state_hops"], network.context, network.hop
        names = list(self._recurrent_states())
        before = [state[name] for name in names]
        count = (tf.shape(rows)[1] - context) // hop

        def some() -> list[Any]:
            complete = tf.cast(rows[:, : context + count * hop], network.compute_dtype)
            logits, after = [], []
            for member, states in zip(self.networks, self._by_member(before), strict=True):
                h, own = member.recur(member.front(complete), None, states)
                logits.append(member.frame_logits(h))
                after += [tf.cast(state, tf.float32) for layer in own for state in layer]
            return [mean(logits), *after]

        def none() -> list[Any]:
            return [tf.zeros([tf.shape(rows)[0], 0, network.classes]), *before]

        said, *after = tf.cond(count > 0, some, none)
        said = said[:, tf.minimum(tf.maximum(network.delay - hops, 0), count) * hop :]
        return {
            **self._named(said),
            "state_recent": rows[:, count * hop :],
            "state_hops": tf.minimum(hops + count, network.delay),
            **dict(zip(names, after, strict=True)),
        }

    def hop(self, inputs: Tensors) -> Tensors:
        """One hop of one stream, for small devices: no loops, no shapes that change.

        Args:
            inputs: ``frames`` ``[1, hop, channels]``, ``state_recent`` ``[1, context,
                channels]`` and the recurrent states; all zero before the first.

        Returns:
            ``probabilities`` ``[1, hop, classes]`` of the frames of the hop `delay` hops ago (for
            the first `delay` hops: of none), and the states.
        """
        network = self.network
        z = tf.cast(network.standard(inputs["frames"]), tf.float32)
        rows = tf.concat([inputs["state_recent"], z], axis=1)
        names = list(self._recurrent_states())
        before = self._by_member([inputs[name] for name in names])
        logits, after = [], []
        for member, states in zip(self.networks, before, strict=True):
            said, own = member.advance(tf.cast(rows, network.compute_dtype), states)
            logits.append(said)
            after += [tf.cast(state, tf.float32) for layer in own for state in layer]
        return {
            "probabilities": mean(logits),
            "state_recent": rows[:, network.hop :],
            **dict(zip(names, after, strict=True)),
        }

    def _named(self, said: Any) -> Tensors:
        label = tf.gather(self.classes, tf.argmax(said, axis=-1))
        return {"probabilities": said, "label": label}

    def _recurrent_states(self) -> dict[str, tf.TensorSpec]:
        found = {}
        for member, network in enumerate(self.networks):
            for number, layer in enumerate(network.forward):
                sizes = layer.cell.state_size
                for place, size in enumerate(sizes if isinstance(sizes, list) else [sizes]):
                    name = f"state_{member}_{number}_{place}"
                    found[name] = tf.TensorSpec([None, size], tf.float32, name)
        return found

    def _by_member(self, states: Sequence[Any]) -> list[States]:
        each = len(states) // len(self.networks)
        layers = len(self.network.forward)
        return [
            [list(states[n : n + each // layers]) for n in range(m, m + each, each // layers)]
            for m in range(0, len(states), each)
        ]

    def signatures(self) -> dict[str, Signature]:
        """What ``common.export.write`` writes: ``serving_default`` and, of a causal model,
        ``start``, ``step``, ``finish`` and ``hop``; of another, ``stream``."""
        channels = self.network.channels
        frames = tf.TensorSpec([None, None, channels], tf.float32, "frames")
        mask = tf.TensorSpec([None, None], tf.bool, "mask")
        whole: dict[str, Signature] = {
            "serving_default": (self.whole, [{"frames": frames, "mask": mask}])
        }
        if not self.network.settings.causal:
            one = tf.TensorSpec([1, None, channels], tf.float32, "frames")
            return whole | {"stream": (self.stream, [{"frames": one}])}
        state = {
            "state_recent": tf.TensorSpec([None, None, channels], tf.float32, "state_recent"),
            "state_hops": tf.TensorSpec([], tf.int32, "state_hops"),
            **self._recurrent_states(),
        }
        return whole | {
            "start": (self.start, [{"batch": tf.TensorSpec([], tf.int32, "batch")}]),
            "step": (self.step, [{"frames": frames, **state}]),
            "finish": (self.finish, [state]),
            "hop": (self.hop, [self._hop_inputs()]),
        }

    def _hop_inputs(self) -> dict[str, tf.TensorSpec]:
        """Of ``hop``, with one stream and every shape fixed."""
        network = self.network
        shapes = {
            "frames": [1, network.hop, network.channels],
            "state_recent": [1, network.context, network.channels],
            **{name: [1, spec.shape[-1]] for name, spec in self._recurrent_states().items()},
        }
        return {name: tf.TensorSpec(s, tf.float32, name) for name, s in shapes.items()}

    def portable(self) -> dict[str, tuple[str, ...]]:
        """What other runtimes can run."""
        return {"hop" if self.network.settings.causal else "stream": ("litert", "onnx")}

    def examples(self, frames: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
        """A request to those that need no state, or zeros; of one stream ``[time, channels]``."""
        one = frames[np.newaxis, :FEW]
        whole = {"frames": one, "mask": np.ones(one.shape[:2], bool)}
        if not self.network.settings.causal:
            return {"serving_default": whole, "stream": {"frames": one}}
        first = {name: np.zeros(s.shape, np.float32) for name, s in self._hop_inputs().items()}
        return {"serving_default": whole, "hop": first | {"frames": one[:, : self.network.hop]}}
