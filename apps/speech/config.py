"""Settings of the speech application. Imports no TensorFlow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from common.config import TrainConfig
from common.errors import UserError
from common.sweep import Between, Space

TextForm = Literal["plain", "as-is"]
Symbols = Literal["characters", "words"]
Decoder = Literal["ctc", "attention", "joint"]
HOP_SECONDS = 0.01
"""From one frame of the log-mel features to the next."""


@dataclass(frozen=True)
class DataConfig:
    """Which recordings, and how recordings of one's own are read."""

    dataset: str = "digits"
    """digits or commands (synthesised), digits-few or commands-few (to see everything run); or
    librispeech, spoken_digit, ljspeech, or another speech set of the TFDS catalogue."""
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
    symbols: Symbols | None = None
    """What is written down one after the other: characters, or words, where there are few and
    each is said often. Default: words for digits and commands, characters for all else."""
    pieces: int = 0
    """Word pieces to learn from the training text, in place of both; 0: none. Worth a try from
    some hours of speech on."""
    strict: bool = False
    """Refuse the data for one recording that can't be used, instead of leaving it out."""
    outside: bool = False
    """Take recordings from wherever the manifest's paths, or links, lead to; else it is an error
    if that is outside its folder."""
    longest: float = 20.0
    """Seconds; longer recordings are left out. Raise it where there is memory for it."""
    hours: float = 20.0
    """Read so many hours of a split of a TFDS dataset at most: all of them are held in memory."""
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
    tract: float = 0.35
    """Largest change of the speaker's vocal tract, as a share: all resonances higher, or lower. As
    large as that, it makes children of adults."""
    formants: float = 0.06
    """Deviation of what each resonance moves on its own, beside that."""
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


@dataclass(frozen=True)
class SpeechConfig(TrainConfig, DataConfig, AugmentConfig):
    """Train a recurrent network to write down what is said: many-to-many, different lengths."""

    decoder: Decoder | None = None
    """ctc: a symbol or none at each step; attention: symbol by symbol, looking at the whole;
    joint: both learn together, and the one whose text both find likelier answers. Default: joint;
    with --causal CTC answers, and the attention decoder is there while training alone."""
    causal: bool = False
    """Read in one direction, to write while somebody speaks; sees --lookahead into the future."""
    lookahead: float = 0.12
    """Seconds that a causal model waits for after a step before it answers for it."""
    units: int = 128
    """Width of the hidden state, in each direction, and of the attention decoder's."""
    layers: int = 2
    """Recurrent layers of the encoder."""
    batch_size: int = 32
    """Utterances in one optimiser step."""
    learning_rate: float = 3e-3
    """Highest learning rate of AdamW, after warm-up and before the cosine decay."""
    average: float = 0.99
    """Momentum of the running average of the weights that is validated and kept; 0 is off."""
    mels: int = 40
    """Channels of the log-mel features."""
    hop: int = 3
    """Frames of 10 ms in one step of the recurrence. Fast speech in characters needs 3."""
    filters: int = 32
    """Channels of the two convolutions in front of the recurrence."""
    width: int = 128
    """Width of what they hand to the recurrence."""
    pyramid: int = 0
    """Layers after which two steps become one (Chan et al. 2016); for long utterances."""
    dropout: float = 0.2
    """Rate of dropout before, between and after the recurrent layers."""
    attention: int = 128
    """Width of the space in which the decoder compares its state with the encoder's."""
    ctc_weight: float = 0.5
    """Share of CTC in the loss of --decoder joint, and in the score of its texts."""
    sampling: float = 0.2
    """Scheduled sampling: how often, at the end of training, the attention decoder is given its
    own last symbol instead of the true one. It rises from 0."""
    label_smoothing: float = 0.1
    """Share of the attention decoder's targets that is spread evenly over all symbols."""
    short_first: int | None = None
    """Epochs over which longer and longer utterances join in. 0: all of them from the start.
    Default: 4, which a decoder of characters wants; 0 where words are the symbols, or with
    --causal: both would learn to guess the first ones."""
    order: int = 3
    """Words in an n-gram of the language model that is learnt from the training text."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("hop", "mels", "filters", "width", "attention", "order", "longest", "pace"):
            self.require(name, getattr(self, name) > 0, "above 0")
        for name in ("dropout", "sampling", "label_smoothing"):
            self.require(name, 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        for name in ("reverberation", "equalisation", "noise", "telephone", "ctc_weight"):
            self.require(name, 0 <= getattr(self, name) <= 1, "from 0 to 1")
        self.require("short_first", (self.short_first or 0) >= 0, "at least 0")
        counts = ("tract", "formants", "lookahead", "pieces", "gain")
        for name in (*counts, "mel_masks", "mel_width", "time_masks", "time_width"):
            self.require(name, getattr(self, name) >= 0, "at least 0")
        if self.pieces and self.symbols:
            raise UserError(f"--pieces {self.pieces} with --symbols {self.symbols}: drop one")
        if self.alphabet is not None and self.symbols == "words":
            raise UserError("--alphabet with --symbols words: expected characters; drop one")
        self.require("speed", 0 <= self.speed < 1, "at least 0 and below 1")
        self.require("pyramid", 0 <= self.pyramid < self.layers, "from 0 to --layers less 1")
        if self.causal and self.decoder not in (None, "ctc"):
            raise UserError(
                f"--decoder {self.decoder} with --causal: it looks at the whole utterance; drop "
                f"one of them"
            )
        if self.jit and self.attends:
            raise UserError("--jit goes with --decoder ctc: XLA refuses an attention decoder")
        if self.causal and self.pyramid:
            raise UserError("--pyramid with --causal: use a larger --hop instead")

    @property
    def decodes(self) -> Decoder:
        """The decoder that answers."""
        return self.decoder or ("ctc" if self.causal else "joint")

    @property
    def attends(self) -> bool:
        """Whether an attention decoder learns: it answers, or helps a causal encoder to learn."""
        return self.decoder != "ctc"

    def curriculum(self, words: bool) -> int:
        """Epochs over which longer and longer utterances join in; `words`: are the symbols."""
        if self.short_first is not None:
            return self.short_first
        return 0 if words or self.causal else 4

    @property
    def delay(self) -> int:
        """Steps of the recurrence that a causal answer sees ahead."""
        return int(self.lookahead / (self.hop * HOP_SECONDS)) if self.causal else 0

    @property
    def seconds_a_step(self) -> float:
        """Of the encoder's output."""
        return self.hop * 2**self.pyramid * HOP_SECONDS


