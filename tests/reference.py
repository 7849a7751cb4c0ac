r"""The cells, the loop and the pooling again: in plain NumPy, from the papers' equations.

Nothing here imports the project. Rows are the batch, so a product with a kernel stands as
:math:`x W`; kernels hold their gates side by side in the order each docstring gives. All
functions take and return float64 arrays; states are a list, the output of a cell is the first.
"""

from collections.abc import Callable
from itertools import pairwise, product
from typing import Any

import numpy as np

Array = np.ndarray
Step = Callable[..., list[Array]]


def sigmoid(a: Array) -> Array:
    r""":math:`\sigma(a) = 1 / (1 + e^{-a})`."""
    return 1.0 / (1.0 + np.exp(-a))


def relu(a: Array) -> Array:
    r""":math:`\max(0, a)`."""
    return np.maximum(a, 0.0)


def simple(
    x: Array,
    states: list[Array],
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array,
    *,
    activation: Callable[[Array], Array] = np.tanh,
) -> list[Array]:
    r"""Elman (1990): :math:`h_t = \phi(x_t W_{xh} + h_{t-1} W_{hh} + b_h)`."""
    return [activation(x @ kernel + states[0] @ recurrent_kernel + bias)]


def irnn(x: Array, states: list[Array], *weights: Array) -> list[Array]:
    r"""Le, Jaitly & Hinton (2015): :math:`h_t = \max(0, x_t W_{xh} + h_{t-1} W_{hh} + b_h)`."""
    return simple(x, states, *weights, activation=relu)


def lstm(
    x: Array, states: list[Array], kernel: Array, recurrent_kernel: Array, bias: Array
) -> list[Array]:
    r"""Hochreiter & Schmidhuber (1997), Gers et al. (2000); gates in the order i, f, c, o.

    .. math::
        i_t &= \sigma(x_t W_i + h_{t-1} U_i + b_i) \\
        f_t &= \sigma(x_t W_f + h_{t-1} U_f + b_f) \\
        \tilde c_t &= \tanh(x_t W_c + h_{t-1} U_c + b_c) \\
        o_t &= \sigma(x_t W_o + h_{t-1} U_o + b_o) \\
        c_t &= f_t \odot c_{t-1} + i_t \odot \tilde c_t \\
        h_t &= o_t \odot \tanh(c_t)
    """
    h, c = states
    w_i, w_f, w_c, w_o = np.split(kernel, 4, axis=1)
    u_i, u_f, u_c, u_o = np.split(recurrent_kernel, 4, axis=1)
    b_i, b_f, b_c, b_o = np.split(bias, 4)
    i = sigmoid(x @ w_i + h @ u_i + b_i)
    f = sigmoid(x @ w_f + h @ u_f + b_f)
    candidate = np.tanh(x @ w_c + h @ u_c + b_c)
    o = sigmoid(x @ w_o + h @ u_o + b_o)
    c = f * c + i * candidate
    return [o * np.tanh(c), c]


def gru(
    x: Array, states: list[Array], kernel: Array, recurrent_kernel: Array, bias: Array
) -> list[Array]:
    r"""Cho et al. (2014), reset after the product; gates in the order z, r, h; z keeps.

    .. math::
        z_t &= \sigma(x_t W_z + b_z + h_{t-1} U_z + d_z) \\
        r_t &= \sigma(x_t W_r + b_r + h_{t-1} U_r + d_r) \\
        \tilde h_t &= \tanh(x_t W_h + b_h + r_t \odot (h_{t-1} U_h + d_h)) \\
        h_t &= z_t \odot h_{t-1} + (1 - z_t) \odot \tilde h_t

    Row 0 of ``bias`` is b, row 1 is d.
    """
    (h,) = states
    w_z, w_r, w_h = np.split(kernel, 3, axis=1)
    u_z, u_r, u_h = np.split(recurrent_kernel, 3, axis=1)
    b_z, b_r, b_h = np.split(bias[0], 3)
    d_z, d_r, d_h = np.split(bias[1], 3)
    z = sigmoid(x @ w_z + b_z + h @ u_z + d_z)
    r = sigmoid(x @ w_r + b_r + h @ u_r + d_r)
    candidate = np.tanh(x @ w_h + b_h + r * (h @ u_h + d_h))
    return [z * h + (1 - z) * candidate]


