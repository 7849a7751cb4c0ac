r"""From a waveform to what two decoders need: features, convolutions, a recurrence.

Log-mel frames, normalised, go through two convolutions over time and frequency, which look back
and never ahead; they make one vector of every hop of s frames. The recurrence runs over hops:

.. math::
    z &= \mathrm{normalise}(\log \mathrm{mel}(x)) \\
    u_j &= \mathrm{front}(z_{js - R}, \ldots, z_{js + s - 1}) \\
    h_j &= [\mathrm{cell}(u_j, h_{j-1}); \mathrm{cell}(u_j, h_{j+1})] \\
    p_j &= \mathrm{softmax}(h_j W_c + b_c)

with :math:`p_j` over the symbols and the blank of CTC. The attention decoder reads the same
:math:`h` (``attention``). After each of the first ``pyramid`` layers two neighbouring states become
one (the pyramid of Chan et al. 2016, "Listen, Attend and Spell").

A causal network has the forward half alone, and answers by CTC; an attention decoder that looks at
its states helps them to be learnt, and is not asked afterwards (Kim et al. 2017, "Joint
CTC-attention based end-to-end speech recognition using multi-task learning"). Ahead it sees through
one row convolution (Amodei et al. 2016, "Deep Speech 2") over its last states, a weight for each
unit and each of D steps:

.. math:: \tilde h_j = \sum_{i=0}^{D} w_i \odot h_{j+i}.

Nothing tells a causal network that a stream is about to end, in training neither: the last D steps,
which lack what lies ahead of them, do not count, and every training utterance is followed by
silence of random length (``batches``). Were it told, it would keep the last word until then. To
hear all of a recording it is given ``TAIL`` seconds of silence after it.

Frames before the first, and after the last, are at the mean.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from apps.speech import features
from apps.speech.attention import AttentionDecoder, Memory
from apps.speech.config import SpeechConfig
from apps.speech.utterances import RATE
from apps.speech.warp import Warp
from common.layers import States, carried, carrying

KERNELS = (5, 3)  # mel channels that the two convolutions see
BACK = (2, 3)  # hops that they see: the last, and those before it
TAIL = 0.5
"""Seconds of silence after which a causal network has said all that it has heard."""


class Encoded(NamedTuple):
    """What an encoder has made of a batch of utterances."""

    states: Any
    """``[batch, steps, width]``, zero where masked."""
    mask: Any
    """``[batch, steps]``, true up to each utterance's end."""

    @property
    def lengths(self) -> Any:
        """Steps of each, ``[batch]`` int32."""
        return tf.reduce_sum(tf.cast(self.mask, tf.int32), axis=1)


