"""The density of a frame: exact against its definition, summing to one, and drawn as it says."""

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
import pytest
import tensorflow as tf

from apps.music import density, model, voices
from apps.music.config import MusicConfig
from apps.music.density import Past
from apps.music.pieces import HELD, KEYS, STRUCK
from apps.music.shape import Shape
from tests import reference_music
from tests.music_networks import COUNT, clock, frames, network
from tests.music_pieces import roll

HEADS = ("joint", "independent", "voices")


def likelihood(built: model.Composer, found: np.ndarray, key: int = 0) -> np.ndarray:
    """Nats of each frame of one piece."""
    told = clock(len(found)), np.array([key], np.int32), np.ones((1, len(found)), bool)
    return built(found[np.newaxis], *told).numpy()[0]


def weights_of(layer: density.FrameDensity | voices.VoiceDensity) -> dict[str, np.ndarray]:
    """By the names of ``tests.reference_music``, in float64."""
    found = {}
    for weight in layer.weights:
        name, kind = weight.path.split("/")[-2:]
        found[name + ("_b" if kind == "bias" else "")] = weight.numpy().astype(np.float64)
    return found


@pytest.mark.parametrize("key", [0, 15])
@pytest.mark.parametrize("articulated", [False, True])
@pytest.mark.parametrize("head", HEADS)
def test_the_likelihood_is_that_of_the_definition(head: str, articulated: bool, key: int) -> None:
    built, found = network(head, articulated), frames(articulated)
    losses = likelihood(built, found, key)
    mask = tf.ones((1, len(found)), tf.bool)
    context, past = built.known(tf.constant(found[None]), clock(6), tf.constant([key]), mask)
    weights = weights_of(built.density)
    if head == "independent":
        weights["notes"] = np.zeros((KEYS * (1 + articulated), 5))
    define = reference_music.voices_frame if head == "voices" else reference_music.joint_frame
    lines = [-1] * COUNT
    for t, frame in enumerate(found):
        before = found[t - 1] if t else np.zeros(KEYS)
        assert past.lines[t].numpy().tolist() == lines
        expected = define(frame, before, context[t].numpy().astype(float), lines, key, weights)
        assert losses[t] == pytest.approx(expected, rel=1e-4)
        if head == "voices":
            lines = reference_music.read_voices(frame, lines)
        else:
            lines = [*np.flatnonzero(frame)[::-1][:COUNT], *[-1] * COUNT][:COUNT]


def every_frame(sets: Iterable[Sequence[int]], before: np.ndarray, articulated: bool) -> np.ndarray:
    """All frames in which one of those sets of keys sounds, struck and held."""
    found = []
    for keys in sets:
        ways = [np.zeros(KEYS, np.int32)]
        for key in keys:
            does = (STRUCK, HELD) if articulated and before[key] else (STRUCK,)
            ways = [np.where(np.arange(KEYS) == key, d, way) for way in ways for d in does]
        found += ways
    return np.array(found)


@pytest.mark.parametrize("articulated", [False, True])
@pytest.mark.parametrize("head", HEADS)
def test_the_probabilities_of_all_frames_sum_to_one(head: str, articulated: bool) -> None:
    most = 2 if head == "voices" else 7
    config = MusicConfig(units=6, density_units=5)
    built = model.build(config, Shape(head, articulated, most, voices=2))  # type: ignore[arg-type]
    random = np.random.default_rng(3)
    for weight in built.density.weights:
        weight.assign(random.normal(size=weight.shape) * 0.3)
    if head == "voices":  # all frames of up to two keys: there are no others
        sets = [keys for count in range(3) for keys in combinations(range(KEYS), count)]
    else:  # all subsets of seven keys; the others can't sound
        keys = (0, 30, 40, 41, 52, 53, 87)
        sets = [some for count in range(8) for some in combinations(keys, count)]
        bias = np.where(np.isin(np.arange(KEYS), keys), 0.0, -1e4)
        built.density.sounds.bias.assign(bias)
    before = np.zeros(KEYS, np.int32)
    before[[40, 52]] = 1
    every = every_frame(sets, before, articulated)
    rows = len(every)
    past = Past(
        tf.tile(before[np.newaxis], [rows, 1]), tf.tile([[52, 40]], [rows, 1]), tf.fill([rows], 15)
    )
    context = tf.tile(random.normal(size=(1, 6 + KEYS * (1 + articulated) + 64)), [rows, 1])
    asked = [(built.density, tf.cast(context, tf.float32))]
    nats = built.way.nll(asked, past, tf.constant(every)).numpy().astype(float)
    assert np.exp(-nats).sum() == pytest.approx(1, abs=1e-4)
    assert np.exp(-nats.min()) < 0.9  # no frame has it all


