"""What a training piece could have looked like, and the batches of such pieces."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apps.gesture.augment import Augmentation, augmented, rotation, triads, varied, warped
from apps.gesture.batches import LEAST_STEPS, Pieces, padded
from apps.gesture.smoothing import segments
from apps.gesture.streams import Corpus, Stream

NONE = Augmentation(0, 0, 0, 0, 0, 0, 0)
SOME = Augmentation(15, 8, 0.2, scaling=0.1, warp=0.1, noise=0.05, channel_drop=0.05)
TRIADS = [(0, 1, 2), (3, 4, 5)]


def piece(frames: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    values = np.random.default_rng(seed).normal(size=(frames, 7)).astype(np.float32)
    return values, (np.arange(frames) // 40).astype(np.int32)


def applied(how: Augmentation, seed: int = 0, length: int = 200) -> tuple[np.ndarray, np.ndarray]:
    values, labels = piece()
    before = values.copy(), labels.copy()
    mean, deviation = np.arange(7.0), np.arange(1.0, 8)
    random = np.random.default_rng(seed)
    found = augmented(values, labels, length, how, TRIADS, mean, deviation, random)
    assert_array_equal(values, before[0])  # the corpus is left alone
    assert_array_equal(labels, before[1])
    assert found[0].shape == (length, 7)
    assert found[0].dtype == np.float32
    assert found[1].shape == (length,)
    return found


def test_nothing_changes_nothing() -> None:
    values, labels = applied(NONE)
    assert_array_equal(values, piece()[0][:200])
    assert_array_equal(labels, piece()[1][:200])


@pytest.mark.parametrize("seed", range(5))
def test_an_augmentation_is_a_function_of_its_generator(seed: int) -> None:
    assert_array_equal(applied(SOME, seed)[0], applied(SOME, seed)[0])
    assert not np.array_equal(applied(SOME, seed)[0], applied(SOME, seed + 1)[0])


# Rotation


@pytest.mark.parametrize("angle", [0.0, 0.3, -2.0, np.pi])
def test_a_rotation_is_one(angle: float) -> None:
    turn = rotation(angle, np.random.default_rng(3))
    assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)
    assert np.trace(turn) == pytest.approx(1 + 2 * np.cos(angle))


def test_rotations_have_axes_everywhere() -> None:
    random = np.random.default_rng(0)
    turns = [rotation(np.pi / 2, random) for _ in range(2000)]
    axes = np.array([[t[2, 1] - t[1, 2], t[0, 2] - t[2, 0], t[1, 0] - t[0, 1]] for t in turns]) / 2
    assert_allclose(np.linalg.norm(axes, axis=1), 1)
    assert_allclose(axes.mean(axis=0), 0, atol=0.05)
    assert_allclose(np.cov(axes.T), np.eye(3) / 3, atol=0.03)


def test_the_sensor_turns_with_all_its_vectors_and_keeps_their_lengths() -> None:
    values, labels = applied(replace(NONE, rotation=60))
    before = piece()[0][:200]
    assert np.abs(values[:, :6] - before[:, :6]).max() > 0.3
    for three in TRIADS:
        lengths = (np.linalg.norm(v[:, three], axis=1) for v in (values, before))
        assert_allclose(*lengths, rtol=1e-5)
    between = (np.einsum("ti,ti->t", v[:, :3], v[:, 3:6]) for v in (values, before))
    assert_allclose(*between, atol=1e-4)  # one rotation for both
    assert_array_equal(values[:, 6], before[:, 6])  # no vector
    assert_array_equal(labels, piece()[1][:200])


def test_the_angle_has_its_deviation() -> None:
    how = replace(NONE, rotation=20)
    axis = np.zeros((2, 7), np.float32)
    found = []
    for seed in range(3000):
        both = [
            augmented(
                axis + e,
                np.zeros(2, int),
                1,
                how,
                TRIADS[:1],
                *np.zeros((2, 7)),
                np.random.default_rng(seed),
            )[0][0, :3]
            for e in np.eye(7)[:3]
        ]
        found.append(np.arccos(np.clip((np.trace(both) - 1) / 2, -1, 1)))
    assert np.rad2deg(np.sqrt(np.mean(np.square(found)))) == pytest.approx(20, rel=0.05)


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        ("ax ay az wx wy wz", TRIADS),
        ("accel_x accel_y accel_z t", [(0, 1, 2)]),
        ("t AccX AccY AccZ", [(1, 2, 3)]),
        ("x y z", [(0, 1, 2)]),
        ("ax ay wz", []),
        ("az ay ax", []),
        ("ax ay", []),
        ("1 2 3", []),
    ],
)
def test_vectors_are_told_by_their_names(channels: str, expected: list) -> None:
    assert triads(channels.split()) == expected


# Gain, noise, silence


def test_each_channel_has_a_gain_of_its_own() -> None:
    gains = []
    for seed in range(400):
        values, _ = applied(replace(NONE, scaling=0.2), seed)
        ratio = values / piece()[0][:200]
        assert_allclose(ratio, np.broadcast_to(ratio[0], ratio.shape), rtol=1e-4)
        gains.append(np.log(ratio[0]))
    assert_allclose(np.mean(gains, axis=0), 0, atol=0.05)
    assert_allclose(np.cov(np.array(gains).T), 0.04 * np.eye(7), atol=0.01)


def test_noise_is_white_and_in_deviations_of_the_channel() -> None:
    noise = np.concatenate(
        [applied(replace(NONE, noise=0.5), seed)[0] - piece()[0][:200] for seed in range(40)]
    )
    assert_allclose(noise.std(axis=0), 0.5 * np.arange(1, 8), rtol=0.03)
    scaled = noise / np.arange(1, 8)
    assert_allclose(np.cov(scaled.T), 0.25 * np.eye(7), atol=0.02)
    assert abs(np.mean(scaled[1:] * scaled[:-1])) < 0.01


def test_a_silent_channel_is_at_its_mean() -> None:
    silent = []
    for seed in range(400):
        values, _ = applied(replace(NONE, channel_drop=0.3), seed)
        off = (values == np.arange(7)).all(axis=0)
        assert_array_equal(values[:, ~off], piece()[0][:200][:, ~off])
        silent.append(off)
    assert np.mean(silent) == pytest.approx(0.3, abs=0.03)


# Time warp


@pytest.mark.parametrize("warp", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("seed", range(10))
def test_a_warp_keeps_labels_with_their_frames(warp: float, seed: int) -> None:
    """A ramp says where each frame came from."""
    reach = int(np.ceil(100 * replace(NONE, warp=warp).reach)) + 1
    ramp = np.arange(reach, dtype=np.float64)[:, np.newaxis]
    labels = np.arange(reach) // 7
    values, marks = warped(ramp, labels, 100, warp, np.random.default_rng(seed))
    at = values[:, 0]
    assert at.shape == marks.shape == (100,)
    assert at[0] == 0
    assert at[-1] <= reach - 1 + 1e-9
    assert np.diff(at).min() > 0
    assert_array_equal(marks, labels[np.rint(at).astype(int)])
    paces = np.diff(at)
    assert np.abs(np.diff(np.log(paces))).max() < warp  # it changes smoothly
    assert paces.std() > 0


def test_the_pace_has_its_deviation() -> None:
    ramp = np.arange(500, dtype=np.float64)[:, np.newaxis]
    paces = np.array(
        [
            np.diff(warped(ramp, ramp[:, 0], 100, 0.1, np.random.default_rng(seed))[0][:, 0])
            for seed in range(500)
        ]
    )
    assert np.log(paces[:, -1]).std() == pytest.approx(0.1, rel=0.1)
    assert np.log(paces).mean() == pytest.approx(0, abs=0.01)
    within = np.log(paces).std(axis=1).mean()
    assert 0.04 < within < 0.08


def test_a_warp_never_leaves_what_there_is() -> None:
    ramp = np.arange(102, dtype=np.float64)[:, np.newaxis]
    for seed in range(50):
        values, _ = warped(ramp, ramp[:, 0], 100, 0.5, np.random.default_rng(seed))
        assert values.max() <= 101 + 1e-9
    assert_array_equal(warped(ramp, ramp[:, 0], 100, 0, np.random.default_rng(0))[0], ramp[:100])


# Bouts


def test_each_bout_moves_further_or_less_far_about_a_pose_of_its_own() -> None:
    values, random = piece()[0], np.random.default_rng(0)
    before = values.copy()
    assert_allclose(varied(values, NONE, TRIADS, random), before, atol=1e-6)
    wider = [
        varied(values, replace(NONE, amplitude=0.3), TRIADS, random)[:, 6] for _ in range(2000)
    ]
    assert_allclose([bout.mean() for bout in wider], before[:, 6].mean(), atol=1e-5)
    gains = np.log([bout.std() / before[:, 6].std() for bout in wider])
    assert gains.mean() == pytest.approx(0, abs=0.02)
    assert gains.std() == pytest.approx(0.3, rel=0.05)
    posed = varied(values, replace(NONE, pose=20), TRIADS, random)
    assert_allclose(posed[:, 6], before[:, 6], atol=1e-6)  # belongs to no vector
    for three in TRIADS:
        assert np.abs(posed[:, three] - before[:, three]).max() > 0.1
        lengths = (np.linalg.norm(v[:, three], axis=1) for v in (posed, before))
        assert_allclose(*lengths, rtol=1e-5, atol=1e-6)
    assert_array_equal(values, before)  # the corpus is left alone


def test_every_bout_of_a_piece_varies_by_itself() -> None:
    pieces = Pieces(corpus(), 800, replace(NONE, pose=30), 20)
    values, labels = pieces.pieces([np.random.default_rng(n) for n in range(20)])
    directions = []
    for rows, marks in zip(values, labels, strict=True):
        for _, begin, end in segments(marks):
            if end - begin > 60:
                mean = rows[begin + 10 : end - 10].mean(axis=0)
                directions.append(mean / np.linalg.norm(mean))
    apart = np.degrees(np.arccos(np.clip(np.array(directions) @ np.ones(3) / np.sqrt(3), -1, 1)))
    assert apart.std() > 8  # turned by 30 degrees times a normal number each
    assert np.quantile(apart, 0.1) < 8


# Batches


def corpus(mirror: tuple[float, ...] | None = None) -> Corpus:
    random = np.random.default_rng(5)
    streams = [
        Stream(
            f"{subject} {label}",
            str(subject),
            (random.normal(size=(900, 3)) + 10 + label).astype(np.float32),
            np.full(900, label, np.int32),
        )
        for subject in range(3)
        for label in range(4)
    ]
    return Corpus("c", tuple("abcd"), ("ax", "ay", "az"), 50, tuple(streams), True, mirror)


def batches(pieces: Pieces, epoch: int, start: int = 0, most: int = 3) -> list[tuple]:
    return list(pieces.epoch(epoch, start).take(most).as_numpy_iterator())


def assert_equal(one: list[tuple], other: list[tuple]) -> None:
    assert len(one) == len(other)
    for (values, labels), (same, marks) in zip(one, other, strict=True):
        assert_array_equal(values, same)
        assert_array_equal(labels, marks)


def test_training_pieces_are_fresh_in_every_epoch_and_the_same_for_a_seed() -> None:
    pieces = Pieces(corpus(), 250, SOME, 4, seed=3)
    first = batches(pieces, 0)
    assert_equal(first, batches(Pieces(corpus(), 250, SOME, 4, seed=3), 0))
    seen = [first, batches(pieces, 1), batches(replace(pieces, seed=4), 0)]
    everything = [values for found in seen for batch, _ in found for values in batch]
    assert len({values.tobytes() for values in everything}) == 3 * 3 * 4
    for values, labels in first:
        assert values.shape == (4, 250, 3)
        assert labels.shape == (4, 250)
        assert labels.dtype == np.int32
        assert all(len(segments(row)) <= 5 for row in labels)
        by_label = values.mean(axis=-1)  # exercise k is about 10 + k
        assert np.corrcoef(by_label.ravel(), labels.ravel())[0, 1] > 0.3


def test_an_epoch_may_begin_in_its_middle() -> None:
    pieces = Pieces(corpus(), 50, SOME, 2)
    assert pieces.steps == 108 == 12 * 900 // (50 * 2)
    whole = batches(pieces, 2, most=200)
    assert len(whole) == 108
    assert_equal(batches(pieces, 2, start=100, most=200), whole[100:])
    assert Pieces(corpus(), 900, SOME, 32).steps == LEAST_STEPS


def test_half_of_the_pieces_change_sides() -> None:
    pieces = Pieces(corpus((-1.0, 1.0, 1.0)), 100, NONE, 100)
    values, _ = pieces.pieces([np.random.default_rng(n) for n in range(100)])
    signs = np.sign(values).mean(axis=1)
    assert_array_equal(signs[:, 1:], 1)
    assert set(signs[:, 0]) == {-1.0, 1.0}
    assert 30 < (signs[:, 0] < 0).sum() < 70


def test_streams_side_by_side_are_masked() -> None:
    streams = [corpus().streams[0], replace(corpus().streams[1])]
    streams[1] = replace(streams[1], values=streams[1].values[:7], labels=streams[1].labels[:7])
    frames, mask = padded(streams)
    assert frames.shape == (2, 900, 3)
    assert mask.sum(axis=1).tolist() == [900, 7]
    assert_array_equal(frames[1, :7], streams[1].values)
    assert mask[1, :7].all()
