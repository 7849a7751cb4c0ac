"""Batches of windows, cut out of the panel as they are asked for."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from apps.timeseries.panel import Cuts, Panel, gather
from apps.timeseries.shape import Shape
from apps.timeseries.standardise import before, together
from common.data import Shares, stream

Arrays = dict[str, np.ndarray]


def inputs_at(panel: Panel, origins: np.ndarray, shape: Shape) -> Arrays:
    """What a forecaster is given at each origin, ``[windows, 2]``: raw rows ``[windows, rows,
    columns]``, by name of input, and nothing of the target after it."""
    begin, end = -shape.history, shape.horizon
    found = {
        "target": gather(panel, origins, begin, 0, "target"),
        "seconds": gather(panel, origins, begin, end, "seconds"),
    }
    if panel.roles.past:
        found["past"] = gather(panel, origins, begin, 0, "past")
    if panel.roles.future:
        found["future"] = gather(panel, origins, begin, end, "future")
    return found


def truth_at(panel: Panel, origins: np.ndarray, shape: Shape) -> np.ndarray:
    """What came: ``[windows, horizon, targets]``, NaN where it is not known."""
    return gather(panel, origins, 0, shape.horizon, "target")


def statistics(panel: Panel, cuts: Cuts) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean and deviation ``[columns]`` of the training part, by name of input; 0 and 1 where a
    column has no known value, and deviation 1 where it stands still."""
    known = before(panel, cuts.train)
    found = {}
    for name in ("target", "past", "future"):
        mean, deviation = together([getattr(series, name) for series in known])
        found[name] = (mean.astype(np.float32), deviation.astype(np.float32))
    return found


@dataclass(frozen=True)
class WindowBatches:
    """Batches of windows in an order that depends on (seed, epoch) alone.

    Args:
        origins: of ``panel.origins``.
        teacher: the true values go to the network as well, for teacher forcing.
    """

    panel: Panel
    origins: np.ndarray
    shape: Shape
    batch_size: int
    seed: int = 0
    teacher: bool = False

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.origins) // self.batch_size)

    def epoch(self, epoch: int, start: int = 0, shares: Shares | None = None) -> tf.data.Dataset:
        """The batches of `epoch` from batch number `start` on: (inputs, truth); or ``Shares`` of
        them."""
        random = np.random.default_rng([self.seed, epoch])
        return self._dataset(self.origins[random.permutation(len(self.origins))], start, shares)

    def in_order(self) -> tf.data.Dataset:
        """All windows in their own order."""
        return self._dataset(self.origins)

    def truth(self) -> np.ndarray:
        """``[windows, horizon, targets]`` in the windows' own order."""
        return truth_at(self.panel, self.origins, self.shape)

    def _dataset(
        self, order: np.ndarray, start: int = 0, shares: Shares | None = None
    ) -> tf.data.Dataset:
        begins = range(start * self.batch_size, len(order), self.batch_size)
        plan = [order[begin : begin + self.batch_size] for begin in begins]
        inputs, truth = self._pair(order[:1])
        signature = ({name: _spec(array) for name, array in inputs.items()}, _spec(truth))
        return stream(plan, self._pair, signature, shares)

    def _pair(self, origins: np.ndarray) -> tuple[Arrays, np.ndarray]:
        inputs, truth = self._inputs(origins), truth_at(self.panel, origins, self.shape)
        return ({**inputs, "teacher": truth} if self.teacher else inputs), truth

    def _inputs(self, origins: np.ndarray) -> Arrays:
        return inputs_at(self.panel, origins, self.shape)


def _spec(array: np.ndarray) -> tf.TensorSpec:
    return tf.TensorSpec([None, *array.shape[1:]], array.dtype)
