"""Pictures of labelled streams. Each returns a matplotlib figure. Imports no TensorFlow."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.pyplot import get_cmap

from apps.gesture.smoothing import segments
from apps.gesture.streams import Stream
from common.plots import plain

SHOWN = 90.0  # seconds of a stream
MOST_SUBJECTS = 20  # in a picture or a table


def bands(
    stream: Stream,
    said: Mapping[str, np.ndarray],
    classes: Sequence[str],
    channels: Sequence[str],
    rate: float,
    seconds: float = SHOWN,
) -> Figure:
    """A stream's channels, and beneath them bands of what is true, if that is known, and of what
    was said.

    Args:
        said: who said it -> labels ``[time]``.
        seconds: how much of the stream is drawn, from its beginning.
    """
    count = min(len(stream), round(seconds * rate))
    time = np.arange(count) / rate
    figure = Figure(figsize=(12, 4.4 + 0.45 * len(said)), layout="constrained")
    known = {"true": stream.labels} if (stream.labels >= 0).any() else {}
    rows = {**known, **said}
    heights = [2.0, 2.0, *[0.45] * len(rows)]
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    half, names = -(-len(channels) // 2), [plain(name) for name in channels]
    for panel, part in zip(axes[:2], (range(half), range(half, len(channels))), strict=True):
        for number in part:
            panel.plot(time, stream.values[:count, number], linewidth=0.7, label=names[number])
        panel.grid(alpha=0.3)
        if part:
            panel.legend(loc="upper right", ncols=min(len(part), 6), fontsize=8)
    colours = colours_of(len(classes))
    for panel, (name, labels) in zip(axes[2:], rows.items(), strict=True):
        band(panel, labels[:count], colours, rate)
        panel.set_ylabel(name, rotation=0, ha="right", va="center")
    axes[-1].set_xlabel("seconds")
    title = plain(f"Stream {stream.name}, subject {stream.subject}")
    axes[0].set(title=title, xlim=(0, count / rate))
    handles = [Patch(color=c, label=plain(n)) for c, n in zip(colours, classes, strict=True)]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(classes), 10))
    return figure


def band(axes: Axes, labels: np.ndarray, colours: Sequence[str], rate: float) -> None:
    """A bar of one colour for each segment of the labels ``[time]``."""
    for label, begin, end in segments(labels):
        colour = colours[label] if label >= 0 else "white"
        axes.axvspan(begin / rate, end / rate, color=colour, linewidth=0)
    axes.set_yticks([])
    axes.set_ylim(0, 1)


def colours_of(classes: int) -> list[str]:
    """One for each class; those of up to seven can be told apart by everybody (Okabe & Ito)."""
    few = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"]
    if classes <= len(few):
        return few[:classes]
    return [to_hex(get_cmap("turbo")(k / (classes - 1))) for k in range(classes)]


def hardest_subjects(
    scores: Mapping[str, Mapping[str, float]], metric: str = "frame_accuracy"
) -> list[str]:
    """The ``MOST_SUBJECTS`` with the lowest scores, the lowest first."""
    return sorted(scores, key=lambda subject: scores[subject][metric])[:MOST_SUBJECTS]


def by_subject(
    scores: Mapping[str, Mapping[str, Mapping[str, float]]], metric: str = "frame_accuracy"
) -> Figure:
    """The share of frames each subject's model got wrong, a bar for each model; of many subjects
    those that are hardest for the first model.

    Args:
        scores: model -> subject -> scores.
    """
    subjects = hardest_subjects(next(iter(scores.values())), metric)
    figure = Figure(figsize=(max(5.0, 1.0 + 0.9 * len(subjects)), 3.6), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(scores)
    for number, (name, found) in enumerate(scores.items()):
        places = np.arange(len(subjects)) + (number - (len(scores) - 1) / 2) * width
        axes.bar(places, [1 - found[s][metric] for s in subjects], width, label=name)
    axes.set_xticks(np.arange(len(subjects)), [plain(subject) for subject in subjects])
    axes.set(xlabel="subject", ylabel="share of frames wrong", title="Errors by subject")
    axes.grid(alpha=0.3, axis="y")
    axes.legend()
    return figure
