"""Makes speech: WAV files and a manifest of who says what in them, by espeak-ng and flite.

A program of its own, which the TFDS builder runs as a child process:

    python -m apps.speech.synthesise --task digits --out FOLDER

FOLDER/manifest.csv (path, text, speaker, accent, split) is what ``--data`` reads. The same
arguments give the same files on one machine.
"""

import csv
import os
import secrets
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from apps.speech import voices
from apps.speech.grammar import COMMANDS, DIGIT_WORDS, Grammar
from apps.speech.utterances import RATE, int16
from common import cli, files
from common.errors import UserError

SPLITS = ("train", "validation", "test")
MANIFEST = "manifest.csv"
COLUMNS = ("path", "text", "speaker", "accent", "split")
LONGEST_STRING = 7  # digits
FLITE_SHARE = 0.35  # of the training utterances, where flite is installed
MANNERS = 24  # of a flite voice, so that words can be said once and strung together often
PACES = (0.5, 1.25)  # some voices are fast by themselves: beyond this nobody would understand them
LONGEST = 19.0  # seconds: --longest leaves out what is longer than 20
ATTEMPTS = 5
SILENT = 0.003  # of the peak: quieter ends are cut off


@dataclass(frozen=True)
class SynthesiseConfig:
    """Make spoken utterances with their transcripts."""

    out: Path
    """Folder to make; new, or empty."""
    task: Literal["digits", "commands"] = "digits"
    """digits: strings of one to seven; commands: phrases of the grammar in grammar.py."""
    phrases: Path | None = None
    """Your own phrases instead: a text file, one in a line."""
    train: int = 6000
    """Utterances to learn from."""
    validation: int = 500
    """Utterances to choose on, by persons of their own."""
    test: int = 1000
    """Utterances to be judged by, by persons of their own, with two accents more."""
    flite: bool = True
    """Let flite's voices speak in the training part too, where the library is installed."""
    seed: int = 0
    """Fixes what is said, by whom and how."""

    def __post_init__(self) -> None:
        for name in SPLITS:
            if getattr(self, name) < 0:
                raise UserError(f"--{name} {getattr(self, name)}: expected a value at least 0")


def run(config: SynthesiseConfig) -> Path:
    """Writes the folder, whole or not at all; returns the path of the manifest in it.

    Raises:
        UserError: if the folder can't be used, the phrases can't be read, or a library is
            missing.
    """
    texts = phrases_of(config)
    if config.out.is_file() or (config.out.is_dir() and any(config.out.iterdir())):
        raise UserError(f"--out {config.out}: expected a new or empty folder")
    cast = Cast(voices.Espeak(), voices.flite_voices() if config.flite else [])
    neighbour = config.out.with_name(f".{secrets.token_hex(4)}.{config.out.name}")
    try:
        neighbour.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"--out {config.out}: can't be made: {error.strerror}") from None
    try:
        _fill(neighbour, config, texts, cast)
        os.replace(neighbour, config.out)
    finally:
        shutil.rmtree(neighbour, ignore_errors=True)
    return config.out / MANIFEST


def _fill(folder: Path, config: SynthesiseConfig, texts: "Texts", cast: "Cast") -> None:
    slow = 0.4 if config.task == "digits" and not config.phrases else 0.05
    rows = []
    total = sum(getattr(config, split) for split in SPLITS)
    with tqdm(total=total, desc="speaking", unit="utterance", disable=None) as bar:
        for number, split in enumerate(SPLITS):
            for index in range(getattr(config, split)):
                random = np.random.default_rng([config.seed, number, index])
                text = texts(split, random)
                person, samples = cast.said(text, split, slow, random)
                path = f"{split}/{index:05d}.wav"
                (folder / split).mkdir(exist_ok=True)
                soundfile.write(folder / path, samples, RATE)
                rows.append((path, text, person.label, person.voice.accent, split))
                bar.update()
    with (folder / MANIFEST).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])


# What is said

Texts = Callable[[str, np.random.Generator], str]
"""(split, random numbers) -> something to say."""


def phrases_of(config: SynthesiseConfig) -> Texts:
    """What there is to say.

    Raises:
        UserError: if the file of phrases is missing or has none.
    """
    if config.phrases is not None:
        try:
            lines = [" ".join(line.split()) for _, line in files.lines(config.phrases)]
        except UserError as error:
            raise UserError(f"--phrases {error}") from None
        found = [line for line in lines if line]
        if not found:
            raise UserError(f"--phrases {config.phrases}: no phrases in it")
        return lambda split, random: found[random.integers(len(found))]
    return digits if config.task == "digits" else command


def digits(split: str, random: np.random.Generator) -> str:
    """One to seven digits; which split it is for does not matter: voices differ, not strings."""
    count = random.integers(1, LONGEST_STRING + 1)
    return " ".join(random.choice(DIGIT_WORDS, count))


def command(split: str, random: np.random.Generator) -> str:
    """A sentence of the grammar, made of orders that no other split has."""
    around = Grammar({**COMMANDS.rules, "order": ("ORDER",)}).sample(random)
    orders = replace(COMMANDS, start="order")
    words = []
    for word in around.split():
        said = word
        while said == "ORDER" or (word == "ORDER" and split_of_order(said) != split):
            said = orders.sample(random)
        words.append(said)
    return " ".join(words)


