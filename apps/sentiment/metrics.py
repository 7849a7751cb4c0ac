"""Scores of class probabilities, with bootstrap intervals."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import stats
from sklearn import metrics


def scores(probabilities: np.ndarray, labels: np.ndarray, resamples: int = 1000) -> dict[str, Any]:
    """All scores of a set of answers.

    Args:
        probabilities: ``[examples, classes]``, rows that sum to one.
        labels: ``[examples]``, the true classes as indices.
        resamples: of the bootstrap behind each 95 % percentile interval; fixed seed. 0 leaves
            the intervals out.

    Returns:
        ``accuracy`` and ``log_loss`` (nats); with two classes ``roc_auc`` and
        ``calibration_error``, with more ``macro_f1``; and for each the interval as
        ``<name>_low`` and ``<name>_high``. A score that is not defined, such as the ROC AUC of
        a single class, is left out.
    """
    measures: dict[str, Callable[..., float]] = {"accuracy": accuracy, "log_loss": log_loss}
    if probabilities.shape[1] > 2:
        measures["macro_f1"] = macro_f1
    else:
        if len(np.unique(labels)) == 2:
            measures["roc_auc"] = roc_auc
        measures["calibration_error"] = calibration_error
    answer: dict[str, Any] = {}
    for name, measure in measures.items():
        answer[name] = float(measure(probabilities, labels))
        if resamples and len(labels) > 1:
            low, high = interval(measure, probabilities, labels, resamples)
            answer |= {f"{name}_low": low, f"{name}_high": high}
    return answer


def interval(
    measure: Callable[..., float], probabilities: np.ndarray, labels: np.ndarray, resamples: int
) -> tuple[float, float]:
    """95 % percentile bootstrap interval (Efron 1979) of a measure over examples: of probabilities
    ``[examples, classes]`` and labels ``[examples]``, as all below."""
    rows = np.arange(len(labels))

    def of_rows(chosen: np.ndarray) -> float:
        chosen = chosen.astype(int)
        return measure(probabilities[chosen], labels[chosen])

    result = stats.bootstrap(
        (rows,), of_rows, vectorized=False, n_resamples=resamples, method="percentile", rng=0
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Share of examples whose likeliest class is their own, of ``[examples, classes]``."""
    return float((probabilities.argmax(axis=1) == labels).mean())


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -log p(true class), nats, of ``[examples, classes]``; probabilities below 1e-7 count
    as that."""
    given = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(given, 1e-7)).mean())


def roc_auc(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Chance that a positive example scores above a negative one, ties counting half, of
    ``[examples, 2]``: the Mann-Whitney statistic, quick enough for a bootstrap; NaN for one
    class."""
    positive = labels == 1
    pairs = positive.sum() * (~positive).sum()
    if not pairs:
        return float("nan")
    ranks = stats.rankdata(probabilities[:, 1])[positive]
    least = positive.sum() * (positive.sum() + 1) / 2  # the sum, were they the lowest
    return float((ranks.sum() - least) / pairs)


def macro_f1(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes of F1 of the likeliest, of ``[examples, classes]``; 0 for a class that
    is neither true nor predicted."""
    predicted = probabilities.argmax(axis=1)
    classes: Sequence[int] = range(probabilities.shape[1])
    return float(
        metrics.f1_score(labels, predicted, labels=classes, average="macro", zero_division=0)
    )


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error (Guo et al. 2017) of ``[examples, classes]``: over `bins` equal
    bins of confidence, the mean distance between confidence and accuracy, weighted by the examples
    in a bin."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(which, right - confidence, bins)
    return float(np.abs(gaps).sum() / len(labels))


def confusion(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Counts ``[true class, predicted class]``."""
    classes = range(probabilities.shape[1])
    return metrics.confusion_matrix(labels, probabilities.argmax(axis=1), labels=classes)