class Recogniser(keras.Model):
    """One network: an encoder, and the readouts that its decoders need.

    Args:
        config: its settings.
        symbols: how many the alphabet has.
    """

    def __init__(self, config: SpeechConfig, symbols: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # a waveform in half precision is noise
        self.settings, self.symbols, self.hop = config, symbols, config.hop
        self.context = self.hop * sum(hops - 1 for hops in BACK)
        self.log_mel = features.LogMel(config.mels)
        self.mean = self._constant("mean", "zeros")
        self.deviation = self._constant("deviation", "ones")
        mel = self.log_mel
        self.warp = Warp(mel.mels, mel.low, mel.high, config.tract, config.formants)
        self.augment = features.SpecAugment(
            config.mel_masks, config.mel_width, config.time_masks, config.time_width
        )
        sizes = [(BACK[0] * self.hop, self.hop), (BACK[1], 1)]
        self.convolutions = [
            keras.layers.Conv2D(
                config.filters, (back, kernel), strides=(stride, 2), name=f"convolution_{n}"
            )
            for n, ((back, stride), kernel) in enumerate(zip(sizes, KERNELS, strict=True))
        ]
        self.norms = [keras.layers.LayerNormalization(name=f"norm_{n}") for n in range(3)]
        self.flat = keras.layers.Dense(config.width, name="flat")
        self.forward = carrying(config)
        self.backward = [] if config.causal else carrying(config, reverse=True)
        if config.causal:
            self.ahead = self.add_weight(
                shape=(config.delay + 1, config.units),
                initializer=keras.initializers.RandomNormal(stddev=(config.delay + 1) ** -0.5),
                name="ahead",
            )
        self.drop = keras.layers.Dropout(config.dropout)
        if self.by_ctc:
            self.readout = keras.layers.Dense(symbols + 1, dtype="float32", name="readout")
        if config.attends:
            self.decoder = AttentionDecoder(
                symbols,
                cell=config.cell,
                units=config.units,
                attention=config.attention,
                dropout=config.dropout,
                name="decoder",
            )

    def _constant(self, name: str, start: str) -> Any:
        shape = (self.settings.mels,)
        return self.add_weight(
            shape=shape,
            initializer=start,
            trainable=False,
            dtype="float32",
            autocast=False,
            name=name,
        )

    def build(self, input_shape: Any) -> None:
        """The readouts, which ``call`` does not use; the rest is made when it is."""
        settings = self.settings
        width = settings.units * (1 if settings.causal else 2)
        if self.by_ctc:
            self.readout.build((None, None, width))
        if settings.attends:
            self.decoder.build((None, None, width))

    @property
    def by_ctc(self) -> bool:
        """Whether CTC answers, alone or with the attention decoder."""
        return self.settings.decodes != "attention"

    @property
    def by_attention(self) -> bool:
        """Whether the attention decoder answers, alone or with CTC."""
        return self.settings.decodes != "ctc"

    def measure(self, mean: np.ndarray, deviation: np.ndarray) -> None:
        """Takes the training part's mean and deviation of each mel channel, ``[mels]``."""
        self.mean.assign(mean)
        self.deviation.assign(deviation)

    def call(self, inputs: Any, training: bool = False) -> Encoded:
        """Waveforms ``[batch, samples]`` from -1 to 1 and their lengths ``[batch]`` to encoder
        states, at least one (perhaps masked) step of them."""
        waveform, lengths = inputs[0], tf.convert_to_tensor(inputs[1])
        if self.settings.causal and not training:
            heard = tf.sequence_mask(lengths, tf.shape(waveform)[1])
            waveform = tf.pad(tf.where(heard, waveform, 0.0), [[0, 0], [0, self.tail]])
            lengths = tf.where(lengths > 0, lengths + self.tail, 0)  # nothing stays nothing
        missing = tf.maximum(features.FRAME - tf.shape(waveform)[1], 0)  # one frame at least
        log_mel, frames = self.log_mel(tf.pad(waveform, [[0, 0], [0, missing]]), lengths)
        log_mel = self.warp(log_mel, training=training)
        return self.encode(self.normal(log_mel, frames), frames, training)

    def normal(self, log_mel: Any, frames: Any) -> Any:
        """Normalised frames ``[batch, frames, mels]``, padding at 0."""
        if not self.settings.causal:
            return features.normalise(log_mel, frames)
        start = features.normalise_start(tf.shape(log_mel)[0], self.settings.mels)
        mean, deviation = self.statistics
        return features.normalise_causal(log_mel, frames, mean, deviation, start)[0]

    @property
    def statistics(self) -> tuple[Any, Any]:
        """Mean and deviation of ``measure``."""
        return tf.convert_to_tensor(self.mean), tf.convert_to_tensor(self.deviation)

    def encode(self, z: Any, frames: Any, training: bool = False) -> Encoded:
        """Normalised frames ``[batch, frames, mels]`` and how many each row has."""
        z = self.augment(z, frames, training=training)
        # Of a stream a part of a step at its end is never heard: more would have to come.
        more = 0 if self.settings.causal else self.hop - 1
        steps = (frames + more) // self.hop
        count = tf.maximum(1, (tf.shape(z)[1] + more) // self.hop)
        z = tf.pad(z, [[0, 0], [self.context, self.hop], [0, 0]])
        z = z[:, : self.context + count * self.hop]
        mask = tf.sequence_mask(steps, count)
        x, mask, _ = self.recur(self.front(z), mask, None, training)
        if not self.settings.causal:
            return Encoded(x, mask)
        missing = tf.maximum(0, self.settings.delay + 1 - tf.shape(x)[1])  # one step at least
        x = self.look_ahead(tf.pad(x, [[0, 0], [0, missing], [0, 0]]))
        mask = tf.sequence_mask(steps - self.settings.delay, tf.shape(x)[1])
        return Encoded(tf.where(mask[..., tf.newaxis], x, tf.zeros_like(x)), mask)

    def front(self, z: Any) -> Any:
        """``[batch, context + n * hop, mels]`` to ``[batch, n, width]``."""
        x = tf.expand_dims(tf.cast(z, self.compute_dtype), -1)  # LiteRT knows no new axis
        for convolution, norm in zip(self.convolutions, self.norms, strict=False):
            side = convolution.kernel_size[1] // 2
            x = tf.pad(x, [[0, 0], [0, 0], [side, side], [0, 0]])
            x = tf.nn.relu(norm(convolution(x)))
        x = tf.reshape(x, [tf.shape(x)[0], tf.shape(x)[1], x.shape[2] * x.shape[3]])
        return tf.nn.relu(self.norms[-1](self.flat(x)))

    def recur(
        self, u: Any, mask: Any, states: States | None, training: bool = False
    ) -> tuple[Any, Any, States]:
        """``[batch, n, width]`` to the last layer's states ``[batch, n, units]`` (twice that when
        bidirectional; fewer steps after a pyramid), their mask, and the states of each forward
        layer, from `states` on."""

        def halved(number: int, h: Any, mask: Any) -> tuple[Any, Any]:
            return paired(h, mask) if number < self.settings.pyramid else (h, mask)

        return carried(
            *(u, mask, self.forward, self.backward),
            drop=self.drop,
            states=states,
            training=training,
            between=halved,
        )

    @property
    def tail(self) -> int:
        """``TAIL`` in samples."""
        return round(TAIL * RATE)

    def look_ahead(self, x: Any) -> Any:
        """The row convolution of a causal network: D steps fewer come out than go in."""
        weights = tf.cast(tf.convert_to_tensor(self.ahead), x.dtype)
        count = tf.shape(x)[1] - self.settings.delay
        return tf.add_n([w * x[:, i : i + count] for i, w in enumerate(tf.unstack(weights))])

    def ctc_logits(self, states: Any) -> Any:
        """``[batch, steps, width]`` to ``[batch, steps, symbols + 1]``, the blank first."""
        return tf.cast(self.readout(states), tf.float32)

    def memory(self, encoded: Encoded) -> Memory:
        """What the attention decoder looks at."""
        return self.decoder.look_at(encoded.states, encoded.mask)


def paired(h: Any, mask: Any) -> tuple[Any, Any]:
    """Two neighbouring steps as one: ``[batch, n, width]`` to ``[batch, ceil(n / 2), 2 * width]``;
    a step is there if its first half is."""
    h = tf.pad(h, [[0, 0], [0, tf.shape(h)[1] % 2], [0, 0]])
    shape = [tf.shape(h)[0], tf.shape(h)[1] // 2, 2 * h.shape[2]]
    return tf.reshape(h, shape), mask[:, ::2]


def build(config: SpeechConfig, symbols: int) -> Recogniser:
    """A network with its weights made.

    Args:
        symbols: how many the alphabet has.
    """
    network = Recogniser(config, symbols, name="recogniser")
    network((tf.zeros([1, features.FRAME]), tf.constant([features.FRAME])))
    return network
