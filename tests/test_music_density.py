"""The density of a frame: exact against its definition, summing to one, and drawn as it says."""

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from apps.music import density, model, sampling, serving, voices
from apps.music.config import MusicConfig
from apps.music.density import Past
from apps.music.pieces import HELD, KEYS, STRUCK
from apps.music.settings import draw
from apps.music.shape import Shape
from tests import reference
from tests.music_pieces import roll

HEADS = ("joint", "independent", "voices")
COUNT = 3
"""Voices."""


def network(head: str, articulated: bool, seed: int = 0, **words: object) -> model.Composer:
    config = MusicConfig(units=6, density_units=5, **words)  # type: ignore[arg-type]
    shape = Shape(head, articulated, most=COUNT, voices=COUNT)  # type: ignore[arg-type]
    built = model.build(config, shape, seed)
    random = np.random.default_rng(seed)
    for weight in built.weights:
        weight.assign(random.normal(size=weight.shape) * 0.4)
    return built


def frames(articulated: bool, time: int = 6) -> np.ndarray:
    random = np.random.default_rng(9)
    found = roll(random, time).astype(np.int32)
    found[2] = found[1]  # something to hold
    found[3] = 0
    found[3, [*np.flatnonzero(found[2])[:1], 33]] = 1
    found[4] = 0
    found[4, [30, 41]] = 1  # fewer keys than voices
    if articulated:
        was = np.concatenate([np.zeros((1, KEYS), bool), found[:-1] > 0])
        found[(found > 0) & was & (random.random(found.shape) < 0.5)] = HELD
    return found


def clock(time: int, bar: int = 4) -> np.ndarray:
    """Told of each frame: its place in the bar, the bar, and how many are left."""
    parts = [np.arange(time) % bar + 1, np.full(time, bar), np.arange(time, 0, -1)]
    return np.stack(parts, axis=1).astype(np.int32)[np.newaxis]


def likelihood(built: model.Composer, found: np.ndarray, key: int = 0) -> np.ndarray:
    """Nats of each frame of one piece."""
    told = clock(len(found)), np.array([key], np.int32), np.ones((1, len(found)), bool)
    return built(found[np.newaxis], *told).numpy()[0]


def weights_of(layer: density.FrameDensity | voices.VoiceDensity) -> dict[str, np.ndarray]:
    """By the names of ``tests.reference``, in float64."""
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
    define = reference.voices_frame if head == "voices" else reference.joint_frame
    lines = [-1] * COUNT
    for t, frame in enumerate(found):
        before = found[t - 1] if t else np.zeros(KEYS)
        assert past.lines[t].numpy().tolist() == lines
        expected = define(frame, before, context[t].numpy().astype(float), lines, key, weights)
        assert losses[t] == pytest.approx(expected, rel=1e-4)
        if head == "voices":
            lines = reference.read_voices(frame, lines)
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
                expected = reference.relative(each, lines[row].tolist(), key)
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


# Drawing


def test_the_next_key_is_one_of_those_below_or_the_end() -> None:
    logits = tf.constant(np.random.default_rng(0).normal(-2, 2, (2, KEYS)), tf.float32)
    logs = sampling.next_key(logits, tf.constant([0, 40])).numpy()
    np.testing.assert_allclose(np.exp(logs).sum(axis=1), 1, rtol=1e-5)
    assert np.isneginf(logs[1, :40]).all()
    p = 1 / (1 + np.exp(-logits.numpy()))
    assert np.exp(logs[1, 41]) == pytest.approx((1 - p[1, 40]) * p[1, 41], rel=1e-4)


def choice(**words: float) -> sampling.Choice:
    given = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, **words}
    return sampling.Choice(
        *(tf.constant(given[n]) for n in ("temperature", "top_k", "top_p")), tf.constant([1, 2])
    )


def test_the_unlikely_is_cut_off() -> None:
    logs = tf.math.log([[0.5, 0.3, 0.15, 0.05]])

    def left(**words: float) -> list[float]:
        narrowed = sampling.narrowed(logs, choice(**words))
        return tf.nn.softmax(narrowed).numpy()[0].tolist()

    assert left() == pytest.approx([0.5, 0.3, 0.15, 0.05])
    assert left(top_k=2) == pytest.approx([0.625, 0.375, 0, 0])
    assert left(top_p=0.9) == pytest.approx([10 / 19, 6 / 19, 3 / 19, 0])
    assert left(top_p=0.4) == pytest.approx([1, 0, 0, 0])
    assert left(temperature=0.5) == pytest.approx([50 / 73, 18 / 73, 4.5 / 73, 0.5 / 73])


def drawer(head: str) -> Callable[..., Any]:
    return voices.frame if head == "voices" else sampling.frame


