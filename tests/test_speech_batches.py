"""Batches of utterances, and what a training recording could have sounded like."""

from dataclasses import fields, replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import signal

from apps.speech import augment
from apps.speech.alphabet import of_characters
from apps.speech.batches import MULTIPLE, SYMBOLS, TAIL, SpeechBatches, pad
from apps.speech.config import AugmentConfig
from apps.speech.utterances import RATE, Utterance, int16
from tests.speech_sounds import tones, word

OFF = AugmentConfig(
    speed=0, reverberation=0, equalisation=0, noise=0, telephone=0, gain=0, mel_masks=0,
    time_masks=0,
)  # fmt: skip


def corpus(count: int = 41) -> list[Utterance]:
    """Of lengths without an order; each text says which it is."""
    random = np.random.default_rng(1)
    lengths = random.uniform(0.3, 3, count)
    return [
        Utterance(
            str(n), int16(tones(seconds, frequency=100 + 20 * n)), word(n)[: 1 + n % 5] + word(n)
        )
        for n, seconds in enumerate(lengths)
    ]


UTTERANCES = corpus()
ALPHABET = of_characters(["ab"])
BATCHES = SpeechBatches(UTTERANCES, ALPHABET, 8, seed=3)


def rows(batches: SpeechBatches, epoch: int, start: int = 0) -> list[tuple[str, np.ndarray]]:
    """Text and sound of every utterance of an epoch, in its order."""
    found = []
    for (waveform, lengths), (ids, id_lengths) in batches.epoch(epoch, start).as_numpy_iterator():
        assert waveform.dtype == np.float32
        assert lengths.dtype == ids.dtype == id_lengths.dtype == np.int32
        assert waveform.shape[1] % MULTIPLE == 0
        assert waveform.shape[1] - lengths.max() < MULTIPLE
        assert ids.shape[1] == id_lengths.max()
        for row in range(len(waveform)):
            assert not waveform[row, lengths[row] :].any()
            assert not ids[row, id_lengths[row] :].any()
            text = ALPHABET.decode(ids[row, : id_lengths[row]])
            found.append((text, waveform[row, : lengths[row]]))
    return found


def test_an_epoch_has_every_utterance_once_with_its_text() -> None:
    found = dict(rows(BATCHES, 0))
    assert BATCHES.steps == 6
    assert len(rows(BATCHES, 0)) == len(found) == 41
    for utterance in UTTERANCES:
        assert_array_equal(found[utterance.text], utterance.waveform)


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    def order(batches: SpeechBatches, epoch: int, start: int = 0) -> list[str]:
        return [text for text, _ in rows(batches, epoch, start)]

    assert order(BATCHES, 5) == order(BATCHES, 5)
    assert order(BATCHES, 5) != order(BATCHES, 6)
    assert order(BATCHES, 5) != order(replace(BATCHES, seed=4), 5)
    places = BATCHES.plan(5)
    assert order(BATCHES, 5, 2) == [UTTERANCES[p].text for batch in places[2:] for p in batch]


def test_batches_are_of_like_length() -> None:
    batches = SpeechBatches(corpus(200), ALPHABET, 8)
    padded = sum(w.size for (w, _), _ in batches.epoch(0).as_numpy_iterator())
    real = sum(len(u.samples) for u in batches.utterances)
    assert padded < 1.35 * real


def test_results_in_order_go_back_to_their_utterances() -> None:
    lengths, texts = [], []
    for (_, sounds), (ids, counts) in BATCHES.in_order().as_numpy_iterator():
        lengths += sounds.tolist()
        texts += [ALPHABET.decode(row[:n]) for row, n in zip(ids, counts, strict=True)]
    assert lengths == sorted(lengths)
    assert BATCHES.restore(texts) == [u.text for u in UTTERANCES]


def test_in_order_nothing_is_changed() -> None:
    changed = replace(BATCHES, augment=AugmentConfig())
    for (one, _), (other, _) in zip(
        (x for x, _ in changed.in_order().as_numpy_iterator()),
        (x for x, _ in BATCHES.in_order().as_numpy_iterator()),
        strict=True,
    ):
        assert_array_equal(one, other)


