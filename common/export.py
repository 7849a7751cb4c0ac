"""SavedModels that take raw input and need none of this code, and the proof of it."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from common.errors import UserError

Signature = tuple[Callable[..., Any], list[tf.TensorSpec]]

# Runs in a process of its own, isolated from this project's folder.
_CLEAN_PROCESS = """
import sys, numpy as np, tensorflow as tf
model, signature, given, answers = sys.argv[1:]
loaded = tf.saved_model.load(model)  # kept alive: its functions use its variables
inputs = {k: tf.constant(v) for k, v in np.load(given, allow_pickle=False).items()}
outputs = {k: v.numpy() for k, v in loaded.signatures[signature](**inputs).items()}
foreign = {"apps", "common"} & {name.split(".")[0] for name in sys.modules}
assert not foreign, foreign
as_text = {k: v.astype(bytes) if v.dtype == object else v for k, v in outputs.items()}
np.savez(answers, **as_text)
"""


def write(
    resources: Sequence[keras.layers.Layer], signatures: Mapping[str, Signature], path: Path
) -> None:
    """Writes a SavedModel with those signatures; `path` appears when it is whole.

    Args:
        resources: the models and layers whose variables and tables the functions use.
        signatures: name -> (function, specifications of its inputs, named).
        path: a numbered version folder, as TensorFlow Serving expects.
    """
    archive = keras.export.ExportArchive()
    for resource in resources:
        archive.track(resource)
    for name, (function, specifications) in signatures.items():
        archive.add_endpoint(name, function, input_signature=specifications)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
        archive.write_out(Path(folder) / "model", verbose=False)
        if path.exists():
            shutil.rmtree(path)
        (Path(folder) / "model").rename(path)


def answer_in_clean_process(
    path: Path, signature: str, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What an exported model answers in a process that imports only TensorFlow and NumPy.

    Raises:
        RuntimeError: if that process fails; the message ends with what it printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, answers = Path(folder) / "given.npz", Path(folder) / "answers.npz"
        np.savez(given, allow_pickle=False, **inputs)
        words = [str(path.absolute()), signature, str(given), str(answers)]
        child = subprocess.run(
            [sys.executable, "-I", "-c", _CLEAN_PROCESS, *words],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if child.returncode:
            raise RuntimeError(f"{path}: not usable by TensorFlow alone:\n{child.stderr[-2000:]}")
        with np.load(answers, allow_pickle=False) as loaded:
            return dict(loaded)


def load(path: Path, *signatures: str) -> Any:
    """An exported model; keep it alive while its signatures are used.

    A SavedModel is a program: TensorFlow runs what its graph says. Load what you trust.

    Args:
        signatures: those that it must have.

    Raises:
        UserError: if it can't be loaded, or lacks one of them.
    """
    try:
        model = tf.saved_model.load(str(path))
    except Exception as error:  # the loader fails in as many ways as files can be broken
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UserError(f"{path}: can't be loaded as a SavedModel: {said}") from None
    lacking = [name for name in signatures if name not in getattr(model, "signatures", {})]
    if lacking:
        raise UserError(f"{path}: no signature {lacking[0]!r} in it, expected a run's export")
    return model
