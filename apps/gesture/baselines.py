"""What a sceptic would use instead: the commonest class, and a random forest over features of
windows. Imports no TensorFlow."""

from collections.abc import Sequence
from dataclasses import dataclass

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
    forest = fit_forest(train, Windows.of(rate, lookahead), seed)
    return {
        "majority": [np.full(len(stream), commonest, np.int32) for stream in test],
        "random_forest": [forest(stream.values) for stream in test],
    }


@dataclass(frozen=True)
class Windows:
    """Where in a stream its windows lie: one around the middle frame of every stretch."""

    size: int
    """Frames in a window."""
    every: int
    """Frames in a stretch, which share a label."""
    ahead: int
    """Frames of a window after the frame that it is for."""

    @classmethod
    def of(cls, rate: float, lookahead: int | None) -> "Windows":
        """Those of a stream of `rate` frames a second; centred, or with `lookahead` frames."""
        size, every = max(2, round(WINDOW * rate)), max(1, round(EVERY * rate))
        return cls(size, every, size // 2 if lookahead is None else lookahead)

    def frames(self, length: int) -> np.ndarray:
        """The middle frame of every stretch, ``[windows]``, of a stream of `length` frames."""
        return np.minimum(np.arange(0, length, self.every) + self.every // 2, length - 1)

    def cut(self, values: np.ndarray) -> np.ndarray:
        """``[time, channels]`` to ``[windows, size, channels]``; where the stream has ended, or
        not begun, its last or first frame stands in."""
        padded = np.pad(values, [(self.size, self.ahead + 1), (0, 0)], mode="edge")
        ends = self.frames(len(values)) + self.ahead + 1 + self.size
        return np.stack([padded[end - self.size : end] for end in ends])

    def spread(self, said: np.ndarray, length: int) -> np.ndarray:
        """A label a window, ``[windows]``, to a label a frame, ``[length]``."""
        return np.repeat(said, self.every)[:length].astype(np.int32)


@dataclass(frozen=True)
class Forest:
    """A fitted forest: values ``[time, channels]`` to labels ``[time]``."""

    classifier: RandomForestClassifier
    windows: Windows

    def __call__(self, values: np.ndarray) -> np.ndarray:
        said = self.classifier.predict(features(self.windows.cut(values)))
        return self.windows.spread(said, len(values))


def fit_forest(train: Sequence[Stream], windows: Windows, seed: int) -> Forest:
    """A random forest over features of windows."""
    rows = [features(windows.cut(stream.values)) for stream in train]
    marks = [stream.labels[windows.frames(len(stream))] for stream in train]
    forest = RandomForestClassifier(TREES, min_samples_leaf=2, random_state=seed, n_jobs=-1)
    forest.fit(np.concatenate(rows), np.concatenate(marks))
    forest.set_params(n_jobs=1)  # threads would add up the trees' votes in any order
    return Forest(forest, windows)


def features(cut: np.ndarray) -> np.ndarray:
    """Windows ``[windows, size, channels]`` to ``[windows, features]``: mean, deviation,
    quartiles, extremes and mean absolute change of each channel; its strongest frequency and how
    strong; correlations of channels."""
    cut = cut.astype(np.float64)
    size, channels = cut.shape[1:]
    mean, deviation = cut.mean(axis=1), cut.std(axis=1)
    z = (cut - mean[:, np.newaxis]) / (deviation[:, np.newaxis] + 1e-9)
    power = np.abs(np.fft.rfft(z, axis=1))[:, 1:] ** 2 / size**2
    correlations = np.einsum("wti,wtj->wij", z, z) / size
    upper = np.triu_indices(channels, 1)
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