def mgu(
    x: Array, states: list[Array], kernel: Array, recurrent_kernel: Array, bias: Array
) -> list[Array]:
    r"""Zhou et al. (2016); gates in the order f, h; f replaces, and is applied before the product.

    .. math::
        f_t &= \sigma(x_t W_f + h_{t-1} U_f + b_f) \\
        \tilde h_t &= \tanh(x_t W_h + (f_t \odot h_{t-1}) U_h + b_h) \\
        h_t &= (1 - f_t) \odot h_{t-1} + f_t \odot \tilde h_t
    """
    (h,) = states
    w_f, w_h = np.split(kernel, 2, axis=1)
    u_f, u_h = np.split(recurrent_kernel, 2, axis=1)
    b_f, b_h = np.split(bias, 2)
    f = sigmoid(x @ w_f + h @ u_f + b_f)
    candidate = np.tanh(x @ w_h + (f * h) @ u_h + b_h)
    return [(1 - f) * h + f * candidate]


def mingru(x: Array, states: list[Array], kernel: Array, bias: Array) -> list[Array]:
    r"""Feng et al. (2024); gates in the order z, h; z replaces.

    .. math::
        z_t &= \sigma(x_t W_z + b_z) \\
        \tilde h_t &= x_t W_h + b_h \\
        h_t &= (1 - z_t) \odot h_{t-1} + z_t \odot \tilde h_t
    """
    (h,) = states
    w_z, w_h = np.split(kernel, 2, axis=1)
    b_z, b_h = np.split(bias, 2)
    z = sigmoid(x @ w_z + b_z)
    return [(1 - z) * h + z * (x @ w_h + b_h)]


def minlstm(x: Array, states: list[Array], kernel: Array, bias: Array) -> list[Array]:
    r"""Feng et al. (2024); gates in the order f, i, h.

    .. math::
        f_t &= \sigma(x_t W_f + b_f), \quad i_t = \sigma(x_t W_i + b_i) \\
        h_t &= \frac{f_t}{f_t + i_t} \odot h_{t-1}
               + \frac{i_t}{f_t + i_t} \odot (x_t W_h + b_h)
    """
    (h,) = states
    w_f, w_i, w_h = np.split(kernel, 3, axis=1)
    b_f, b_i, b_h = np.split(bias, 3)
    f, i = sigmoid(x @ w_f + b_f), sigmoid(x @ w_i + b_i)
    return [(f * h + i * (x @ w_h + b_h)) / (f + i)]


STEPS: dict[str, Step] = {
    "simple": simple,
    "irnn": irnn,
    "lstm": lstm,
    "gru": gru,
    "mgu": mgu,
    "mingru": mingru,
    "minlstm": minlstm,
}
LINEAR = ("mingru", "minlstm")
STATES = {name: 2 if name == "lstm" else 1 for name in STEPS}


def parameter_count(name: str, features: int, units: int) -> int:
    r"""Weights of one cell: for each gate :math:`W` (features x units), :math:`U` (units x units)
    and its biases, of which a GRU has two; what is linear in its state has no :math:`U`."""
    gates = {"simple": 1, "irnn": 1, "lstm": 4, "gru": 3, "mgu": 2, "mingru": 2, "minlstm": 3}[name]
    biases = 2 if name == "gru" else 1
    from_state = 0 if name in LINEAR else units
    return gates * units * (features + from_state + biases)


