"""Weights files and exports of other people that are damaged, or claim too much; and the limits
that readers are held to."""

from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from common import export, files, warmup
from common.cli import LONGEST_MESSAGE, one_line
from common.weights import check_weights, init_from
from tests.broken_files import FUZZ, damages, read_or_refused, refused, write

# Weights


def model() -> keras.Model:
    numbers = keras.Input((None, 2))
    return keras.Model(numbers, keras.layers.Dense(3, name="out")(numbers))


def h5(path: Path, fill: Callable[[h5py.File], object]) -> Path:
    with h5py.File(path, "w") as file:
        fill(file)
    return path


def elsewhere(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((10,), "u1")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (10,))
    file.create_virtual_dataset("a", layout)


BOMB = {"chunks": (1000,), "dtype": "f4", "fillvalue": 1}
WEIGHTS: dict[str, tuple[Callable[[h5py.File], object], str]] = {
    "40 GB of nothing": (
        lambda file: file.create_dataset("a", (10**10,), **BOMB),
        "arrays of 40,000,000,000 bytes in a file of",
    ),
    "zeros squeezed": (
        lambda file: file.create_dataset("a", data=np.zeros(10**6), compression="gzip"),
        "arrays of 8,000,000 bytes",
    ),
    "another file's": (
        lambda file: file.create_dataset("a", (9,), "u1", external=[("/etc/hostname", 0, 9)]),
        "a is in another file",
    ),
    "another file's, virtually": (elsewhere, "a is in another file"),
    "a link to another file": (
        lambda file: file.__setitem__("a", h5py.ExternalLink("/etc/hostname", "/")),
        "a is a link",
    ),
    "a link to itself": (lambda file: file.__setitem__("a", h5py.SoftLink("/")), "a is a link"),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights_that_claim_or_reach_too_much_are_refused(case: str, tmp_path: Path) -> None:
    fill, expected = WEIGHTS[case]
    path = h5(tmp_path / "best.weights.h5", fill)
    refused(lambda: init_from(model(), path), expected)


def test_whatever_was_done_to_weights_they_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("weights") / "best.weights.h5"
    network = model()
    network.save_weights(path)
    check_weights(path)
    whole = path.read_bytes()

    @FUZZ
    @given(damages(whole))
    def each(content: bytes) -> None:
        read_or_refused(lambda: init_from(network, write(path, content)))

    each()


# Exports


class Doubled(tf.Module):
    def __init__(self) -> None:
        self.factor = tf.Variable([2.0, 3.0])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def answer(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x * self.factor[0]}


def test_whatever_was_done_to_an_export_it_is_loaded_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("export") / "1"
    doubled = Doubled()
    tf.saved_model.save(doubled, str(folder), {"serving_default": doubled.answer})
    assert export.load(folder, "serving_default") is not None
    refused(lambda: export.load(folder, "serving_default", "hear"), "no signature 'hear' in it")
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and "fingerprint" not in p.name):
        whole = path.read_bytes()
        for content in (b"", whole[:1], whole[: len(whole) // 2]):
            write(path, content)
            message = refused(lambda: export.load(folder, "serving_default"))
            assert str(folder) in message
        path.unlink()
        refused(lambda: export.load(folder, "serving_default"))
        write(path, whole)
    assert export.load(folder, "serving_default") is not None


def test_whatever_was_done_to_requests_they_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    model = tmp_path_factory.mktemp("export")
    assert warmup.read(model) == {}
    warmup.write(model, {"serving_default": {"x": np.arange(5.0), "text": np.array(["a", "bc"])}})
    path = model / warmup.FILE
    whole = path.read_bytes()
    assert warmup.read(model)["serving_default"]["x"].tolist() == [0, 1, 2, 3, 4]

    @FUZZ
    @given(damages(whole))
    def each(content: bytes) -> None:
        write(path, content)
        read_or_refused(lambda: warmup.read(model))

    each()


def test_a_request_that_claims_more_than_it_has_is_refused(tmp_path: Path) -> None:
    """TensorFlow pads one value to any shape."""
    log = PredictionLog()
    proto = log.predict_log.request.inputs["x"]
    proto.CopyFrom(tf.make_tensor_proto([1.0], shape=[1]))
    proto.tensor_shape.dim[0].size = 10**12
    path = write(tmp_path / warmup.FILE, b"")
    with tf.io.TFRecordWriter(str(path)) as file:
        file.write(log.SerializeToString())
    refused(lambda: warmup.read(tmp_path), "claims more values than it has")


# Limits and messages


def test_reading_ends_when_it_takes_too_long_or_too_much() -> None:
    def spin() -> None:
        with files.bounded("a.x", seconds=0.1):
            while True:
                try:
                    sum(range(1000))
                except Exception:  # as parsers do
                    continue

    refused(spin, r"a\.x: reading it takes more than 0\.1 s")

    def grow() -> None:
        with files.bounded("a.x", memory=2**26):
            np.ones(2**24)

    refused(grow, r"a\.x: reading it takes more than 0\.0625 GB of memory")
    assert np.ones(2**24).sum() == 2**24  # and the limit is lifted


def test_a_message_moves_no_cursor_and_fills_no_screen() -> None:
    assert one_line("a\x1b[2Jb\r\nc\x07 é") == "a\\x1b[2Jb c\\x07 é"
    assert len(one_line("x" * 10**6)) < LONGEST_MESSAGE + 10