@pytest.mark.parametrize("head", HEADS)
def test_no_frame_knows_of_itself_or_what_comes(head: str) -> None:
    built, found = network(head, True, cell="lstm", layers=2), frames(True)
    changed = found.copy()
    changed[3:] = roll(np.random.default_rng(2), 3)
    one, other = likelihood(built, found), likelihood(built, changed)
    assert np.array_equal(one[:3], other[:3])
    assert (one[3:] != other[3:]).all()
    mask = tf.ones((1, 6), tf.bool)
    known = [
        tf.nest.flatten(built.known(tf.constant(f[None]), clock(6), tf.constant([1]), mask))
        for f in (found, changed)
    ]
    for left, right in zip(*known, strict=True):  # the fourth is decided on what was before it
        assert np.array_equal(left[:4], right[:4])
    assert not np.array_equal(known[0][0][4:], known[1][0][4:])


@pytest.mark.parametrize("articulated", [False, True])
@pytest.mark.parametrize("head", HEADS)
def test_a_frame_has_the_same_likelihood_whatever_stands_beside_it(
    head: str, articulated: bool
) -> None:
    built, found = network(head, articulated), frames(articulated)
    found[5] = 0  # silence, too, alone in its batch
    mask = tf.ones([1, 6], tf.bool)
    context, past = built.known(tf.constant(found[None]), clock(6), tf.constant([1]), mask)
    together = built.way.nll([(built.density, context)], past, tf.constant(found)).numpy()
    assert together[5] > 0
    for t in range(6):
        row = slice(t, t + 1)
        asked = [(built.density, context[row])]
        alone = built.way.nll(asked, Past(*(part[row] for part in past)), tf.constant(found[row]))
        assert alone.numpy()[0] == pytest.approx(together[t], rel=1e-5)


def test_only_a_joint_density_knows_of_the_keys_above() -> None:
    found = frames(False)
    changed = found.copy()
    top = np.flatnonzero(found[1])[-1]
    changed[1, top], changed[1, top + 1] = 0, 1
    context = tf.zeros([1, 6 + KEYS + 64])
    past = Past(tf.constant(found[:1] * 0), tf.fill([1, COUNT], -1), tf.constant([0]))
    for head, same in (("joint", False), ("independent", True)):
        built = network(head, False)
        low = [
            built.density(
                context, past, density.features(f[1:2], False, tf.float32)[:, None]
            ).sounds
            for f in (found, changed)
        ]
        assert np.allclose(low[0], low[1]) == same


@pytest.mark.parametrize("head", ["joint", "voices"])
def test_padding_has_no_part_in_it(head: str) -> None:
    built, found = network(head, True), frames(True)
    padded = np.concatenate([found, np.ones((3, KEYS), np.int32)])[np.newaxis]
    mask = np.arange(9)[np.newaxis] < 6
    nothing, key = np.zeros((1, 9, 3), np.int32), np.zeros(1, np.int32)
    losses = built(padded, nothing, key, mask).numpy()[0]
    assert not losses[6:].any()
    whole = built(found[np.newaxis], nothing[:, :6], key, mask[:, :6]).numpy()[0]
    np.testing.assert_allclose(losses[:6], whole, rtol=1e-5)


