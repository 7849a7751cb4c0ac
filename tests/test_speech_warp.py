"""Other vocal tracts: spectra stretched along their frequencies."""

import keras
import librosa
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from apps.speech.features import LogMel
from apps.speech.utterances import RATE
from apps.speech.warp import FORMANTS, Warp
from tests import reference_speech

MELS, LOW, HIGH = 40, 60.0, 7600.0
RANDOM = np.random.default_rng(3)
FRAMES = RANDOM.normal(-4, 2, [5, 7, MELS]).astype(np.float32)


def layer(width: float = 0.3, shape: float = 0.1) -> Warp:
    return Warp(MELS, LOW, HIGH, width, shape)


def drawn(warp: Warp, utterances: int) -> np.ndarray:
    """Which frequency, as a share of its own, each channel of new utterances shows,
    ``[utterances, mels]``: of spectra that are their own channels' numbers."""
    ramp = tf.tile(tf.range(MELS, dtype=tf.float32)[tf.newaxis, tf.newaxis], [utterances, 1, 1])
    place = warp(ramp, training=True)[:, 0].numpy()
    mel = librosa.hz_to_mel(warp.centres)
    return librosa.mel_to_hz(np.interp(place, np.arange(MELS), mel)) / warp.centres


@pytest.mark.parametrize("mels", [20, 40])
def test_spectra_are_interpolated_as_the_equations_say(mels: int) -> None:
    frames = FRAMES[..., :mels]
    warp = Warp(mels, LOW, HIGH, 0.3, 0.1)
    a, b = RANDOM.uniform(-0.3, 0.3, 5), RANDOM.normal(0, 0.1, [5, len(FORMANTS)])
    expected, log_g = zip(
        *(
            reference_speech.stretched_spectrum(frames[n], a[n], b[n], FORMANTS, LOW, HIGH)
            for n in range(5)
        ),
        strict=True,
    )
    assert_allclose(a[:, None] + b @ warp.hats.T, np.stack(log_g), atol=1e-6)
    found = warp.stretched(frames, tf.constant(np.stack(log_g), tf.float32))
    assert_allclose(found, np.stack(expected), atol=1e-3)


@pytest.mark.parametrize("factor", [0.75, 1.0, 1.4])
def test_a_tone_is_heard_where_a_tract_of_another_length_puts_it(factor: float) -> None:
    time = np.arange(RATE // 4, dtype=np.float32) / RATE
    hiss = RANDOM.normal(0, 1e-4, len(time))

    def heard(hz: float) -> tf.Tensor:
        sound = (0.2 * np.sin(2 * np.pi * hz * time) + hiss).astype(np.float32)
        return LogMel(MELS, LOW, HIGH)(sound[np.newaxis], np.array([len(time)]))[0]

    found = layer().stretched(heard(1500.0), tf.fill([1, 1], np.float32(np.log(factor))))
    loudest = [
        spectra[0].numpy().mean(axis=0).argmax() for spectra in (found, heard(1500 * factor))
    ]
    assert loudest[0] == loudest[1]


def test_utterances_are_shifted_each_for_itself_within_the_width() -> None:
    keras.utils.set_random_seed(0)
    shares = 1 / drawn(layer(width=0.3, shape=0.0), 400)
    inner = shares[:, 8:25]  # where no end of the spectrum is near
    assert_allclose(inner, np.tile(inner[:, :1], [1, inner.shape[1]]), rtol=0.02)  # one factor each
    assert inner.max() < 1.31
    assert inner.min() > 1 / 1.31
    assert inner.max() > 1.25
    assert inner.min() < 1 / 1.25
    assert 0.95 < np.median(inner) < 1.05


def test_formants_move_on_their_own() -> None:
    keras.utils.set_random_seed(1)
    logs = -np.log(drawn(layer(width=0.0, shape=0.1), 400))
    channels = [np.abs(layer().centres - hz).argmin() for hz in FORMANTS]
    spread = logs[:, channels].std(axis=0)
    assert_allclose(spread, 0.1, rtol=0.25)
    correlations = np.corrcoef(logs[:, channels].T)
    assert np.abs(correlations - np.eye(len(FORMANTS))).max() < 0.35


def test_it_is_for_training_only_and_can_be_turned_off() -> None:
    assert_array_equal(layer()(FRAMES), FRAMES)
    assert_array_equal(layer(0.0, 0.0)(FRAMES, training=True), FRAMES)
    assert np.abs(layer()(FRAMES, training=True) - FRAMES).max() > 0.5


def test_a_seed_fixes_it() -> None:
    found = []
    for seed in (4, 4, 5):
        keras.utils.set_random_seed(seed)
        found.append(layer()(FRAMES, training=True).numpy())
    assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


def test_settings_survive_serialisation() -> None:
    warp = Warp(20, 100.0, 4000.0, 0.2, 0.05)
    assert Warp.from_config(warp.get_config()).get_config() == warp.get_config()
