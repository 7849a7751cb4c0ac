"""What a sceptic would use instead: the majority class, and two linear models of n-grams."""

from dataclasses import replace
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline

from apps.sentiment.metrics import log_loss
from apps.sentiment.texts import Splits

# Words, and signs by themselves: "!" and "?" tell.
TOKEN = r"[^\s\w]|\w+(?:'\w+)?"
STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0)
MOST_CHARACTERS = 64_000_000
"""Of training texts, for the baselines: IMDb's 26 million take 1 GB of memory."""


class LogCountRatios(TransformerMixin, BaseEstimator):
    r"""Weighs each feature by how differently the two classes use it (Wang & Manning 2012):
    :math:`r = \log\frac{(\alpha + \sum_{i: y_i=1} f_i) / \lVert\cdot\rVert_1}
    {(\alpha + \sum_{i: y_i=0} f_i) / \lVert\cdot\rVert_1}`, with :math:`\alpha = 1`."""

    def fit(self, counts: Any, labels: np.ndarray) -> "LogCountRatios":
        """Takes the ratios of two classes, 0 and 1, from counts ``[texts, terms]`` and labels
        ``[texts]``."""
        positive = 1.0 + np.asarray(counts[labels == 1].sum(axis=0)).ravel()
        negative = 1.0 + np.asarray(counts[labels == 0].sum(axis=0)).ravel()
        self.ratios_ = np.log((positive / positive.sum()) / (negative / negative.sum()))
        return self

    def transform(self, counts: Any) -> Any:
        """Counts ``[texts, terms]``, each term's times its ratio."""
        return counts @ sparse.diags(self.ratios_)


def fit_all(splits: Splits, seed: int) -> dict[str, np.ndarray]:
    """Each baseline, fitted on the training part, its strength of regularisation chosen by
    log loss on validation. Returns its probabilities on the test part,
    ``[examples, classes]``."""
    splits = _fewer(splits)
    majority = DummyClassifier(strategy="prior").fit(splits.train.texts, splits.train.labels)
    return {
        "majority": majority.predict_proba(splits.test.texts),
        "tfidf_logistic": _best(_tfidf(), splits, seed).predict_proba(splits.test.texts),
        "nbsvm": nbsvm(splits, seed).predict_proba(splits.test.texts),
    }


def nbsvm(splits: Splits, seed: int) -> Pipeline:
    """The linear model of 1-2-grams of Wang & Manning 2012, fitted as in ``fit_all``: from texts
    to probabilities ``[texts, classes]``."""
    return _best(_binary_counts(), splits, seed, nbsvm=True)


def _fewer(splits: Splits) -> Splits:
    """With every so manieth training text, where there are more than fit in memory as n-grams."""
    characters = sum(map(len, splits.train.texts))
    step = -(-characters // MOST_CHARACTERS)
    if step <= 1:
        return splits
    kept = splits.train.rows(np.arange(0, len(splits.train), step))
    print(
        f"the baselines learn from {len(kept):,} of {len(splits.train):,} training texts: more of "
        f"their n-grams would not fit in memory",
        flush=True,
    )
    return replace(splits, train=kept)


def _tfidf() -> TfidfVectorizer:
    return TfidfVectorizer(sublinear_tf=True, min_df=2, token_pattern=TOKEN, dtype=np.float32)


def _binary_counts() -> CountVectorizer:
    return CountVectorizer(ngram_range=(1, 2), binary=True, token_pattern=TOKEN, dtype=np.float32)


def _best(vectorizer: Any, splits: Splits, seed: int, nbsvm: bool = False) -> Pipeline:
    """The vectoriser, and the linear model of the strength that does best on validation."""
    train = vectorizer.fit_transform(splits.train.texts)
    validation = vectorizer.transform(splits.validation.texts)
    best: tuple[float, Any] | None = None
    for strength in STRENGTHS:
        # The dual problem: with more features than texts it is ten times as quick.
        logistic = LogisticRegression(
            C=strength, solver="liblinear", dual=True, max_iter=1000, random_state=seed
        )
        steps = [("ratios", LogCountRatios())] if nbsvm else []
        # Both are made for two classes; with more, each class stands against the rest.
        model = OneVsRestClassifier(Pipeline([*steps, ("logistic", logistic)]))
        model.fit(train, splits.train.labels)
        loss = log_loss(model.predict_proba(validation), splits.validation.labels)
        if best is None or loss < best[0]:
            best = loss, model
    assert best is not None
    return make_pipeline(vectorizer, best[1])
