"""Speech again: alignments, attention and features in plain NumPy, from the papers' equations."""

from itertools import product

import numpy as np

Array = np.ndarray


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
