"""Melodies as events: taken apart and put together, their likelihood, and how they are sung."""

import numpy as np
import pytest
import tensorflow as tf

from apps.music import melody, singing
from apps.music.config import MusicConfig
from apps.music.melody import LONGEST, REST, Before, events_of, roll_of
from apps.music.pieces import KEYS, Note, Piece, clock, frames_of
from apps.music.rolls import RollBatches
from apps.music.settings import draw
from apps.music.shape import Shape
from tests import reference_music

SHAPE = Shape("events", articulated=True, most=1, voices=1)


def network(seed: int = 0, **words: object) -> melody.Melodist:
    config = MusicConfig(units=6, density_units=5, **words)  # type: ignore[arg-type]
    built = melody.build(config, SHAPE, seed)
    random = np.random.default_rng(seed)
    for weight in built.weights:
        weight.assign(random.normal(size=weight.shape) * 0.4)
    return built


def song(seed: int = 1, notes: int = 12) -> Piece:
    """Notes, repeated ones and rests, one of them long."""
    random = np.random.default_rng(seed)
    line, begin = [], 3  # a rest at the beginning
    for number in range(notes):
        length = int(random.integers(1, 6))
        line.append(Note(begin, begin + length, int(40 + random.integers(0, 4))))
        begin += length + (2 if number % 4 == 1 else 0) + (LONGEST + 9 if number == 5 else 0)
    return Piece("song", frames_of(line, begin), bar=12, offset=5)


def test_a_song_comes_back_from_its_events() -> None:
    one, other = song(), song(2, 7)
    batch = RollBatches([one, other], 2)
    (inputs, lengths), *_ = batch.in_order()
    events = events_of(inputs["frames"], inputs["mask"])
    assert tf.reduce_sum(events.lengths, axis=1).numpy().tolist() == lengths.numpy().tolist()
    time = inputs["frames"].shape[1]
    rolls = roll_of(events.pitches, events.lengths, tf.constant(time)).numpy()
    assert np.array_equal(rolls, inputs["frames"].numpy())
    rests = events.lengths.numpy()[(events.pitches.numpy() == REST) & events.there.numpy()]
    assert rests.max() == LONGEST


def test_the_likelihood_is_that_of_the_definition() -> None:
    built, piece = network(), song()
    told = clock(piece)[np.newaxis], tf.constant([15])
    mask = tf.ones([1, len(piece)], tf.bool)
    frames = tf.constant(piece.frames[np.newaxis].astype(np.int32))
    nats = built(frames, *told, mask).numpy()[0]
    events = events_of(frames, mask)
    context, before = built.known(events, *told)
    weights = {}
    for weight in built.weights:
        name, kind = weight.path.split("/")[-2:]
        weights[name + ("_b" if kind == "bias" else "")] = weight.numpy().astype(float)
    lines = [-1, -1]
    for i, place in enumerate(events.places.numpy()[0]):
        pitch, length = (int(part[0, i]) for part in (events.pitches, events.lengths))
        assert before.lines[i].numpy().tolist() == lines
        c = context[i].numpy().astype(float)
        expected = reference_music.next_note(pitch, length, c, lines, 15, weights)
        assert nats[place] == pytest.approx(expected, rel=1e-4)
        lines = [pitch, lines[0]] if pitch != REST else lines
    assert np.count_nonzero(nats) == len(events.places[0])


def test_the_probabilities_of_all_notes_sum_to_one() -> None:
    built = network(3)
    context = tf.constant(np.random.default_rng(0).normal(size=(1, 6 + 64)), tf.float32)
    before = Before(
        tf.constant([44]),
        tf.constant([4]),
        tf.constant([[44, 40]]),
        tf.zeros([1, 3], tf.int32),
        tf.constant([20]),
    )
    pitches = np.exp(built.pitch(context, before).numpy()[0].astype(float))
    lengths = [
        np.exp(built.length(context, before, tf.constant([k])).numpy()[0].astype(float))
        for k in range(KEYS + 1)
    ]
    assert (pitches[:, np.newaxis] * lengths).sum() == pytest.approx(1, abs=1e-5)


def test_no_note_knows_of_itself_or_what_comes_and_padding_has_no_part() -> None:
    built, piece = network(cell="lstm", layers=2), song()
    events = events_of(piece.frames[np.newaxis], np.ones((1, len(piece)), bool))
    cut = int(events.places[0, 6])
    changed = piece.frames.copy()
    changed[cut:] = np.roll(changed[cut:], 1, axis=1)
    nats = [
        built(
            f[np.newaxis].astype(np.int32),
            clock(piece)[np.newaxis],
            tf.constant([3]),
            np.ones((1, len(piece)), bool),
        ).numpy()[0]
        for f in (piece.frames, changed)
    ]
    assert np.array_equal(nats[0][:cut], nats[1][:cut])
    assert nats[0][cut] != nats[1][cut]
    singers = singing.Singers([built])
    alone = singers.losses(RollBatches([piece], 1))[0]
    padded = singers.losses(RollBatches([piece, song(5, 30)], 2))[0]
    np.testing.assert_allclose(alone, padded, rtol=1e-4)