def test_networks_together_have_the_mean_of_their_probabilities() -> None:
    random, found = np.random.default_rng(0), frames(True)
    past = Past(tf.constant(found[1:2]), tf.constant([[50, 44, 30]]), tf.constant([3]))
    context = tf.constant(random.normal(size=(1, 6 + 2 * KEYS + 64)), tf.float32)
    chosen = density.features(past.frames * 0, True, tf.float32)[:, tf.newaxis]
    members = [network("joint", True, seed) for seed in (1, 2, 3)]
    each = [built.density(context, past, chosen) for built in members]
    mean = density.mean(each)
    for name in ("sounds", "struck"):
        expected = np.mean([tf.sigmoid(getattr(logits, name)) for logits in each], axis=0)
        np.testing.assert_allclose(tf.sigmoid(getattr(mean, name)), expected, rtol=1e-4)
    members = [network("voices", True, seed) for seed in (1, 2, 3)]
    lone = tf.constant(np.where(np.arange(KEYS) == 45, 1, 0)[None])  # the first voice decides
    p = [np.exp(-voices.nll([(m.density, context)], past, lone).numpy()) for m in members]
    together = voices.nll([(m.density, context) for m in members], past, lone).numpy()
    assert together < -np.log(np.max(p)) + np.log(3) * COUNT
    assert np.isfinite(together).all()


def test_scores_of_intervals_lie_at_their_keys() -> None:
    random = np.random.default_rng(5)
    scores = tf.constant(random.normal(size=(3, 2, 2 * 7)))
    lines = np.array([[40, 2], [-1, 87], [10, 10]])
    with tf.GradientTape() as tape:
        tape.watch(scores)
        found = density.at_intervals(scores, tf.constant(lines, tf.int32))
        weight = random.normal(size=found.shape)
        total = tf.reduce_sum(found * weight)
    slopes = tape.gradient(total, scores).numpy().reshape(3, 2, 2, 7)
    for row in range(3):
        for step in range(2):
            each = scores[row, step].numpy().reshape(2, 7)
            for key in range(KEYS):
                expected = reference_music.relative(each, lines[row].tolist(), key)
                assert found[row, step, key].numpy() == pytest.approx(expected)
            for voice, line in enumerate(lines[row]):
                for place in range(7):
                    key = line + place - 3
                    inside = line >= 0 and 0 <= key < KEYS
                    expected = weight[row, step, key] if inside else 0
                    assert slopes[row, step, voice, place] == pytest.approx(expected)


# Voices


def test_voices_are_read_so_that_they_move_least() -> None:
    before = tf.constant([[50, 45, 40], [50, 45, 40], [-1, -1, -1], [50, 45, 40], [50, 45, 40]])
    found = np.zeros((5, KEYS), np.int32)
    for row, keys in zip(found, ([50, 40], [46, 39], [60, 30], [], [55, 50, 44, 30]), strict=True):
        row[keys] = 1
    read = voices.assign(tf.constant(found), before).numpy().tolist()
    assert read[0] in ([50, 50, 40], [50, 40, 40])  # the middle voice joins either
    assert read[1] == [46, 46, 39]
    assert set(read[2]) == {60, 30}
    assert read[3] == [-1, -1, -1]
    assert read[4] == [55, 50, 30]  # the highest two and the lowest of four


def test_a_frame_of_more_keys_than_voices_can_not_be() -> None:
    built = network("voices", False)
    found = np.zeros((2, KEYS), np.int32)
    found[1, [20, 30, 40, 50]] = 1
    mask = np.ones((1, 2), bool)
    inputs = found[None], clock(2), np.zeros(1, np.int32), mask
    assert np.isposinf(built(*inputs).numpy()[0, 1])
    assert np.isfinite(built(*inputs, training=True).numpy()).all()
