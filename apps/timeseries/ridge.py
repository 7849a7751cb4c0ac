"""Ridge regression on the inputs that the network sees. Imports no TensorFlow."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg

from apps.timeseries.panel import Cuts, Panel, gather, origins
from apps.timeseries.shape import DAY, HARMONICS, Shape
from apps.timeseries.standardise import before, carried, moments, standardised

PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # for each row of the regression
ROWS_TO_CHOOSE, ROWS, BYTES = 20_000, 60_000, 5e8  # of a design matrix, at most
SMALL = 512  # columns of past covariates that may all be shown

Weights = tuple[np.ndarray, np.ndarray]
Point = Callable[[np.ndarray], np.ndarray]
"""Origins ``[windows, 2]`` -> point forecasts ``[windows, horizon, targets]``."""


@dataclass(frozen=True)
class _Inputs:
    """Columns of the regression for a window and a target, as the network sees them.

    All values are standardised by the training part, targets for each series: rows of all series
    and targets are pooled, so that every target is forecast by the same weights from its own
    history.
    """

    panel: Panel
    shape: Shape
    level: str
    """Subtracted from a window's lags and its forecast: its "last" value or its "mean"."""

    def __call__(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``[windows x targets, columns]``, and the levels ``[windows, 1, targets]``."""
        panel, history = self.panel, self.shape.history
        lags = carried(gather(panel, windows, -history, 0, "target"), 0)
        level = lags[:, -1:] if self.level == "last" else lags.mean(axis=1, keepdims=True)
        count, time, targets = lags.shape
        day = min(history, max(1, round(DAY / panel.step)))
        past = history if history * len(panel.roles.past) <= SMALL else day
        seen = {"past": (-past, 0), "future": (-day, self.shape.horizon)}
        others = [
            carried(gather(panel, windows, begin, end, field), 0).reshape(count, -1)
            for field, (begin, end) in seen.items()
        ]
        others.append(_calendar(gather(panel, windows, 0, 1, "seconds")[:, 0], self.shape.cycles))
        own = (lags - level).transpose(0, 2, 1).reshape(count * targets, time)
        shared = np.repeat(np.concatenate(others, axis=1), targets, axis=0)
        return np.concatenate([own, shared], axis=1).astype(np.float64), level

    def sample(self, windows: np.ndarray, rows: int, rng: np.random.Generator) -> np.ndarray:
        """As many windows as give so many rows, or fill the memory, one of each stretch of equal
        length: a fixed step could meet the same hours of the day again and again."""
        matrix, level = self(windows[:1])
        most = max(1, int(min(rows, BYTES / matrix[0].nbytes) / level.size))
        if len(windows) <= most:
            return windows
        edges = np.linspace(0, len(windows), most + 1)
        return windows[np.floor(rng.uniform(edges[:-1], edges[1:])).astype(int)]

    def fit(self, windows: np.ndarray) -> "_Fit":
        matrix, level = self(windows)
        return _Fit(matrix, self.answers(windows, level))

    def answers(self, windows: np.ndarray, level: np.ndarray) -> np.ndarray:
        """``[windows x targets, horizon]``, NaN where missing."""
        truth = gather(self.panel, windows, 0, self.shape.horizon, "target") - level
        return truth.transpose(0, 2, 1).reshape(-1, self.shape.horizon)


class _Fit:
    r"""Ridge regressions of one matrix, of any penalty, from one decomposition (Hoerl & Kennard
    1970): with columns centred and :math:`X^T X = V \Lambda V^T`, the weights are
    :math:`V (\Lambda + \alpha I)^{-1} V^T X^T Y`. scikit-learn would decompose anew for each.

    Rows with less than half of the horizon that the best row has are left out; a shorter gap has
    the value before it.
    """

    def __init__(self, matrix: np.ndarray, answers: np.ndarray) -> None:
        """`matrix` ``[rows, columns]``, `answers` ``[rows, horizon]``, NaN where missing."""
        share = np.isfinite(answers).mean(axis=1)
        use = share >= share.max() / 2
        centred, filled = matrix[use], carried(answers[use, :, np.newaxis], 0)[..., 0]
        self.rows = len(centred)
        self.middle, self.intercept = centred.mean(axis=0), filled.mean(axis=0)
        centred -= self.middle
        self.values, self.vectors = linalg.eigh(centred.T @ centred, check_finite=False)
        self.turned = self.vectors.T @ (centred.T @ (filled - self.intercept))

    def weights(self, penalty: float) -> Weights:
        """``[columns, horizon]`` and the intercept ``[horizon]``; `penalty` is for each row."""
        # Rounding leaves what should be 0 a little below.
        shrunk = self.turned / (np.maximum(self.values, 0) + penalty * self.rows)[:, np.newaxis]
        weights = self.vectors @ shrunk
        return weights, self.intercept - self.middle @ weights


def ridge(panel: Panel, cuts: Cuts, shape: Shape, seed: int) -> tuple["Fitted", "Fitted"]:
    """Direct multi-horizon ridge regression: one linear map from all inputs to all steps.

    The level to subtract and the penalty are those with the least absolute error on the
    validation part; the map is then fitted anew to training and validation part together.

    Args:
        seed: of the windows that it is fitted to, where there are too many.

    Returns:
        What forecasts from the training part alone, and from both; in the targets' units.
    """
    rng = np.random.default_rng(seed)
    known = _Inputs(standardised(panel, cuts), shape, "last")
    train, validation = (
        origins(panel, cuts, part, shape.history, shape.horizon) for part in ("train", "validation")
    )
    train = known.sample(train, ROWS_TO_CHOOSE, rng)
    validation = known.sample(validation, ROWS_TO_CHOOSE, rng)
    candidates = [
        candidate
        for inputs in (known, replace(known, level="mean"))
        for candidate in _candidates(inputs, train, validation)
    ]
    _, inputs, penalty, fitted = min(candidates, key=lambda candidate: candidate[0])
    whole = replace(cuts, train=cuts.validation)
    both = origins(panel, whole, "train", shape.history, shape.horizon)
    refitted = inputs.fit(inputs.sample(both, ROWS, rng)).weights(penalty)
    units = moments([series.target for series in before(panel, cuts.train)])
    return Fitted(inputs, fitted, units), Fitted(inputs, refitted, units)


def _candidates(
    inputs: _Inputs, train: np.ndarray, validation: np.ndarray
) -> list[tuple[float, _Inputs, float, Weights]]:
    """For each penalty the absolute error on validation, and what makes it."""
    fit = inputs.fit(train)
    matrix, level = inputs(validation)
    answers = inputs.answers(validation, level)
    found = []
    for penalty in PENALTIES:
        weights, intercept = fit.weights(penalty)
        error = float(np.nanmean(np.abs(matrix @ weights + intercept - answers)))
        found.append((error, inputs, penalty, (weights, intercept)))
    return found


@dataclass(frozen=True)
class Fitted:
    """A fitted map's forecasts, in the targets' own units again."""

    inputs: _Inputs
    weights: Weights
    units: tuple[np.ndarray, np.ndarray]
    """Mean and deviation ``[series, targets]``."""

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        """Origins ``[windows, 2]`` to point forecasts ``[windows, horizon, targets]``."""
        (weights, intercept), (mean, deviation) = self.weights, self.units
        found = []
        for begin in range(0, len(windows), 1000):  # a matrix of all would be large
            some = windows[begin : begin + 1000]
            matrix, level = self.inputs(some)
            steps = (matrix @ weights + intercept).reshape(len(some), -1, len(intercept))
            unit, middle = (values[some[:, 0], np.newaxis] for values in (deviation, mean))
            found.append((steps.transpose(0, 2, 1) + level) * unit + middle)
        return np.concatenate(found)


def _calendar(seconds: np.ndarray, cycles: tuple[int, ...]) -> np.ndarray:
    """Sines and cosines of each cycle and its harmonics, ``[windows, waves]``."""
    waves = [np.zeros((len(seconds), 0))]
    for cycle in cycles:
        turns = 2 * np.pi * (seconds % cycle / cycle)[:, np.newaxis]
        turns = turns * np.arange(1, HARMONICS[cycle] + 1)
        waves += [np.sin(turns), np.cos(turns)]
    return np.concatenate(waves, axis=1)
