"""The density of a frame: exact against a key-by-key reference, and drawn as it says."""

import numpy as np
import pytest
import tensorflow as tf

from apps.music import density, model, sampling, serving
from apps.music.config import MusicConfig
from apps.music.pieces import HELD, KEYS, STRUCK
from apps.music.settings import draw
from tests.music_pieces import roll


def network(head: str, articulated: bool, seed: int = 0, **words: object) -> model.Composer:
    config = MusicConfig(units=6, density_units=5, head=head, **words)  # type: ignore[arg-type]
    built = model.build(config, model.Shape(articulated, most=4), seed)
    random = np.random.default_rng(seed)
    for weight in built.weights:
        weight.assign(random.normal(size=weight.shape) * 0.4)
    return built


def frames(articulated: bool, time: int = 6) -> np.ndarray:
    random = np.random.default_rng(9)
    found = roll(random, time).astype(np.int32)
    found[2] = found[1]  # something to hold
    found[3, np.flatnonzero(found[2])[:1]] = 1
    if articulated:
        was = np.concatenate([np.zeros((1, KEYS), bool), found[:-1] > 0])
        found[(found > 0) & was & (random.random(found.shape) < 0.5)] = HELD
    return found


def one_by_one(
    built: model.Composer, context: tf.Tensor, before: np.ndarray, frame: np.ndarray
) -> float:
    """The definition: 88 decisions from the highest key down, each asked with what is above."""
    keys = np.arange(KEYS)[::-1]
    above = np.where(np.arange(KEYS) > keys[:, np.newaxis], frame, 0)
    known = density.features(tf.constant(above), built.shape.articulated, tf.float32)
    asked = (np.repeat(context, KEYS, axis=0), np.repeat(before[np.newaxis], KEYS, axis=0))
    logits = built.density(*asked, known[:, tf.newaxis])
    p = np.diag(tf.sigmoid(logits.sounds)[:, 0])
    total = -np.log(np.where(frame[keys] > 0, p, 1 - p)).sum()
    if logits.struck is not None:
        q = np.diag(tf.sigmoid(logits.struck)[:, 0])
        told = (frame[keys] > 0) & (before[keys] > 0)
        total -= np.log(np.where(frame[keys] == STRUCK, q, 1 - q))[told].sum()
    return float(total)


@pytest.mark.parametrize("articulated", [False, True])
@pytest.mark.parametrize("head", ["joint", "independent"])
def test_the_likelihood_is_that_of_88_decisions(head: str, articulated: bool) -> None:
    built, found = network(head, articulated), frames(articulated)
    clock = np.stack([np.arange(6) % 4 + 1, np.full(6, 4)], axis=1).astype(np.int32)
    mask = np.ones((1, 6), bool)
    losses = built(found[np.newaxis], clock[np.newaxis], mask).numpy()[0]
    before = np.concatenate([np.zeros((1, KEYS), np.int32), found[:-1]])
    contexts = built.contexts(tf.constant(before[np.newaxis]), tf.constant(clock[np.newaxis]), None)
    for t in range(6):
        expected = one_by_one(built, contexts[:, t], before[t], found[t])
        assert losses[t] == pytest.approx(expected, rel=1e-4)


def test_only_a_joint_density_knows_of_the_keys_above() -> None:
    found = frames(False)
    changed = found.copy()
    top = np.flatnonzero(found[1])[-1]
    changed[1, top], changed[1, top + 1] = 0, 1
    context = tf.zeros([1, 6 + KEYS])
    for head, same in (("joint", False), ("independent", True)):
        built = network(head, False)
        low = [
            built.density(
                context, found[:1] * 0, density.features(f[1:2], False, tf.float32)[:, None]
            ).sounds
            for f in (found, changed)
        ]
        assert np.allclose(low[0], low[1]) == same


