"""What the exported model does, from raw rows to quantiles in the targets' units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from apps.timeseries.calibration import MEDIAN, residual_quantiles, spread_factors
from apps.timeseries.config import LEVELS
from apps.timeseries.framing import specification
from apps.timeseries.head import outward, point
from apps.timeseries.model import Forecaster, Inputs
from apps.timeseries.panel import Forecast
from common import plain
from common.export import Signature


@keras.saving.register_keras_serializable(package="apps.timeseries")
class Correction(keras.layers.Layer):
    """What the validation part taught about the spread, as weights.

    Of quantiles, ``factors`` ``[levels]``: the distance of each from its neighbour towards the
    median is multiplied by it. Of a point, ``offsets`` ``[horizon, K, levels]``, added to it.

    Args:
        horizon: rows.
        targets: K.
        of_point: whether the network gives a point, or quantiles.
    """

    def __init__(self, horizon: int, targets: int, of_point: bool, **kwargs: Any) -> None:
        super().__init__(trainable=False, dtype="float32", **kwargs)
        self.of_point = of_point
        shape = (horizon, targets, len(LEVELS)) if of_point else (len(LEVELS),)
        start = "zeros" if of_point else "ones"
        self.values = self.add_weight(shape=shape, initializer=start, name="values")

    @classmethod
    def of(cls, network: Forecaster) -> "Correction":
        """One that corrects nothing yet."""
        of_point = network.settings.loss != "pinball"
        return cls(network.shape.horizon, network.targets, of_point, name="correction")

    def learn(self, said: "Said", truth: np.ndarray) -> None:
        """Takes from the networks' answers, and what came (``[windows, horizon, K]``, NaN where
        not known), what the spread should have been (``calibration``)."""
        z = (truth - said.centre) / said.scale
        if self.of_point:
            self.values.assign(residual_quantiles(said.answers[..., 0], z))
        else:
            self.values.assign(spread_factors(said.answers, z))

    def call(self, answers: Any) -> Any:
        """``[batch, horizon, K, levels or 1]`` to ``[batch, horizon, K, levels]``."""
        values = tf.convert_to_tensor(self.values)
        if self.of_point:
            return answers + values
        steps = answers[..., 1:] - answers[..., :-1]
        below = steps[..., :MEDIAN] * values[:MEDIAN]
        above = steps[..., MEDIAN:] * values[MEDIAN + 1 :]
        return outward(answers[..., MEDIAN : MEDIAN + 1], below, above)


@dataclass(frozen=True)
class Said:
    """Answers of networks at many windows, in their own unit, as NumPy arrays."""

    answers: np.ndarray
    """``[windows, horizon, K, levels or 1]``, not corrected."""
    centre: np.ndarray
    """``[windows, 1, K]``; with `scale` it leads back to the target's unit."""
    scale: np.ndarray

    def in_units(self) -> np.ndarray:
        """The answers ``[windows, horizon, K, levels or 1]`` in the targets' units, not
        corrected."""
        c, s = self.centre[..., np.newaxis], self.scale[..., np.newaxis]
        return c + s * self.answers

    def forecast(self, correction: Correction) -> Forecast:
        """In the targets' units, corrected."""
        c, s = self.centre[..., np.newaxis], self.scale[..., np.newaxis]
        quantiles = [
            correction(tf.constant(self.answers[i : i + 512])).numpy()
            for i in range(0, len(self.answers), 512)
        ]
        middle = point(self.answers)
        return Forecast(self.centre + self.scale * middle, c + s * np.concatenate(quantiles))