def split_of_order(order: str) -> str:
    """The split that an order is said in: 70, 10 and 20 % of them, fixed by its words."""
    place = zlib.crc32(order.encode()) % 10
    return {0: "validation", 1: "test", 2: "test"}.get(place, "train")


# Who says it


@dataclass(frozen=True)
class Person:
    """A voice, and how it is going to speak."""

    voice: voices.Voice
    manner: voices.Manner
    tract: float
    """Length of the vocal tract beside the voice's own: above 1 is lower in all frequencies."""
    said: dict[str, np.ndarray] | None = None
    """What it has said in this manner already, where saying is slow."""

    @property
    def label(self) -> str:
        """The voice's name, with the engine that is not espeak."""
        engine = self.voice.engine
        return self.voice.name if engine == "espeak" else f"{engine}-{self.voice.name}"

    def say(self, text: str, random: np.random.Generator) -> np.ndarray:
        """``[n]`` float at ``RATE``, silence cut off at both ends."""
        seed = int(random.integers(1, 2**31))
        if self.said is None:
            return self._say(text, seed)
        if text not in self.said:
            self.said[text] = self._say(text, zlib.crc32(text.encode()) % 2**31)
        return self.said[text]

    def _say(self, text: str, seed: int) -> np.ndarray:
        samples = self.voice.say(text, self.manner, seed).astype(np.float32) / 32768
        samples = soxr.resample(samples, self.voice.rate / self.tract, RATE, quality="MQ")
        loud = np.flatnonzero(np.abs(samples) > SILENT * np.abs(samples).max(initial=1e-9))
        return samples[loud[0] : loud[-1] + 1] if len(loud) else samples[:0]


class Cast:
    """All who can speak, by split."""

    def __init__(self, espeak: voices.Espeak, flite: Sequence[voices.Flite]) -> None:
        self._espeak = espeak
        self._variants: dict[str, list[str]] = {split: [] for split in SPLITS}
        for variant in espeak.variants():
            self._variants[voices.split_of(variant)].append(variant)
        random = np.random.default_rng(0)
        self._flite = [Person(v, *_manner(random), {}) for v in flite for _ in range(MANNERS)]

    def drawn(self, split: str, random: np.random.Generator) -> Person:
        """Somebody of the split's own persons, in an accent that the split has."""
        if split == "train" and self._flite and random.random() < FLITE_SHARE:
            return self._flite[random.integers(len(self._flite))]
        accents = voices.ACCENTS + (voices.UNHEARD_ACCENTS if split == "test" else ())
        variant = str(random.choice(self._variants[split]))
        voice = self._espeak.voice(variant, str(random.choice(accents)))
        return Person(voice, *_manner(random))

    def said(
        self, text: str, split: str, slow: float, random: np.random.Generator
    ) -> tuple[Person, np.ndarray]:
        """Somebody, and how they say it, ``[n]`` (``spoken``); somebody else, where that takes too
        long."""
        for _ in range(ATTEMPTS):
            person = self.drawn(split, random)
            samples = spoken(text, person, slow, random)
            if len(samples) <= LONGEST * RATE:
                break
        return person, samples


def _manner(random: np.random.Generator) -> tuple[voices.Manner, float]:
    pace = float(np.exp(random.uniform(*np.log(PACES))))
    gap = float(random.choice([0, 0, 0.03, 0.1]))
    manner = voices.Manner(pace, float(random.uniform(-1, 1)), float(random.random()), gap)
    return manner, float(random.uniform(0.9, 1.12))


# How it is said


def spoken(text: str, person: Person, slow: float, random: np.random.Generator) -> np.ndarray:
    """``[n]`` int16 at ``RATE``, with some silence at both ends.

    Args:
        slow: chance that words are said one by one, each for itself; half as often again the
            speaker takes a breath between some of them.
    """
    words, chance = text.split(), random.random()
    if chance < slow:
        parts = list(_one_by_one(words, person, random))
    elif chance < 1.5 * slow:
        breaths = random.random(len(words) - 1) < 0.3
        joined = "".join(
            word + (", " if breath else " ")
            for word, breath in zip(words, [*breaths, False], strict=True)
        )
        parts = [person.say(joined.strip(), random)]
    else:
        parts = [person.say(text, random)]
    ends = (random.uniform(0.05, 0.5, 2) * RATE).astype(int)
    samples = np.concatenate([np.zeros(ends[0]), *parts, np.zeros(ends[1])])
    peak = 10 ** (random.uniform(-15, -2) / 20)
    return int16(samples * peak / max(np.abs(samples).max(), 1e-9))


def _one_by_one(
    words: Sequence[str], person: Person, random: np.random.Generator
) -> Iterator[np.ndarray]:
    """Words and the pauses between them, of a length that one speaker keeps to."""
    usual = float(np.exp(random.uniform(np.log(0.02), np.log(0.6))))  # seconds
    for number, word in enumerate(words):
        if number:
            yield np.zeros(int(usual * random.uniform(0.6, 1.5) * RATE))
        yield person.say(word + str(random.choice([".", ","])), random)


if __name__ == "__main__":
    cli.main(run, SynthesiseConfig, prog="python -m apps.speech.synthesise")
