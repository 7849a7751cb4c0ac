"""What is exported: whole streams, a stream in chunks of any size, and one hop for
LiteRT and ONNX."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from apps.gesture import model
from apps.gesture.config import GestureConfig
from apps.gesture.serving import Serving
from common import export, formats
from common.cells import CELLS

TIME = 133
FRAMES = np.random.default_rng(0).normal(1, 3, (2, TIME, 4)).astype(np.float32)
CLASSES = ("circle", "rest", "shake")
HOP, LOOKAHEAD = 3, 8


def serving(**settings: Any) -> Serving:
    """Of causal networks (two, unless `settings` say otherwise), random weights everywhere."""
    asked = {"units": 5, "width": 6, "hop": HOP, "lookahead": LOOKAHEAD, "causal": True}
    config = GestureConfig(**{"members": 2, **asked, **settings})
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(1)
    networks = []
    for member in range(config.members):
        networks.append(model.build(config, FRAMES.reshape(-1, 4), len(CLASSES), member))
        for weight in networks[-1].trainable_variables:
            weight.assign(weight.value + random.normal(0, 0.3, weight.shape))
    return Serving(networks, CLASSES)


def whole(exported: Serving, frames: np.ndarray = FRAMES) -> dict[str, Any]:
    mask = tf.ones(frames.shape[:2], tf.bool)
    return exported.whole({"frames": tf.constant(frames), "mask": mask})


def write(exported: Serving, path: Path) -> None:
    more = {"examples": exported.examples(FRAMES[0]), "portable": exported.portable()}
    export.write(exported.networks, exported.signatures(), path, **more)


def state_of(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name.startswith("state")}


def in_chunks(endpoint: Any, size: int, frames: np.ndarray = FRAMES) -> list[np.ndarray]:
    """What each step answers, and the end."""
    state = endpoint("start", batch=tf.constant(len(frames)))
    found = []
    for begin in range(0, frames.shape[1], size):
        said = endpoint("step", frames=tf.constant(frames[:, begin : begin + size]), **state)
        found.append(said["probabilities"].numpy())
        state = state_of(said)
    return [*found, endpoint("finish", **state)["probabilities"].numpy()]


def eager(exported: Serving) -> Any:
    return lambda name, **inputs: getattr(exported, name)(inputs)


def saved(path: Path) -> Any:
    loaded = export.load(path)
    return lambda name, **inputs: loaded.signatures[name](**inputs)


@pytest.fixture(scope="module")
def exported() -> Serving:
    return serving(layers=2, cell="lstm")


@pytest.fixture(scope="module")
def path(exported: Serving, tmp_path_factory: Any) -> Path:
    path = tmp_path_factory.mktemp("export") / "1"
    write(exported, path)
    return path


# Steps


@pytest.mark.parametrize("size", [1, 7, 50, TIME])
def test_chunks_of_any_size_give_what_one_pass_gives(
    exported: Serving, path: Path, size: int
) -> None:
    found = np.concatenate(in_chunks(saved(path), size), axis=1)
    expected = whole(exported)["probabilities"].numpy()
    assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert_array_equal(found.argmax(axis=-1), expected.argmax(axis=-1))
    assert len(np.unique(expected.argmax(axis=-1))) > 1


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_steps_as_if_it_read_all_at_once(cell: str) -> None:
    exported = serving(cell=cell, layers=2)
    frames = FRAMES[:, :31]
    found = np.concatenate(in_chunks(eager(exported), 4, frames), axis=1)
    assert_allclose(found, whole(exported, frames)["probabilities"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("hop", "lookahead"), [(1, 0), (1, 2), (4, 3), (5, 25)])
def test_an_answer_comes_when_its_look_ahead_has_come(hop: int, lookahead: int) -> None:
    exported = serving(hop=hop, lookahead=lookahead)
    counts = np.cumsum([row.shape[1] for row in in_chunks(eager(exported), 1, FRAMES[:, :40])])
    arrived = np.arange(1, 41)
    assert (counts[:-1] >= arrived - lookahead).all()
    assert (counts[:-1] <= arrived).all()
    assert counts[-1] == 40


@pytest.mark.parametrize("time", [0, 1, 5])
def test_a_stream_shorter_than_the_look_ahead_is_answered_at_its_end(
    exported: Serving, time: int
) -> None:
    frames = FRAMES[:, :time]
    steps = in_chunks(eager(exported), 2, frames)
    assert all(row.shape[1] == 0 for row in steps[:-1])
    assert_allclose(steps[-1], whole(exported, frames)["probabilities"], rtol=1e-5, atol=1e-6)
    assert steps[-1].shape == (2, time, len(CLASSES))


def test_several_networks_answer_the_mean_of_their_probabilities() -> None:
    both = serving()
    alone = [whole(Serving([network], CLASSES)) for network in both.networks]
    first, second = (answer["probabilities"].numpy() for answer in alone)
    assert np.abs(first - second).max() > 0.1
    assert_allclose(whole(both)["probabilities"], (first + second) / 2, rtol=1e-5, atol=1e-6)


def test_an_empty_chunk_changes_nothing(exported: Serving) -> None:
    state = state_of(exported.start({"batch": tf.constant(2)}))
    before = state_of(exported.step({"frames": tf.constant(FRAMES[:, :20]), **state}))
    said = exported.step({"frames": tf.zeros([2, 0, 4]), **before})
    assert said["label"].shape == (2, 0)
    for name, value in before.items():
        assert_array_equal(said[name], value)


# The export


def test_a_clean_process_gives_the_same_answers(exported: Serving, path: Path) -> None:
    mask = np.arange(TIME) < np.array([[TIME], [40]])
    given = {"frames": FRAMES, "mask": mask}
    clean = export.answer_in_clean_process(path, "serving_default", given)
    here = exported.whole({name: tf.constant(value) for name, value in given.items()})
    assert_allclose(clean["probabilities"][mask], here["probabilities"][mask], rtol=1e-5, atol=1e-6)
    assert [name.decode() for name in clean["classes"]] == list(CLASSES)
    said = np.array(CLASSES)[clean["probabilities"].argmax(axis=-1)].astype(bytes)
    assert_array_equal(clean["label"], said)
    alone = whole(exported, FRAMES[1:, :40])["probabilities"]
    assert_allclose(clean["probabilities"][1:, :40], alone, rtol=1e-4, atol=1e-6)


def test_a_bidirectional_model_has_no_steps() -> None:
    assert set(serving(causal=False).signatures()) == {"serving_default", "stream"}


# LiteRT and ONNX


def hop_by_hop(file: Path, exported: Serving) -> np.ndarray:
    """What a file says of the first stream, whose last frame stands in after its end."""
    read = formats.of_onnx if file.suffix == ".onnx" else formats.of_litert
    runner, network = read(file.read_bytes()), exported.network
    state = {name: v for name, v in exported.examples(FRAMES[0])["hop"].items() if name != "frames"}
    assert not any(value.any() for value in state.values())
    hops = -(-TIME // network.hop) + network.delay
    frames = np.pad(FRAMES[:1], [(0, 0), (0, hops * network.hop - TIME), (0, 0)], mode="edge")
    found = []
    for part in np.split(frames, hops, axis=1):
        said = runner({"frames": part, **state})
        found.append(said.pop("probabilities"))
        state = said
    return np.concatenate(found, axis=1)[:, network.delay * network.hop :][:, :TIME]


@pytest.mark.parametrize("cell", ["lstm", "mingru"])
def test_litert_files_say_what_the_model_says(cell: str, tmp_path: Path) -> None:
    exported = serving(cell=cell, layers=2, units=16, width=16)
    write(exported, tmp_path / "1")
    made = formats.convert(tmp_path / "1", "litert", tmp_path)
    files = dict(zip(formats.WEIGHTS, (file.path for file in made), strict=True))
    sizes = {name: file.stat().st_size for name, file in files.items()}
    assert sizes["int8"] < sizes["float32"]
    expected = whole(exported)["probabilities"].numpy()[:1]
    float32 = hop_by_hop(files["float32"], exported)
    assert_allclose(float32, expected, rtol=1e-4, atol=1e-5)
    int8 = hop_by_hop(files["int8"], exported)
    assert (int8.argmax(axis=-1) == expected.argmax(axis=-1)).mean() > 0.9
    assert np.abs(int8 - expected).mean() < 0.05


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_an_onnx_file_says_hop_by_hop_what_the_model_says(cell: str, tmp_path: Path) -> None:
    """Its states go in and come out, which ONNX has two names for."""
    pytest.importorskip("tf2onnx")
    exported = serving(cell=cell, layers=2)
    write(exported, tmp_path / "1")
    (made,) = formats.convert(tmp_path / "1", "onnx", tmp_path)
    expected = whole(exported)["probabilities"].numpy()[:1]
    assert_allclose(hop_by_hop(made.path, exported), expected, rtol=1e-4, atol=1e-5)