class Ensemble:
    r"""Networks as one: quantiles are averaged level by level (Vincent 1912; Lichtendahl et al.
    2013), :math:`q^\tau = \frac{1}{M} \sum_m q^\tau_m`, which keeps the shape that they agree on.

    Every function can be traced by itself; inputs are those of ``Forecaster``, and the state is a
    dictionary of tensors, its names beginning with "state".
    """

    PORTABLE: ClassVar = {"window": ("litert", "onnx")}

    def __init__(self, networks: Sequence[Forecaster], correction: Correction) -> None:
        self.networks = list(networks)
        self.correction = correction
        self.first = networks[0]  # centre, scale and gaps are the same for all
        self.answer = tf.function(self._answer)

    def _answer(self, inputs: Inputs) -> Inputs:
        """Of all networks together, in their unit and not corrected: ``answers``, ``centre``,
        ``scale``."""
        said = [network(inputs, training=False) for network in self.networks]
        answers = tf.add_n([one["answers"] for one in said]) / len(said)
        return {**said[0], "answers": answers}

    def answers(self, batches: tf.data.Dataset) -> Said:
        """At every window of batches of (inputs, truth)."""
        parts = [self.answer(inputs) for inputs, _ in batches]
        names = ("answers", "centre", "scale")
        return Said(*(np.concatenate([part[name].numpy() for part in parts]) for name in names))

    def forecast(self, inputs: Inputs) -> Inputs:
        """``quantiles`` ``[batch, horizon, K, levels]``, ``point`` ``[batch, horizon, K]`` and,
        the same for every batch, ``levels``."""
        said = self._answer(self._checked(inputs))
        return self._finished(said["answers"], said["centre"], said["scale"])

    def start(self, inputs: Inputs) -> Inputs:
        """As ``forecast``, and the state after the history."""
        inputs = self._checked(inputs)
        c, s = self.first.normaliser(inputs["target"])
        return self._continued(inputs, {"state_centre": c, "state_scale": s}, None)

    def step(self, inputs: Inputs) -> Inputs:
        """A forecast after new rows, and the state after them.

        Args:
            inputs: of a whole number of patches of new rows (covariates and seconds reach over
                the horizon after them), and the state. Centre and scale stay those of the
                start: start anew when the level has moved away.
        """
        inputs = self._checked(inputs, self.first.shape.patch)
        before = {name: inputs[f"state_last_{name}"] for name in self._columns()}
        return self._continued(inputs, inputs, before)

    def window(self, inputs: Inputs) -> Inputs:
        """For other runtimes: ``quantiles`` and ``point`` of one window. How long its parts are
        is not checked."""
        with plain.recurrences(self.first.targets):
            said = self._answer(inputs)
        found = self._finished(said["answers"], said["centre"], said["scale"])
        return {name: found[name] for name in ("quantiles", "point")}

    def _checked(self, inputs: Inputs, patch: int = 1) -> Inputs:
        """The same, if it has whole patches of rows, and all its parts are as long as they
        have to be."""
        rows = tf.shape(inputs["target"])[1]
        found = f"target: expected rows in whole patches of {patch}, at least one; found"
        checks = [tf.debugging.Assert((rows % patch == 0) & (rows > 0), [found, rows])]
        horizon = self.first.shape.horizon
        for name, ahead in (("seconds", horizon), ("past", 0), ("future", horizon)):
            if name in inputs:
                length = tf.shape(inputs[name])[1]
                found = f"{name}: expected the rows of target and {ahead} more; found, and target:"
                check = tf.debugging.Assert(length == rows + ahead, [found, length, rows])
                checks.append(check)
        with tf.control_dependencies(checks):
            return {name: tf.identity(value) for name, value in inputs.items()}

    def _columns(self) -> dict[str, int]:
        roles = self.first.roles
        columns = {"target": roles.targets, "past": roles.past, "future": roles.future}
        return {name: len(found) for name, found in columns.items() if found}

    def _continued(self, inputs: Inputs, state: Inputs, before: Inputs | None) -> Inputs:
        c, s = state["state_centre"], state["state_scale"]
        gaps = None if before is None else {name: state[f"state_gap_{name}"] for name in before}
        past, known, gaps = self.first.split(inputs, gaps)
        tail = self.first.tail(past, before)
        after = {"state_centre": c, "state_scale": s}
        after |= {f"state_last_{name}": rows for name, rows in tail.items()}
        after |= {f"state_gap_{name}": row for name, row in gaps.items()}
        answers = []
        for member, network in enumerate(self.networks):
            names = network.state_names(member)
            held = None
            if before is not None:
                held = [[_folded_state(state[name]) for name in layer] for layer in names]
            states = network.encode(past, c, s, held)
            for layer, values in zip(names, states, strict=True):
                shape = [-1, network.targets, network.settings.units]
                pairs = zip(layer, values, strict=True)
                after |= {name: tf.cast(tf.reshape(v, shape), tf.float32) for name, v in pairs}
            answers.append(network.decode(states[-1], tail, known, c, s))
        mean = tf.add_n(answers) / len(answers)
        return {**self._finished(mean, c, s), **after}

    def _finished(self, answers: Any, c: Any, s: Any) -> Inputs:
        corrected = self.correction(answers)
        quantiles = c[..., tf.newaxis] + s[..., tf.newaxis] * corrected
        middle = c + s * point(answers)
        return {"quantiles": quantiles, "point": middle, "levels": tf.constant(LEVELS)}

    def signatures(self) -> dict[str, Signature]:
        """What ``common.export.write`` writes."""
        network = self.first
        shape, roles = network.shape, network.roles
        inputs = specification(shape, roles)
        k, units = network.targets, network.settings.units
        states = {"state_centre": [None, 1, k], "state_scale": [None, 1, k]}
        for name, columns in self._columns().items():
            states[f"state_last_{name}"] = [None, network.reach, columns]
            states[f"state_gap_{name}"] = [None, 1, columns]
        for member, each in enumerate(self.networks):
            names = [name for layer in each.state_names(member) for name in layer]
            states |= {name: [None, k, units] for name in names}
        held = {name: tf.TensorSpec(shape, tf.float32, name) for name, shape in states.items()}
        return {
            "serving_default": (self.forecast, [inputs]),
            "start": (self.start, [inputs]),
            "step": (self.step, [{**inputs, **held}]),
            "window": (self.window, [specification(shape, roles, batch=1)]),
        }

    def examples(self, asked: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
        """A request to those that need no state, of the first window in `asked`, ``[windows, ...]``
        by name of input."""
        first = {name: value[:1] for name, value in asked.items()}
        return dict.fromkeys(("serving_default", "start", "window"), first)


def _folded_state(value: Any) -> Any:
    return tf.reshape(value, [-1, value.shape[-1]])
