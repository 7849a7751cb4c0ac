"""From raw rows to what the recurrence reads, inside the graph: the inputs, gaps filled, the
calendar, the instance normalisation and its way back, patches."""

import tensorflow as tf

from apps.timeseries.config import Centre, Fill, Scale
from apps.timeseries.panel import Roles
from apps.timeseries.shape import HARMONICS, MONDAY, Shape
from common import plain


def specification(
    shape: Shape, roles: Roles, time: int | None = None, *, batch: int | None = None
) -> dict[str, tf.TensorSpec]:
    """Names, shapes and types of the inputs, for a history of `time` rows."""
    ahead = None if time is None else time + shape.horizon
    found = {
        "target": tf.TensorSpec([batch, time, len(roles.targets)], tf.float32, "target"),
        "seconds": tf.TensorSpec([batch, ahead], tf.int64, "seconds"),
    }
    if roles.past:
        found["past"] = tf.TensorSpec([batch, time, len(roles.past)], tf.float32, "past")
    if roles.future:
        found["future"] = tf.TensorSpec([batch, ahead, len(roles.future)], tf.float32, "future")
    return found


def observed(values: tf.Tensor) -> tf.Tensor:
    """Where there is a number, as 1 and 0 in the type of the values, ``[...]`` as they are."""
    return tf.cast(tf.math.is_finite(values), values.dtype)


def filled(values: tf.Tensor, how: Fill, start: tf.Tensor) -> tf.Tensor:
    """``[batch, time, columns]`` without missing values.

    Args:
        how: ``"forward"``: the last known value, and `start` before there is one; ``"mean"``:
            `start`; ``"zero"``.
        start: ``[batch, 1, columns]``: as a rule the mean of what is known (``centre_of``); of
            rows that go on from others, what gaps were filled with there.

    Returns:
        The same shape.
    """
    known = tf.math.is_finite(values)
    clean = tf.where(known, values, tf.zeros([], values.dtype))
    if how == "zero":
        return clean
    if how == "mean":
        return tf.where(known, clean, start)
    if plain.wanted():
        return _carried_plainly(clean, known, start)
    return tf.cond(tf.reduce_all(known), lambda: clean, lambda: _carried(clean, known, start))


def _carried_plainly(clean: tf.Tensor, known: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """As ``_carried``, without a search: by the matrix of all pairs of rows."""
    row = tf.range(tf.shape(clean)[1])
    until = tf.expand_dims(row, 0) <= tf.expand_dims(row, 1)  # [row, rows up to it]
    place = tf.where(tf.transpose(known, [0, 2, 1]), row, -1)
    last = tf.reduce_max(tf.where(until, tf.expand_dims(place, 2), -1), axis=-1)
    taken = tf.gather(tf.transpose(clean, [0, 2, 1]), tf.maximum(last, 0), batch_dims=2)
    return tf.transpose(tf.where(last >= 0, taken, tf.transpose(start, [0, 2, 1])), [0, 2, 1])


def _carried(clean: tf.Tensor, known: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """The last known value at each row: what stands in the first row that has as many known up
    to it."""
    count = tf.transpose(tf.cumsum(tf.cast(known, tf.int32), axis=1), [0, 2, 1])
    last = tf.searchsorted(count, count)
    found = tf.gather(tf.transpose(clean, [0, 2, 1]), last, batch_dims=2)
    return tf.transpose(tf.where(count > 0, found, tf.transpose(start, [0, 2, 1])), [0, 2, 1])


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
        c = filled(values, "forward", average)[:, -1:]
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
