"""Log-mel features beside librosa's, their normalisation, and SpecAugment."""

from pathlib import Path

import keras
import librosa
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from apps.speech.features import (
    FLOOR,
    FRAME,
    HOP,
    LIMIT,
    PRIOR,
    WINDOW,
    LogMel,
    SpecAugment,
    frames_of,
    normalise,
    normalise_causal,
    normalise_start,
    statistics,
)
from apps.speech.utterances import RATE, Utterance, int16
from tests import reference_speech


def speech_like(seconds: float, seed: int) -> np.ndarray:
    """``[n]`` float32: noise of changing colour that comes and goes, a chirp above it."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    swell = np.abs(np.sin(2 * np.pi * 1.7 * time + seed)) ** 3
    chirp = np.sin(2 * np.pi * (200 + 900 * time) * time)
    noise = np.cumsum(random.normal(size=len(time))) % 1 - 0.5
    return (0.3 * swell * (chirp + 0.3 * noise)).astype(np.float32)


def batch(*waveforms: np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
    longest = max(map(len, waveforms))
    padded = np.stack([np.pad(w, (0, longest - len(w))) for w in waveforms])
    return tf.constant(padded), tf.constant([len(w) for w in waveforms])


WAVEFORMS = [speech_like(seconds, seed) for seed, seconds in enumerate((1.5, 0.7, 2.31))]


# Log-mel


@pytest.mark.parametrize(("mels", "low", "high"), [(40, 60.0, 7600.0), (23, 0.0, 8000.0)])
def test_features_are_librosa_s(mels: int, low: float, high: float) -> None:
    found, frames = LogMel(mels, low, high)(*batch(*WAVEFORMS))
    for row, waveform in enumerate(WAVEFORMS):
        power = librosa.feature.melspectrogram(
            y=waveform, sr=RATE, n_fft=FRAME, win_length=WINDOW, hop_length=HOP, center=False,
            power=2.0, n_mels=mels, fmin=low, fmax=high,
        )  # fmt: skip
        wanted = np.log(power.T + FLOOR)
        assert frames[row] == len(wanted) == frames_of(len(waveform))
        assert_allclose(found[row, : len(wanted)], wanted, atol=2e-3)
        assert wanted.std() > 1


def test_a_frame_is_25_ms_every_10_ms() -> None:
    assert (WINDOW / RATE, HOP / RATE) == (0.025, 0.01)
    click = np.zeros(4000, np.float32)
    click[2000] = 1
    found, _ = LogMel()(*batch(click))
    heard = np.flatnonzero(found[0].numpy().max(axis=1) > np.log(FLOOR) + 1)
    side = (FRAME - WINDOW) // 2
    wanted = [t for t in range(found.shape[1]) if 0 < 2000 - HOP * t - side < WINDOW]
    assert_array_equal(heard, wanted)


def test_frames_of_a_stream_are_those_of_the_whole_however_it_is_cut() -> None:
    layer, waveform = LogMel(), WAVEFORMS[2]
    whole, _ = layer(*batch(waveform))
    rest, parts = np.zeros(0, np.float32), []
    for begin in range(0, len(waveform), 1777):
        rest = np.concatenate([rest, waveform[begin : begin + 1777]])
        count = frames_of(len(rest))
        if count:
            parts.append(layer(*batch(rest))[0][0])
            rest = rest[count * HOP :]
    assert_allclose(np.concatenate(parts), whole[0], atol=1e-5)


@pytest.mark.parametrize(("samples", "frames"), [(0, 0), (511, 0), (512, 1), (671, 1), (672, 2)])
def test_short_sounds_have_few_frames_or_none(samples: int, frames: int) -> None:
    found, lengths = LogMel()(tf.zeros([2, samples]), tf.fill([2], samples))
    assert_array_equal(lengths, [frames, frames])
    assert found.shape == (2, max(1, frames), 40)
    assert frames_of(samples) == frames
    assert np.isfinite(normalise(found, lengths)).all()


def test_the_graph_gives_what_eager_gives_for_any_batch_and_length(tmp_path: Path) -> None:
    layer = LogMel(mels=20)

    @tf.function(
        input_signature=[tf.TensorSpec([None, None]), tf.TensorSpec([None], tf.int32)],
    )
    def serve(waveform: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        return normalise(*layer(waveform, lengths))

    module = tf.Module()
    module.serve = serve
    tf.saved_model.save(module, tmp_path)
    again = tf.saved_model.load(tmp_path)
    for waveforms in (WAVEFORMS, WAVEFORMS[1:2]):
        wanted = normalise(*layer(*batch(*waveforms)))
        assert_allclose(again.serve(*batch(*waveforms)), wanted, atol=1e-5)


def test_settings_survive_serialisation() -> None:
    layer = LogMel(mels=13, low=100.0, high=5000.0, name="ears")
    again = LogMel.from_config(layer.get_config())
    assert_array_equal(again(*batch(WAVEFORMS[0]))[0], layer(*batch(WAVEFORMS[0]))[0])
    masks = SpecAugment(1, 3, 4, 7)
    assert SpecAugment.from_config(masks.get_config()).get_config() == masks.get_config()


# Normalisation of the whole


def test_active_frames_have_mean_0_and_deviation_1() -> None:
    log_mel, lengths = LogMel()(*batch(*WAVEFORMS))
    normal = normalise(log_mel, lengths).numpy()
    for row, waveform in enumerate(WAVEFORMS):
        wanted = reference_speech.active_normalised(
            log_mel[row, : frames_of(len(waveform))].numpy()
        )
        assert_allclose(normal[row, : lengths[row]], np.clip(wanted, -LIMIT, LIMIT), atol=1e-3)
        assert not normal[row, lengths[row] :].any()


def test_loudness_and_padding_do_not_change_the_normal() -> None:
    hiss = np.random.default_rng(4).normal(0, 0.01, len(WAVEFORMS[0])).astype(np.float32)
    one = WAVEFORMS[0] + hiss  # well above the floor

    def normal(waveform: np.ndarray, padding: int = 0) -> np.ndarray:
        lengths = tf.constant([len(waveform)])
        padded = np.pad(waveform, (0, padding))[np.newaxis]
        log_mel, frames = LogMel()(tf.constant(padded), lengths)
        return normalise(log_mel, frames)[0, : frames_of(len(waveform))].numpy()

    assert_allclose(normal(one, 5000), normal(one), atol=1e-4)
    assert_allclose(normal(one / 3), normal(one), atol=0.05)


# Normalisation of a stream

MEAN = np.linspace(-4, -2, 40).astype(np.float32)
DEVIATION = np.linspace(1.5, 2.5, 40).astype(np.float32)


def test_a_stream_is_normalised_by_what_was_heard() -> None:
    log_mel, lengths = LogMel()(*batch(*WAVEFORMS))
    start = normalise_start(3, 40)
    normal, _ = normalise_causal(log_mel, lengths, MEAN, DEVIATION, start)
    for row in range(3):
        frames = log_mel[row, : lengths[row]].numpy()
        wanted = reference_speech.running_normalised(frames, MEAN, DEVIATION, PRIOR)
        found = normal[row, : lengths[row]]
        assert_allclose(found, np.clip(wanted, -LIMIT, LIMIT), atol=2e-3)
        assert not normal[row, lengths[row] :].numpy().any()


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_chunk_by_chunk_equals_one_pass(chunk: int) -> None:
    log_mel, lengths = LogMel()(*batch(*WAVEFORMS))
    whole, after = normalise_causal(log_mel, lengths, MEAN, DEVIATION, normalise_start(3, 40))
    state, parts = normalise_start(3, 40), []
    for begin in range(0, log_mel.shape[1], chunk):
        here = tf.clip_by_value(lengths - begin, 0, chunk)
        part = log_mel[:, begin : begin + chunk]
        part, state = normalise_causal(part, here, MEAN, DEVIATION, state)
        parts.append(part)
    assert_allclose(tf.concat(parts, 1), whole, atol=1e-3)
    for one, other in zip(state, after, strict=True):
        assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_nothing_to_come_changes_what_was() -> None:
    log_mel, lengths = LogMel()(*batch(WAVEFORMS[0]))
    later = log_mel + tf.constant([0.0] * 50 + [3.0] * (log_mel.shape[1] - 50))[:, tf.newaxis]
    one, other = (
        normalise_causal(x, lengths, MEAN, DEVIATION, normalise_start(1, 40))[0]
        for x in (log_mel, later)
    )
    assert_allclose(one[:, :50], other[:, :50], atol=1e-5)
    assert np.abs(one[:, 50:] - other[:, 50:]).max() > 0.5


def test_a_stream_forgets_how_loud_it_is() -> None:
    hiss = np.random.default_rng(4).normal(0, 0.01, 4 * len(WAVEFORMS[2])).astype(np.float32)
    waveform = np.tile(WAVEFORMS[2], 4) + hiss
    found = []
    for gain in (1.0, 0.3):
        log_mel, lengths = LogMel()(*batch(np.float32(gain) * waveform))
        start = normalise_start(1, 40)
        found.append(normalise_causal(log_mel, lengths, MEAN, DEVIATION, start)[0][0].numpy())
    apart = np.abs(found[0] - found[1]).mean(axis=1)
    assert apart[-100:].mean() < 0.4 * apart[:50].mean()


def test_training_statistics_are_those_of_active_frames() -> None:
    layer = LogMel()
    quiet = np.zeros(8000, np.float32)  # half a second of nothing must not count
    utterances = [
        Utterance(str(n), int16(np.concatenate([w, quiet])), "a") for n, w in enumerate(WAVEFORMS)
    ]
    mean, deviation = statistics(utterances, layer)
    frames = []
    for utterance in utterances:
        log_mel = layer(*batch(utterance.waveform))[0][0].numpy()
        frames.append(log_mel[reference_speech.active(log_mel)])
    every = np.concatenate(frames)
    assert_allclose(mean, every.mean(axis=0), atol=1e-3)
    assert_allclose(deviation, every.std(axis=0), atol=1e-3)
    assert mean.min() > np.log(FLOOR) + 3


# SpecAugment

KEPT = tf.ones([64, 150, 40])
LENGTHS = tf.constant([150, 80] * 32)


def test_masks_are_bands_and_stretches_of_bounded_width() -> None:
    keras.utils.set_random_seed(3)
    found = SpecAugment(1, 6, 1, 12)(KEPT, LENGTHS, training=True).numpy()
    bands, stretches = [], []
    for row, length in zip(found, LENGTHS.numpy(), strict=True):
        band = np.flatnonzero((row == 0).all(axis=0))
        stretch = np.flatnonzero((row == 0).all(axis=1))
        rest = np.delete(np.delete(row, stretch, axis=0), band, axis=1)
        assert (rest == 1).all()  # what is masked is whole bands and whole stretches
        for places in (band, stretch):
            assert not len(places) or np.ptp(places) == len(places) - 1
        assert stretch.max(initial=0) < length
        assert len(stretch) <= length // 10
        bands.append(len(band))
        stretches.append(len(stretch))
    assert (min(bands), max(bands)) == (0, 6)
    assert (min(stretches), max(stretches)) == (0, 12)


def test_masks_are_for_training_only_and_can_be_turned_off() -> None:
    layer = SpecAugment(2, 6, 2, 12)
    assert_array_equal(layer(KEPT, LENGTHS), KEPT)
    assert_array_equal(SpecAugment(0, 6, 0, 12)(KEPT, LENGTHS, training=True), KEPT)
    assert not np.array_equal(layer(KEPT, LENGTHS, training=True), KEPT)


def test_a_seed_fixes_the_masks() -> None:
    found = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        found.append(SpecAugment(2, 6, 2, 12)(KEPT, LENGTHS, training=True).numpy())
    assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
