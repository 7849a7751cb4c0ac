"""What every test has: a quiet TensorFlow, and corpora prepared in a temporary folder."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["MPLBACKEND"] = "agg"
# Before anything imports tensorflow_datasets: it reads this once.
_CORPORA = tempfile.TemporaryDirectory(prefix="corpora-")
os.environ["TFDS_DATA_DIR"] = _CORPORA.name


@pytest.fixture(autouse=True)
def keras_as_it_was() -> Iterator[None]:
    """Arithmetic is global in Keras: a test that sets it must not reach the next."""
    import keras

    before = keras.mixed_precision.dtype_policy()
    yield
    keras.mixed_precision.set_dtype_policy(before)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return Path(__file__).parent.parent
