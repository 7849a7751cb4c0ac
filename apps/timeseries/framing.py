"""From raw rows to what the recurrence reads, inside the graph: gaps filled, the calendar, the
instance normalisation and its way back, patches."""

from typing import Any

import tensorflow as tf

from apps.timeseries.config import Centre, Fill, Scale
from apps.timeseries.shape import HARMONICS, MONDAY


def observed(values: tf.Tensor) -> tf.Tensor:
    """Where there is a number, as 1 and 0 in the type of the values."""
    return tf.cast(tf.math.is_finite(values), values.dtype)


def filled(
    values: tf.Tensor, how: Fill, default: tf.Tensor, before: tf.Tensor | None = None
) -> tf.Tensor:
    """``[batch, time, columns]`` without missing values.

    Args:
        how: ``"forward"``: the last known value, and before there is one the mean of those
            known; ``"mean"``: that mean; ``"zero"``.
        default: ``[columns]``, in place of that mean where nothing at all is known.
        before: ``[batch, columns]``, known values that stood before the first row, if any.

    Returns:
        The same shape.
    """
    known = tf.math.is_finite(values)
    clean = tf.where(known, values, tf.zeros([], values.dtype))
    if how == "zero":
        return clean
    start = centre_of(values, default) if before is None else before[:, tf.newaxis]
    if how == "mean":
        return tf.where(known, clean, start)
    return tf.cond(tf.reduce_all(known), lambda: clean, lambda: _carried(clean, known, start))


def _carried(clean: tf.Tensor, known: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
    """The last known value at each row: the running maximum of the rows that are known, by
    doubling, and what stands there."""
    time = tf.shape(clean)[1]
    rows = tf.range(time)[tf.newaxis, :, tf.newaxis]
    last = tf.where(known, rows, -1)

    def double(reach: Any, last: Any) -> Any:
        earlier = tf.pad(last, [[0, 0], [reach, 0], [0, 0]], constant_values=-1)[:, :time]
        return 2 * reach, tf.maximum(last, earlier)

    _, last = tf.while_loop(
        lambda reach, _: reach < time, double, (tf.constant(1), last), parallel_iterations=1
    )
    across = [tf.transpose(part, [0, 2, 1]) for part in (clean, tf.maximum(last, 0))]
    found = tf.transpose(tf.gather(*across, batch_dims=2), [0, 2, 1])
    return tf.where(last >= 0, found, before)


def centre_of(values: tf.Tensor, default: tf.Tensor) -> tf.Tensor:
    """The mean of the known values of each window, ``[batch, 1, columns]``; `default`,
    ``[columns]``, where none is known."""
    known = observed(values)
    clean = tf.where(known > 0, values, tf.zeros([], values.dtype))
    count = tf.reduce_sum(known, axis=1, keepdims=True)
    mean = tf.reduce_sum(clean, axis=1, keepdims=True) / tf.maximum(count, 1.0)
    return tf.where(count > 0, mean, default)


def normaliser(
    values: tf.Tensor, centre: Centre, scale: Scale, mean: tf.Tensor, deviation: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    r"""What takes a window of raw values to the network's unit and back again (reversible
    instance normalisation, Kim et al. 2022): :math:`z = (y - c) / s`, :math:`y = s z + c`.

    Args:
        values: ``[batch, time, targets]``, NaN where missing.
        centre: c is the window's mean ("window"), its last known value ("last"), or the
            training part's mean.
        scale: s is the window's standard deviation, or the training part's. A window that
            stands still has the training part's, so that its forecast has some width.
        mean: of the training part, ``[targets]``.
        deviation: of the training part, ``[targets]``.

    Returns:
        c and s, each ``[batch, 1, targets]``.
    """
    average = centre_of(values, mean)
    ones = tf.ones_like(average)
    if centre == "window":
        c = average
    elif centre == "last":
        c = filled(values, "forward", mean)[:, -1:]
    else:
        c = ones * mean
    s = ones * deviation
    if scale == "window":
        spread = tf.sqrt(centre_of(tf.square(values - average), tf.zeros_like(mean)))
        s = tf.where(spread > 1e-6 * deviation, spread, s)
    return c, s


def calendar(seconds: tf.Tensor, cycles: tuple[int, ...]) -> tf.Tensor:
    r"""Sine and cosine of :math:`2 \pi k \varphi` for each cycle's phase :math:`\varphi` and
    each harmonic k.

    Args:
        seconds: ``[batch, time]`` int64, of the clock on the wall.
        cycles: lengths in seconds, among those of ``shape.HARMONICS``.

    Returns:
        ``[batch, time, features]`` float32; no features without cycles.
    """
    waves = [tf.zeros([*tf.unstack(tf.shape(seconds)), 0])]
    for cycle in cycles:  # whole numbers first: float32 can't tell seconds apart after 1970
        phase = tf.cast(tf.math.floormod(seconds - MONDAY, cycle), tf.float32) / cycle
        for harmonic in range(1, HARMONICS[cycle] + 1):
            angle = 2.0 * 3.14159265 * harmonic * phase[..., tf.newaxis]
            waves += [tf.sin(angle), tf.cos(angle)]
    return tf.concat(waves, axis=-1)


def patches(rows: tf.Tensor, patch: int) -> tf.Tensor:
    """``[batch, time, width]`` to ``[batch, time / patch, patch * width]``."""
    batch, time = tf.unstack(tf.shape(rows)[:2])
    return tf.reshape(rows, [batch, time // patch, patch * rows.shape[-1]])
