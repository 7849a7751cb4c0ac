"""Speech synthesisers reached through their C libraries: espeak-ng and flite.

Used by ``apps.speech.synthesise`` alone, in a process of its own. espeak-ng is under the GPL-3:
nothing else of the suite loads it, and what it has said is not covered by its licence.
"""

import ctypes
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from common.errors import UserError

ACCENTS = ("en", "en-us", "en-us-nyc", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-scotland")
UNHEARD_ACCENTS = ("en-029", "en-gb-x-gbcwmd")
"""Caribbean and West Midlands: in the test split only."""
FLITE = ("slt", "rms", "awb", "kal", "kal16")
_NOT_HUMAN = re.compile(r"whisper|robo|demonic|croak", re.IGNORECASE)
_SYNCHRONOUS, _AT_CHARACTER, _UTF8 = 2, 1, 1  # of speak_lib.h
_SPEED, _PITCH, _RANGE, _GAP = 1, 3, 4, 7


@dataclass(frozen=True)
class Manner:
    """How a voice speaks."""

    pace: float
    """1 is the voice's own; 2 twice as fast."""
    pitch: float
    """-1 (low) to 1 (high)."""
    liveliness: float
    """0 (monotonous) to 1."""
    gap: float = 0.0
    """Seconds between words beyond what is natural, about: a slow voice makes more of it."""


class Voice(Protocol):
    """Somebody who can speak."""

    name: str
    """Who: the same person in every accent and manner."""
    accent: str
    engine: str
    rate: int
    """Samples in a second."""

    def say(self, text: str, manner: Manner, seed: int) -> np.ndarray:
        """``[n]`` int16 at ``rate``; the same for the same arguments and history."""


class Espeak:
    """The espeak-ng library, once a process."""

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError:
            raise UserError(
                "the package espeakng-loader is missing: "
                "pip install -c constraints.txt -e '.[speech]'"
            ) from None
        self.data = Path(espeakng_loader.get_data_path())
        self.library = ctypes.CDLL(espeakng_loader.get_library_path())
        rate = self.library.espeak_Initialize(_SYNCHRONOUS, 0, str(self.data).encode(), 0)
        if rate <= 0:
            raise UserError(f"{self.data}: espeak-ng can't start with this data (code {rate})")
        self.rate = int(rate)
        self._heard: list[np.ndarray] = []
        signature = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
        )
        self._callback = signature(self._hear)  # kept: the library calls it later
        self.library.espeak_SetSynthCallback(self._callback)

    def _hear(self, samples: ctypes._Pointer, count: int, events: int | None) -> int:
        if samples and count > 0:
            self._heard.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
        return 0

    def variants(self) -> list[str]:
        """Its persons, without robots and whisperers, sorted."""
        names = sorted(path.name for path in (self.data / "voices" / "!v").iterdir())
        return [name for name in names if not _NOT_HUMAN.search(name)]

    def voice(self, variant: str, accent: str) -> "EspeakVoice":
        """One of ``variants``, with an accent."""
        return EspeakVoice(self, variant, accent)

    def say(self, voice: str, text: str, parameters: Mapping[int, int], seed: int) -> np.ndarray:
        """``[n]`` int16, ``rate`` a second; a seed gives the same each time.

        Raises:
            UserError: if there is no such voice.
        """
        self._heard.clear()
        if self.library.espeak_SetVoiceByName(voice.encode()):
            raise UserError(f"espeak-ng has no voice {voice}")
        self.library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        for parameter, value in parameters.items():
            self.library.espeak_SetParameter(parameter, value, 0)
        said = text.encode()
        self.library.espeak_Synth(
            said, ctypes.c_size_t(len(said) + 1), 0, _AT_CHARACTER, 0, _UTF8, None, None
        )
        return np.concatenate(self._heard) if self._heard else np.zeros(0, np.int16)


class EspeakVoice:
    """A variant of espeak-ng with an accent."""

    engine = "espeak"

    def __init__(self, library: Espeak, variant: str, accent: str) -> None:
        self._library = library
        self.name, self.accent, self.rate = variant, accent, library.rate

    def say(self, text: str, manner: Manner, seed: int) -> np.ndarray:
        """``[n]`` int16, ``rate`` a second; a seed gives the same each time."""
        parameters = {
            _SPEED: round(160 * manner.pace),  # words a minute
            _PITCH: round(50 + 30 * manner.pitch),
            _RANGE: round(20 + 70 * manner.liveliness),
            _GAP: round(manner.gap * 100),
        }
        return self._library.say(f"{self.accent}+{self.name}", text, parameters, seed)


class _Wave(ctypes.Structure):
    """``cst_wave`` of flite."""

    _fields_ = (
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


class _Speaker(ctypes.Structure):
    """The beginning of ``cst_voice`` of flite."""

    _fields_ = (("name", ctypes.c_char_p), ("features", ctypes.c_void_p))


class Flite:
    """The flite library with one of its voices."""

    engine = "flite"
    accent = "en-us"

    def __init__(self, voice: str) -> None:
        self.name = voice
        self.accent = "en-gb-scotland" if voice == "awb" else "en-us"
        self.rate = 16_000
        self._library = _flite()
        self._c = ctypes.CDLL(None)
        speakers = ctypes.CDLL(f"libflite_cmu_us_{voice}.so.1")
        register = getattr(speakers, f"register_cmu_us_{voice}")
        register.restype, register.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
        self._voice = register(None)
        self._features = ctypes.cast(self._voice, ctypes.POINTER(_Speaker)).contents.features

    def say(self, text: str, manner: Manner, seed: int) -> np.ndarray:
        """``[n]`` int16, ``rate`` a second; a seed gives the same each time."""
        settings = {
            b"duration_stretch": 1 / manner.pace,
            b"int_f0_target_mean": (170.0 if self.name == "slt" else 105.0) * 1.2**manner.pitch,
            b"int_f0_target_stddev": 4 + 16 * manner.liveliness,
        }
        for name, value in settings.items():
            self._library.feat_set(self._features, name, self._library.float_val(value))
        self._c.srand(seed)  # where its noise comes from
        wave = self._library.flite_text_to_wave(text.encode(), self._voice)
        found = wave.contents
        self.rate = found.sample_rate
        samples = np.ctypeslib.as_array(found.samples, shape=(found.num_samples,)).copy()
        self._library.delete_wave(wave)
        return samples


def _flite() -> ctypes.CDLL:
    for part in ("", "_usenglish", "_cmulex"):  # each needs the symbols of those before it
        library = ctypes.CDLL(f"libflite{part}.so.1", mode=ctypes.RTLD_GLOBAL)
        if not part:
            main = library
    main.flite_init()
    main.flite_text_to_wave.restype = ctypes.POINTER(_Wave)
    main.flite_text_to_wave.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    main.delete_wave.argtypes = [ctypes.POINTER(_Wave)]
    main.feat_set.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    main.float_val.restype, main.float_val.argtypes = ctypes.c_void_p, [ctypes.c_float]
    return main


def flite_voices() -> list[Flite]:
    """The voices of flite; none where it is not installed."""
    try:
        return [Flite(name) for name in FLITE]
    except OSError:  # no such library
        return []


def family(variant: str) -> str:
    """Variants that are one person, told by their names: klatt and klatt4. Those of letter and
    number (f1, m7) are persons each."""
    return variant if re.fullmatch(r"[fm]\d", variant) else variant.rstrip("0123456789")


def split_of(variant: str) -> str:
    """The split that a person is in, fixed by name alone."""
    place = zlib.crc32(family(variant).lower().encode()) % 8
    return {0: "validation", 1: "test", 2: "test"}.get(place, "train")
