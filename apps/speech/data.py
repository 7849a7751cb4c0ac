"""Speech by name: the synthesised tasks, real recordings for testing, and the TFDS catalogue."""

import csv
import ctypes.util
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import tensorflow_datasets as tfds

from apps.speech import manifest, real
from apps.speech.alphabet import Alphabet
from apps.speech.config import DataConfig
from apps.speech.grammar import DIGIT_WORDS, GRAMMARS
from apps.speech.intake import SPLITS, Intake, completed, corpus, worded
from apps.speech.utterances import RATE, Corpus, Utterance, int16, seconds
from common import catalogue
from common.errors import UserError

PACKAGED = ("digits", "commands", "digits-few", "commands-few")
REAL = real.NAMES
TEXTS = ("text_normalized", "text", "sentence", "transcript")  # what features are called
SPEAKERS = ("speaker", "speaker_id", "client_id")
PARTS = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "dev": "validation",
    "test": "test",
}


@dataclass
class TaskConfig(tfds.core.BuilderConfig):
    """What the generator is asked for."""

    task: str = "digits"
    train: int = 6000
    validation: int = 500
    test: int = 1000


class Sound(tfds.features.Audio):
    """Sound of two bytes a sample. TFDS 4.9.10 forgets to encode sound that is given as an array;
    without it every negative sample takes ten bytes."""

    def encode_example(self, example_data: np.ndarray) -> Any:
        """``[n]`` int16, as it is."""
        return tfds.features.Tensor.encode_example(self, example_data)


def _few(task: str) -> TaskConfig:
    """Enough to see everything run."""
    name = f"{task}-few"
    return TaskConfig(name=name, task=task, train=240, validation=40, test=60)