@pytest.mark.parametrize("head", ["joint", "voices"])
def test_frames_are_drawn_as_often_as_their_likelihood_says(head: str) -> None:
    built = network(head, True)
    keys = [30, 40, 45]  # three that may sound
    if head == "voices":
        bias = np.full(KEYS + 1, -30.0)
        bias[[*keys, KEYS]] = 0.3
    else:
        bias = np.full(KEYS, -30.0)
        bias[keys] = 0.3
    built.density.sounds.bias.assign(bias)
    rows = 4000
    before = np.zeros((rows, KEYS), np.int32)
    before[:, [40, 50]] = 1
    past = Past(tf.constant(before), tf.tile([[50, 40, 40]], [rows, 1]), tf.fill([rows], 4))
    asked = [(built.density, tf.zeros([rows, 6 + 2 * KEYS + 64]))]
    drawn = drawer(head)(asked, past, choice()).numpy()
    kinds, counts = np.unique(drawn, axis=0, return_counts=True)
    assert {0, STRUCK, HELD} == set(np.unique(kinds))
    n = len(kinds)
    few = Past(*(part[:n] for part in past))
    nats = built.way.nll([(built.density, asked[0][1][:n])], few, tf.constant(kinds)).numpy()
    expected = np.exp(-nats)
    spread = np.sqrt(expected * (1 - expected) / rows)
    near = np.abs(counts / rows - expected) < 4.5 * spread + 1e-3
    if head == "joint":
        assert expected.sum() == pytest.approx(1, abs=0.01)
        assert near.all()
    else:  # two keys may be drawn in two ways, of which one is its reading
        assert near[[len(np.flatnonzero(kind)) in (0, 3) for kind in kinds]].all()


@pytest.mark.parametrize("head", ["joint", "voices"])
def test_what_is_given_is_kept_and_the_rest_lies_below(head: str) -> None:
    built = network(head, True)
    rows = 50
    before = np.zeros((rows, KEYS), np.int32)
    before[:, 44] = 1
    given = np.zeros((rows, KEYS), np.int32)
    given[:, 44] = HELD
    past = Past(tf.constant(before), tf.fill([rows, COUNT], 44), tf.zeros([rows], tf.int32))
    asked = [(built.density, tf.zeros([rows, 6 + 2 * KEYS + 64]))]
    drawn = drawer(head)(asked, past, choice(), tf.constant(given)).numpy()
    assert (drawn[:, 44] == HELD).all()
    assert not drawn[:, 45:].any()
    assert drawn[:, :44].any()


# The ensemble's ways agree


@pytest.mark.parametrize(("cell", "head"), [("lstm", "joint"), ("mingru", "voices")])
def test_frame_by_frame_and_all_at_once_say_the_same(cell: str, head: str) -> None:
    members = [network(head, True, seed, cell=cell, layers=2) for seed in (1, 2)]
    ensemble = serving.Ensemble(members)
    start = tf.constant(frames(True)[np.newaxis])
    step = tf.function(ensemble.step)
    score = tf.function(ensemble.score, reduce_retracing=True)
    how = draw(bar=4, offset=1, key=5)
    roll = ensemble.compose(start, tf.constant(5), **how)["roll"]
    assert np.array_equal(roll[:, :6], start)
    again = ensemble.compose(start, tf.constant(5), **how)["roll"]
    assert np.array_equal(roll, again)
    other = ensemble.compose(start, tf.constant(5), **draw(seed=1, bar=4, offset=1))["roll"]
    assert not np.array_equal(roll, other)
    states = {
        spec.name: tf.zeros([1, spec.shape[1]])
        for spec in ensemble.signatures()["step"][1][0].values()
        if spec.name.startswith("state")
    }
    drawing = {name: how[name] for name in ("temperature", "top_k", "top_p", "seed")}
    nothing = tf.zeros([1, KEYS], tf.int32)
    before = nothing
    for t in range(3):
        told = {"place": tf.constant([(t + 1) % 4 + 1]), "bar": tf.constant([4])}
        told |= {"left": tf.constant([0]), "key": tf.constant([5]), "given": nothing}
        said = step({"before": before, **told, **drawing, **states})
        states = {name: said[name] for name in states}
        before = roll[:, t]
    replaced = tf.concat([roll[:, :2], said["frame"][:, tf.newaxis]], axis=1)
    expected = score(replaced, tf.constant(4), tf.constant(1), tf.constant(5))["nll"][:, 2]
    np.testing.assert_allclose(said["nll"], expected, rtol=1e-4)


def test_nothing_can_be_composed_and_nothing_to_begin_with() -> None:
    ensemble = serving.Ensemble([network("voices", True)])
    nothing = tf.zeros([2, 0, KEYS], tf.int32)
    assert ensemble.compose(nothing, tf.constant(0), **draw())["roll"].shape == (2, 0, KEYS)
    assert ensemble.compose(nothing, tf.constant(3), **draw())["roll"].shape == (2, 3, KEYS)
