"""What a training recording could have sounded like: another speed, a room, a microphone, noise,
a telephone. In NumPy, one recording at a time; functions of the random generator alone.

Speed perturbation follows Ko et al. 2015 (Interspeech), rooms and noise Ko et al. 2017 (ICASSP).
"""

import numpy as np
import soxr
from scipy import signal

from apps.speech.config import AugmentConfig
from apps.speech.utterances import RATE

TELEPHONE = (300.0, 3400.0)  # Hz
MU = 255.0  # of the companding of ITU-T G.711
ROOM = (0.08, 0.6)  # seconds in which its sound falls by 60 dB
COLOURS = (-0.5, 0.98)  # of the noise, each sample's share in the next: from a hiss to a rumble


def augmented(waveform: np.ndarray, how: AugmentConfig, random: np.random.Generator) -> np.ndarray:
    """The same words as they could have been recorded elsewhere.

    Args:
        waveform: ``[n]`` float32 in -1 to 1.

    Returns:
        ``[m]`` float32 in -1 to 1; `m` differs from `n` with the speed.
    """
    if how.speed:
        waveform = at_speed(waveform, 1 + random.uniform(-how.speed, how.speed))
    level = np.sqrt(np.mean(np.square(waveform))) + 1e-6
    if random.random() < how.reverberation:
        waveform = in_room(waveform, random)
    if random.random() < how.equalisation:
        waveform = equalised(waveform, random)
    if random.random() < how.noise:
        ratio = how.noise_ratio + random.uniform(0, 30)
        waveform = waveform + level * 10 ** (-ratio / 20) * noise(len(waveform), random)
    if random.random() < how.telephone:
        waveform = telephoned(waveform)
    if how.gain:
        waveform = waveform * 10 ** (random.uniform(-how.gain, how.gain) / 20)
    loudest = np.abs(waveform).max(initial=1.0)
    return (waveform / loudest).astype(np.float32)


def at_speed(waveform: np.ndarray, speed: float) -> np.ndarray:
    """``[n]`` played `speed` times as fast, with its pitch."""
    return soxr.resample(waveform.astype(np.float32), speed * RATE, RATE, quality="LQ")


def in_room(waveform: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """``[n]`` through a random room: the direct sound, and an echo of noise that dies away."""
    length = random.uniform(*ROOM)
    time = np.arange(int(length * RATE), dtype=np.float32) / RATE
    echo = random.standard_normal(len(time), np.float32) * np.exp(-6.9 * time / length)
    echo[: int(random.uniform(0.002, 0.01) * RATE)] = 0  # until the nearest wall answers
    echo *= random.uniform(0.1, 0.8) / np.sqrt(np.square(echo).sum() + 1e-9)
    echo[0] = 1.0
    return signal.oaconvolve(waveform, echo)[: len(waveform)]


def equalised(waveform: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """``[n]`` through a random filter: some dB more or less at places spread over the octaves."""
    places = np.array([0, 100, 250, 500, 1000, 2000, 4000, RATE / 2])
    gains = np.clip(random.normal(0, 4, len(places)), -10, 10)
    taps = signal.firwin2(257, places, 10 ** (gains / 20), fs=RATE)
    return signal.oaconvolve(waveform, taps.astype(np.float32), mode="same")


def noise(count: int, random: np.random.Generator) -> np.ndarray:
    """``[count]`` of coloured noise of power 1; half of the time it swells and falls."""
    white = random.standard_normal(count, np.float32)
    colour = np.array([1, -random.uniform(*COLOURS)], np.float32)
    found = signal.lfilter(np.ones(1, np.float32), colour, white)
    if random.random() < 0.5:
        knots = random.uniform(0, 1, 2 + count // (RATE // 4))
        swell = np.interp(np.linspace(0, len(knots) - 1, count), range(len(knots)), knots)
        found *= swell.astype(np.float32)
    return found / (np.sqrt(np.mean(np.square(found))) + 1e-9)


_BAND = signal.butter(4, TELEPHONE, "bandpass", fs=RATE, output="sos").astype(np.float32)
_EXPANDED = (np.expm1(np.arange(128) / 127 * np.log1p(MU)) / MU).astype(np.float32)


def telephoned(waveform: np.ndarray) -> np.ndarray:
    """``[n]`` through a telephone: its band, and eight bits by the mu-law."""
    narrow = np.clip(signal.sosfilt(_BAND, waveform), -1, 1)
    pressed = np.log1p(np.float32(MU) * np.abs(narrow)) * np.float32(127 / np.log1p(MU))
    return np.copysign(_EXPANDED[np.rint(pressed).astype(np.int64)], narrow)
