"""What a sceptic would use instead: the commonest class, and a random forest over features of
windows. Imports no TensorFlow."""

from collections.abc import Sequence

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from apps.gesture.streams import Stream

WINDOW = 2.0  # seconds
EVERY = 0.2  # seconds from a window to the next; the frames around its own share its label
TREES = 300


def fit_all(
    train: Sequence[Stream],
    test: Sequence[Stream],
    rate: float,
    lookahead: int | None,
    seed: int,
) -> dict[str, list[np.ndarray]]:
    """Each baseline, fitted on `train`. Returns its labels of each stream of `test`, ``[time]``.

    Args:
        lookahead: frames after a frame that its window may reach to; None: half a window.
    """
    labels = np.concatenate([stream.labels for stream in train])
    commonest = int(np.bincount(labels[labels >= 0]).argmax())
    size, every = max(2, round(WINDOW * rate)), max(1, round(EVERY * rate))
    ahead = size // 2 if lookahead is None else lookahead
    rows = [windows(stream.values, size, every, ahead) for stream in train]
    marks = [stream.labels[_frames(len(stream), every)] for stream in train]
    forest = RandomForestClassifier(TREES, min_samples_leaf=2, random_state=seed, n_jobs=-1)
    forest.fit(np.concatenate(rows), np.concatenate(marks))
    forest.set_params(n_jobs=1)  # threads would add up the trees' votes in any order
    return {
        "majority": [np.full(len(stream), commonest, np.int32) for stream in test],
        "random_forest": [_labelled(forest, stream, size, every, ahead) for stream in test],
    }


def _frames(length: int, every: int) -> np.ndarray:
    """The middle frame of every stretch of `every` frames."""
    return np.minimum(np.arange(0, length, every) + every // 2, length - 1)


def _labelled(
    forest: RandomForestClassifier, stream: Stream, size: int, every: int, ahead: int
) -> np.ndarray:
    said = forest.predict(windows(stream.values, size, every, ahead))
    return np.repeat(said, every)[: len(stream)].astype(np.int32)


def windows(values: np.ndarray, size: int, every: int, ahead: int) -> np.ndarray:
    """Features of the window of `size` frames around every so many frames; where the stream
    has ended, or not begun, its last or first frame stands in.

    Args:
        values: ``[time, channels]``.
        ahead: frames of the window after the frame that it is for.

    Returns:
        ``[windows, features]``: mean, deviation, quartiles, extremes and mean absolute change
        of each channel; its strongest frequency and how strong; correlations of channels.
    """
    padded = np.pad(values, [(size, ahead + 1), (0, 0)], mode="edge").astype(np.float64)
    ends = _frames(len(values), every) + ahead + 1 + size
    cut = np.stack([padded[end - size : end] for end in ends])
    mean, deviation = cut.mean(axis=1), cut.std(axis=1)
    z = (cut - mean[:, np.newaxis]) / (deviation[:, np.newaxis] + 1e-9)
    power = np.abs(np.fft.rfft(z, axis=1))[:, 1:] ** 2 / size**2
    correlations = np.einsum("wti,wtj->wij", z, z) / size
    upper = np.triu_indices(values.shape[1], 1)
    return np.concatenate(
        [
            mean,
            deviation,
            *np.quantile(cut, (0, 0.25, 0.5, 0.75, 1), axis=1),
            np.abs(np.diff(cut, axis=1)).mean(axis=1),
            power.argmax(axis=1),
            power.max(axis=1),
            correlations[:, upper[0], upper[1]],
        ],
        axis=1,
    )
