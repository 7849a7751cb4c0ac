"""Named datasets of the TFDS catalogue, the packaged ones among them: found, and prepared."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from common.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def find(name: str, dataset: str, packaged: Iterable[str]) -> Any:
    """The builder of `name`; nothing is fetched yet.

    Args:
        dataset: what the user called it.
        packaged: names that need no catalogue, for the message.

    Raises:
        UserError: for an unknown name.
    """
    try:
        return tfds.builder(name)
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"--dataset {dataset}: expected {', '.join(packaged)} or a name in the TFDS "
            f"catalogue ({reason})"
        ) from None


def prepare(builder: Any, dataset: str) -> None:
    """Fetches and writes a dataset, unless it has been.

    Raises:
        UserError: if that fails.
    """
    try:
        if not builder.data_path.exists():
            with _alone(builder):
                if not builder.data_path.exists():
                    builder.download_and_prepare()
                else:  # by another process, meanwhile
                    builder.info.read_from_directory(builder.data_path)
    except UserError:
        raise
    except Exception as error:  # whatever fails between here and a data host, or on the disk
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"--dataset {dataset}: can't be prepared: {reason}") from None


@contextlib.contextmanager
def _alone(builder: Any) -> Iterator[None]:
    """No other process of this machine, or of a file system with locks, prepares the dataset
    meanwhile: TFDS would take the same folder for it, as it names that by Python's random
    numbers, which all workers of a training have seeded alike."""
    folder = Path(builder.data_path).parent
    if fcntl is None or "://" in builder.data_dir:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".preparing").open("w") as door:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(door, fcntl.LOCK_EX)
        yield
