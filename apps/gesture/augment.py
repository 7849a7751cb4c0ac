r"""What a training piece could have looked like: another way to wear the sensor, another range of
motion, another pace, another sensor. In NumPy, one piece at a time; functions of the random
generator alone.

Rotation and scaling, noise and time warp follow Um et al. 2017 (arXiv:1706.00527), who found
rotation to matter most for wearable sensors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

AXES = ("x", "y", "z")
KNOTS = 8  # of the pace, over a piece


@dataclass(frozen=True)
class Augmentation:
    """How much of each; 0 turns it off."""

    rotation: float
    """Deviation of the angle by which the sensor's frame is turned, degrees."""
    pose: float
    """Deviation of the angle by which it is turned anew for each bout, degrees."""
    amplitude: float
    """Deviation of the logarithm of how far each bout moves about its mean."""
    scaling: float
    """Deviation of the logarithm of each channel's gain."""
    warp: float
    """Deviation of the logarithm of the pace, and of its change within a piece."""
    noise: float
    """Deviation of white noise, in deviations of the channel."""
    channel_drop: float
    """Chance that a channel is silent (at its mean) throughout a piece."""

    @property
    def reach(self) -> float:
        """So many times its length a piece must have, to be warped."""
        return float(np.exp(3 * self.warp))


def triads(channels: Sequence[str]) -> list[tuple[int, int, int]]:
    """Channels that are x, y and z of one vector, told by their names: equal but for that last
    letter, one after the other."""
    names = [name.lower() for name in channels]
    found = []
    for first in range(len(names) - 2):
        three = names[first : first + 3]
        ends = tuple(name[-1:] for name in three)
        if ends == AXES and len({name[:-1] for name in three}) == 1:
            found.append((first, first + 1, first + 2))
    return found


def augmented(
    values: np.ndarray,
    labels: np.ndarray,
    length: int,
    how: Augmentation,
    vectors: Sequence[tuple[int, int, int]],
    mean: np.ndarray,
    deviation: np.ndarray,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """A piece of `length` frames.

    Args:
        values: ``[time, channels]``, of `length` times ``how.reach`` frames or more.
        labels: ``[time]``.
        vectors: channels to be rotated together.
        mean: of each channel, ``[channels]``.
        deviation: of each channel.
    """
    values, labels = warped(values, labels, length, how.warp, random)
    values = _turned(values, how.rotation, vectors, random)
    if how.scaling:
        values *= np.exp(random.normal(0, how.scaling, values.shape[1]))
    if how.noise:
        values += random.normal(0, how.noise, values.shape) * deviation
    if how.channel_drop:
        silent = random.random(values.shape[1]) < how.channel_drop
        values[:, silent] = mean[silent]
    return values.astype(np.float32), labels


def varied(
    values: np.ndarray,
    how: Augmentation,
    vectors: Sequence[tuple[int, int, int]],
    random: np.random.Generator,
) -> np.ndarray:
    r"""One bout by somebody who moves further or less far, and holds the limb otherwise:
    :math:`R (\bar x + g (x_t - \bar x))`, with the bout's mean :math:`\bar x`, a gain g and a
    rotation R of its own.

    Args:
        values: ``[time, channels]``.
        vectors: channels to be rotated.
    """
    mean = values.mean(axis=0)
    values = mean + (values - mean) * np.exp(random.normal(0, how.amplitude))
    return _turned(values, how.pose, vectors, random)


def _turned(
    values: np.ndarray,
    deviation: float,
    vectors: Sequence[tuple[int, int, int]],
    random: np.random.Generator,
) -> np.ndarray:
    """All vectors by one rotation, since the sensors of one case turn with it."""
    turn = rotation(random.normal() * np.deg2rad(deviation), random)
    for three in vectors:
        values[:, three] = values[:, three] @ turn.T
    return values


def rotation(angle: float, random: np.random.Generator) -> np.ndarray:
    r"""``[3, 3]``: by `angle` (radians) about an axis that points anywhere (Rodrigues),
    :math:`R = I + \sin\theta\, K + (1 - \cos\theta) K^2`."""
    x, y, z = _unit(random.normal(size=3))
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * (k @ k)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def warped(
    values: np.ndarray, labels: np.ndarray, length: int, warp: float, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """`length` of the frames ``[time, channels]``, with their labels ``[time]``, at another pace,
    which changes smoothly on the way: values between frames by linear interpolation, labels of the
    nearest frame."""
    if not warp:
        return values[:length].astype(np.float64), labels[:length]
    knots = random.normal(0, warp, KNOTS) / np.sqrt(2) + random.normal(0, warp) / np.sqrt(2)
    pace = np.exp(np.interp(np.linspace(0, KNOTS - 1, length), np.arange(KNOTS), knots))
    at = np.cumsum(pace) - pace[0]
    at *= min(1.0, (len(values) - 1) / at[-1]) if length > 1 else 1.0
    low = np.minimum(at.astype(int), len(values) - 2)
    share = (at - low)[:, np.newaxis]
    mixed = (1 - share) * values[low] + share * values[low + 1]
    return mixed, labels[np.rint(at).astype(int)]
