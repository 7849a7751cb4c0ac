"""What every test has: a quiet TensorFlow, and corpora prepared in a temporary folder."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["MPLBACKEND"] = "agg"
if "PYTEST_XDIST_WORKER" not in os.environ:  # its workers use the folder of who started them
    if "TESTS_SHARED_FOLDER" not in os.environ:  # of the parts of `make test`
        _SHARED = tempfile.TemporaryDirectory(prefix="suite-")
        os.environ["TESTS_SHARED_FOLDER"] = _SHARED.name
    _CORPORA = Path(os.environ["TESTS_SHARED_FOLDER"], "corpora")
    _CORPORA.mkdir(exist_ok=True)
    # Before anything imports tensorflow_datasets: it reads this once.
    os.environ["TFDS_DATA_DIR"] = str(_CORPORA)
else:  # each has a core
    for _of in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(_of, "1")
LONGEST = ("test_workers.py", "test_deployment.py", "test_music_run.py", "test_speech_run.py")
"""Files that workers of pytest begin with, or one would be left with them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first."""
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


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