def run(
    step: Step,
    weights: list[Array],
    inputs: Array,
    states: list[Array],
    mask: Array | None = None,
    reverse: bool = False,
) -> tuple[Array, list[Array]]:
    r"""A step over time, row by row: ``inputs`` ``[batch, time, features]``, ``mask``
    ``[batch, time]``.

    .. math:: s_t = m_t\,\mathrm{step}(x_t, s_{t-1}) + (1 - m_t)\,s_{t-1},
              \qquad y_t = m_t\,h_t

    with t running downwards if ``reverse``; :math:`y_t` stands at the time of its input.
    """
    batch, time, _ = inputs.shape
    outputs = np.zeros((batch, time, states[0].shape[1]))
    last = [state.copy() for state in states]
    for row in range(batch):
        now = [state[row : row + 1] for state in states]
        for t in reversed(range(time)) if reverse else range(time):
            if mask is None or mask[row, t]:
                now = step(inputs[row : row + 1, t], now, *weights)
                outputs[row, t] = now[0][0]
        for state, value in zip(last, now, strict=True):
            state[row] = value[0]
    return outputs, last


def pool(inputs: Array, mask: Array, mode: str) -> Array:
    r"""Over the admitted steps :math:`A = \{t : m_t\}` of each row: the mean
    :math:`\frac{1}{|A|} \sum_{t \in A} x_t`, the maximum, :math:`x_{\min A}` ("first") or
    :math:`x_{\max A}` ("last"); zero where A is empty."""
    pooled = np.zeros((inputs.shape[0], inputs.shape[2]))
    for row, admitted in enumerate(np.asarray(mask, bool)):
        steps = inputs[row][admitted]
        if len(steps):
            pooled[row] = {
                "mean": steps.mean(axis=0),
                "max": steps.max(axis=0),
                "first": steps[0],
                "last": steps[-1],
            }[mode]
    return pooled


def randomise(model: Any, rng: np.random.Generator, scale: float = 0.5) -> list[Array]:
    """Gives a built cell, layer or model random weights, biases included, and returns them."""
    weights = [rng.normal(scale=scale, size=w.shape) for w in model.get_weights()]
    model.set_weights(weights)
    return weights


# Forecasts: point ``[windows, horizon, targets]``, quantiles with one more axis of levels; truth
# like the point, NaN where it is missing.


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


# Labelled streams: ``true`` and ``said`` ``[time]``, lists of them where streams are many.


def stretches(labels: Array) -> list[tuple[int, set[int]]]:
    """Each label with the frames that it lasts."""
    found: list[tuple[int, set[int]]] = []
    for t, label in enumerate(labels):
        if found and found[-1][0] == label:
            found[-1][1].add(t)
        else:
            found.append((int(label), {t}))
    return found


def macro_f1(true: Array, said: Array) -> float:
    r"""Mean over the classes c that are there of
    :math:`F_1 = 2\,TP_c / (2\,TP_c + FP_c + FN_c)`."""
    found = []
    for c in set(true.tolist()):
        hits = sum((true == c) & (said == c))
        found.append(
            2 * hits / (2 * hits + sum((true != c) & (said == c)) + sum((true == c) & (said != c)))
        )
    return float(np.mean(found))


def segmental_f1(streams: list[tuple[Array, Array]], overlap: float) -> float:
    r"""Lea et al. (2017): :math:`F_1` of segments; one that is said is a true positive where its
    :math:`|A \cap B| / |A \cup B|` with the true one of its label that it meets most reaches
    `overlap`, and that one was not taken before."""
    tp = fp = fn = 0
    for true, said in streams:
        left = stretches(true)
        taken: set[int] = set()
        for label, frames in stretches(said):
            ious = [len(frames & b) / len(frames | b) if c == label else 0.0 for c, b in left]
            best = int(np.argmax(ious))
            if ious[best] >= overlap and best not in taken:
                taken.add(best)
                tp += 1
            else:
                fp += 1
        fn += len(left) - len(taken)
    return 2 * tp / (2 * tp + fp + fn)


def edit_distance(one: list[int], other: list[int]) -> int:
    r"""Levenshtein (1966): :math:`d(\epsilon, y) = |y|`, :math:`d(x, \epsilon) = |x|`,
    :math:`d(xa, yb) = \min(d(xa, y) + 1, d(x, yb) + 1, d(x, y) + [a \ne b])`."""
    table = np.zeros((len(one) + 1, len(other) + 1), int)
    for i, j in np.ndindex(*table.shape):
        if i == 0 or j == 0:
            table[i, j] = i + j
        else:
            table[i, j] = min(
                table[i, j - 1] + 1,
                table[i - 1, j] + 1,
                table[i - 1, j - 1] + (one[i - 1] != other[j - 1]),
            )
    return int(table[-1, -1])


