"""Labelled streams again: scores and paths in plain NumPy.

``true`` and ``said`` are ``[time]``, lists of them where streams are many.
"""

from itertools import pairwise

import numpy as np

Array = np.ndarray


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
