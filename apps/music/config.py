"""Settings of the music application. Imports no TensorFlow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common.config import TrainConfig
from common.errors import UserError
from common.sweep import Between, Space

Head = Literal["auto", "joint", "voices", "events", "independent"]


@dataclass(frozen=True)
class MusicConfig(TrainConfig):
    """Train a recurrent network to compose: one-to-many."""

    dataset: str = "chorales"
    """chorales (Bach, four voices) or folk (Essen songs), both from music21; or a TFDS name."""
    data: Path | None = None
    """A folder of MIDI or MusicXML files, or a piano-roll file: .mat, .json or .npz."""
    preset: Literal["default", "best"] = "default"
    """best: the recipe with the highest likelihood, for patience. Flags win."""
    head: Head = "auto"
    """How a frame is decided upon. joint: key by key; voices: voice by voice; events: notes of a
    melody, by pitch and duration; independent: all keys at once, the ablation of the papers. auto:
    events for melodies, voices for four parts, joint for everything else."""
    resolution: int | None = None
    """Frames in a quarter note of --data. Default: 1 of a piano-roll file, 4 of a folder."""
    strict: bool = False
    """Refuse a folder with a file in it that can't be used, instead of naming and skipping it."""
    transpose: int = 3
    """Training pieces move up or down by as many semitones, anew in each epoch; 0: they don't."""
    told: float = 0.5
    """Share of the training pieces whose key, and whose end, the network is told; 0: never."""
    units: int = 384
    """Width of the hidden state."""
    density_units: int = 256
    """Width of the layers that decide on the keys of a frame."""
    batch_size: int = 16
    """Pieces in one optimiser step, over all devices together."""
    learning_rate: float = 3e-3
    """Highest learning rate of AdamW, after warm-up and before the cosine decay."""
    weight_decay: float = 0.05
    """Decay of kernels (never of biases or embeddings), as a share of the learning rate."""
    average: float = 0.99
    """Momentum of the running average of the weights that is validated and kept; 0 is off."""
    input_dropout: float = 0.1
    """Rate of dropout of whole keys before the recurrence."""
    dropout: float = 0.3
    """Rate of dropout after each recurrent layer."""
    density_dropout: float = 0.1
    """Rate of dropout inside the density of a frame."""
    members: int = 1
    """Train so many networks, one after the other, and average their decisions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("density_units", "members", "resolution"):
            value = getattr(self, name)
            self.require(name, value is None or value > 0, "above 0")
        for name in ("input_dropout", "dropout", "density_dropout"):
            self.require(name, 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        self.require("told", 0 <= self.told <= 1, "from 0 to 1")
        self.require("transpose", 0 <= self.transpose <= 12, "from 0 to 12")


PRESETS: dict[str, dict[str, object]] = {
    "default": {},
    "best": {"members": 3},
}


SPACE = Space(
    monitor="nll",
    lower_is_better=True,
    fields={
        "learning_rate": Between(1e-3, 1e-2, log=True),
        "units": (128, 256, 384, 512),
        "density_units": (128, 256, 384),
        "layers": (1, 2),
        "cell": ("gru", "lstm", "mingru"),
        "dropout": Between(0.0, 0.5),
        "weight_decay": Between(0.005, 0.2, log=True),
    },
)
"""What --sweep goes over, and the score that it chooses by."""


TEMPERATURE, TOP_P = 1.0, 0.98
"""How pieces are drawn unless something else is asked for; chosen on validation pieces."""


@dataclass(frozen=True)
class PredictConfig:
    """Compose with a trained run: MIDI, MusicXML, a picture and sound."""

    run: Path
    """Folder of a finished run."""
    start: str = ""
    """Notes to begin with, one after the other, joined by + where they sound together:
    "C4+E4+G4 D4". Each lasts a quarter note."""
    primer: Path | None = None
    """A MIDI or MusicXML file to go on from."""
    given: Path | None = None
    """A MIDI or MusicXML file whose highest line is kept: the others are composed to it."""
    bars: int | None = None
    """Bars to compose, the start included. Default: 16, or those of --given."""
    steps: int | None = None
    """Frames to compose, instead of bars."""
    metre: str = "4/4"
    """Time signature; of a run whose corpus has none, for the bar lines alone."""
    upbeat: float = 0.0
    """Quarter notes ahead of the first bar line."""
    key: str | None = None
    """Key of the piece, such as "C major", "F# minor" or "Bb". Default: that of --start, --primer
    or --given; without these, one as frequent as it is in the training pieces."""
    ending: bool = True
    """Come to an end in the last bar; --no-ending: stop there."""
    temperature: float = TEMPERATURE
    """Below 1 the likelier is chosen more often; above 1 the unlikelier."""
    top_k: int = 0
    """Only so many of the likeliest choices are drawn from at each decision; 0: all."""
    top_p: float = TOP_P
    """Only the likeliest choices that make up this probability are drawn from."""
    beam: int = 1
    """Carry on so many pieces side by side: each is drawn on that many times by a bar, and the
    likeliest of all are kept. 1: drawn once."""
    count: int = 1
    """Pieces to compose."""
    tempo: float = 80.0
    """Quarter notes a minute."""
    seed: int = 0
    """The same seed gives the same pieces."""
    out: Path = Path("piece.mid")
    """Where to write MIDI; .musicxml, .png and .wav stand beside it; several are numbered."""

    def __post_init__(self) -> None:
        for name in ("bars", "steps", "temperature", "count", "tempo", "beam"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"--{name} {value}: expected a value above 0")
        _share("top-p", self.top_p)
        if self.key is not None:
            from apps.music import keys

            keys.read(self.key)
        for name in ("top_k", "upbeat", "seed"):
            if getattr(self, name) < 0:
                raise UserError(
                    f"--{name.replace('_', '-')} {getattr(self, name)}: expected 0 or above"
                )
        if bool(self.start) and self.primer is not None:
            raise UserError("expected --start or --primer, found both")
        if self.bars is not None and self.steps is not None:
            raise UserError("expected --bars or --steps, found both")
        if self.out.suffix not in (".mid", ".midi"):
            raise UserError(f"--out {self.out}: expected a name that ends in .mid")


@dataclass(frozen=True)
class EvaluateConfig:
    """Score a trained run on pieces it has not seen."""

    run: Path
    """Folder of a finished run."""
    dataset: str | None = None
    """A dataset: its test part. Default: the run's own data."""
    data: Path | None = None
    """A folder of MIDI or MusicXML files, all of them; or a piano-roll file, its test part."""
    strict: bool = False
    """Refuse a folder with a file in it that can't be used, instead of naming and skipping it."""
    compose: int = 0
    """Compose so many pieces, as long as the test pieces, and lay them beside the corpus."""
    temperature: float = TEMPERATURE
    """Of --compose, as of predict."""
    top_p: float = TOP_P
    """Of --compose, as of predict."""
    part: Literal["test", "validation"] = "test"
    """Pieces of a corpus that has parts. Choose settings on validation; look at test once."""
    out: Path | None = None
    """Where to write the scores as JSON; of --compose, a .png beside it."""

    def __post_init__(self) -> None:
        if self.compose < 0:
            raise UserError(f"--compose {self.compose}: expected 0 or above")
        if not self.temperature > 0:
            raise UserError(f"--temperature {self.temperature}: expected a value above 0")
        _share("top-p", self.top_p)


def _share(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise UserError(f"--{name} {value}: expected a value above 0, 1 at most")
