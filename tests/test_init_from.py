"""Weights carried over from another run."""

import errno
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from common.errors import UserError
from common.weights import init_from
from tests.commands import child
from tests.toy_training import recurrent_model


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Of a model with two classes."""
    keras.utils.set_random_seed(1)
    recurrent_model(classes=2).save_weights(tmp_path / "best.weights.h5")
    return tmp_path / "best.weights.h5"


def values(model: keras.Model) -> dict[str, np.ndarray]:
    return {weight.path: weight.numpy() for weight in model.weights}


def test_every_weight_of_a_like_model_is_carried_over(weights: Path) -> None:
    keras.utils.set_random_seed(1)
    wanted = recurrent_model(classes=2).get_weights()
    model = recurrent_model(classes=2)
    init_from(model, weights)
    for got, value in zip(model.get_weights(), wanted, strict=True):
        assert_array_equal(got, value)


def test_weights_that_do_not_fit_stay_and_are_named(weights: Path) -> None:
    model = recurrent_model(classes=3)
    before = values(model)
    carried, left = init_from(model, weights)
    assert sorted([*carried, *left]) == sorted(before)
    assert {"embedding/embeddings"} <= set(carried)
    assert {path for path in before if "kernel" in path and "readout" not in path} <= set(carried)
    assert {path for path in before if path.startswith("readout/")} <= set(left)
    for path in left:
        assert_array_equal(values(model)[path], before[path])


def test_a_model_of_another_width_keeps_what_is_its_own(weights: Path) -> None:
    model = recurrent_model(units=6)
    carried, left = init_from(model, weights)
    assert carried == ["embedding/embeddings"]
    assert len(left) == len(model.weights) - 1


def test_weights_that_are_equal_already_count_as_carried_over(weights: Path) -> None:
    keras.utils.set_random_seed(1)
    model = recurrent_model(classes=2)
    carried, left = init_from(model, weights)
    assert left == []
    assert sorted(carried) == sorted(values(model))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        init_from(recurrent_model(), tmp_path / "best.weights.h5")


@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_a_broken_file_is_refused_and_changes_nothing(damage: str, weights: Path) -> None:
    whole = weights.read_bytes()
    weights.write_bytes({"empty": b"", "text": b"text", "cut": whole[: len(whole) // 2]}[damage])
    model = recurrent_model()
    before = model.get_weights()
    with pytest.raises(UserError, match="can't be read as weights") as refusal:
        init_from(model, weights)
    assert str(weights) in str(refusal.value)
    for got, value in zip(model.get_weights(), before, strict=True):
        assert_array_equal(got, value)


def test_a_file_in_which_nothing_fits_is_refused(weights: Path) -> None:
    numbers = keras.Input((None, 2))
    model = keras.Model(numbers, keras.layers.Dense(4, name="other")(numbers))
    with pytest.raises(UserError, match="none of its weights fits"):
        init_from(model, weights)


FULL = """
import resource, sys
from pathlib import Path
import keras
from common.weights import write_weights
model = keras.Sequential([keras.Input([3]), *[keras.layers.Dense(20) for _ in range(15)]])
path = Path(sys.argv[1])
write_weights(model, path)
before = path.read_bytes()
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
try:
    write_weights(model, path)
except OSError as error:
    print(error.errno, path.read_bytes() == before, len(list(path.parent.iterdir())))
"""


def test_weights_without_room_are_refused_and_do_not_end_the_process(tmp_path: Path) -> None:
    answer = child("-c", FULL, tmp_path / "best.weights.h5")
    assert answer.out.split() == [str(errno.EFBIG), "True", "1"], answer.err
