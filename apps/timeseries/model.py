r"""From raw history to quantiles of the future, in the target's unit.

With z the history in the network's unit (``framing.normaliser``), cut into patches of p rows
beside their covariates and calendar, :math:`x_1 \ldots x_n`, and :math:`d_1 \ldots d_m` the
patches of the horizon, of which covariates and calendar are known:

.. math::
    s_i &= \mathrm{cell}(E x_i, s_{i-1}), \qquad s_0 = 0 \\
    r_j &= \mathrm{cell}'(D d_j + e_j, s_n) && \text{direct (SegRNN, Lin et al. 2023)} \\
    r_j &= \mathrm{cell}'(D [d_j, \hat z_{j-1}], r_{j-1}), \quad r_0 = s_n
        && \text{autoregressive (Sutskever et al. 2014)}

and a head (``apps.timeseries.head``) makes quantiles of it that can't cross. It begins from a
linear forecast, of the seasonal lags :math:`\Lambda` and, as in LSTNet (Lai et al. 2018) and
DLinear (Zeng et al. 2023), of the whole history, W zero at first:

.. math:: f_t = \sum_{l \in \Lambda} w_l z_{t-l} + \sum_i W_{ti} z_i + b_t
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from apps.timeseries import framing
from apps.timeseries.config import TimeSeriesConfig
from apps.timeseries.framing import specification
from apps.timeseries.head import Head, point
from apps.timeseries.panel import Roles
from apps.timeseries.shape import Shape
from common.cells import make_cell
from common.layers import Recurrent
from common.loops import lacking

Inputs = dict[str, tf.Tensor]


class Forecaster(keras.Model):
    """One network. Inputs are raw, in a dictionary, K targets, P past and F future covariates:

    - ``target`` ``[batch, time, K]``, NaN where missing;
    - ``seconds`` ``[batch, time + horizon]`` int64, of the clock on the wall;
    - ``past`` ``[batch, time, P]`` and ``future`` ``[batch, time + horizon, F]``;
    - ``teacher`` ``[batch, horizon, K]``, true values for teacher forcing; in training only.

    Targets are forecast apart, as rows of a larger batch with a vector for each target: what
    one says about another reaches the network as a past covariate.
    """

    def __init__(self, config: TimeSeriesConfig, shape: Shape, roles: Roles, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # half precision can't hold raw numbers
        self.settings, self.shape, self.roles = config, shape, roles
        self.targets = len(roles.targets)
        self.statistics = {
            name: self._constants(name, len(columns))
            for name, columns in zip(
                ("target", "past", "future"), (roles.targets, roles.past, roles.future), strict=True
            )
        }
        width, patch = config.units, shape.patch
        self.embedding = keras.layers.Dense(width, "relu", name="embedding")
        self.encoder = [
            Recurrent(
                make_cell(config.cell, width),
                return_state=True,
                truncate=config.truncate,
                name=f"encoder_{number}",
            )
            for number in range(config.layers)
        ]
        self.question = keras.layers.Dense(width, "relu", name="question")
        self.places = keras.layers.Embedding(shape.horizon // patch, width, name="places")
        self.which = keras.layers.Embedding(len(roles.targets), width, name="which")
        self.decoder = make_cell(config.cell, width, name="decoder")
        self.head = Head(config.loss, patch, name="head")
        whole = {"dtype": "float32", "autocast": False}
        share = keras.initializers.Constant(1 / max(1, len(shape.lags)))
        self.seasonal = keras.layers.Dense(
            1, use_bias=False, kernel_initializer=share, name="seasonal", **whole
        )
        self.linear = keras.layers.Dense(
            shape.horizon, kernel_initializer="zeros", name="linear", **whole
        )
        self.drop = keras.layers.Dropout(config.dropout)
        if config.teacher_forcing:
            self.coin = keras.random.SeedGenerator()

    def _constants(self, name: str, columns: int) -> list[Any]:
        return [
            self.add_weight(
                shape=(columns,),
                initializer=start,
                trainable=False,
                name=f"{name}_{what}",
                dtype="float32",
                autocast=False,
            )
            for what, start in (("mean", "zeros"), ("deviation", "ones"))
        ]

    def measure(self, statistics: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
        """Takes means and deviations ``[columns]`` of the training part, by name of input."""
        for name, values in statistics.items():
            for variable, value in zip(self.statistics[name], values, strict=True):
                variable.assign(value)

    def call(self, inputs: Inputs, training: bool = False) -> Inputs:
        """``answers`` ``[batch, horizon, K, levels or 1]`` in the network's unit, and
        ``centre`` and ``scale`` ``[batch, 1, K]``, which lead back to the target's."""
        c, s = self.normaliser(inputs["target"])
        past, known, _ = self.split(inputs)
        states = self.encode(past, c, s, training=training)
        teacher = inputs.get("teacher") if training else None
        answers = self.decode(states[-1], self.tail(past), known, c, s, teacher, training)
        return {"answers": answers, "centre": c, "scale": s}

    def normaliser(self, target: Any) -> tuple[Any, Any]:
        """Centre and scale of each window, ``[batch, 1, K]``."""
        settings = self.settings
        mean, deviation = self.constants("target")
        return framing.normaliser(
            target, settings.centre, settings.scale or "training", mean, deviation
        )

    def constants(self, name: str) -> tuple[Any, Any]:
        """Mean and deviation in the training part, ``[columns]`` each."""
        mean, deviation = self.statistics[name]
        return tf.convert_to_tensor(mean), tf.convert_to_tensor(deviation)

    def split(self, inputs: Inputs, gaps: Inputs | None = None) -> tuple[Inputs, Inputs, Inputs]:
        """Rows up to now and rows of the horizon, filled, with ``observed`` beside the first;
        and what a gap after now is to be filled with, ``[batch, 1, columns]``.

        Args:
            gaps: the last of these, of the rows that stood before.
        """
        now = tf.shape(inputs["target"])[1]
        past = {"observed": framing.observed(inputs["target"])}
        known: Inputs = {}
        after: Inputs = {}
        for name in ("target", "past", "future"):
            if name in inputs:
                mean, _ = self.constants(name)
                start = framing.centre_of(inputs[name], mean) if gaps is None else gaps[name]
                rows = framing.filled(inputs[name], self.settings.fill, start)
                past[name] = rows[:, :now]
                after[name] = past[name][:, -1:] if self.settings.fill == "forward" else start
                if name == "future":
                    known[name] = rows[:, now:]
        past["seconds"], known["seconds"] = inputs["seconds"][:, :now], inputs["seconds"][:, now:]
        return past, known, after

    def tail(self, past: Inputs, before: Inputs | None = None) -> Inputs:
        """The last ``reach`` rows of target, past and future covariates: what a decoder looks
        at beside the state. Where there are fewer, their mean stands in for those that lack."""
        tail: Inputs = {}
        for name in ("target", "past", "future"):
            if name in past:
                if before is None:
                    mean = tf.reduce_mean(past[name], axis=1, keepdims=True)
                    earlier = tf.repeat(mean, self.reach, axis=1)
                else:
                    earlier = before[name]
                tail[name] = tf.concat([earlier, past[name]], axis=1)[:, -self.reach :]
        return tail

    @property
    def reach(self) -> int:
        """Rows that the decoder looks back on directly."""
        history = self.shape.history if self.settings.linear else self.shape.patch
        return max([history, *self.shape.lags])

    def state_names(self, member: int) -> list[list[str]]:
        """What the states of each layer are called outside."""
        sizes = [layer.cell.state_size for layer in self.encoder]
        counts = [len(size) if isinstance(size, list) else 1 for size in sizes]
        return [
            [f"state_{member}_{layer}_{number}" for number in range(count)]
            for layer, count in enumerate(counts)
        ]

    def encode(
        self, past: Inputs, c: Any, s: Any, states: Any = None, training: bool = False
    ) -> list[list[Any]]:
        """States of every layer (a list of states each) after the rows of `past`, from
        `states`, or else from zero. An incomplete first patch begins with rows of zero."""
        z = _folded((past["target"] - c) / s)
        rows = tf.concat([z, _folded(past["observed"]), self._repeated(past)], axis=-1)
        rows = tf.pad(rows, [[0, 0], [lacking(tf.shape(rows)[1], self.shape.patch), 0], [0, 0]])
        steps = self.embedding(framing.patches(rows, self.shape.patch))
        x = self.drop(steps + self._which(steps), training=training)
        found = []
        for number, layer in enumerate(self.encoder):
            start = None if states is None else states[number]
            x, *after = layer(x, initial_state=start, training=training)
            found.append(after)
        return found

    def decode(
        self,
        states: list[Any],
        tail: Inputs,
        known: Inputs,
        c: Any,
        s: Any,
        teacher: Any = None,
        training: bool = False,
    ) -> Any:
        """Answers for the horizon, ``[batch, horizon, K, levels or 1]``, from the states of the
        encoder's last layer; `teacher` has true values for the autoregressive form."""
        z = _folded((tail["target"] - c) / s)
        seasons = self._a_season_before(z)
        linear = self._linear(z, seasons)
        own = [seasons, self._repeated(known)]
        if "future" in known:
            future = self._standard("future", tail["future"])
            own.append(tf.repeat(self._a_season_before(future), self.targets, axis=0))
        own = tf.concat(own, axis=-1)
        if self.settings.decoder == "direct":
            answers = self._all_at_once(states, own, linear, training)
        else:
            true = None if teacher is None else _folded((teacher - c) / s)
            last = z[:, -self.shape.patch :]
            answers = self._one_by_one(states, own, linear, last, true, training)
        width = answers.shape[-1]
        answers = tf.reshape(answers, [-1, self.targets, self.shape.horizon, width])
        return tf.transpose(answers, [0, 2, 1, 3])

    def _a_season_before(self, rows: Any) -> Any:
        """``[batch, reach, width]`` to ``[batch, horizon, lags * width]``: for each row of the
        horizon what stood the season before, and the other seasons."""
        horizon = self.shape.horizon
        starts = [self.reach - lag for lag in self.shape.lags]
        nothing = tf.zeros([tf.shape(rows)[0], horizon, 0], rows.dtype)
        return tf.concat([nothing, *(rows[:, t : t + horizon] for t in starts)], axis=-1)

    def _linear(self, z: Any, seasons: Any) -> Any:
        """A forecast to begin with, ``[batch * K, horizon, 1]``."""
        found = tf.zeros([tf.shape(z)[0], self.shape.horizon, 1])
        if self.shape.lags:
            found += self.seasonal(seasons)
        if self.settings.linear:
            found += self.linear(z[:, :, 0])[..., tf.newaxis]
        return found

    def _all_at_once(self, states: list[Any], own: Any, linear: Any, training: bool) -> Any:
        """Every patch of the horizon is one step away from the encoder's last state."""
        asked = self.question(framing.patches(own, self.shape.patch))
        asked = self._placed(asked, tf.range(self.places.input_dim))
        steps = self.places.input_dim
        flat = tf.reshape(self.drop(asked, training=training), [-1, self.settings.units])
        said, _ = self.decoder(flat, [tf.repeat(state, steps, axis=0) for state in states])
        said = tf.reshape(said, [-1, steps, self.settings.units])
        return self.head(self.drop(said, training=training), own, linear)

    def _one_by_one(
        self, states: list[Any], own: Any, linear: Any, last: Any, true: Any, training: bool
    ) -> Any:
        """Each patch is fed with the one before: what was said of it, or what is `true`."""
        patch = self.shape.patch
        forced = None
        if true is not None and self.settings.teacher_forcing:
            draw = keras.random.uniform([tf.shape(last)[0], 1, 1], dtype="float32", seed=self.coin)
            forced = draw < self.settings.teacher_forcing
        found = []
        for number in range(self.places.input_dim):
            here = slice(number * patch, (number + 1) * patch)
            asked = tf.concat([own[:, here], last], axis=-1)
            asked = self.question(framing.patches(asked, patch))
            asked = self.drop(self._placed(asked, [number]), training=training)
            said, states = self.decoder(asked[:, 0], states)
            said_of = self.drop(said[:, tf.newaxis], training=training)
            answers = self.head(said_of, own[:, here], linear[:, here])
            found.append(answers)
            last = tf.cast(point(answers)[..., tf.newaxis], last.dtype)
            if forced is not None:
                now = true[:, here]
                last = tf.where(forced & tf.math.is_finite(now), now, last)
        return tf.concat(found, axis=1)

    def _placed(self, asked: Any, places: Any) -> Any:
        return asked + self.places(tf.convert_to_tensor(places)) + self._which(asked)

    def _which(self, steps: Any) -> Any:
        """A vector for each target, ``[batch * K, 1, units]``."""
        batch = tf.shape(steps)[0] // self.targets
        return tf.tile(self.which(tf.range(self.targets))[:, tf.newaxis], [batch, 1, 1])

    def _standard(self, name: str, rows: Any) -> Any:
        mean, deviation = self.constants(name)
        return (rows - mean) / deviation

    def _repeated(self, rows: Inputs) -> Any:
        """Calendar and standardised covariates of rows, once for each target:
        ``[batch * K, time, features]``."""
        parts = [framing.calendar(rows["seconds"], self.shape.cycles)]
        parts += [self._standard(name, rows[name]) for name in ("past", "future") if name in rows]
        return tf.repeat(tf.concat(parts, axis=-1), self.targets, axis=0)


def _folded(rows: Any) -> Any:
    """``[batch, time, K]`` to ``[batch * K, time, 1]``."""
    across = tf.transpose(rows, [0, 2, 1])
    return tf.reshape(across, [-1, tf.shape(rows)[1], 1])


def build(
    config: TimeSeriesConfig,
    shape: Shape,
    roles: Roles,
    statistics: dict[str, tuple[np.ndarray, np.ndarray]],
    member: int = 0,
) -> Forecaster:
    """A network with its weights made, and the training part's means and deviations in it.

    Args:
        statistics: ``target``, ``past`` and ``future`` -> mean and deviation, ``[columns]`` each.
        member: its number in an ensemble, for its name.
    """
    network = Forecaster(config, shape, roles, name=f"forecaster_{member}")
    specs = specification(shape, roles, shape.history, batch=1)
    network({name: tf.zeros(spec.shape, spec.dtype) for name, spec in specs.items()})
    network.measure(statistics)
    return network