def test_augmented_batches_come_again_wherever_one_begins() -> None:
    batches = replace(BATCHES, augment=AugmentConfig())
    once, again, late = rows(batches, 2), rows(batches, 2), rows(batches, 2, start=3)
    assert len(late) < len(once)
    for (text, sound), (text_again, sound_again) in zip(once, again, strict=True):
        assert text == text_again
        assert_array_equal(sound, sound_again)
    for (text, sound), (text_late, sound_late) in zip(once[-len(late) :], late, strict=True):
        assert text == text_late
        assert_array_equal(sound, sound_late)
    plain = dict(rows(BATCHES, 2))
    same = [np.array_equal(sound, plain[text]) for text, sound in once]
    assert not any(same)
    other = dict(rows(batches, 3))
    assert not any(np.array_equal(sound, other[text]) for text, sound in once)


def test_short_ones_come_first_when_asked() -> None:
    batches = replace(BATCHES, short_first=2)
    lengths = sorted(len(u.text) for u in UTTERANCES)
    for epoch, share in ((0, 1 / 3), (1, 2 / 3)):
        found = [text for text, _ in rows(batches, epoch)]
        assert len(found) == 41  # an epoch is as long as ever
        assert max(map(len, found)) <= lengths[int(41 * share)]
    assert sorted(text for text, _ in rows(batches, 2)) == sorted(u.text for u in UTTERANCES)


def test_silence_of_random_length_hides_where_an_utterance_ends() -> None:
    tailed = replace(BATCHES, tail=True)
    before, after = dict(rows(BATCHES, 1)), dict(rows(tailed, 1))
    seconds = []
    for text, sound in before.items():
        assert_array_equal(after[text][: len(sound)], sound)
        assert not after[text][len(sound) :].any()
        seconds.append((len(after[text]) - len(sound)) / RATE)
    assert TAIL[0] - 0.001 <= min(seconds) < TAIL[0] + 0.15
    assert TAIL[1] - 0.15 < max(seconds) <= TAIL[1]
    for text, sound in rows(tailed, 1, 3):  # wherever one begins
        assert_array_equal(sound, after[text])
    plain, own = ([len(w[0][0]) for w in b.in_order()] for b in (BATCHES, tailed))
    assert plain == own  # of training alone
    augmented = replace(tailed, augment=replace(OFF, noise=1.0))
    assert all(sound[-1600:].any() for _, sound in rows(augmented, 1))  # noise goes on in it


def test_few_shapes_are_compiled_under_jit() -> None:
    compiled = replace(BATCHES, jit=True)
    for (_, (own, _)), ((sound, _), (ids, lengths)) in zip(
        BATCHES.epoch(2), compiled.epoch(2), strict=True
    ):
        assert ids.shape[1] % SYMBOLS == 0
        assert ids.shape[1] - lengths.numpy().max() < SYMBOLS
        assert_array_equal(ids[:, : own.shape[1]], own)
        assert not ids[:, own.shape[1] :].numpy().any()
        assert sound.shape[1] % MULTIPLE == 0


def test_sounds_of_no_length_are_padded() -> None:
    waveform, lengths = pad([np.zeros(0, np.float32)])
    assert waveform.shape == (1, MULTIPLE)
    assert_array_equal(lengths, [0])


# Augmentation

SOUND = (tones(2) + 0.1 * np.random.default_rng(0).standard_normal(2 * RATE)).astype(np.float32)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def level(waveform: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(waveform))))


def spectrum(waveform: np.ndarray) -> np.ndarray:
    """dB, every 125 Hz."""
    power = signal.welch(waveform, RATE, nperseg=128)[1]
    return 10 * np.log10(power[:64] + 1e-20)


def test_all_of_it_can_be_turned_off() -> None:
    assert not OFF.changes_sound
    assert_array_equal(augment.augmented(SOUND, OFF, random()), SOUND)


KINDS = {"speed": 0.1, "reverberation": 1.0, "equalisation": 1.0, "noise": 1.0, "telephone": 1.0,
         "gain": 10.0}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_changes_the_sound_and_stays_in_range(kind: str) -> None:
    how = replace(OFF, **{kind: KINDS[kind]})
    assert how.changes_sound
    for seed in range(5):
        found = augment.augmented(SOUND, how, random(seed))
        assert found.dtype == np.float32
        assert np.abs(found).max() <= 1
        assert len(found) != len(SOUND) if kind == "speed" else len(found) == len(SOUND)
        assert not np.array_equal(found, SOUND)
        assert level(found) > 0.02
        assert_array_equal(found, augment.augmented(SOUND, how, random(seed)))


