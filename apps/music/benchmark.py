"""Piano-roll files as the literature exchanges them: .mat, .json and .npz.

Each holds training, validation and test pieces, which are obeyed. Of a frame they say which
keys sound, not whether a key is struck again.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from apps.music.pieces import KEYS, LOWEST, PARTS, STRUCK, Piece
from apps.music.scores import LONGEST
from common import files
from common.data import SPLIT_NAMES
from common.errors import UserError

MOST_BYTES = 2**28
"""Of a file; the literature's have 1 to 20 million."""
MAT_MEMORY = 3 * 2**30
"""Bytes of address space for reading a .mat file; SciPy alone has one GB of it."""
DECIMAL = re.compile("[0-9]{1,9}")
SUFFIXES = (".mat", ".json", ".npz")
MAT_NAMES = {"train": "traindata", "validation": "validdata", "test": "testdata"}


def read(path: Path) -> dict[str, tuple[Piece, ...]]:
    """The pieces of each part, ``train``, ``validation`` and ``test``.

    A ``.mat`` file (MATLAB 5) has ``traindata``, ``validdata`` and ``testdata``, cells of
    ``[time, 88]`` matrices of 0 and 1. A ``.json`` or ``.npz`` file has ``train``, ``valid`` and
    ``test``: lists of pieces, lists of frames, each a list of MIDI numbers (those below 0 or
    NaN are rests). An ``.npz`` file may also have them as ``train_0``, ``train_1`` ..., matrices
    as above. Pickled objects are not loaded.

    Raises:
        UserError: for a file that can't be read, a part that is missing or empty, or a frame of
            another form, named by part, piece and frame.
    """
    readers = {".mat": _mat, ".json": _json, ".npz": _npz}
    files.check(path, MOST_BYTES)
    with files.bounded(path):
        return _parts(readers[path.suffix.lower()](path), path)


def _parts(found: Mapping[str, list[Any]], path: Path) -> dict[str, tuple[Piece, ...]]:
    parts = {}
    for part in PARTS:
        if not found.get(part):
            raise UserError(f"{path}: no {part} pieces in it")
        parts[part] = tuple(
            Piece(f"{part} {number + 1}", _frames(piece, f"{path}: {part} piece {number + 1}"))
            for number, piece in enumerate(found[part])
        )
    return parts


# Runs in a process of its own: SciPy's reader can end the process that it reads a broken file in.
_MAT = """
import sys
import numpy as np
from scipy.io import loadmat
path, out, memory, seconds, *parts = sys.argv[1:]
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(memory), int(memory)))
except ImportError:
    pass
names = dict(pair.split("=") for pair in parts)
held = loadmat(path, variable_names=list(names.values()))
lacking = [name for name in names.values() if name not in held]
if lacking:
    sys.exit(f"expected {', '.join(names.values())}; no {lacking[0]}")
if any(held[name].dtype != object for name in names.values()):
    sys.exit("expected cells of matrices")
pieces = {f"{k}_{n}": piece for k, v in names.items() for n, piece in enumerate(held[v].ravel())}
np.savez(out, allow_pickle=False, **pieces)
"""


def _mat(path: Path) -> dict[str, list[Any]]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "pieces.npz"
        parts = [f"{part}={name}" for part, name in MAT_NAMES.items()]
        limits = [str(MAT_MEMORY), str(int(files.SECONDS))]
        done = subprocess.run(
            [sys.executable, "-I", "-c", _MAT, str(path.absolute()), str(out), *limits, *parts],
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # each takes address space
            capture_output=True,
            check=False,
        )
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            reason = said[-1] if done.returncode > 0 and said else "it ended the process reading it"
            raise UserError(f"{path}: can't be read as a MATLAB 5 file: {reason[:300]}")
        return _npz(out)


def _json(path: Path) -> dict[str, list[Any]]:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: can't be read as JSON: {error}") from None
    if not isinstance(held, dict):
        raise UserError(f"{path}: expected an object of train, valid and test")
    lists = {SPLIT_NAMES[k]: v for k, v in held.items() if k in SPLIT_NAMES}
    if not all(isinstance(pieces, list) for pieces in lists.values()):
        raise UserError(f"{path}: expected lists of pieces")
    return lists


def _npz(path: Path) -> dict[str, list[Any]]:
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = dict(held)
    except MemoryError:
        raise
    except Exception as error:
        reason = "it holds pickled objects" if "pickle" in str(error) else str(error)
        raise UserError(
            f"{path}: can't be read: {reason}; expected matrices train_0, train_1, ..., "
            "valid_0, ..., test_0, ..."
        ) from None
    parts: dict[str, dict[int, Any]] = {}
    for name, array in arrays.items():
        part, _, number = name.rpartition("_")
        if part not in SPLIT_NAMES or not DECIMAL.fullmatch(number):
            raise UserError(f"{path}: array {name!r}: expected names like train_0 or test_12")
        parts.setdefault(SPLIT_NAMES[part], {})[int(number)] = array
    return {part: [pieces[n] for n in sorted(pieces)] for part, pieces in parts.items()}


def _frames(piece: Any, where: str) -> np.ndarray:
    if not isinstance(piece, Iterable) or isinstance(piece, str | Mapping):
        raise UserError(f"{where}: expected frames, found {type(piece).__name__}")
    if isinstance(piece, np.ndarray):
        if piece.ndim != 2 or piece.shape[1] != KEYS or not len(piece):
            shape = "x".join(map(str, piece.shape))
            raise UserError(f"{where}: expected a [time, {KEYS}] matrix, found {shape}")
        if len(piece) > LONGEST:
            raise UserError(f"{where}: {len(piece):,} frames, expected at most {LONGEST:,}")
        if piece.dtype.kind not in "biuf" or not np.isin(piece, (0, 1)).all():
            raise UserError(f"{where}: expected a matrix of 0 and 1")
        return piece.astype(np.uint8)
    rows = list(piece)
    if not rows:
        raise UserError(f"{where}: no frames in it")
    if len(rows) > LONGEST:
        raise UserError(f"{where}: {len(rows):,} frames, expected at most {LONGEST:,}")
    frames = np.zeros((len(rows), KEYS), np.uint8)
    for number, row in enumerate(rows):
        for pitch in row if isinstance(row, list) else [row]:
            if not isinstance(pitch, int | float) or isinstance(pitch, bool):
                raise UserError(f"{where}, frame {number + 1}: expected MIDI numbers")
            if not pitch >= 0:  # how some of these files write a rest, NaN too
                continue
            key = pitch - LOWEST
            if not 0 <= key < KEYS or key != int(key):
                said = min(pitch, 1e9)  # it may be infinite, or have a thousand digits
                raise UserError(
                    f"{where}, frame {number + 1}: note {said:g}: expected a whole MIDI number "
                    f"from {LOWEST} to {LOWEST + KEYS - 1}"
                )
            frames[number, int(key)] = STRUCK
    return frames
