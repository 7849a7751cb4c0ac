"""Scores of labelled streams: of frames, of segments, and of how soon a change is noticed.
Imports no TensorFlow."""

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn import metrics

from apps.gesture.smoothing import segments
from apps.gesture.streams import Stream

OVERLAPS = (10, 25, 50)  # %
STABLE = 0.5  # seconds that a label must stand to count as noticed
Scores = dict[str, float]


def scores(
    streams: Sequence[Stream], labels: Sequence[np.ndarray], rate: float, lookahead: int = 0
) -> Scores:
    """All scores of streams taken together.

    Args:
        streams: what is true.
        labels: what was said, ``[time]`` each.
        rate: frames in a second.
        lookahead: frames that had to be waited for, which the latency counts.

    Returns:
        ``frame_accuracy``; ``macro_f1``, over the classes that are there; ``segmental_f1_10``,
        ``_25`` and ``_50``; ``edit_score``; ``latency``, the median in seconds, and ``missed``,
        the share of segments never noticed. All but the latency are from 0 to 1; the latency is
        NaN where every segment was missed.
    """
    true, said = np.concatenate([s.labels for s in streams]), np.concatenate(list(labels))
    known = np.unique(true)
    pairs = [(segments(s.labels), segments(y)) for s, y in zip(streams, labels, strict=True)]
    waits = np.concatenate(
        [
            onset_latencies(s.labels, y, max(1, round(STABLE * rate)))
            for s, y in zip(streams, labels, strict=True)
        ]
    )
    noticed = waits[np.isfinite(waits)]
    return {
        "frame_accuracy": float((true == said).mean()),
        "macro_f1": float(
            metrics.f1_score(true, said, labels=known, average="macro", zero_division=0)
        ),
        **{f"segmental_f1_{k}": segmental_f1(pairs, k / 100) for k in OVERLAPS},
        "edit_score": float(np.mean([edit_score(t, y) for t, y in pairs])),
        "latency": float(np.median(noticed) + lookahead) / rate if len(noticed) else float("nan"),
        "missed": float(1 - len(noticed) / len(waits)),
    }


def by_subject(
    streams: Sequence[Stream], labels: Sequence[np.ndarray], rate: float, lookahead: int = 0
) -> dict[str, Scores]:
    """The same for each subject's streams; `labels` ``[time]`` for each of `streams`."""
    found: dict[str, list[int]] = {}
    for number, stream in enumerate(streams):
        found.setdefault(stream.subject, []).append(number)
    return {
        subject: scores([streams[n] for n in own], [labels[n] for n in own], rate, lookahead)
        for subject, own in found.items()
    }


def spread(folds: Sequence[Mapping[str, float]]) -> Scores:
    """The mean over folds of each score, its standard deviation as ``<name>_std``, and the
    lowest and highest fold as ``<name>_low`` and ``<name>_high``."""
    found: Scores = {}
    for name in folds[0]:
        values = np.array([fold[name] for fold in folds])
        found |= {
            name: float(values.mean()),
            f"{name}_std": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
            f"{name}_low": float(values.min()),
            f"{name}_high": float(values.max()),
        }
    return found


def segmental_f1(
    pairs: Sequence[tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]], overlap: float
) -> float:
    """F1 of segments (Lea et al. 2017, arXiv:1611.05267): one that was said is right where its
    intersection over union with a true one of its label, not yet taken, is at least
    `overlap`."""
    right = said = true = 0
    for true_segments, said_segments in pairs:
        taken = [False] * len(true_segments)
        for label, begin, end in said_segments:
            best, place = 0.0, -1
            for n, (t_label, t_begin, t_end) in enumerate(true_segments):
                if t_label != label:
                    continue
                common = max(0, min(end, t_end) - max(begin, t_begin))
                share = common / (max(end, t_end) - min(begin, t_begin))
                if share > best:
                    best, place = share, n
            if place >= 0 and best >= overlap and not taken[place]:
                taken[place] = True
                right += 1
        said += len(said_segments)
        true += len(true_segments)
    return 2 * right / (said + true) if said + true else 0.0


def edit_score(true: Sequence[tuple[int, int, int]], said: Sequence[tuple[int, int, int]]) -> float:
    """One less the Levenshtein distance of the sequences of segments' labels, over the length
    of the longer one (Lea et al. 2016): whether the order is right, whenever it happens."""
    row = np.arange(len(said) + 1)
    for i, (label, _, _) in enumerate(true, 1):
        before, row = row, np.empty_like(row)
        row[0] = i
        for j, (other, _, _) in enumerate(said, 1):
            row[j] = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (label != other))
    return float(1 - row[-1] / max(len(true), len(said), 1))


def onset_latencies(true: np.ndarray, said: np.ndarray, stable: int) -> np.ndarray:
    """For each true segment the frames from its onset to the first from which on its label was said
    for `stable` frames (or to the segment's end, where that is nearer), ``[segments]``; infinite
    where it never was. Both labels are ``[time]``."""
    found = []
    for label, begin, end in segments(true):
        right = said[begin:end] == label
        need = min(stable, end - begin)
        runs = np.convolve(right, np.ones(need, int), mode="valid")
        first = np.flatnonzero(runs == need)
        found.append(float(first[0]) if len(first) else np.inf)
    return np.array(found)


def log_loss(streams: Sequence[Stream], probabilities: Sequence[np.ndarray]) -> float:
    """Mean of -log p(true class) over all frames, nats; probabilities below 1e-7 count as that.

    Args:
        probabilities: ``[time, classes]`` of each stream.
    """
    true = np.concatenate([s.labels for s in streams])
    given = np.concatenate(list(probabilities))[np.arange(len(true)), true]
    return float(-np.log(np.maximum(given, 1e-7)).mean())


def confusion(streams: Sequence[Stream], labels: Sequence[np.ndarray], classes: int) -> np.ndarray:
    """Counts of frames ``[true class, class said]``."""
    true, said = np.concatenate([s.labels for s in streams]), np.concatenate(list(labels))
    return metrics.confusion_matrix(true, said, labels=range(classes))
