"""What the page of a run shows: streams of the test part with what is true and what was said, where
labels are wrong and whose, the data, and how to ask the run."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from apps.gesture import plots, report
from apps.gesture.config import GestureConfig
from apps.gesture.smoothing import segments
from apps.gesture.streams import Corpus, Stream
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
from common.plots import save
from common.runs import Run

SOURCES = {
    "watch": "Seven shoulder exercises by ten subjects, recorded by a smartwatch at 50 Hz (Burns "
    "et al. 2018, arXiv:1802.01489), from the pip package seglearn (BSD 3-clause)."
}
STRETCHES = 8  # that are wrong, in a table


def sections(
    config: GestureConfig,
    result: Mapping[str, Any],
    run: Run,
    corpus: Corpus,
    test: Sequence[Stream],
    labels: Mapping[str, Sequence[np.ndarray]],
) -> list[Section]:
    """The sections of the page of one fold's run; draws what of it the run has not drawn.

    Args:
        result: what metrics.json will hold.
        test: the streams of the test subjects.
        labels: who said it, the network first -> labels ``[time]`` of each stream.
    """
    network = next(iter(labels.values()))
    first = Picture(
        run.plots / "bands.png",
        f"Channels of stream {test[0].name} of the test part, and bands of what is true and what "
        f"was said; {share_right(test[0], network[0]):.1%} of its frames are right",
    )
    streams: list[Block] = [first, *hardest(run, corpus, test, labels)]
    rows = wrong(test, network, corpus.classes, corpus.rate)
    header = ("subject", "stream", "from, s", "to, s", "true", "said")
    caption = "the longest stretches of the test part that are labelled wrongly"
    if rows:
        streams.append(Table(caption, header, rows))
    else:
        streams.append(Text("No frame of the test part is labelled wrongly."))
    return [
        Section("Streams", streams),
        Section("Right and wrong", by_class_and_subject(result, run, corpus.classes)),
        about_data(result["dataset"], config.data, SOURCES),
        asking(report.commands(result, run.path)),
    ]


def all_folds(
    config: GestureConfig, result: Mapping[str, Any], run: Run, classes: Sequence[str]
) -> list[Section]:
    """The sections of the page of all folds together; the first of them is asked."""
    pages = ", ".join(f"fold_{n}/report.html" for n in range(len(result["folds"])))
    return [
        Section("Right and wrong", by_class_and_subject(result, run, classes)),
        Section("Folds", [Text(f"Each fold is a run with a page of its own: {pages}.")]),
        about_data(result["dataset"], config.data, SOURCES),
        asking(report.commands(result, run.path / "fold_0")),
    ]


def by_class_and_subject(
    result: Mapping[str, Any], run: Run, classes: Sequence[str]
) -> list[Block]:
    """The confusion matrix, and accuracies of each test subject beside the baselines'."""
    scores = {f"{result['cell']} network": result["by_subject"], **result["baselines_by_subject"]}
    rows = [
        (subject, *(f"{own[subject]['frame_accuracy']:.4f}" for own in scores.values()))
        for subject in plots.hardest_subjects(result["by_subject"])
    ]
    count = len(result["by_subject"])
    some = f", the {len(rows)} hardest of {count}" if len(rows) < count else ""
    return [
        confusion_picture(run.plots / "confusion.png", np.array(result["confusion"]), classes),
        Picture(
            run.plots / "subjects.png",
            f"Share of frames wrong of each test subject{some}, by the network and by each "
            f"baseline; the network finds subject {rows[0][0]} hardest",
        ),
        Table(f"frame accuracy by test subject{some}", ("subject", *scores), rows),
    ]


def hardest(
    run: Run,
    corpus: Corpus,
    test: Sequence[Stream],
    labels: Mapping[str, Sequence[np.ndarray]],
) -> list[Block]:
    """``plots/hardest.png``: the stream, other than the first, of which the network has least
    right, of ``labels`` ``[time]`` by model and stream; nothing if there is no other."""
    network = next(iter(labels.values()))
    shares = [share_right(stream, own) for stream, own in zip(test, network, strict=True)]
    known = [n for n in range(1, len(test)) if np.isfinite(shares[n])]
    if not known:
        return []
    n = min(known, key=lambda n: shares[n])
    rows = {name: said[n] for name, said in labels.items() if name != "majority"}
    picture = run.plots / "hardest.png"
    save(plots.bands(test[n], rows, corpus.classes, corpus.channels, corpus.rate), picture)
    told = f"The same of the hardest of the others, {test[n].name}, subject {test[n].subject}"
    return [Picture(picture, f"{told}; {shares[n]:.1%} of its frames are right")]


def share_right(stream: Stream, said: np.ndarray) -> float:
    """Of the frames whose label is known, of labels ``[time]``; NaN if there are none."""
    known = stream.labels >= 0
    return float((said == stream.labels)[known].mean()) if known.any() else float("nan")


def wrong(
    streams: Sequence[Stream], said: Sequence[np.ndarray], classes: Sequence[str], rate: float
) -> list[tuple[str, ...]]:
    """Subject, stream, first second, last, true and said class of the longest stretches where one
    class was said for another, of labels ``[time]`` a stream."""
    found = []
    for stream, labels in zip(streams, said, strict=True):
        mistaken = (stream.labels >= 0) & (stream.labels != labels)
        pairs = np.where(mistaken, stream.labels * len(classes) + labels, -1)
        found += [(end - a, stream, pair, a, end) for pair, a, end in segments(pairs) if pair >= 0]
    found.sort(key=lambda stretch: -stretch[0])
    rows = []
    for _, stream, pair, begin, end in found[:STRETCHES]:
        times = (f"{stream.begin + n / rate:.2f}" for n in (begin, end))
        names = (classes[n] for n in divmod(pair, len(classes)))
        rows.append((stream.subject, stream.name, *times, *names))
    return rows
