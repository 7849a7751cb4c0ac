"""Settings of the gesture application. Imports no TensorFlow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from common.config import TrainConfig
from common.errors import UserError
from common.sweep import Between, Space

Smoothing = Literal["none", "minimum", "viterbi", "filter"]
Fold = Literal["0", "1", "2", "3", "4", "all"]


@dataclass(frozen=True)
class TableConfig:
    """How streams of one's own are read: which column is what, and how fast they are."""

    time_column: str = "time"
    """Column of --data with seconds or timestamps. Where there is none, --rate must be given."""
    label_column: str = "label"
    """Column of --data with the class of each row."""
    subject_column: str = "subject"
    """Column of --data with who wore the sensor; without it each stream is a subject."""
    stream_column: str = "stream"
    """Column that says which of several streams in one long file a row belongs to."""
    rate: float | None = None
    """Frames in a second. Default: found out from the time column."""
    resample: float | None = None
    """Frames in a second that all streams are brought to. Default: they stay as they are."""


@dataclass(frozen=True)
class GestureConfig(TrainConfig, TableConfig):
    """Train a recurrent network to label every frame of a sensor stream: many-to-many."""

    dataset: str = "watch"
    """watch (packaged), smartwatch_gestures, or a TFDS dataset of labelled recordings."""
    fold: Annotated[Fold, tyro.conf.arg(aliases=["--folds"])] = "0"
    """Which fold's subjects are tested; all: one after the other, each in a folder of its own."""
    causal: bool = False
    """Use nothing that comes later than --lookahead, to label streams as they arrive."""
    lookahead: int = 25
    """Frames after a frame that a causal model waits for before it labels it."""
    layers: int = 2
    """Recurrent layers on top of each other."""
    batch_size: int = 8
    """Pieces of streams in one optimiser step."""
    learning_rate: float = 3e-3
    """Highest learning rate of AdamW, after warm-up and before the cosine decay."""
    average: float = 0.99
    """Momentum of the running average of the weights that is validated and kept; 0 is off."""
    members: int = 2
    """Networks that are trained one after the other, their probabilities averaged."""
    hop: int = 5
    """Frames in one step of the recurrence; a causal model takes lookahead + 1 at most."""
    width: int = 64
    """Width of the convolutions in front of the recurrence."""
    piece: float = 40.0
    """Seconds of a training piece, at most those of the longest stream. In a long one a label is
    told by comparison with others of the same subject; lower it to save memory."""
    dropout: float = 0.3
    """Rate of dropout before, between and after the recurrent layers."""
    rotation: float = 20.0
    """Augmentation: deviation of the angle that the sensor is turned by, in degrees. For
    channels that are named as vectors (ax, ay, az)."""
    pose: float = 15.0
    """Augmentation: the same, anew for each bout."""
    amplitude: float = 0.3
    """Augmentation: deviation of the logarithm of how far each bout moves about its mean."""
    scaling: float = 0.1
    """Augmentation: deviation of the logarithm of each channel's gain."""
    warp: float = 0.2
    """Augmentation: deviation of the logarithm of the pace."""
    noise: float = 0.05
    """Augmentation: deviation of white noise, in deviations of the channel."""
    channel_drop: float = 0.05
    """Augmentation: chance that a channel is silent throughout a piece."""
    refit: bool = True
    """When epochs are chosen, train anew on training and validation subjects together."""
    smoothing: Smoothing | None = None
    """Of the labels afterwards: minimum removes segments shorter than --shortest; viterbi finds
    the likeliest sequence under the transitions of the training part; both need the whole
    stream. filter weighs each frame against the past alone. Default: viterbi; filter with
    --causal."""
    shortest: float = 1.0
    """Seconds that a segment must last under --smoothing minimum."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("members", "hop", "width", "piece", "shortest"):
            self.require(name, getattr(self, name) > 0, "above 0")
        for name in ("rate", "resample"):
            value = getattr(self, name)
            self.require(name, value is None or 0 < value < float("inf"), "above 0")
        for name in ("dropout", "channel_drop"):
            self.require(name, 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        for name in ("lookahead", "rotation", "pose", "amplitude", "scaling", "warp", "noise"):
            self.require(name, getattr(self, name) >= 0, "at least 0")
        if self.sweep is not None and self.fold == "all":
            raise UserError(
                "--sweep with --fold all: who is validated on in one fold is tested in "
                "another; sweep on one fold, and train all with what it chose"
            )
        if self.causal and self.smoothing in ("minimum", "viterbi"):
            raise UserError(
                f"--smoothing {self.smoothing} with --causal: it looks at the whole stream; drop "
                f"one of them"
            )

    @property
    def smooths(self) -> Smoothing:
        """The smoothing in force: what arrives live can't be smoothed with what comes later."""
        return self.smoothing or ("filter" if self.causal else "viterbi")

    @property
    def frames_a_step(self) -> int:
        """The hop in force: a causal model can't wait for more frames than it may look ahead."""
        return min(self.hop, self.lookahead + 1) if self.causal else self.hop

    @property
    def delay(self) -> int:
        """Steps of the recurrence that a causal label waits for after its own."""
        return (self.lookahead + 1) // self.frames_a_step - 1 if self.causal else 0

    @property
    def waits(self) -> int:
        """Frames after a frame that may have to arrive before it is labelled: 0 of a
        bidirectional model, which has the whole stream."""
        return (self.delay + 1) * self.frames_a_step - 1 if self.causal else 0


SPACE = Space(
    monitor="frame_accuracy",
    fields={
        "learning_rate": Between(1e-3, 1e-2, log=True),
        "units": (32, 64, 128),
        "layers": (1, 2, 3),
        "width": (32, 64, 128),
        "cell": ("gru", "lstm", "mingru"),
        "dropout": Between(0.1, 0.6),
    },
)
"""What --sweep goes over, and the score that it chooses by."""


@dataclass(frozen=True, kw_only=True)
class PredictConfig(TableConfig):
    """Label streams with a trained run: those of --data, or rows on stdin as they arrive."""

    run: Path
    """Folder of a finished run."""
    data: Path | None = None
    """A .csv, .tsv or .ts file, or a folder of them, with the run's channels; no labels needed."""
    out: Path | None = None
    """Where to write a row for each frame of --data: stream, time, label and confidence (.csv)."""
    png: Path | None = None
    """Where to draw the first stream of --data with its labels beneath."""
    live: bool = False
    """Read CSV rows from stdin as they arrive, the header first, and print each change of label.
    For a causal run."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(TableConfig):
    """Score a trained run on labelled streams."""

    run: Path
    """Folder of a finished run."""
    dataset: str | None = None
    """watch: its test subjects, as the run has them. Default: the run's own data."""
    data: Path | None = None
    """Your own labelled file or folder: all of it."""
    out: Path | None = None
    """Where to write the scores as JSON."""
