"""Pictures of what was heard. Each returns a matplotlib figure. Imports no TensorFlow."""

from collections.abc import Mapping, Sequence

import librosa
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from apps.speech.utterances import RATE
from apps.speech.words import Word
from common.plots import plain

HOP, FRAME = 160, 512


def heard(
    waveform: np.ndarray,
    symbols: Sequence[str],
    ids: Sequence[int],
    seconds: float,
    *,
    log_p: np.ndarray | None,
    looks: np.ndarray | None,
    words: Sequence[Word] = (),
    title: str = "",
) -> Figure:
    """A recording's spectrogram with its words, and beneath it what the network went by: the
    spikes of CTC, and where the attention decoder looked for each symbol.

    Args:
        waveform: ``[samples]``.
        symbols: the alphabet's.
        ids: the text.
        seconds: from one step of the network to the next.
        log_p: of CTC, ``[time, symbols + 1]``, if there is one.
        looks: ``[length, time]``, if there is an attention decoder.
    """
    heights = [1.4, *[1.0] * (log_p is not None)]
    if looks is not None and len(ids):
        heights.append(max(1.0, len(ids) / 16))  # room for a label each
    panels = len(heights)
    figure = Figure(figsize=(11, 2.0 * sum(heights)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(panels, 1, sharex=True, height_ratios=heights))
    end = max(len(waveform), FRAME) / RATE
    _spectrogram(axes[0], waveform, end)
    for word in words:
        axes[0].axvspan(word.begin, word.end, color="white", alpha=0.16, linewidth=0)
        place = ((word.begin + word.end) / 2, 0.97)
        label = f"{plain(word.text)}\n{word.confidence:.2f}"
        axes[0].annotate(
            label,
            place,
            xycoords=("data", "axes fraction"),
            ha="center",
            va="top",
            color="white",
            fontsize=8,
        )
    number = 1
    if log_p is not None:
        _spikes(axes[number], log_p, symbols, ids, seconds)
        number += 1
    if number < panels and looks is not None:
        _looks(axes[number], looks, [symbols[i - 1] for i in ids], seconds)
    axes[-1].set_xlabel("seconds")
    axes[0].set(title=plain(title), xlim=(0, end))
    return figure


def _spectrogram(axes: Axes, waveform: np.ndarray, end: float) -> None:
    padded = np.pad(waveform, (0, max(0, FRAME - len(waveform))))
    mel = librosa.feature.melspectrogram(
        y=padded, sr=RATE, n_fft=FRAME, hop_length=HOP, win_length=400, center=False, n_mels=64
    )
    decibels = librosa.power_to_db(mel, ref=np.max, top_db=70)
    axes.imshow(decibels, origin="lower", aspect="auto", extent=(0, end, 0, len(mel)), cmap="magma")
    axes.set(ylabel="mel channel")


def _spikes(
    axes: Axes, log_p: np.ndarray, symbols: Sequence[str], ids: Sequence[int], seconds: float
) -> None:
    time = (np.arange(len(log_p)) + 0.5) * seconds
    axes.plot(time, np.exp(log_p[:, 0]), color="0.75", linewidth=0.8, label="blank")
    for symbol in sorted(set(ids)):
        axes.plot(time, np.exp(log_p[:, symbol]), linewidth=1.0)
    best = log_p.argmax(axis=1)
    for step in np.flatnonzero((best != 0) & (best != np.concatenate([[0], best[:-1]]))):
        label = plain(symbols[best[step] - 1].strip()) or "␣"
        axes.annotate(label, (time[step], 1.02), ha="center", fontsize=8)
    axes.set(ylabel="CTC", ylim=(0, 1.2))
    axes.legend(loc="upper right", fontsize=7)


def _looks(axes: Axes, looks: np.ndarray, texts: Sequence[str], seconds: float) -> None:
    extent = (0, looks.shape[1] * seconds, len(looks) - 0.5, -0.5)
    axes.imshow(looks, aspect="auto", extent=extent, cmap="viridis", interpolation="nearest")
    labels = [plain(text.strip()) or "␣" for text in texts]
    axes.set_yticks(np.arange(len(labels)), labels, fontsize=7)
    axes.set(ylabel="attention")


def errors(by_length: Mapping[int, float], by_speaker: Mapping[str, Mapping[str, float]]) -> Figure:
    """Word error rates by the number of words said, and by voice (the twenty worst)."""
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 2])
    left.bar([str(n) for n in by_length], [100 * value for value in by_length.values()])
    left.set(xlabel="words said", ylabel="word error rate, %", title="By length")
    worst = list(by_speaker.items())[:20]
    right.bar(range(len(worst)), [100 * row["wer"] for _, row in worst])
    right.set_xticks(range(len(worst)), [plain(name) for name, _ in worst], rotation=45, ha="right")
    right.tick_params(axis="x", labelsize=7)
    more = f", the {len(worst)} worst of {len(by_speaker)}" if len(by_speaker) > 20 else ""
    right.set(ylabel="word error rate, %", title=f"By voice{more}")
    for axes in (left, right):
        axes.grid(alpha=0.3, axis="y")
        axes.set_axisbelow(True)
    return figure
