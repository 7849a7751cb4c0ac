"""What the page of a run shows and plays: short pieces that the network composed, a tune of the
test part that it set or went on with, the data, and how to ask the run."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from apps.music import keys, plots, render, report, serving
from apps.music.config import MusicConfig
from apps.music.pieces import Corpus, Piece, notes_of
from apps.music.settings import Settings, asked, draw
from common.page import Block, Picture, Section, Sound, about_data, asking
from common.plots import save
from common.runs import Run

SOURCES = {
    "chorales": "Bach's chorales for four voices from the corpus of the pip package music21, "
    "under the licences that the package states.",
    "folk": "Melodies of the Essen folk song collection from the corpus of the pip package "
    "music21, for non-commercial use: the collection's own licence is in the package.",
}
COMPOSED = 2  # pieces
HEARD = 19  # quarter notes of each piece at most: with their echo 15 s
LED = 2  # bars of a melody that are given where the network goes on from there


def sections(
    config: MusicConfig,
    result: Mapping[str, Any],
    run: Run,
    corpus: Corpus,
    settings: Settings,
    ensemble: Any,
) -> list[Section]:
    """The sections of a run's page; draws their pictures. What is composed depends on the run's
    seed and its networks alone, and moves no other random number.

    Args:
        result: what metrics.json will hold.
        ensemble: a ``serving.Ensemble`` or ``singing.Singers``.
    """
    composed: list[Block] = []
    for number in range(1, COMPOSED + 1):
        steps = whole_bars(serving.usual_bar(corpus), corpus.resolution)
        piece = serving.sample(ensemble, corpus, steps, seed=config.seed + number)
        told = f"Piece {number}, composed from nothing"
        composed += shown(run, f"composed_{number}", replace(piece, name=told), corpus, told)
    led = continued if settings.head == "events" else harmonised
    piece = beginning(corpus.test[0], corpus.resolution)
    given = asked(piece, settings)
    bar, offset = int(given["bar"]), int(given["offset"])
    how = draw(seed=config.seed, bar=bar, offset=offset, key=keys.of(piece))
    return [
        Section("Composed", composed),
        led(run, corpus, piece, tf.constant(given["roll"]), how, ensemble),
        about_data(result["dataset"], config.data, SOURCES),
        asking(report.commands(result, run.path)),
    ]


Drawing = Mapping[str, tf.Tensor]
"""What ``settings.draw`` gives."""


def harmonised(
    run: Run, corpus: Corpus, piece: Piece, roll: tf.Tensor, how: Drawing, ensemble: Any
) -> Section:
    """The highest line of a test piece with what the network sets below it, and the piece as it
    was written.

    Args:
        roll: of the piece, ``[1, time, 88]``.
    """
    found = tf.function(ensemble.harmonise)(roll, roll[:, :0], **how)["roll"]
    told = f"The melody of {piece.name}, of the test part, and what the network sets below it"
    blocks = shown(run, "harmonised", of_roll(found, piece), corpus, told)
    return Section("A melody harmonised", [*blocks, *as_written(run, piece, corpus)])


def continued(
    run: Run, corpus: Corpus, piece: Piece, roll: tf.Tensor, how: Drawing, ensemble: Any
) -> Section:
    """The beginning of a test melody and how the network goes on, and the melody as it was
    written, of ``[1, time, 88]``; arguments as of ``harmonised``."""
    given = min(len(piece) // 2, LED * piece.bar or len(piece) // 2)
    steps = tf.constant(len(piece) - given)
    found = ensemble.compose(roll[:, :given], steps, **how)["roll"]
    told = f"The beginning of {piece.name}, of the test part, in grey, and how the network goes on"
    blocks = shown(run, "continued", of_roll(found, piece), corpus, told, given)
    return Section("A melody continued", [*blocks, *as_written(run, piece, corpus)])


def of_roll(roll: tf.Tensor, like: Piece) -> Piece:
    """A roll, ``[1, time, 88]``, as a piece in the metre of another."""
    return replace(like, frames=roll.numpy()[0].astype(np.uint8))


def as_written(run: Run, piece: Piece, corpus: Corpus) -> list[Block]:
    """A test piece itself, to compare with."""
    return shown(run, "written", piece, corpus, f"{piece.name} as it was written")


def shown(
    run: Run, name: str, piece: Piece, corpus: Corpus, told: str, given: int = 0
) -> list[Block]:
    """A piece as ``plots/NAME.png`` and as sound; ``given`` frames of it are not the network's."""
    grid = (corpus.resolution, corpus.articulated)
    picture = run.plots / f"{name}.png"
    save(plots.piano_roll(piece, *grid, given=given, title=told), picture)
    struck = len(notes_of(piece.frames, corpus.articulated))
    quarters = len(piece) / corpus.resolution
    words = f"Piano roll of {struck} notes in {quarters:g} quarter notes. {told}"
    heard = render.sound(piece, *grid, render.TEMPO)
    return [Picture(picture, words), Sound(told, heard, render.RATE)]


def beginning(piece: Piece, resolution: int) -> Piece:
    """As much of a piece as is played: whole bars, where it has bars, with their upbeat."""
    end = whole_bars(piece.bar, resolution)
    if end > piece.offset:  # the last bar ends where the first began
        end -= piece.offset
    return replace(piece, frames=piece.frames[:end])


def whole_bars(bar: int, resolution: int) -> int:
    """How many frames are played: whole bars of `bar` frames, if one fits."""
    most = HEARD * resolution
    return most // bar * bar or most if bar else most