def edit_score(true: Array, said: Array) -> float:
    r"""Lea et al. (2016): :math:`1 - d(x, y) / \max(|x|, |y|)` of the segments' labels."""
    x, y = ([label for label, _ in stretches(labels)] for labels in (true, said))
    return 1 - edit_distance(x, y) / max(len(x), len(y))


def latencies(true: Array, said: Array, stable: int) -> list[float]:
    r"""Of each true segment :math:`[a, b)` of label c:
    :math:`\min\{t - a : a \le t,\ t + s \le b,\ y_t = \dots = y_{t+s-1} = c\}` with
    :math:`s = \min(stable, b - a)`; infinite where there is none."""
    found = []
    for label, frames in stretches(true):
        begin, end = min(frames), max(frames) + 1
        size = min(stable, end - begin)
        starts = [t for t in range(begin, end - size + 1) if (said[t : t + size] == label).all()]
        found.append(float(starts[0] - begin) if starts else np.inf)
    return found


def path_score(labels: tuple[int, ...], probabilities: Array, transitions: Array) -> float:
    r""":math:`\sum_t \log p_t(y_t) + \sum_{t \ge 1} \log A_{y_{t-1} y_t}`."""
    emitted = sum(np.log(probabilities[t, label]) for t, label in enumerate(labels))
    return float(emitted + sum(np.log(transitions[a, b]) for a, b in pairwise(labels)))


def collapsed(alignment: tuple[int, ...]) -> tuple[int, ...]:
    """The text of an alignment of CTC: repetitions taken out, then blanks (0)."""
    merged = [a for n, a in enumerate(alignment) if n == 0 or a != alignment[n - 1]]
    return tuple(a for a in merged if a)


def alignments(log_p: Array) -> dict[tuple[int, ...], list[tuple[tuple[int, ...], float]]]:
    """Every text that ``[time, symbols]`` log-probabilities allow -> all its alignments, each with
    its log-probability."""
    time, symbols = log_p.shape
    found: dict[tuple[int, ...], list[tuple[tuple[int, ...], float]]] = {}
    for path in product(range(symbols), repeat=time):
        score = float(sum(log_p[step, symbol] for step, symbol in enumerate(path)))
        found.setdefault(collapsed(path), []).append((path, score))
    return found


def ctc(log_p: Array, text: tuple[int, ...]) -> float:
    r"""Graves et al. (2006), equations 5 to 8, in logarithms: with :math:`y'` the text with a
    blank around each symbol,

    .. math::
        \alpha_1(1) = p_1(0), \quad \alpha_1(2) = p_1(y'_2), \qquad
        \alpha_t(s) = (\alpha_{t-1}(s) + \alpha_{t-1}(s - 1)
            + [y'_s \ne 0, y'_s \ne y'_{s-2}]\, \alpha_{t-1}(s - 2))\, p_t(y'_s) \\
        p(y \mid x) = \alpha_T(|y'|) + \alpha_T(|y'| - 1) .
    """
    around = [0]
    for symbol in text:
        around += [symbol, 0]
    alpha = np.full(len(around), -np.inf)
    alpha[:2] = log_p[0, around[:2]]
    for row in log_p[1:]:
        before = alpha.copy()
        for s, symbol in enumerate(around):
            ways = [before[s]]
            if s > 0:
                ways.append(before[s - 1])
            if s > 1 and symbol and symbol != around[s - 2]:
                ways.append(before[s - 2])
            alpha[s] = np.logaddexp.reduce(ways) + row[symbol]
    return float(np.logaddexp.reduce(alpha[-2:]))


