"""Recordings of people, out of Debian packages: for testing, never for training or choosing.

prompts            sentences of a telephone exchange, one speaker
                   (asterisk-core-sounds-en-wav or asterisk-core-sounds-en-g722)
real-digits        strings of recorded digits, two speakers, 8 kHz
                   (asterisk-core-sounds-en-wav and saytime)
real-digits-wide   strings of recorded digits, one speaker, 16 kHz
                   (asterisk-core-sounds-en-g722)
"""

import gzip
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile
import soxr

from apps.speech.alphabet import plain
from apps.speech.grammar import DIGIT_WORDS
from apps.speech.utterances import RATE, Utterance, int16
from common.errors import UserError

NAMES = ("prompts", "real-digits", "real-digits-wide")
DEBIAN = Path("/usr/share")  # where its packages put what they bring
PROMPTS = "asterisk/sounds/en_US_f_Allison"
LIST = "doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
SAYTIME = "saytime"
STRINGS = 300  # of each speaker
LONGEST_PAUSE = 0.25  # seconds between two recordings, beside the silence that is in them
# "oh" is named as it is said, the others by their figures.
FILES = {"zero": "0", "oh": "oh"} | {w: str(n) for n, w in enumerate(DIGIT_WORDS[2:], 1)}


def load(name: str) -> tuple[Utterance, ...]:
    """The recordings of one name, always the same.

    Raises:
        UserError: for an unknown name, or if the package is not installed.
    """
    if name == "prompts":
        return tuple(_prompts())
    if name == "real-digits":
        first = _digits(name, f"{PROMPTS}/digits", ".wav")
        second = _digits(name, SAYTIME, ".au")
        return _strings("prompts", first, 0) + _strings("saytime", second, 1)
    if name == "real-digits-wide":
        return _strings("prompts", _digits(name, f"{PROMPTS}/digits", ".g722"), 0)
    raise UserError(f"{name}: no real recordings of that name, expected {', '.join(NAMES)}")


def _prompts() -> list[Utterance]:
    folder = DEBIAN / PROMPTS
    listed = DEBIAN / LIST
    if not listed.is_file():
        raise _missing("prompts", "asterisk-core-sounds-en-wav")
    found = []
    for line in gzip.decompress(listed.read_bytes()).decode("utf-8", "replace").splitlines():
        name, colon, text = line.partition(":")
        no_speech = name.startswith((";", "silence")) or "[" in text  # [beep]
        if not colon or no_speech:
            continue
        path = next((p for s in (".g722", ".wav") if (p := folder / f"{name}{s}").is_file()), None)
        words = plain(re.sub(r"\d", lambda figure: f" {_word(figure[0])} ", text))
        if path is not None and words:
            found.append(Utterance(name, _read(path), words, "prompts", "en-us"))
    if not found:
        raise _missing("prompts", "asterisk-core-sounds-en-wav")
    return found


def _word(figure: str) -> str:
    return "zero" if figure == "0" else DIGIT_WORDS[int(figure) + 1]


def _digits(name: str, folder: str, suffix: str) -> dict[str, np.ndarray]:
    packages = {
        ".wav": "asterisk-core-sounds-en-wav",
        ".g722": "asterisk-core-sounds-en-g722",
        ".au": "saytime",
    }
    found = {}
    for word, file in FILES.items():
        path = DEBIAN / folder / f"{file}{suffix}"
        if not path.is_file():
            raise _missing(name, packages[suffix])
        found[word] = _read(path)
    return found


def _missing(name: str, package: str) -> UserError:
    return UserError(
        f"{name}: Debian's package {package} is not installed: apt-get install {package}"
    )


def _read(path: Path) -> np.ndarray:
    """``[n]`` int16 at ``RATE``."""
    if path.suffix != ".g722":
        samples, rate = soundfile.read(path, dtype="float32")
        return int16(soxr.resample(samples, rate, RATE))
    try:
        from G722 import G722
    except ImportError:
        raise UserError(
            "the package G722 is missing: pip install -c constraints.txt -e '.[speech]'"
        ) from None
    return np.asarray(G722(RATE, 64_000).decode(path.read_bytes()), np.int16)


def _strings(
    speaker: str, recorded: Mapping[str, np.ndarray], number: int
) -> tuple[Utterance, ...]:
    """Strings of one to seven digits, every recording as it is, with pauses between them."""
    random = np.random.default_rng([7, number])
    found = []
    for index in range(STRINGS):
        words = [str(word) for word in random.choice(DIGIT_WORDS, random.integers(1, 8))]
        parts = []
        for word in words:
            pause = np.zeros(int(random.uniform(0, LONGEST_PAUSE) * RATE), np.int16)
            parts += [pause, recorded[word]]
        samples = np.concatenate(parts)
        found.append(Utterance(f"{speaker}-{index:03d}", samples, " ".join(words), speaker))
    return tuple(found)