SPACE = Space(
    monitor="wer",
    lower_is_better=True,
    fields={
        "learning_rate": Between(1e-3, 1e-2, log=True),
        "units": (64, 128, 192),
        "layers": (1, 2, 3),
        "width": (64, 128, 256),
        "cell": ("gru", "lstm", "mingru"),
        "dropout": Between(0.0, 0.5),
        "label_smoothing": Between(0.0, 0.2),
    },
)
"""What --sweep goes over, and the score that it chooses by."""


@dataclass(frozen=True)
class SearchConfig:
    """How a text is looked for in what the network hears."""

    beam: int = 0
    """Texts followed side by side; 0: the likeliest symbol at each step. Default with --lexicon
    or --language: 16."""
    lexicon: str | None = None
    """Nothing but these words: `words` or `grammar` of the run's own task, or a file of one
    word a line."""
    language: str | None = None
    """An n-gram model of words: `training`, made from the run's training text, or an ARPA file."""
    language_weight: float = 0.5
    """How much the language model counts beside the network."""
    word_bonus: float = 0.0
    """Added to the score of a text for each word, in nats. Raise it where words are missed."""

    def __post_init__(self) -> None:
        if self.beam < 0:
            raise UserError(f"--beam {self.beam}: expected a value at least 0")
        if self.language_weight < 0:
            raise UserError(f"--language-weight {self.language_weight}: expected at least 0")

    @property
    def followed(self) -> int:
        """The width of the beam in force; 0: greedy."""
        return self.beam or (16 if self.lexicon or self.language else 0)


@dataclass(frozen=True, kw_only=True)
class PredictConfig(SearchConfig):
    """Write down what is said in sound files, or on stdin while it is said."""

    run: Path
    """Folder of a finished run."""
    files: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Sound files (WAV, FLAC, OGG, ...), at any rate."""
    json: bool = False
    """Print a JSON object a file: text, confidence, and the words with theirs and their times."""
    srt: bool = False
    """Write subtitles beside each file, with its name and .srt."""
    png: Path | None = None
    """Where to draw the first file: its spectrogram with what the network heard, and when."""
    live: bool = False
    """Read raw sound from stdin (mono, 16 bits, 16,000 Hz, little-endian), and print the text while
    it comes. For a causal run."""
    silence: float = 0.7
    """Seconds of silence that end a text of --live."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(SearchConfig):
    """Score a trained run on recordings with transcripts."""

    run: Path
    """Folder of a finished run."""
    dataset: str | None = None
    """A dataset's test part; or prompts, real-digits, real-digits-wide: human recordings.
    Default: the run's own test part."""
    data: Path | None = None
    """Your own manifest or LJSpeech folder: all of it."""
    path_column: str | None = None
    """Column of the manifest with the sound file. Default: as in training."""
    text_column: str | None = None
    """Column of the manifest with what is said. Default: as in training."""
    speaker_column: str | None = None
    """Column of the manifest with who speaks. Default: as in training."""
    strict: bool = False
    """Refuse the data for one recording that can't be used, instead of leaving it out."""
    outside: bool = False
    """Take recordings from wherever the manifest's paths, or links, lead to."""
    out: Path | None = None
    """Where to write the scores as JSON."""
    png: Path | None = None
    """Where to draw the errors by length and by voice."""
