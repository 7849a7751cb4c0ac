"""The labeller: what each frame's answer may depend on, its loss, and how it is measured."""

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from apps.gesture import model, objectives
from apps.gesture.config import GestureConfig
from common.cells import CELLS
from common.errors import UserError

FRAMES = np.random.default_rng(0).normal(1, 3, (2, 47, 4)).astype(np.float32)
CLASSES = 3
SMALL = GestureConfig(units=5, width=6, hop=3, lookahead=8)


def labeller(**settings: Any) -> model.Labeller:
    """With random weights everywhere, biases too: what starts at zero hides what is wrong."""
    keras.utils.set_random_seed(0)
    network = model.build(dataclasses.replace(SMALL, **settings), FRAMES.reshape(-1, 4), CLASSES)
    random = np.random.default_rng(1)
    for weight in network.trainable_variables:
        weight.assign(weight.value + random.normal(0, 0.3, weight.shape))
    return network


def answers(network: model.Labeller, frames: np.ndarray, lengths: Any = None) -> np.ndarray:
    lengths = np.array([frames.shape[1]] * len(frames) if lengths is None else lengths)
    mask = np.arange(frames.shape[1]) < lengths[:, np.newaxis]
    return tf.nn.softmax(network(frames, mask)).numpy()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_a_network_of_any_cell_labels_every_frame_and_learns(cell: str, causal: bool) -> None:
    network = labeller(cell=cell, causal=causal)
    said = answers(network, FRAMES)
    assert said.shape == (2, 47, CLASSES)
    assert_allclose(said.sum(axis=-1), 1, rtol=1e-5)
    labels = tf.constant(np.random.default_rng(2).integers(0, CLASSES, (2, 47)), tf.int32)
    with tf.GradientTape() as tape:
        loss, _ = objectives.labelling(network)(tf.constant(FRAMES), labels)
    weights = network.trainable_variables
    for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, weight.path


def reach(network: model.Labeller, frame: int) -> np.ndarray:
    """Frames whose answer changes when this one does."""
    changed = FRAMES.copy()
    changed[:, frame] += 5
    return np.flatnonzero((answers(network, changed) != answers(network, FRAMES)).any(axis=(0, 2)))


@pytest.mark.parametrize(("hop", "lookahead"), [(3, 8), (5, 25), (4, 0), (1, 2), (5, 3)])
def test_a_causal_answer_waits_for_its_look_ahead_and_no_longer(hop: int, lookahead: int) -> None:
    network = labeller(causal=True, hop=hop, lookahead=lookahead)
    waits = network.settings.waits
    assert waits <= lookahead
    earliest = {frame: reach(network, frame)[0] for frame in range(30, 30 + hop)}
    assert min(e - frame for frame, e in earliest.items()) == -waits
    # A frame that is answered late could have been told of all that came until then.
    assert all(frame - e >= waits - network.hop + 1 for frame, e in earliest.items())


def test_a_bidirectional_answer_depends_on_the_whole_stream() -> None:
    network = labeller()
    assert_array_equal(reach(network, 46), np.arange(47))
    assert_array_equal(reach(network, 0), np.arange(47))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [1, 2, 30, 46])
def test_what_pads_a_stream_changes_nothing(length: int, causal: bool) -> None:
    network = labeller(causal=causal)
    alone = answers(network, FRAMES[:1, :length])
    beside = FRAMES.copy()
    beside[0, length:] = 1e4
    both = answers(network, beside, [length, 47])
    assert_allclose(both[0, :length], alone[0], rtol=1e-4, atol=1e-6)
    assert_allclose(both[1], answers(network, FRAMES)[1], rtol=1e-4, atol=1e-6)


def test_raw_units_go_in() -> None:
    """A sensor in another unit, measured in it, gives the same answers."""
    network, other = labeller(), labeller()
    gain, offset = np.float32([2, 0.01, 50, 1]), np.float32([3, 0, -1, 9])
    other.measure((FRAMES * gain + offset).reshape(-1, 4))
    assert_allclose(answers(other, FRAMES * gain + offset), answers(network, FRAMES), atol=1e-3)
    constant = np.ones((5, 4), np.float32)
    other.measure(constant)
    assert_array_equal(other.deviation.numpy(), 1)


def test_the_loss_is_that_of_known_labels() -> None:
    network = labeller(dropout=0.0)
    labels = np.random.default_rng(3).integers(0, CLASSES, (2, 47))
    labels[0, 10:30] = -1
    losses, metrics = objectives.labelling(network)(
        tf.constant(FRAMES), tf.constant(labels, tf.int32)
    )
    logits = network(FRAMES, training=False).numpy().astype(np.float64)
    own = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    for row in range(2):
        known = np.flatnonzero(labels[row] >= 0)
        assert_allclose(losses[row], -own[row, known, labels[row, known]].mean(), rtol=1e-4)
        right = (logits[row, known].argmax(axis=-1) == labels[row, known]).mean()
        assert_allclose(metrics["frame_accuracy"][row], right, rtol=1e-6)


def test_a_causal_model_that_must_smooth_is_refused() -> None:
    with pytest.raises(UserError, match="--smoothing viterbi with --causal"):
        GestureConfig(causal=True, smoothing="viterbi")
