"""Settings of the sentiment application. Imports no TensorFlow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from common.config import TrainConfig
from common.sweep import Between, Space

Direction = Literal["forward", "bidirectional"]


@dataclass(frozen=True)
class SentimentConfig(TrainConfig):
    """Train a recurrent network to label texts: many-to-one."""

    learning_rate: float = 4e-3
    """Highest learning rate of AdamW, after warm-up and before the cosine decay."""
    average: float = 0.99
    """Momentum of the running average of the weights that is validated and kept; 0 is off."""
    preset: Literal["default", "best"] = "default"
    """best: the recipe with the highest score, for long texts and patience. Flags win."""
    dataset: str = "imdb"
    """imdb, rotten_tomatoes, or a TFDS catalogue name (imdb_reviews, glue/sst2)."""
    text_column: str = "text"
    """Column of --data (.csv, .tsv, .jsonl) that holds the texts."""
    label_column: str = "label"
    """Column of --data that holds the classes; a column named split is obeyed."""
    vocabulary: int = 30_000
    """So many of the training split's most frequent words are known; the rest are one word."""
    max_tokens: int = 1000
    """Longer texts are cut to their first and last halves of this. Raise it for long texts."""
    embedding: int = 128
    """Width of a word's vector."""
    word_vectors: bool = True
    """Start the embedding from statistics of the training texts; see vectors.py."""
    segment: int = 32
    """Start the recurrence anew every so many words; 0 reads each text in one go, slower."""
    direction: Direction = "bidirectional"
    """forward reads as a person does; bidirectional reads from both ends."""
    residual: bool = False
    """Add each layer's input to its output, from the second layer on."""
    input_dropout: float = 0.3
    """Rate of spatial dropout on word vectors. Raise it when training outruns validation."""
    dropout: float = 0.0
    """Rate of dropout after each recurrent layer; for several layers."""
    readout_dropout: float = 0.5
    """Rate of dropout after pooling, before the readout."""
    word_dropout: float = 0.0
    """Share of words hidden while training."""
    adversarial: float = 0.0
    """Length of adversarial perturbations of word vectors (Miyato et al. 2017); 0 is off."""
    pretrain_epochs: int = 0
    """First so many passes as a language model over the training texts (Dai & Le 2015)."""
    members: int = 1
    """Train so many networks, one after the other, and average their answers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("vocabulary", "max_tokens", "embedding", "members"):
            self.require(name, getattr(self, name) > 0, "above 0")
        for name in ("input_dropout", "dropout", "readout_dropout", "word_dropout"):
            self.require(name, 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        for name in ("segment", "adversarial", "pretrain_epochs"):
            self.require(name, getattr(self, name) >= 0, "at least 0")
        self.require("vocabulary", self.vocabulary > 2, "above 2 (padding and unknown word)")


PRESETS: dict[str, dict[str, object]] = {
    "default": {},
    # Reads before it judges, and is three networks twice as wide.
    "best": {
        "units": 128,
        "pretrain_epochs": 3,
        "members": 3,
        "epochs": 3,
        "learning_rate": 2e-3,
        "word_dropout": 0.05,
    },
}


SPACE = Space(
    monitor="accuracy",
    fields={
        "learning_rate": Between(1e-3, 1e-2, log=True),
        "units": (32, 64, 128),
        "layers": (1, 2),
        "cell": ("gru", "lstm", "mingru"),
        "embedding": (64, 128, 256),
        "input_dropout": Between(0.0, 0.5),
        "readout_dropout": Between(0.2, 0.7),
    },
)
"""What --sweep goes over, and the score that it chooses by."""


@dataclass(frozen=True)
class PredictConfig:
    """Label texts with a trained run: as arguments, from --data, or lines on stdin."""

    run: Path
    """Folder of a finished run."""
    texts: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Texts to label; in quotes."""
    data: Annotated[Path | None, tyro.conf.arg(aliases=["--file"])] = None
    """A .csv, .tsv or .jsonl file of texts."""
    text_column: str = "text"
    """Column of --data that holds the texts."""
    out: Path | None = None
    """Where to write --data's rows with label and probabilities beside them (.csv)."""
    explain: bool = False
    """Show how the probability moves word by word: coloured text, and a PNG."""
    png: Path = Path("explain.png")
    """Where --explain writes its picture."""


@dataclass(frozen=True)
class EvaluateConfig:
    """Score a trained run on labelled data."""

    run: Path
    """Folder of a finished run."""
    dataset: str | None = None
    """imdb, rotten_tomatoes, or a TFDS catalogue name. Default: the run's own data."""
    data: Path | None = None
    """Your own labelled .csv, .tsv or .jsonl file, all rows of it (or its test split)."""
    text_column: str = "text"
    """Column of --data that holds the texts."""
    label_column: str = "label"
    """Column of --data that holds the classes."""
    out: Path | None = None
    """Where to write the scores as JSON."""
