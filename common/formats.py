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
OPSET = 18
"""Of ONNX: the newest that tf2onnx 1.17 writes."""
AFTER = "_after"
"""Ends the name of an ONNX output whose own name is that of an input."""
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
    """An ONNX file by its name. An output that has an input's name, such as a state, is called
    ``NAME_after`` in it: in an ONNX graph the same name is the same value.

    Raises:
        UserError: without tf2onnx and onnxruntime.
    """
    if not all(map(importlib.util.find_spec, ("tf2onnx", "onnxruntime"))):
        raise UserError("tf2onnx is missing: pip install -c constraints.txt -e '.[onnx]'")
    loaded = export.load(model)  # kept alive: its functions use its variables
    function = loaded.signatures[signature]
    specs = list(function.structured_input_signature[1].values())

    @tf.function(input_signature=specs)
    def asked(*values: tf.Tensor) -> Any:
        given = {spec.name: value for spec, value in zip(specs, values, strict=True)}
        said = function(**given)
        return {f"{name}{AFTER}" if name in given else name: v for name, v in said.items()}

    with _silence():
        proto = _onnx_of(asked.get_concrete_function())
    return {f"{signature}.onnx": proto.SerializeToString()}


def _onnx_of(function: Any) -> Any:
    """What ``tf2onnx.convert.from_function`` makes, without its optimizer of transpositions:
    with that of 1.17 the hop of a causal gesture run has other answers than its graph."""
    from tf2onnx import optimizer, tf_loader, tfonnx

    inputs = [each.name for each in function.inputs if each.dtype != tf.resource]
    outputs = {each.name: name for name, each in function.structured_outputs.items()}
    frozen = tf_loader.from_function(function, inputs, list(outputs))
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(frozen, name="")
        made = tfonnx.process_tf_graph(
            graph,
            opset=OPSET,
            custom_op_handlers={"SelectV2": (_as_where, [])},
            input_names=inputs,
            output_names=list(outputs),
            tensors_to_rename={**{name: name.split(":")[0] for name in inputs}, **outputs},
        )
    steps = ("ConstFold", "Loop", "MergeDuplicatedNodes", "Reshape", "Identity", "BackToBack")
    wanted = {step: getattr(optimizer, f"{step}Optimizer") for step in steps}
    return optimizer.optimize_graph(made, optimizers=wanted).make_model("a model of this suite")


def _as_where(graph: Any, node: Any, name: str, words: Any) -> Any:
    """``tf.where`` as ``Where``: tf2onnx multiplies by 0 and 1, and NaN times 0 is NaN."""
    node.type = "Where"
    return node


def of_onnx(content: bytes) -> Callable[[Arrays], Arrays]:
    """Runs an ONNX file by onnxruntime; its outputs by the names that the signature gives them."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    called = [output.name for output in session.get_outputs()]
    names = [name.removesuffix(AFTER) for name in called]
    return lambda inputs: dict(zip(names, session.run(called, inputs), strict=True))


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
