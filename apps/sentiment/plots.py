"""Pictures of what a sentiment model does. Each returns a matplotlib figure."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from common.plots import plain


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = 10) -> Figure:
    """How often answers of a given confidence are right: on the diagonal if it is honest.

    Args:
        probabilities: ``[examples, classes]``.
        labels: ``[examples]``.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, bins + 1)
    which = np.clip(np.digitize(confidence, edges) - 1, 0, bins - 1)
    count = np.bincount(which, minlength=bins)
    used = count > 0
    mean_confidence = np.bincount(which, confidence, bins)[used] / count[used]
    share_right = np.bincount(which, right, bins)[used] / count[used]
    figure = Figure(figsize=(5, 5.6), layout="constrained")
    top, below = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    top.plot([0, 1], [0, 1], color="grey", linestyle="--", label="honest")
    top.plot(mean_confidence, share_right, marker="o", label="this model")
    top.set(ylabel="share that is right", ylim=(0, 1), xlim=(0, 1), title="Reliability")
    top.grid(alpha=0.3)
    top.legend()
    below.bar((edges[:-1] + edges[1:]) / 2, count, width=0.9 / bins)
    below.set(xlabel="confidence", ylabel="texts")
    return figure


def trajectories(
    texts: Sequence[tuple[Sequence[str], np.ndarray]], classes: Sequence[str]
) -> Figure:
    """How the probability moves word by word, a panel for each text.

    Args:
        texts: for each text its tokens and, after each, the probabilities ``[time, classes]``.
        classes: names; of two only the second is drawn.
    """
    heights = [1.0] * len(texts)
    figure = Figure(figsize=(11, 3.4 * len(texts)), layout="constrained")
    panels = np.atleast_1d(figure.subplots(len(texts), 1, height_ratios=heights))
    shown = range(1, 2) if len(classes) == 2 else range(len(classes))
    for axes, (tokens, probabilities) in zip(panels, texts, strict=True):
        places = np.arange(len(tokens))
        for index in shown:
            axes.plot(places, probabilities[:, index], marker=".", label=plain(classes[index]))
        axes.axhline(1 / len(classes), color="grey", linewidth=0.8, linestyle="--")
        every = -(-len(tokens) // 60)  # more words than that can't be read
        words = [plain(token) for token in tokens[::every]]
        axes.set_xticks(places[::every], words, rotation=90, fontsize=8)
        axes.set(ylim=(-0.02, 1.02), ylabel="probability")
        axes.margins(x=0.01)
        axes.legend(loc="best")
    return figure
