"""Metrics, baselines, and what training makes small."""

from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import metrics as sklearn_metrics

from apps.sentiment import baselines, metrics, model, objectives
from apps.sentiment.config import SentimentConfig
from apps.sentiment.model import PADDING, UNKNOWN
from apps.sentiment.texts import Labelled, Splits
from tests.sentiment_runs import MOODS


def answers(classes: int, count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are more right than wrong, and labels."""
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, classes)) + 1.5 * np.eye(classes)[labels]
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), labels


# Metrics


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_scores_are_those_of_scikit_learn(classes: int) -> None:
    probabilities, labels = answers(classes)
    predicted = probabilities.argmax(axis=1)
    got = metrics.scores(probabilities, labels, resamples=0)
    wanted = {
        "accuracy": sklearn_metrics.accuracy_score(labels, predicted),
        "log_loss": sklearn_metrics.log_loss(labels, probabilities),
    }
    if classes == 2:
        wanted["roc_auc"] = sklearn_metrics.roc_auc_score(labels, probabilities[:, 1])
        wanted["calibration_error"] = got["calibration_error"]  # has a test of its own
    else:
        wanted["macro_f1"] = sklearn_metrics.f1_score(labels, predicted, average="macro")
    assert got == pytest.approx(wanted)
    assert_array_equal(
        metrics.confusion(probabilities, labels),
        sklearn_metrics.confusion_matrix(labels, predicted),
    )


@pytest.mark.parametrize(
    ("positive", "labels", "bins", "wanted"),
    [
        ([0.1, 0.2, 0.7, 0.55], [0, 1, 1, 0], 15, (0.1 + 0.8 + 0.3 + 0.55) / 4),
        ([0.9, 0.8], [1, 0], 2, abs((1 - 0.9) + (0 - 0.8)) / 2),  # both in one bin
        ([0.75, 0.75, 0.75, 0.75], [1, 1, 1, 0], 15, 0),  # honest
        ([1.0, 0.0], [1, 0], 15, 0),
        ([1.0, 0.0], [0, 1], 15, 1),
    ],
)
def test_the_calibration_error_is_the_one_by_hand(
    positive: list[float], labels: list[int], bins: int, wanted: float
) -> None:
    probabilities = np.stack([1 - np.array(positive), positive], axis=1)
    got = metrics.calibration_error(probabilities, np.array(labels), bins)
    assert got == pytest.approx(wanted)


def test_scores_are_finite_for_sure_and_wrong_answers_and_for_one_class() -> None:
    got = metrics.scores(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([1, 1]), resamples=20)
    assert got["accuracy"] == 0
    assert got["log_loss"] == pytest.approx(-np.log(1e-7))
    assert "roc_auc" not in got
    assert all(np.isfinite(value) for value in got.values())


def test_an_interval_holds_the_score_and_is_the_same_every_time() -> None:
    probabilities, labels = answers(2)
    got = metrics.scores(probabilities, labels, resamples=200)
    assert got == metrics.scores(probabilities, labels, resamples=200)
    for name in ("accuracy", "log_loss", "roc_auc"):
        assert got[f"{name}_low"] < got[name] < got[f"{name}_high"]


def test_an_interval_is_as_wide_as_the_binomial_says() -> None:
    probabilities, labels = answers(2, count=2000)
    low, high = metrics.interval(metrics.accuracy, probabilities, labels, 1000)
    share = metrics.accuracy(probabilities, labels)
    wanted = 2 * 1.96 * np.sqrt(share * (1 - share) / len(labels))
    assert high - low == pytest.approx(wanted, rel=0.1)


# Baselines


def test_log_count_ratios_are_those_of_the_paper() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 3, (12, 5)).astype(float)
    labels = np.arange(12) % 2
    p, q = (1 + counts[labels == k].sum(axis=0) for k in (1, 0))
    ratios = np.log((p / p.sum()) / (q / q.sum()))
    fitted = baselines.LogCountRatios().fit(sparse.csr_matrix(counts), labels)
    assert_allclose(fitted.ratios_, ratios)
    assert_allclose(fitted.transform(sparse.csr_matrix(counts)).toarray(), counts * ratios)


@pytest.mark.parametrize("classes", [2, 3])
def test_every_baseline_gives_probabilities_and_the_linear_ones_learn(classes: int) -> None:
    texts = [f"film {n} is {words}!" for n in range(20) for words in list(MOODS.values())[:classes]]
    labels = np.tile(np.arange(classes, dtype=np.int32), 20)
    part = Labelled(texts, labels)
    rest, few = np.arange(10 * classes, 20 * classes), np.arange(10 * classes)
    splits = Splits("moods", ("a", "b", "c")[:classes], part.rows(rest), part.rows(few), part)
    got = baselines.fit_all(splits, seed=0)
    assert set(got) == {"majority", "tfidf_logistic", "nbsvm"}
    for name, probabilities in got.items():
        assert probabilities.shape == (len(texts), classes)
        assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
        right = (probabilities.argmax(axis=1) == labels).mean()
        assert right == pytest.approx(1 / classes if name == "majority" else 1)


# Objectives


class Watched:
    """A network of known functions, in float64, that remembers what its reader was given."""

    def __init__(self) -> None:
        rng = np.random.default_rng(8)
        self.table = tf.constant(rng.normal(size=(9, 4)))
        self.mixing = tf.constant(rng.normal(size=(4, 3)))
        self.given: list[np.ndarray] = []

    def logits(self, vectors: Any, mask: Any) -> tf.Tensor:
        kept = tf.where(mask[..., tf.newaxis], tf.tanh(vectors), 0)
        return tf.reduce_sum(kept, axis=1) @ self.mixing

    def reader(self, inputs: Any, training: bool = False) -> tf.Tensor:
        assert training
        vectors, mask = inputs
        self.given.append(vectors.numpy())
        return self.logits(vectors, mask)

    def get_layer(self, name: str) -> Any:
        hidden = model.HiddenWords(0.0)
        return {
            "hidden": hidden,
            "embedding": lambda n: tf.gather(self.table, n),
            "reader": self.reader,
        }[name]


NUMBERS = np.array([[3, 5, 2, 7, 8], [4, 4, 6, 0, 0], [2, 0, 0, 0, 0]], np.int32)
LABELS = np.array([0, 2, 1], np.int32)


def watched(**settings: Any) -> SimpleNamespace:
    """The objective on a batch: losses, accuracy, and what the reader saw."""
    network: Any = Watched()
    objective = objectives.classification(network, SentimentConfig(**settings))
    losses, scores = objective(tf.constant(NUMBERS), tf.constant(LABELS))
    return SimpleNamespace(
        losses=losses.numpy(), right=scores["accuracy"].numpy(), given=network.given, of=network
    )


def losses_at(network: Watched, vectors: np.ndarray) -> np.ndarray:
    logits = network.logits(tf.constant(vectors), tf.constant(NUMBERS != PADDING)).numpy()
    chosen = logits[np.arange(len(LABELS)), LABELS]
    return np.log(np.exp(logits).sum(axis=1)) - chosen


def test_the_loss_is_the_cross_entropy_of_each_text() -> None:
    got = watched()
    (vectors,) = got.given
    assert_array_equal(vectors, got.of.table.numpy()[NUMBERS])
    assert_allclose(got.losses, losses_at(got.of, vectors))
    logits = got.of.logits(tf.constant(vectors), tf.constant(NUMBERS != PADDING)).numpy()
    assert_array_equal(got.right, logits.argmax(axis=1) == LABELS)


def test_an_adversarial_perturbation_has_its_length_and_the_direction_of_the_gradient() -> None:
    epsilon = 0.7
    got = watched(adversarial=epsilon)
    clean, perturbed = got.given
    moved = perturbed - clean
    assert_allclose(np.sqrt((moved**2).sum(axis=(1, 2))), epsilon)
    assert not moved[NUMBERS == PADDING].any()
    slope = np.zeros_like(clean)
    for place in np.ndindex(*clean.shape[1:]):
        step = np.zeros(clean.shape[1:])
        step[place] = 1e-6
        up, down = losses_at(got.of, clean + step), losses_at(got.of, clean - step)
        slope[(slice(None), *place)] = (up - down) / 2e-6
    size = np.sqrt((slope**2).sum(axis=(1, 2), keepdims=True))
    assert_allclose(moved, epsilon * slope / size, atol=1e-7)
    assert_allclose(got.losses, (losses_at(got.of, clean) + losses_at(got.of, perturbed)) / 2)
    assert (losses_at(got.of, perturbed) > losses_at(got.of, clean)).all()


def test_hidden_words_are_unknown_ones_and_padding_stays() -> None:
    keras.utils.set_random_seed(1)
    numbers = tf.constant(np.where(np.arange(500) < 300, 7, PADDING)[None].repeat(20, axis=0))
    hidden = model.HiddenWords(0.3)(numbers, training=True).numpy()
    assert not hidden[:, 300:].any()
    assert set(np.unique(hidden[:, :300])) == {UNKNOWN, 7}
    assert (hidden[:, :300] == UNKNOWN).mean() == pytest.approx(0.3, abs=0.03)
    assert_array_equal(model.HiddenWords(0.0)(numbers, training=True), numbers)
    assert_array_equal(model.HiddenWords(0.3)(numbers), numbers)
