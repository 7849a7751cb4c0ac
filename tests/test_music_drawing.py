"""Frames are drawn as their density says, one by one or all at once, with a beam or without."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from apps.music import beam, sampling, serving, voices
from apps.music.density import Past
from apps.music.pieces import HELD, KEYS, STRUCK
from apps.music.settings import draw
from tests.music_networks import COUNT, frames, network


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


# A beam


def test_a_beam_finds_what_is_likelier_and_begins_as_it_was_told() -> None:
    ensemble = serving.Ensemble([network("joint", True)])
    score = tf.function(ensemble.score, reduce_retracing=True)
    asked = SimpleNamespace(signatures={"generate": ensemble.compose, "score": score})
    how = draw(bar=4, key=5)
    start = tf.constant(np.stack([frames(True)[:2], frames(True)[1:3]]))

    def nats(rolls: tf.Tensor) -> np.ndarray:
        told = {name: how[name] for name in ("bar", "offset", "key")}
        return score(rolls, **told)["nll"].numpy()[:, 2:].sum(axis=1)

    search = beam.Search(asked, how, beam=3, stretch=4)
    found = search.composed(start, 11)
    assert found.shape == (2, 11, KEYS)
    assert np.array_equal(found[:, :2], start)
    assert np.array_equal(found, search.composed(start, 11))
    single = ensemble.compose(tf.repeat(start, 20, axis=0), tf.constant(9), **how)["roll"]
    assert (nats(found) < nats(single).reshape(2, 20).mean(axis=1)).all()


def test_the_likeliest_are_kept_once_each() -> None:
    search = beam.Search(None, {}, beam=2, stretch=1)
    rolls = np.zeros((4, 3, KEYS), np.int32)
    rolls[[0, 1], 2, 40], rolls[2, 2, 41] = 1, 1
    kept = search._best(rolls, np.array([2.0, 2.0, 5.0, 1.0]))
    assert np.array_equal(kept, rolls[[3, 0]])
    same = search._best(np.repeat(rolls[:1], 4, axis=0), np.ones(4))  # none other to keep
    assert np.array_equal(same, rolls[[0, 1]])