def test_chances_are_chances() -> None:
    how = replace(OFF, noise=0.3)
    changed = [
        not np.array_equal(augment.augmented(SOUND[:4000], how, random(seed)), SOUND[:4000])
        for seed in range(300)
    ]
    assert np.mean(changed) == pytest.approx(0.3, abs=0.08)


@pytest.mark.parametrize("speed", [0.8, 1.25])
def test_speed_changes_length_and_pitch(speed: float) -> None:
    found = augment.at_speed(tones(2, frequency=400).astype(np.float32), speed)
    assert len(found) == pytest.approx(2 * RATE / speed, abs=2)
    power = np.abs(np.fft.rfft(found))
    assert power.argmax() * RATE / len(found) == pytest.approx(400 * speed, rel=0.01)


def test_a_room_answers_after_the_sound_and_dies_away() -> None:
    click = np.zeros(RATE, np.float32)
    click[100] = 1
    for seed in range(5):
        echo = augment.in_room(click, random(seed))
        assert echo[100] == pytest.approx(1, abs=1e-3)
        assert np.abs(echo[:100]).max() < 1e-6
        assert np.abs(echo[101:131]).max() < 1e-3  # until the nearest wall, 2 ms away
        first, later = level(echo[300:1300]), level(echo[6000:7000])
        assert first > 4 * later
        assert 0.05 < np.sqrt(np.square(echo[101:]).sum()) < 1


def test_equalisation_bends_the_spectrum_by_some_db() -> None:
    white = np.random.default_rng(5).normal(0, 0.1, 20 * RATE).astype(np.float32)
    bends = [spectrum(augment.equalised(white, random(n))) - spectrum(white) for n in range(8)]
    assert np.abs(bends).max() < 12
    assert np.median([np.ptp(bend) for bend in bends]) > 4
    assert np.max(np.abs(np.diff(bends, axis=1))) < 6  # smoothly


def test_noise_has_the_ratio_that_was_asked_for() -> None:
    how = replace(OFF, noise=1.0, noise_ratio=5.0)
    ratios = []
    for seed in range(200):
        found = augment.augmented(SOUND, how, random(seed)).astype(float)
        clean = SOUND * (found @ SOUND) / (SOUND @ SOUND)  # undoes the limiter
        ratios.append(20 * np.log10(level(clean) / level(found - clean)))
    assert min(ratios) > 4
    assert max(ratios) < 36.5
    assert np.mean(ratios) == pytest.approx(20, abs=2)


def test_noise_is_of_many_colours() -> None:
    tilts = []
    for seed in range(40):
        found = augment.noise(2 * RATE, random(seed))
        assert level(found) == pytest.approx(1, rel=1e-3)
        colour = spectrum(found)
        tilts.append(colour[1:9].mean() - colour[-8:].mean())
    assert min(tilts) < 0
    assert max(tilts) > 12


def test_a_telephone_lets_its_band_through_in_eight_bits() -> None:
    white = np.random.default_rng(6).normal(0, 0.1, 20 * RATE).astype(np.float32)
    change = spectrum(augment.telephoned(white)) - spectrum(white)
    inside, outside = change[5:25], np.concatenate([change[:1], change[40:]])  # 625 to 3,000 Hz
    assert np.abs(inside).max() < 2
    assert outside.max() < -8
    assert outside[1:].max() < -20
    assert len(np.unique(augment.telephoned(white))) <= 256
    assert_allclose(np.abs(augment.telephoned(10 * white)).max(), 1, atol=1e-3)


def test_silence_stays_finite() -> None:
    every = replace(OFF, **KINDS)
    for length in (160, 16_000):
        found = augment.augmented(np.zeros(length, np.float32), every, random())
        assert np.isfinite(found).all()
        assert level(found) < 1e-3


def test_every_setting_of_sound_is_used() -> None:
    sound = {field.name for field in fields(AugmentConfig)} - {
        *("mel_masks", "mel_width", "time_masks", "time_width", "noise_ratio"),
        *("tract", "formants"),  # of the spectrum: features.py, warp.py
    }
    assert sound == set(KINDS)
