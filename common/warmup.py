"""Requests that a SavedModel carries with it, in the file from which TensorFlow Serving takes what
it asks of a model before it lets anybody else ask: TFRecords of ``PredictionLog``.

They also are what a conversion to another format is compared on (``common.formats``).
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

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
    """What ``write`` wrote: inputs by signature; nothing if there is no such file."""
    found = {}
    if (model / FILE).exists():
        for record in tf.data.TFRecordDataset(str(model / FILE)).as_numpy_iterator():
            request = PredictionLog.FromString(record).predict_log.request
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            found[request.model_spec.signature_name] = inputs
    return found