def softmax(a: Array) -> Array:
    r""":math:`e^{a_i} / \sum_j e^{a_j}` over the last axis."""
    shifted = np.exp(a - a.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def attention(
    state: Array, looked: Array, memory: Array, weights: dict[str, Array]
) -> tuple[Array, Array]:
    r"""Chorowski et al. (2015), equations 5 to 9: where a decoder looks, and what it reads there.

    .. math::
        f = F * \alpha, \quad e_t = v^\top \tanh(W s + V h_t + U f_t + b), \quad
        \alpha' = \mathrm{softmax}(e), \quad c = \sum_t \alpha'_t h_t

    Args:
        state: s, ``[units]``.
        looked: :math:`\alpha`, ``[time]``.
        memory: h, ``[time, width]``.
        weights: ``W`` ``[units, attention]``, ``V`` ``[width, attention]``, ``U`` ``[filters,
            attention]``, ``b`` and ``v`` ``[attention]``, ``F`` ``[reach, filters]`` (reach odd,
            zeros outside) and its bias ``g`` ``[filters]``.
    """
    reach, filters = weights["F"].shape
    side = reach // 2
    padded = np.pad(looked, (side, side))
    f = np.zeros((len(looked), filters))
    for t in range(len(looked)):
        for k in range(reach):
            f[t] += padded[t + k] * weights["F"][k]
    f += weights["g"]
    inside = state @ weights["W"] + memory @ weights["V"] + f @ weights["U"] + weights["b"]
    alpha = softmax(np.tanh(inside) @ weights["v"])
    return alpha, alpha @ memory


def row_convolution(states: Array, weights: Array) -> Array:
    r"""Amodei et al. (2016): :math:`\sum_{i=0}^{D} w_i \odot h_{j+i}`, of the steps that
    have D after them.

    Args:
        states: ``[time, units]``.
        weights: ``[D + 1, units]``.
    """
    found = np.zeros_like(states[len(weights) - 1 :])
    for j in range(len(found)):
        for i in range(len(weights)):
            found[j] += weights[i] * states[j + i]
    return found


def active(log_mel: np.ndarray, below: float = 30.0) -> np.ndarray:
    """``[time]``: whether a frame of log-mel energies is at most so many dB below the loudest.

    Args:
        log_mel: ``[time, channels]``.
    """
    loudness = 10 * np.log10(np.exp(log_mel.astype(np.float64)).sum(axis=1))
    return loudness > loudness.max() - below


def active_normalised(log_mel: np.ndarray) -> np.ndarray:
    """Mean 0 and deviation 1 of each channel over active frames; ``[time, channels]`` both."""
    frames = log_mel[active(log_mel)].astype(np.float64)
    return (log_mel - frames.mean(axis=0)) / np.sqrt(frames.var(axis=0) + 1e-2)


def running_normalised(
    log_mel: np.ndarray, mean: np.ndarray, deviation: np.ndarray, prior: float
) -> np.ndarray:
    """Each frame by what was heard up to it: moments weighted by the root of a frame's energy,
    mixed with prior moments that count for `prior` frames.

    Args:
        log_mel: ``[time, channels]``.
        mean: ``[channels]``, before anything was heard.
        deviation: likewise.
    """
    x = log_mel.astype(np.float64)
    weights = np.sqrt(np.exp(x).sum(axis=1))[:, np.newaxis]
    normal = []
    for t in range(1, len(x) + 1):
        heard = weights[:t] / weights[:t].sum()
        first = (prior * mean + t * (heard * x[:t]).sum(axis=0)) / (prior + t)
        spread = (heard * (x[:t] - mean) ** 2).sum(axis=0)  # about the prior mean
        second = (prior * deviation**2 + t * spread) / (prior + t)
        variance = np.maximum(second - (first - mean) ** 2, 0)
        normal.append((x[t - 1] - first) / np.sqrt(variance + 1e-2))
    return np.array(normal)


def relative(scores: Array, keys: list[int], key: int, sign: int = 1) -> float:
    r""":math:`\sum_v s_{v, \pm(k - m_v) + r}`, over the voices that have a key (not -1) within r
    semitones of it; ``scores`` are ``[voices, 2r + 1]``."""
    reach = scores.shape[1] // 2
    total = 0.0
    for row, other in zip(scores, keys, strict=True):
        if other >= 0 and abs(key - other) <= reach:
            total += row[sign * (key - other) + reach]
    return total


def degree(scores: Array, told: int, key: int) -> float:
    """The score of the key's semitones above the tonic, in the told mode; ``scores`` are
    ``[24]``, key 0 is A0; told 1 is C major, 13 C minor, 0 nothing."""
    if not told:
        return 0.0
    tonic, mode = (told - 1) % 12, (told - 1) // 12
    return scores[12 * mode + (key + 21 - tonic) % 12]


def joint_frame(
    frame: Array, before: Array, c: Array, lines: list[int], told: int, weights: dict[str, Array]
) -> float:
    r"""NADE over the keys, from the highest down (Larochelle & Murray 2011), with
    :math:`\ell_r = V_r a' + V'_r c + \sum_v R_v(a')_{r - m_v} + D(a')_{r - \tau}`; -log p.

    Args:
        frame: ``[88]``: 0 silent, 1 struck, 2 held.
        before: the frame before.
        c: context, ``[width]``.
        lines: :math:`m_v`.
        told: the key of the piece.
    """
    w, total = weights, 0.0
    chosen = np.zeros(w["notes"].shape[0])
    for key in range(87, -1, -1):
        a = relu(c @ w["context"] + w["context_b"] + chosen @ w["notes"])
        a = a + relu(a @ w["deeper"] + w["deeper_b"])
        logit = (a @ w["sounds"] + w["sounds_b"] + c @ w["direct"])[key]
        logit += relative((a @ w["interval"] + w["interval_b"]).reshape(len(lines), -1), lines, key)
        logit += degree(a @ w["degree"] + w["degree_b"], told, key)
        p = sigmoid(logit)
        total -= np.log(p if frame[key] else 1 - p)
        if frame[key]:
            if "struck" in w and before[key]:
                struck = (a @ w["struck"] + w["struck_b"] + c @ w["direct_struck"])[key]
                total -= np.log(sigmoid(struck if frame[key] == 1 else -struck))
            chosen[key] = 1
            if frame[key] == 2 and len(chosen) > 88:
                chosen[88 + key] = 1
    return float(total)


def read_voices(frame: Array, before: list[int]) -> list[int]:
    """The key of each voice, the highest first: of all ways in which the voices can share the keys
    that sound, none idle and no two crossing, the one that moves least; -1 in silence."""
    keys = [int(key) for key in np.flatnonzero(frame)[::-1]]
    if not keys:
        return [-1] * len(before)
    ways = [
        way
        for way in product(keys, repeat=len(before))
        if set(way) == set(keys) and all(a >= b for a, b in pairwise(way))
    ]

    def moved(way: tuple[int, ...]) -> int:
        return sum(abs(k - m) for k, m in zip(way, before, strict=True) if m >= 0)

    return list(min(ways, key=moved))


def voices_frame(
    frame: Array, before: Array, c: Array, lines: list[int], told: int, weights: dict[str, Array]
) -> float:
    r"""Voice by voice: :math:`p(k_v) \propto e^{\ell_{v,k}}, k \le k_{v-1}` with
    :math:`\ell_{v,k} = V_k a' + V'_{v,k} c + \sum_u R_u(a')_{k - m_u}
    + \sum_{j<v} H_j(a')_{k - k_j} + D(a')_{k - \tau}`, where a' knows of the voices above their
    keys, their moves, and from which interval these were; -log p. As ``joint_frame``."""
    w, total = weights, 0.0
    chosen = read_voices(frame, lines)
    count, silence = len(lines), 88
    above = np.zeros(w["context"].shape[1])
    moved: list[int] = []
    for v, key in enumerate(chosen):
        pairs = [
            w["pairs"][(m - lines[v]) % 12 * 28 + move if min(m, lines[v]) >= 0 else 12 * 28]
            for m, move in zip(lines, moved, strict=False)
        ]
        a = relu(c @ w["context"] + w["context_b"] + above + sum(pairs) + w["voice"][v])
        a = a + relu(a @ w["deeper"] + w["deeper_b"])
        logits = a @ w["sounds"] + w["sounds_b"]
        logits = logits + (c @ w["direct"] + w["direct_b"]).reshape(count, 89)[v]
        moves = (a @ w["interval"] + w["interval_b"]).reshape(count, -1)
        chords = (a @ w["harmony"] + w["harmony_b"]).reshape(count, -1)
        degrees = a @ w["degree"] + w["degree_b"]
        for k in range(88):
            logits[k] += relative(moves, lines, k) + degree(degrees, told, k)
            logits[k] += relative(chords[:v], chosen[:v], k)
        allowed = np.arange(89) <= (silence if v == 0 else chosen[v - 1])
        p = np.where(allowed, np.exp(logits), 0)
        total -= np.log(p[key if key >= 0 else silence] / p.sum())
        if key < 0:
            break
        held = frame[key] == 2
        if "struck" in w and before[key] and key not in chosen[:v]:
            struck = (a @ w["struck"] + w["struck_b"])[88 if key == lines[v] else key]
            total -= np.log(sigmoid(-struck if held else struck))
        move = 27 if held else 13
        if not held and lines[v] >= 0:
            move = int(np.clip(key - lines[v], -13, 13)) + 13
        moved.append(move)
        above = above + w["notes"][v * 89 + key + 1] + w["moves"][v * 28 + move]
    return float(total)


def next_note(
    pitch: int, length: int, c: Array, lines: list[int], told: int, weights: dict[str, Array]
) -> float:
    r"""A pitch (88: a rest) with
    :math:`\ell^k = V a + \sum_v R_v(a)_{k - m_v} + D(a)_{k - \tau}` and, given it, how many frames
    it lasts with :math:`\ell^d = V' \mathrm{relu}(a + N_k + M_{k - m_1})`; -log p of both.

    Args:
        c: context, ``[width]``.
        lines: :math:`m_1, m_2`, the pitches before; -1 for none.
        told: the key of the piece.
    """
    w = weights
    a = relu(c @ w["context"] + w["context_b"])
    logits = a @ w["sounds"] + w["sounds_b"]
    moves = (a @ w["interval"] + w["interval_b"]).reshape(len(lines), -1)
    for k in range(88):
        logits[k] += relative(moves, lines, k)
        logits[k] += degree(a @ w["degree"] + w["degree_b"], told, k)
    move = 25 if lines[0] < 0 else int(np.clip(pitch - lines[0], -12, 12)) + 12
    move = 26 if pitch == 88 else move
    lasts = relu(a + w["notes"][pitch] + w["moves"][move]) @ w["lasts"] + w["lasts_b"]
    return float(
        np.log(np.exp(logits).sum())
        - logits[pitch]
        + np.log(np.exp(lasts).sum())
        - lasts[length - 1]
    )


def stretched_spectrum(
    frames: np.ndarray,
    a: float,
    b: np.ndarray,
    formants: tuple[float, ...],
    low: float,
    high: float,
) -> tuple[np.ndarray, np.ndarray]:
    """x'(f) = x(f / g(f)) of mel frames [time, mels], and log g of each channel, [mels]: a, and b
    interpolated over the logarithm of frequency. Slaney's mel scale: 200 / 3 Hz each up to 1 kHz,
    then 27 to a factor of 6.4."""

    def mel(hz: np.ndarray) -> np.ndarray:
        return np.where(
            hz < 1000, 3 * hz / 200, 15 + 27 * np.log(np.maximum(hz, 1) / 1000) / np.log(6.4)
        )

    scale = np.linspace(0.1, 9000, 200_000)
    edges = np.linspace(*mel(np.array([low, high])), frames.shape[1] + 2)
    centres = np.interp(edges, mel(scale), scale)[1:-1]
    log_g = a + np.interp(np.log(centres), np.log(formants), b)
    asked = mel(centres / np.exp(log_g))
    rows = [np.interp(asked, edges[1:-1], row) for row in frames]
    return np.stack(rows), log_g
