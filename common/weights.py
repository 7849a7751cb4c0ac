"""Weights files of other people, looked at before Keras reads them. Imports no TensorFlow."""

from pathlib import Path
from typing import Any

import h5py

from common import files
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
