"""Weights of another run to start from, looked at before Keras reads them."""

import os
import warnings
from pathlib import Path
from typing import Any

import h5py
import keras

from common import files, runs
from common.errors import UserError


def check_weights(path: Path) -> None:
    """Looks at a weights file before anything is read from it.

    Raises:
        UserError: if it is no HDF5 file, its arrays claim more than the file holds (Keras writes
            them as they are), or it takes them from other files.
    """
    files.check(path)
    claimed = 0

    def look(name: str, found: Any) -> None:
        nonlocal claimed
        if isinstance(found, h5py.Dataset):
            claimed += found.nbytes
            if found.external or found.is_virtual:
                raise UserError(f"{path}: {name} is in another file, expected all in this one")

    try:
        with h5py.File(path) as file:
            names: list[str] = []
            file.visit_links(names.append)
            for name in names:
                _check_link(file, name, path)
            file.visititems(look)
    except UserError:
        raise
    except Exception as error:  # the reader fails in as many ways as files can be broken
        raise UserError(f"{path}: can't be read as weights: {error}") from None
    held = path.stat().st_size
    if claimed > held:
        raise UserError(f"{path}: arrays of {claimed:,} bytes in a file of {held:,}")


def _check_link(file: Any, name: str, path: Path) -> None:
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise UserError(f"{path}: {name} is a link, expected the array itself")


def write_weights(model: keras.Model, path: Path) -> None:
    """Writes a weights file, whole or not at all.

    HDF5 may end the whole process where a disk is full: whether there is room is asked before.

    Raises:
        OSError: if there is none.
    """
    held = sum(v.numpy().nbytes for v in model.weights)

    def write(neighbour: Path) -> None:
        if hasattr(os, "posix_fallocate"):
            with neighbour.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, held + held // 10 + 2**20)
        model.save_weights(neighbour)

    runs.write_whole(path, write)


def start_from(model: keras.Model, run: Path, member: int = 0) -> None:
    """Starts a model from network `member` of a finished run, or from its first if it has fewer,
    and says what was carried over.

    Raises:
        UserError: as ``init_from``.
    """
    weights = runs.Run(run).weights(member)
    if not weights.is_file():
        weights = runs.Run(run).weights()
    carried, left = init_from(model, weights)
    print(f"{weights}: {len(carried)} weights carried over, {len(left)} new")


def init_from(model: keras.Model, weights: Path) -> tuple[list[str], list[str]]:
    """Copies from another run's weights file those that fit by place and shape.

    Args:
        model: a built model.
        weights: ``checkpoints/best.weights.h5`` of a run of the same application.

    Returns:
        The paths of the weights carried over, and of those left as they were.

    Raises:
        UserError: if the file is missing, is no weights file, or nothing in it fits.
    """
    if not weights.is_file():
        raise UserError(f"{weights}: no such file, expected the weights of a finished run")
    check_weights(weights)
    before = {v.path: v.numpy() for v in model.weights}
    for v in model.weights:  # what is carried over shows, even where it is equal
        v.assign(before[v.path] + 1)
    try:
        with warnings.catch_warnings():  # one for each that does not fit: the caller says so
            warnings.simplefilter("ignore")
            model.load_weights(weights, skip_mismatch=True)
    except Exception as error:  # the reader fails in as many ways as files can be broken
        for v in model.weights:
            v.assign(before[v.path])
        raise UserError(f"{weights}: can't be read as weights: {error}") from None
    left = [v for v in model.weights if (v.numpy() == before[v.path] + 1).all()]
    for v in left:
        v.assign(before[v.path])
    carried = [v.path for v in model.weights if all(v is not other for other in left)]
    if not carried:
        raise UserError(f"{weights}: none of its weights fits this model")
    return carried, [v.path for v in left]