def test_padding_has_no_part_in_it() -> None:
    built, found = network("joint", True), frames(True)
    padded = np.concatenate([found, np.ones((3, KEYS), np.int32)])[np.newaxis]
    mask = np.arange(9)[np.newaxis] < 6
    clock = np.zeros((1, 9, 2), np.int32)
    losses = built(padded, clock, mask).numpy()[0]
    assert not losses[6:].any()
    whole = built(found[np.newaxis], clock[:, :6], mask[:, :6]).numpy()[0]
    np.testing.assert_allclose(losses[:6], whole, rtol=1e-5)


def test_networks_together_have_the_mean_of_their_probabilities() -> None:
    members = [network("joint", True, seed) for seed in (1, 2, 3)]
    context, before = tf.ones([1, 6 + 2 * KEYS]), tf.constant(frames(True)[1:2])
    chosen = density.features(before * 0, True, tf.float32)[:, tf.newaxis]
    each = [built.density(context, before, chosen) for built in members]
    mean = density.mean(each)
    for name in ("sounds", "struck"):
        expected = np.mean([tf.sigmoid(getattr(logits, name)) for logits in each], axis=0)
        np.testing.assert_allclose(tf.sigmoid(getattr(mean, name)), expected, rtol=1e-4)


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


def test_frames_are_drawn_as_often_as_their_likelihood_says() -> None:
    built = network("joint", True)
    bias = np.full(KEYS, -30.0)
    bias[[30, 40, 45]] = 0.3  # three keys that may sound: eight chords
    built.density.sounds.bias.assign(bias)
    rows = 4000
    before = np.zeros((rows, KEYS), np.int32)
    before[:, [40, 50]] = 1
    context = tf.zeros([rows, 6 + 2 * KEYS])
    drawn = sampling.frame(
        lambda chosen: built.density(context, before, chosen), tf.constant(before), choice(), True
    ).numpy()
    kinds, counts = np.unique(drawn, axis=0, return_counts=True)
    assert {0, STRUCK, HELD} == set(np.unique(kinds))
    n = len(kinds)
    nats = built.density.nll(context[:n], tf.constant(before[:n]), tf.constant(kinds), 3).numpy()
    expected = np.exp(-nats)
    assert expected.sum() == pytest.approx(1, abs=0.01)
    spread = np.sqrt(expected * (1 - expected) / rows)
    assert (np.abs(counts / rows - expected) < 4.5 * spread + 1e-3).all()


def test_what_is_given_is_kept_and_the_rest_lies_below() -> None:
    built = network("joint", True)
    rows = 50
    before = np.zeros((rows, KEYS), np.int32)
    before[:, 44] = 1
    given = np.zeros((rows, KEYS), np.int32)
    given[:, 44] = HELD
    context = tf.zeros([rows, 6 + 2 * KEYS])
    drawn = sampling.frame(
        lambda chosen: built.density(context, before, chosen),
        tf.constant(before),
        choice(),
        True,
        tf.constant(given),
    ).numpy()
    assert (drawn[:, 44] == HELD).all()
    assert not drawn[:, 45:].any()
    assert drawn[:, :44].any()


# The ensemble's ways agree


@pytest.mark.parametrize("cell", ["lstm", "mingru"])
def test_frame_by_frame_and_all_at_once_say_the_same(cell: str) -> None:
    members = [network("joint", True, seed, cell=cell, layers=2) for seed in (1, 2)]
    ensemble = serving.Ensemble(members)
    start = tf.constant(frames(True)[np.newaxis])
    step = tf.function(ensemble.step)
    score = tf.function(ensemble.score, reduce_retracing=True)
    how = draw(bar=4, offset=1)
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
    before = tf.zeros([1, KEYS], tf.int32)
    for t in range(3):
        place = tf.constant([(t + 1) % 4 + 1])
        given = {"before": before, "place": place, "bar": tf.constant([4]), **drawing, **states}
        said = step(given)
        states = {name: said[name] for name in states}
        before = roll[:, t]
    replaced = tf.concat([roll[:, :2], said["frame"][:, tf.newaxis]], axis=1)
    expected = score(replaced, tf.constant(4), tf.constant(1))["nll"][:, 2]
    np.testing.assert_allclose(said["nll"], expected, rtol=1e-4)
