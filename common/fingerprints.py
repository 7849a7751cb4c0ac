"""What tells whether the data behind a run is still the same. Imports no TensorFlow."""

import hashlib
from pathlib import Path

from common import files
from common.errors import UserError

WHOLE = 4 * 2**30
"""Bytes up to which data is read in whole; of more, the first MB of each file and its size."""


def fingerprints(config: object, run: Path | None = None) -> dict[str, str]:
    """Of all files that a configuration names: its ``data``, and the weights of ``init_from``; but
    of nothing in the folder `run`, which may stand among the data."""
    data, start = getattr(config, "data", None), getattr(config, "init_from", None)
    named = {"data": data, "init_from": start and start / "checkpoints"}
    return {name: fingerprint(path, run) for name, path in named.items() if path is not None}


def fingerprint(path: Path, but: Path | None = None) -> str:
    """Bytes and SHA-256 of a file, or of all files in a folder with their names, `but` for those in
    another; "missing" if it is not there.

    Raises:
        UserError: if it can't be read, or is neither a file nor a folder.
    """
    if not path.exists():
        return "missing"
    if not path.is_dir():
        files.check(path)
    try:
        folder = path.is_dir()
        found = sorted(p for p in path.rglob("*") if p.is_file()) if folder else [path]
        if but is not None:
            found = [file for file in found if not file.absolute().is_relative_to(but.absolute())]
        sizes = [file.stat().st_size for file in found]
        whole, digest = sum(sizes) <= WHOLE, hashlib.sha256()
        for file, size in zip(found, sizes, strict=True):
            name = str(file.relative_to(path)) if folder else ""
            digest.update(f"{name}\0{size}\0".encode(errors="surrogateescape"))
            with file.open("rb") as stream:
                if whole:
                    digest.update(hashlib.file_digest(stream, "sha256").digest())
                else:
                    digest.update(stream.read(2**20))
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from None
    return f"{sum(sizes)} bytes, sha256 {digest.hexdigest()}"
