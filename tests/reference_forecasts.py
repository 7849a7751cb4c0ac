"""Forecasts again: scores, losses and normalisation in plain NumPy.

The point is ``[windows, horizon, targets]``, quantiles have one more axis of levels; truth is like
the point, NaN where it is missing.
"""

from itertools import pairwise

import numpy as np

Array = np.ndarray


def known_places(truth: Array) -> list[tuple[int, ...]]:
    """Indices of what is not missing."""
    return [place for place in np.ndindex(*truth.shape) if not np.isnan(truth[place])]


def pinball(level: float, truth: float, quantile: float) -> float:
    r"""Koenker & Bassett (1978): :math:`\tau\,u` for :math:`u = y - q \ge 0`, else
    :math:`(\tau - 1)\,u`."""
    u = truth - quantile
    return level * u if u >= 0 else (level - 1) * u


def crps(levels: tuple[float, ...], truth: float, quantiles: Array) -> float:
    r"""Gneiting & Raftery (2007): :math:`2 \int_0^1 \rho_\tau(y - q_\tau)\,d\tau`, with
    :math:`\rho_\tau` constant between the middles of neighbouring levels."""
    ends = [0.0]
    ends += [(one + other) / 2 for one, other in pairwise(levels)]
    ends += [1.0]
    return 2 * sum(
        (ends[k + 1] - ends[k]) * pinball(level, truth, quantiles[k])
        for k, level in enumerate(levels)
    )


def forecast_scores(
    point: Array,
    quantiles: Array,
    truth: Array,
    levels: tuple[float, ...],
    seasonal: Array,
    deviation: Array,
) -> dict[str, float]:
    r"""Every score, entry by entry: ``seasonal`` ``[windows, targets]`` is the mean of
    :math:`|y_t - y_{t-m}|` (Hyndman & Koehler 2006), ``deviation`` ``[targets]`` a standard
    deviation; where either is 0 the errors over it are left out."""
    found: dict[str, list[float]] = {}

    def add(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    for w, h, c in known_places(truth):
        y, f, q = float(truth[w, h, c]), float(point[w, h, c]), quantiles[w, h, c]
        add("mae", abs(y - f))
        add("mse", (y - f) ** 2)
        add("smape", 200 * abs(y - f) / (abs(y) + abs(f)))
        add("pinball", sum(pinball(t, y, q[k]) for k, t in enumerate(levels)) / len(levels))
        add("crps", crps(levels, y, q))
        for name, low, high in (("80", 0.1, 0.9), ("95", 0.025, 0.975)):
            lower, upper = q[levels.index(low)], q[levels.index(high)]
            add(f"coverage_{name}", float(lower <= y <= upper))
            add(f"width_{name}", upper - lower)
        if seasonal[w, c] > 0:
            add("mase", abs(y - f) / seasonal[w, c])
        if deviation[c] > 0:
            add("scaled_mae", abs(y - f) / deviation[c])
            add("scaled_mse", ((y - f) / deviation[c]) ** 2)
    means = {name: float(np.mean(values)) for name, values in found.items()}
    return {**means, "rmse": means["mse"] ** 0.5}


def seasonal_difference(values: Array, season: int) -> float:
    r"""Mean of :math:`|y_t - y_{t-m}|` over the pairs of which both are known."""
    pairs = [
        abs(values[t] - values[t - season])
        for t in range(season, len(values))
        if not np.isnan(values[t] - values[t - season])
    ]
    return float(np.mean(pairs))


def forecast_loss(kind: str, levels: tuple[float, ...], truth: Array, answers: Array) -> float:
    r"""Of one window, over the :math:`|A|` entries whose truth is known:
    :math:`\frac{1}{|A|} \sum_A (y - q)^2` ("mse"), :math:`\frac{1}{|A|} \sum_A |y - q|` ("mae"),
    or :math:`\frac{1}{|A|} \sum_A \frac{2}{|T|} \sum_{\tau \in T} \rho_\tau(y - q_\tau)`
    ("pinball"); 0 where none is known. ``answers`` has one more axis than ``truth``."""
    found = []
    for place in known_places(truth):
        y, q = truth[place], answers[place]
        if kind == "pinball":
            each = [pinball(level, y, q[k]) for k, level in enumerate(levels)]
            found.append(2 * sum(each) / len(levels))
        else:
            found.append(abs(y - q[0]) ** {"mae": 1, "mse": 2}[kind])
    return float(np.mean(found)) if found else 0.0


def fill(values: Array, how: str, start: float) -> Array:
    """One series ``[time]`` without NaN: the last known value, `start` before there is one
    ("forward"); `start` ("mean"); 0 ("zero")."""
    found, last = [], start
    for value in values:
        if not np.isnan(value):
            last = value
            found.append(value)
        else:
            found.append({"forward": last, "mean": start, "zero": 0.0}[how])
    return np.array(found)


def normaliser(
    values: Array, centre: str, scale: str, mean: float, deviation: float
) -> tuple[float, float]:
    """Kim et al. (2022), of one series ``[time]``: what is subtracted, and divided by. What the
    window can't say, the training part's `mean` and `deviation` do."""
    known = values[~np.isnan(values)]
    if not len(known):
        return mean, deviation
    c = {"window": known.mean(), "last": known[-1], "training": mean}[centre]
    s = known.std() if scale == "window" else deviation
    return float(c), float(s if s > 1e-6 * deviation else deviation)
