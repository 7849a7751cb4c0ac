"""Signatures of a SavedModel in the files of other runtimes: LiteRT and ONNX.

A file is run by its own runtime, and compared with the SavedModel on the example that this
carries, before it is written: a converter that misunderstands a graph says nothing.
"""

import contextlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from common import export, warmup
from common.errors import UserError
from common.runs import write_whole

Arrays = dict[str, np.ndarray]
WEIGHTS = ("float32", "int8")
"""Of LiteRT; int8 with activations quantised as they come ("dynamic range")."""
OPSET = 17
"""Of ONNX. With 18, the newest that tf2onnx 1.17 writes, means over an axis that it has moved come
out wrong."""
NEXT = "next_"
"""What ONNX's outputs are called first that have an input's name, as a state does: there a name
stands for one array."""
NEAR = 1e-3
"""Answers further apart than this share of the largest one are wrong; int8 weights excepted."""


@dataclass(frozen=True)
class Converted:
    """A file that was written."""

    path: Path
    size: int
    """Bytes."""
    difference: float
    """The largest from the SavedModel's answers, and in which of them."""
    output: str

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.size:,} bytes, maximum difference from the SavedModel "
            f"{self.difference:.2g} (of {self.output})"
        )


def convert(model: Path, kind: str, store: Path) -> Iterator[Converted]:
    """Writes each signature that ``portable.json`` lists for a format into that format's folder
    of `store`: ``litert``, a file for each of ``WEIGHTS``, or ``onnx``.

    Raises:
        UserError: if what it takes is not installed.
        RuntimeError: for answers that are not the SavedModel's; that file is not written.
    """
    names = [name for name, kinds in export.portable(model).items() if kind in kinds]
    make, read = {"litert": (to_litert, of_litert), "onnx": (to_onnx, of_onnx)}[kind]
    loaded, examples = export.load(model), warmup.read(model)
    for name in names:
        if name not in loaded.signatures or name not in examples:
            where = model / export.EXTRA / "portable.json"
            raise UserError(f"{where}: {name}: no such signature, or no request to it")
        example = examples[name]
        given = {key: tf.constant(value) for key, value in example.items()}
        wanted = {key: said.numpy() for key, said in loaded.signatures[name](**given).items()}
        for file, content in make(model, name).items():
            difference, output = furthest(read(content)(example), wanted)
            if not difference <= NEAR * _largest(wanted[output]) and "int8" not in file:
                raise RuntimeError(f"{file}: {output} differs by {difference} from {model}")
            (store / kind).mkdir(parents=True, exist_ok=True)
            _write(store / kind / file, content)
            yield Converted(store / kind / file, len(content), difference, output)


def furthest(found: Arrays, wanted: Arrays) -> tuple[float, str]:
    """The largest difference of an output, and its name: that of the output which is off by most of
    its largest number; infinite where shapes differ or a number is none."""
    apart = {}
    for name, answer in wanted.items():
        if found[name].shape != answer.shape:
            return np.inf, name
        gap = float(np.abs(found[name] - answer).max(initial=0))
        apart[name] = gap if np.isfinite(gap) else np.inf  # NaN is no answer
    output = max(apart, key=lambda name: apart[name] / (_largest(wanted[name]) + 1e-12))
    return apart[output], output


def _largest(answer: np.ndarray) -> float:
    return float(np.abs(answer).max(initial=0))


def _write(path: Path, content: bytes) -> None:
    def write(neighbour: Path) -> None:
        neighbour.write_bytes(content)

    write_whole(path, write)


def to_litert(model: Path, signature: str) -> dict[str, bytes]:
    """LiteRT files by name, of a signature without strings, for a fixed number of rows."""
    found = {}
    for weights in WEIGHTS:
        converter = tf.lite.TFLiteConverter.from_saved_model(str(model), signature_keys=[signature])
        if weights == "int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        with _silence():
            found[f"{signature}_{weights}.tflite"] = converter.convert()
    return found


def of_litert(content: bytes) -> Callable[[Arrays], Arrays]:
    """Runs a LiteRT file, by the runtime of its own where that is installed."""
    interpreter: Any = tf.lite.Interpreter
    if importlib.util.find_spec("ai_edge_litert") is not None:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter
    with _silence():
        runner = interpreter(model_content=content).get_signature_runner()
    return lambda inputs: runner(**inputs)


def to_onnx(model: Path, signature: str) -> dict[str, bytes]:
    """An ONNX file by its name.

    Raises:
        UserError: without tf2onnx and onnxruntime.
    """
    if not all(map(importlib.util.find_spec, ("tf2onnx", "onnxruntime"))):
        raise UserError("tf2onnx is missing: pip install -c constraints.txt -e '.[onnx]'")
    import tf2onnx

    loaded = export.load(model)  # kept alive: its functions use its variables
    function = loaded.signatures[signature]
    specs = list(function.structured_input_signature[1].values())

    @tf.function(input_signature=specs)
    def asked(*values: tf.Tensor) -> Any:
        given = {spec.name: value for spec, value in zip(specs, values, strict=True)}
        return {NEXT + n if n in given else n: said for n, said in function(**given).items()}

    with _silence():
        proto, _ = tf2onnx.convert.from_function(
            asked,
            input_signature=specs,
            opset=OPSET,
            custom_op_handlers={"SelectV2": (_as_where, [])},
        )
    return {f"{signature}.onnx": proto.SerializeToString()}


def _as_where(graph: Any, node: Any, name: str, words: Any) -> Any:
    """``tf.where`` as ``Where``: tf2onnx multiplies by 0 and 1, and NaN times 0 is NaN."""
    node.type = "Where"
    return node


def of_onnx(content: bytes) -> Callable[[Arrays], Arrays]:
    """Runs an ONNX file by onnxruntime; its outputs have the SavedModel's names again."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    own = [name.removeprefix(NEXT) for name in names]
    return lambda inputs: dict(zip(own, session.run(names, inputs), strict=True))


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """What converters write, also from C++, is kept from the screen unless they fail."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(stderr, 2)
            said.seek(0)
            sys.stderr.write(said.read().decode(errors="replace")[-2000:])
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
