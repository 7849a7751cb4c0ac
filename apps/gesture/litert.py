"""The causal model for small devices: LiteRT files of one hop."""

import contextlib
import io
import tempfile
from pathlib import Path

import tensorflow as tf

from apps.gesture.serving import Serving
from common import export
from common.runs import write_whole

FILES = {"float32": "gesture_float32.tflite", "int8": "gesture_int8.tflite"}


def write(serving: Serving, folder: Path) -> dict[str, int]:
    """Writes both files (float32; and int8 weights with activations quantised as they come,
    "dynamic range") into `folder`; returns their sizes in bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {}
    with tempfile.TemporaryDirectory() as place:
        saved = Path(place) / "1"
        export.write(serving.networks, {"serving_default": serving.hop_signature()}, saved)
        for name, file in FILES.items():
            converter = tf.lite.TFLiteConverter.from_saved_model(
                str(saved), signature_keys=["serving_default"]
            )
            if name == "int8":
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            with contextlib.redirect_stderr(io.StringIO()):
                content = converter.convert()
            _write(folder / file, content)
            sizes[name] = len(content)
    return sizes


def _write(path: Path, content: bytes) -> None:
    def write(neighbour: Path) -> None:
        neighbour.write_bytes(content)

    write_whole(path, write)
