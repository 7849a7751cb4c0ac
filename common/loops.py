"""Loops over time in TensorFlow: read step by step, write step by step, and turn round."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Tensors = list[tf.Tensor]


def loop(body: Callable[..., Any], time: Any, carried: tuple[Any, ...]) -> Any:
    """`body`, from (steps made, *carried) to the same after one more, `time` times."""
    return tf.while_loop(
        lambda count, *_: count < time,
        body,
        (tf.constant(0), *carried),
        maximum_iterations=time,
    )


def by_time(tensor: tf.Tensor) -> tf.TensorArray:
    """``[time, ...]``, to be read step by step."""
    size = tf.shape(tensor)[0]
    return tf.TensorArray(tensor.dtype, size=size, element_shape=tensor.shape[1:]).unstack(tensor)


def history(dtype: Any, time: Any, shape: Any) -> tf.TensorArray:
    """To be written step by step."""
    return tf.TensorArray(dtype, size=time, element_shape=shape)


def swapped(tensor: tf.Tensor) -> tf.Tensor:
    """Batch-major ``[batch, time, width]`` to time-major, or back."""
    return tf.transpose(tensor, [1, 0, 2])


def as_it_is(tensor: tf.Tensor) -> tf.Tensor:
    """``[time, batch, width]`` that is time-major already: beside ``swapped``, for a choice between
    them."""
    return tensor


def rows(tensor: tf.Tensor) -> tf.Tensor:
    """``[time, batch, width]`` as ``[time * batch, width]``."""
    return tf.reshape(tensor, [-1, tensor.shape[-1]])


def steps(rows: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """``[time * batch, width]`` as ``[time, batch, width]``, with all but the width taken from
    `like`."""
    shape = tf.concat([tf.shape(like)[:-1], [rows.shape[-1]]], 0)
    return tf.ensure_shape(tf.reshape(rows, shape), [*like.shape[:-1], rows.shape[-1]])


def lacking(count: Any, multiple: Any) -> Any:
    """How many more make `count` a multiple. Without a negative number on the way, whose
    remainder ONNX takes otherwise than TensorFlow."""
    return (multiple - count % multiple) % multiple
