"""SavedModels that take raw input and need none of this code, the proof of it, and their way to
other runtimes.

    python -m common.export --run RUN --to savedmodel,litert,onnx --out FOLDER

Beside its graph an exported model carries in ``assets.extra`` a request to each signature
(``common.warmup``) and ``portable.json``: which signatures other runtimes can run, and in which
formats. That list and the model are all that a conversion (``common.formats``) needs.

TensorFlow is imported inside the functions, so that --help answers at once.
"""

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common import runs
from common.cli import main, start_tensorflow
from common.errors import UserError

Signature = tuple[Callable[..., Any], list[Any]]
Examples = Mapping[str, Mapping[str, np.ndarray]]
"""By signature, the inputs of one request."""
Portable = Mapping[str, Iterable[str]]
"""By signature that other runtimes can run, in which of ``FORMATS``."""
FORMATS = ("litert", "onnx")
HALF = ("float16", "bfloat16")
"""Arithmetic that no converter takes."""
EXTRA = "assets.extra"
"""Folder of a SavedModel that TensorFlow leaves alone."""

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
    resources: Sequence[Any],
    signatures: Mapping[str, Signature],
    path: Path,
    *,
    examples: Examples | None = None,
    portable: Portable | None = None,
) -> None:
    """Writes a SavedModel with those signatures; `path` appears when it is whole, in place of
    what was there.

    Args:
        resources: the Keras models and layers whose variables and tables the functions use.
        signatures: name -> (function, specifications of its inputs, named).
        path: a numbered version folder, as TensorFlow Serving expects.
        examples: what to ask of some signatures: to warm a server up, and to compare by.
        portable: signatures that can be converted, if arithmetic is in full precision.
    """
    import keras
    import tensorflow as tf

    from common import warmup

    archive = keras.export.ExportArchive()
    for resource in resources:
        archive.track(resource)
    for name, (function, specifications) in signatures.items():
        archive.add_endpoint(name, function, input_signature=specifications)

    def fill(model: Path) -> None:
        try:
            archive.write_out(model, verbose=False)
            warmup.write(model, examples or {})
        except tf.errors.ResourceExhaustedError:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
        half = any(getattr(each, "compute_dtype", "") in HALF for each in resources)
        portables = {} if half or portable is None else portable
        listed = {name: list(formats) for name, formats in portables.items()}
        runs.write_json(model / EXTRA / "portable.json", listed)

    _appear(path, fill)


def _appear(path: Path, fill: Callable[[Path], None]) -> None:
    """Has `fill` make a folder beside `path`, forces it to the disk, then puts it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
        new = Path(folder) / "new"
        fill(new)
        for place in (*new.rglob("*"), new):
            runs.sync(place)
        if path.exists():
            path.rename(Path(folder) / "old")
        new.rename(path)
        runs.sync(path.parent)


def portable(path: Path) -> dict[str, list[str]]:
    """Signatures of an exported model that other runtimes can run, and in which formats.

    Raises:
        UserError: if it does not say so, or says something else.
    """
    file = path / EXTRA / "portable.json"
    if not file.exists():
        raise UserError(
            f"{path}: says nothing of other formats (no {EXTRA}/{file.name}): train anew"
        )
    found = runs.read_json(file)
    for name, formats in found.items():
        if not isinstance(formats, list) or not set(map(str, formats)) <= set(FORMATS):
            raise UserError(f"{file}: {name}: found {json.dumps(formats)}, expected of {FORMATS}")
    return found


def answer_in_clean_process(
    path: Path, signature: str, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What an exported model answers in a process that imports only TensorFlow and NumPy.

    Raises:
        RuntimeError: if that process fails; the message ends with what it printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, answers = Path(folder) / "given.npz", Path(folder) / "answers.npz"
        plain = {k: v.astype(bytes) if v.dtype == object else v for k, v in inputs.items()}
        np.savez(given, allow_pickle=False, **plain)
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
    import tensorflow as tf

    try:
        model = tf.saved_model.load(str(path))
    except Exception as error:  # the loader fails in as many ways as files can be broken
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UserError(f"{path}: can't be loaded as a SavedModel: {said}") from None
    lacking = [name for name in signatures if name not in getattr(model, "signatures", {})]
    if lacking:
        raise UserError(f"{path}: no signature {lacking[0]!r} in it, expected a run's export")
    return model


def publish(path: Path, store: Path) -> Path:
    """Copies a SavedModel to the next number in a folder of versions, which a model server may be
    watching: nothing there is changed, and the copy appears whole. Returns its place."""
    numbers = [int(old.name) for old in store.glob("*") if old.name.isdecimal()]
    place = store / str(max(numbers, default=0) + 1)

    def fill(new: Path) -> None:
        shutil.copytree(path, new)

    _appear(place, fill)
    return place


@dataclass(frozen=True)
class ExportConfig:
    """Bring a finished run's model to where it is to run."""

    run: Path
    """Folder of a finished run."""
    to: str = "litert,onnx"
    """savedmodel, litert, onnx, or several of them with commas between."""
    out: Path | None = None
    """Folder to write to: a SavedModel as the next number in it, files of LiteRT and ONNX in
    folders of those names. Default, without savedmodel, which is there already: RUN/export."""

    def __post_init__(self) -> None:
        known = ("savedmodel", *FORMATS)
        for name in self.formats:
            if name not in known:
                raise UserError(f"--to {self.to}: found {name!r}, expected {', '.join(known)}")
        if "savedmodel" in self.formats and self.out is None:
            raise UserError(
                f"--to savedmodel: version 1 is in {self.run}/export already; give --out, the "
                f"model server's folder of versions"
            )

    @property
    def formats(self) -> list[str]:
        """Those that --to names."""
        return self.to.split(",")


def run(config: ExportConfig) -> None:
    """Converts, and says how far the answers are from the SavedModel's."""
    finished = runs.finished(runs.read_config(runs.Run(config.run)).get("app", ""), config.run)
    store = config.out or finished.export.parent
    kinds = [kind for kind in config.formats if kind in FORMATS]
    listed = portable(finished.export) if kinds else {}
    start_tensorflow()

    from common import formats, warmup

    if "savedmodel" in config.formats:
        load(finished.export, "serving_default")  # one line where it is damaged
        asked = warmup.read(finished.export).get("serving_default")
        if asked is not None:
            answer_in_clean_process(finished.export, "serving_default", asked)
        place = publish(finished.export, store)
        tried = "it answers in a process that imports TensorFlow alone"
        print(f"{place}: {tried if asked is not None else 'copied; it has no request to try'}")
    for kind in kinds:
        if not any(kind in kinds for kinds in listed.values()):
            print(f"{kind}: nothing of this model goes into it; docs/deployment.md says why")
        for file in formats.convert(finished.export, kind, store):
            print(file, flush=True)


if __name__ == "__main__":
    main(run, ExportConfig, prog="python -m common.export")
