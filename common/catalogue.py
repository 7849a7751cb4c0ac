"""Named datasets of the TFDS catalogue, the packaged ones among them: found, and prepared."""

from collections.abc import Iterable
from typing import Any

import tensorflow_datasets as tfds

from common.errors import UserError


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
        builder.download_and_prepare()
    except UserError:
        raise
    except Exception as error:  # whatever fails between here and a data host, or on the disk
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"--dataset {dataset}: can't be prepared: {reason}") from None
