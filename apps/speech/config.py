"""Settings of the speech application. Imports no TensorFlow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

TextForm = Literal["plain", "as-is"]


@dataclass(frozen=True)
class DataConfig:
    """Which recordings, and how recordings of one's own are read."""

    dataset: str = "digits"
    """digits or commands (synthesised); or librispeech, spoken_digit, ljspeech, or another speech
    set of the TFDS catalogue."""
    data: Path | None = None
    """Your own recordings instead: a manifest (.csv, .tsv, .jsonl) or an LJSpeech folder."""
    path_column: str = "path"
    """Column of the manifest with the sound file, relative to the manifest's folder."""
    text_column: str = "text"
    """Column of the manifest with what is said in it."""
    speaker_column: str = "speaker"
    """Column with who speaks, if there is one: no speaker is then in two splits."""
    split_column: str = "split"
    """Column with train, validation or test, if there is one."""
    text: TextForm = "plain"
    """plain: lower case, no punctuation but apostrophes; as-is: as it stands."""
    alphabet: str | None = None
    """Characters that a transcript may have, the space among them. Default: those of the
    training text."""
    pieces: int = 0
    """Word pieces to learn from the training text, in place of characters; 0: characters.
    Worth a try from some hours of speech on."""
    strict: bool = False
    """Refuse the data for one recording that can't be used, instead of leaving it out."""
    longest: float = 20.0
    """Seconds; longer recordings are left out. Raise it where there is memory for it."""
    pace: float = 0.03
    """Seconds that a symbol takes at the least: shorter recordings than their transcript needs
    are left out."""


@dataclass(frozen=True)
class AugmentConfig:
    """What a training recording could have sounded like; nothing of it is stored."""

    speed: float = 0.1
    """Largest change of speed (and pitch with it), as a share; 0: none."""
    reverberation: float = 0.4
    """Chance that a room is put around the voice."""
    equalisation: float = 0.5
    """Chance that a random filter of a few dB colours it."""
    noise: float = 0.6
    """Chance that noise is added."""
    noise_ratio: float = 8.0
    """Lowest ratio of speech to added noise, dB; the highest is 30 dB above it."""
    telephone: float = 0.25
    """Chance that it is squeezed through a telephone: 300 to 3,400 Hz, mu-law."""
    gain: float = 10.0
    """Largest change of loudness, dB."""
    mel_masks: int = 2
    """SpecAugment: bands of mel channels that are masked."""
    mel_width: int = 6
    """SpecAugment: channels in such a band at most."""
    time_masks: int = 2
    """SpecAugment: stretches of frames that are masked."""
    time_width: int = 12
    """SpecAugment: frames in such a stretch at most; of 10 ms."""

    @property
    def changes_sound(self) -> bool:
        """Whether any waveform is changed."""
        chances = (self.reverberation, self.equalisation, self.noise, self.telephone)
        return any(chances) or self.speed > 0 or self.gain > 0