class SynthesisedSpeech(tfds.core.GeneratorBasedBuilder):
    """Digit strings and commands, spoken by espeak-ng and, where it is installed, flite:
    ``apps.speech.synthesise`` makes them, in a process of its own."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = (
        TaskConfig(name="digits", description="Strings of one to seven digits."),
        TaskConfig(name="commands", description="Commands to a house.", task="commands"),
        _few("digits"),
        _few("commands"),
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Synthesised speech with transcripts.",
            features=tfds.features.FeaturesDict(
                {
                    "speech": Sound(
                        sample_rate=RATE, dtype=np.int16, encoding=tfds.features.Encoding.BYTES
                    ),
                    "text": tfds.features.Text(),
                    "speaker": tfds.features.Text(),
                    "accent": tfds.features.Text(),
                }
            ),
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        self._made = tempfile.TemporaryDirectory(prefix="speech-")  # removed with the builder
        folder = Path(self._made.name) / "out"
        synthesise(folder, self.builder_config)
        with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        self.info.metadata["flite"] = any(row["speaker"].startswith("flite-") for row in rows)
        return {
            split: self._generate_examples(folder, [row for row in rows if row["split"] == split])
            for split in SPLITS
        }

    def _generate_examples(
        self, folder: Path, rows: list[dict[str, str]]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, row in enumerate(rows):
            samples, _ = soundfile.read(folder / row["path"], dtype="int16")
            yield number, {"speech": samples, **{k: row[k] for k in ("text", "speaker", "accent")}}


def synthesise(folder: Path, config: TaskConfig) -> None:
    """Runs the generator.

    Raises:
        UserError: if it fails; it has said why.
    """
    counts = (f"--{split}={getattr(config, split)}" for split in SPLITS)
    words = ["--out", str(folder), "--task", config.task, *counts]
    done = subprocess.run(
        [sys.executable, "-m", "apps.speech.synthesise", *words],
        cwd=Path(__file__).parents[2],  # where the package is found, installed or not
        check=False,
    )
    if done.returncode:
        raise UserError(f"the generator of speech ended with exit code {done.returncode}")


def load(config: DataConfig) -> Corpus:
    """The user's own ``config.data``, or else ``config.dataset``, in splits that never change.

    Raises:
        UserError: for whatever in them can't be used.
    """
    intake = Intake(config.strict)
    if config.data is not None:
        splits = manifest.read_splits(config.data, config, intake)
        return corpus(str(config.data), splits, config, intake)
    if config.dataset in REAL:
        raise UserError(
            f"--dataset {config.dataset}: for testing only: evaluate a run with it; to train, "
            f"expected {', '.join(PACKAGED)} or a name in the TFDS catalogue"
        )
    splits = named(config)
    if config.dataset not in PACKAGED:
        return corpus(config.dataset, splits, config, intake)
    grammar = GRAMMARS[config.dataset.removesuffix("-few")]
    return corpus(config.dataset, splits, config, intake, words=grammar.words(), grammar=grammar)


def to_score(config: DataConfig, alphabet: Alphabet) -> tuple[tuple[Utterance, ...], list[str]]:
    """What a finished run is to be scored on: all of ``config.data``, or the test split of
    ``config.dataset``, or real recordings (``REAL``); and a line for each that was left out.

    Raises:
        UserError: for whatever in them can't be used.
    """
    intake = Intake(config.strict)
    if config.data is not None:
        found = manifest.read(config.data, config, intake)
    elif config.dataset in REAL:
        found = list(load_test(config.dataset))
    else:
        found = list(completed(named(config))["test"])
    kept = intake.kept(found, config, alphabet)
    if not kept:
        where = config.data or f"--dataset {config.dataset}"
        raise UserError(f"{where}: no recordings to use; {intake.left_out()}")
    return kept, intake.skipped


def load_test(name: str) -> tuple[Utterance, ...]:
    """Real recordings out of Debian packages: never trained on, never chosen on.

    Raises:
        UserError: for an unknown name, or if the package is not installed.
    """
    return real.load(name)


# The catalogue


def named(config: DataConfig) -> dict[str, list[Utterance]]:
    """The splits of a packaged task, or those that a speech set of the TFDS catalogue has.

    Raises:
        UserError: for an unknown name, or a dataset that can't be prepared or has other features.
    """
    packaged = config.dataset in PACKAGED
    name = f"synthesised_speech/{config.dataset}" if packaged else config.dataset
    builder = catalogue.find(name, config.dataset, (*PACKAGED, *REAL))
    if packaged:
        _check_generator(builder)
    reader = Reader(builder.info.features, config)
    catalogue.prepare(builder, config.dataset)
    if packaged:
        say_if_flite_came(builder)
    splits: dict[str, list[Utterance]] = {}
    for part in sorted(builder.info.splits):
        split = next((split for mark, split in PARTS.items() if part.startswith(mark)), "train")
        found = splits.setdefault(split, [])
        found += reader.read(builder, part, config.hours * 3600 - seconds(found))
    return splits


def _check_generator(builder: Any) -> None:
    """Before TFDS runs it, which would wrap what it says."""
    if not builder.is_prepared() and importlib.util.find_spec("espeakng_loader") is None:
        raise UserError(
            "the package espeakng-loader is missing, which speaks the packaged tasks: "
            "`make speech` installs it, or pip install -c constraints.txt -e '.[speech]'"
        )


def say_if_flite_came(builder: Any) -> None:
    """Says so, if the dataset lacks the voices of a flite that was installed since."""
    if not builder.info.metadata.get("flite") and ctypes.util.find_library("flite"):
        print(
            f"{builder.data_dir}: made before flite was installed; remove the folder to have its "
            f"voices in it too"
        )


class Reader:
    """Takes utterances out of the examples of a TFDS dataset, by its features.

    Raises:
        UserError: for a dataset without speech, its sample rate and its text.
    """

    def __init__(self, features: Any, config: DataConfig) -> None:
        self.config = config
        described = dict(features.items()) if hasattr(features, "items") else {}
        sounds = [k for k, f in described.items() if isinstance(f, tfds.features.Audio)]
        texts = [k for k in TEXTS if isinstance(described.get(k), tfds.features.Text)]
        label = described.get("label")
        self.words = () if texts else _digit_words(label)
        if len(sounds) != 1 or not (texts or self.words):
            raise UserError(
                f"--dataset {config.dataset}: expected one feature of sound, and a text "
                f"({', '.join(TEXTS)}); found {', '.join(described) or 'none'}"
            )
        self.sound, self.text = sounds[0], texts[0] if texts else "label"
        self.speaker = next((k for k in SPEAKERS if k in described), "")
        self.file = "audio/filename" if "audio/filename" in described else ""
        self.rate = described[self.sound].sample_rate
        if not self.rate:
            raise UserError(f"--dataset {config.dataset}: it says no sample rate")

    def read(self, builder: Any, part: str, room: float) -> list[Utterance]:
        """The utterances of one TFDS split, `room` seconds of them at most."""
        found: list[Utterance] = []
        examples = tfds.as_numpy(builder.as_dataset(split=part))
        for number, example in enumerate(examples, 1):
            utterance = self._utterance(f"{part} {number}", example)
            room -= utterance.seconds
            if room < 0:
                break
            found.append(utterance)
        return found

    def _utterance(self, name: str, example: Mapping[str, Any]) -> Utterance:
        samples = example[self.sound].astype(np.int16)  # TFDS keeps 16 bits in wider integers
        if self.rate != RATE:
            samples = int16(soxr.resample(samples.astype(np.float32) / 32768, self.rate, RATE))
        text = self.words[example["label"]] if self.words else _string(example[self.text])
        speaker = _string(example[self.speaker]) if self.speaker else ""
        if self.file:  # spoken_digit names its speakers there: 7_name_32.wav
            speaker = _string(example[self.file]).split("_")[1]
        accent = _string(example["accent"]) if "accent" in example else ""
        return Utterance(name, samples, worded(text, self.config), speaker, accent)


def _digit_words(label: Any) -> tuple[str, ...]:
    """What is said for each class, if the classes are the ten digits."""
    figures = [str(figure) for figure in range(10)]
    if not isinstance(label, tfds.features.ClassLabel) or label.names != figures:
        return ()
    return ("zero", *DIGIT_WORDS[2:])


def _string(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
