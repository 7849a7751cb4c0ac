r"""From raw frames to a class for each: convolutions, a recurrence, a readout.

With z the frames in the network's unit, a front end of convolutions makes one vector of every
hop of s frames; it looks back over R frames before the hop, and never ahead. The recurrence
runs over hops, and each of its states labels the s frames of one hop (as in the sub-pixel
convolution of Shi et al. 2016, one matrix gives all of them at once):

.. math::
    u_j &= \mathrm{front}(z_{js - R}, \ldots, z_{js + s - 1}) \\
    h_j &= \mathrm{cell}(u_j, h_{j-1}) \\
    y_{js}, \ldots, y_{js + s - 1} &= \mathrm{softmax}(h_{j + D} W_{hy} + b_y) .

A causal model waits for D hops before it answers for a hop: its look-ahead, D s + s - 1 frames
for the first frame of a hop and D s for the last. A bidirectional one has D = 0, and beside h a
state that comes from the end of the stream. Frames before the first are at the training mean;
after the last the last one is repeated.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from apps.gesture.config import GestureConfig
from common.layers import States, carried, carrying
from common.loops import lacking

KERNELS = (5, 5)  # hops, of the convolutions after the one that makes hops


class Labeller(keras.Model):
    """One network.

    Args:
        config: its settings.
        channels: how many the sensor has.
        classes: width of the answer.
    """

    def __init__(self, config: GestureConfig, channels: int, classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.settings, self.channels, self.classes = config, channels, classes
        self.hop, self.delay = config.frames_a_step, config.delay
        self.context = self.hop * (1 + sum(kernel - 1 for kernel in KERNELS))
        self.mean = self._constant("mean", "zeros")
        self.deviation = self._constant("deviation", "ones")
        sizes = [(2 * self.hop, self.hop), *((kernel, 1) for kernel in KERNELS)]
        self.convolutions = [
            keras.layers.Conv1D(config.width, kernel, strides=stride, name=f"convolution_{n}")
            for n, (kernel, stride) in enumerate(sizes)
        ]
        self.norms = [keras.layers.LayerNormalization(name=f"norm_{n}") for n in range(len(sizes))]
        self.forward = carrying(config)
        self.backward = [] if config.causal else carrying(config, reverse=True)
        self.readout = keras.layers.Dense(self.hop * classes, dtype="float32", name="readout")
        self.drop = keras.layers.Dropout(config.dropout)

    def _constant(self, name: str, start: str) -> Any:
        shape = (self.channels,)
        return self.add_weight(
            shape=shape, initializer=start, trainable=False, dtype="float32", name=name
        )

    def measure(self, values: np.ndarray) -> None:
        """Takes mean and deviation of each channel from frames ``[time, channels]``."""
        self.mean.assign(values.mean(axis=0))
        deviation = values.std(axis=0)
        self.deviation.assign(np.where(deviation > 0, deviation, 1))

    def call(self, frames: Any, mask: Any = None, training: bool = False) -> Any:
        """Raw frames ``[batch, time, channels]``, at least one, and where there are any (mask
        ``[batch, time]``, each row from its first frame on without holes; everywhere if not
        given) to logits ``[batch, time, classes]``."""
        time = tf.shape(frames)[1]
        if mask is None:
            mask = tf.ones(tf.shape(frames)[:2], tf.bool)
        missing = lacking(time, self.hop) + self.delay * self.hop
        last = tf.maximum(tf.reduce_sum(tf.cast(mask, tf.int32), axis=1, keepdims=True) - 1, 0)
        at = tf.minimum(tf.range(time + missing)[tf.newaxis], last)
        z = self.standard(tf.gather(frames, at, batch_dims=1))
        z = tf.pad(z, [[0, 0], [self.context, 0], [0, 0]])
        there = tf.pad(mask, [[0, 0], [0, missing]])[:, :: self.hop]
        h, _ = self.recur(self.front(z), None if self.settings.causal else there, None, training)
        return self.frame_logits(h[:, self.delay :])[:, :time]

    def standard(self, frames: Any) -> Any:
        """Raw frames in the network's unit."""
        z = (frames - tf.convert_to_tensor(self.mean)) / tf.convert_to_tensor(self.deviation)
        return tf.cast(z, self.compute_dtype)

    def front(self, z: Any) -> Any:
        """``[batch, context + n * hop, channels]`` to ``[batch, n, width]``."""
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            z = tf.nn.relu(norm(convolution(z)))
        return z

    def recur(
        self, u: Any, mask: Any, states: States | None, training: bool = False
    ) -> tuple[Any, States]:
        """``[batch, n, width]`` to what the readout reads, ``[batch, n, units]`` (twice that
        when bidirectional), and the states of each forward layer, from `states` on."""
        x, _, after = carried(
            u, mask, self.forward, self.backward, drop=self.drop, states=states, training=training
        )
        return x, after

    def advance(self, rows: Any, states: States) -> tuple[Any, States]:
        """One hop, without a loop over time: standardised rows ``[batch, context + hop,
        channels]`` and the states of each forward layer to logits ``[batch, hop, classes]`` and
        the states after it."""
        x = self.front(rows)[:, 0]
        after: States = []
        for layer, before in zip(self.forward, states, strict=True):
            x, own = layer.cell(x, [tf.cast(state, self.compute_dtype) for state in before])
            after.append(list(own))
        return self.frame_logits(x[:, tf.newaxis]), after

    def frame_logits(self, h: Any) -> Any:
        """``[batch, n, units]`` to ``[batch, n * hop, classes]``."""
        logits = self.readout(h)
        return tf.reshape(logits, [tf.shape(h)[0], -1, self.classes])


def build(config: GestureConfig, values: np.ndarray, classes: int, member: int = 0) -> Labeller:
    """A network with its weights made, and the training part's mean and deviation in it.

    Args:
        values: frames of the training part, ``[time, channels]``.
        classes: width of the answer.
        member: its number in an ensemble, for its name.
    """
    network = Labeller(config, values.shape[1], classes, name=f"labeller_{member}")
    network(tf.zeros([1, 2 * network.hop, values.shape[1]]))
    network.measure(values)
    return network


def mean(logits: Sequence[Any]) -> Any:
    r"""What several networks say together, :math:`\frac{1}{M} \sum_m \mathrm{softmax}(y^m)`, from
    their logits ``[..., classes]``."""
    said = [tf.nn.softmax(tf.cast(each, tf.float32)) for each in logits]
    return tf.add_n(said) / len(said)


def compiled(networks: Sequence[Labeller]) -> Any:
    """Networks as one concrete function from frames ``[batch, time, channels]`` and mask
    ``[batch, time]`` to class probabilities ``[batch, time, classes]``, the mean of theirs."""
    frames = tf.TensorSpec([None, None, networks[0].channels], tf.float32)

    @tf.function(input_signature=[frames, tf.TensorSpec([None, None], tf.bool)])
    def probabilities(frames: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        return mean([network(frames, mask, training=False) for network in networks])

    return probabilities.get_concrete_function()
