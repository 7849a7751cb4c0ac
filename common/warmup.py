"""Requests that a SavedModel carries with it, in the file from which TensorFlow Serving takes what
it asks of a model before it lets anybody else ask: TFRecords of ``PredictionLog``.

They also are what a conversion to another format is compared on (``common.formats``).
"""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from common import files
from common.errors import UserError

MOST_BYTES = 2**28
FILE = Path("assets.extra") / "tf_serving_warmup_requests"


def write(model: Path, examples: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Writes one request for each signature in `examples`, by the names of its inputs."""
    (model / FILE).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(model / FILE)) as file:
        for signature, inputs in examples.items():
            log = PredictionLog()
            request = log.predict_log.request
            request.model_spec.signature_name = signature
            for name, value in inputs.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            file.write(log.SerializeToString())


def read(model: Path) -> dict[str, dict[str, np.ndarray]]:
    """What ``write`` wrote: inputs by signature; nothing if there is no such file.

    Raises:
        UserError: if it can't be read.
    """
    path = model / FILE
    if not path.exists():
        return {}
    files.check(path, MOST_BYTES)
    found = {}
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            request = PredictionLog.FromString(record).predict_log.request
            sizes = [math.prod(d.size for d in v.tensor_shape.dim) for v in request.inputs.values()]
            if any(size > len(record) for size in sizes):
                raise ValueError("an input that claims more values than it has")
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            found[request.model_spec.signature_name] = inputs
    except Exception as error:  # the reader fails in as many ways as files can be broken
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UserError(f"{path}: can't be read as requests: {said}") from None
    return found