def test_a_note_that_is_too_long_can_not_be() -> None:
    built = network()
    frames = frames_of([Note(0, LONGEST + 1, 40)], LONGEST + 1)[np.newaxis].astype(np.int32)
    inputs = frames, np.zeros((1, LONGEST + 1, 3), np.int32), np.zeros(1, np.int32)
    mask = np.ones((1, LONGEST + 1), bool)
    assert np.isposinf(built(*inputs, mask).numpy()[0, 0])
    assert np.isfinite(built(*inputs, mask, training=True).numpy()).all()


def test_notes_are_drawn_as_often_as_their_likelihood_says() -> None:
    singers = singing.Singers([network(1), network(2)])
    for built in singers.networks:
        built.sounds.bias.assign(np.where(np.isin(np.arange(KEYS + 1), [40, 42, REST]), 0.0, -40))
        built.lasts.bias.assign(np.where(np.arange(LONGEST) < 2, 0.0, -40))
    rows = 4000
    step = tf.function(singers.step)
    states = {
        spec.name: tf.ones([rows, spec.shape[1]])
        for spec in singers.signatures()["step"][1][0].values()
        if spec.name.startswith("state")
    }
    told = {n: tf.fill([rows], 3) for n in ("place", "bar", "left", "key", "length")}
    drawing = {n: v for n, v in draw().items() if n in ("temperature", "top_k", "top_p", "seed")}
    said = step({"pitch": tf.fill([rows], 40), **told, **drawing, **states})
    found = np.stack([said["pitch"], said["length"]], axis=1)
    kinds, first, counts = np.unique(found, axis=0, return_index=True, return_counts=True)
    assert len(kinds) == 6
    expected = np.exp(-said["nll"].numpy()[first])
    assert expected.sum() == pytest.approx(1, abs=1e-3)
    spread = np.sqrt(expected * (1 - expected) / rows)
    assert (np.abs(counts / rows - expected) < 4.5 * spread + 1e-3).all()


def test_note_by_note_and_all_at_once_say_the_same() -> None:
    singers = singing.Singers([network(seed, layers=2) for seed in (1, 2)])
    start = tf.constant(song().frames[np.newaxis, :9].astype(np.int32))
    how = draw(bar=12, offset=5, key=5)
    roll = singers.compose(start, tf.constant(40), **how)["roll"]
    assert roll.shape == (1, 49, KEYS)
    assert np.array_equal(roll[:, :9], start)
    assert (np.count_nonzero(roll, axis=2) <= 1).all()
    assert np.array_equal(roll, singers.compose(start, tf.constant(40), **how)["roll"])
    other = singers.compose(start, tf.constant(40), **draw(seed=1, bar=12, offset=5))["roll"]
    assert not np.array_equal(roll, other)
    nothing = tf.zeros([2, 0, KEYS], tf.int32)
    assert singers.compose(nothing, tf.constant(0), **draw())["roll"].shape == (2, 0, KEYS)
    assert singers.compose(nothing, tf.constant(5), **draw())["roll"].shape == (2, 5, KEYS)
    whole = singers.score(roll, *(tf.constant(n) for n in (12, 5, 5)))["nll"].numpy()[0]
    events = events_of(roll, tf.ones([1, 49], tf.bool))
    states = {
        spec.name: tf.zeros([1, spec.shape[1]])
        for spec in singers.signatures()["step"][1][0].values()
        if spec.name.startswith("state")
    }
    before = {"pitch": tf.constant([KEYS + 1]), "length": tf.constant([0])}
    drawing = {n: v for n, v in how.items() if n in ("temperature", "top_k", "top_p", "seed")}
    for i, place in enumerate(events.places.numpy()[0][:4]):
        told = {"place": tf.constant([(place + 5) % 12 + 1]), "bar": tf.constant([12])}
        told |= {"left": tf.constant([0]), "key": tf.constant([5])}
        said = singers.step({**before, **told, **drawing, **states})
        states = {name: said[name] for name in states}
        pitch, length = said["pitch"], said["length"]
        sung = roll_of(
            tf.concat([events.pitches[:, :i], pitch[:, None]], 1),
            tf.concat([events.lengths[:, :i], length[:, None]], 1),
            place + length[0],
        )
        if i == 0 or pitch[0] != REST or events.pitches[0, i - 1] != REST:
            nats = singers.score(sung, *(tf.constant(n) for n in (12, 5, 5)))["nll"].numpy()[0]
            assert said["nll"].numpy()[0] == pytest.approx(nats[place], rel=1e-4)
        before = {"pitch": events.pitches[:, i], "length": events.lengths[:, i]}
    assert np.isfinite(whole).all()
