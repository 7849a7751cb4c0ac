"""Pieces by name: the packaged corpora and the TFDS catalogue; or the user's own files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from apps.music import benchmark, corpora
from apps.music.pieces import HELD, KEYS, PARTS, SHARES, Corpus, Piece, split
from common import catalogue
from common.errors import UserError

NAME = "music21_scores"
FACTS = {
    "chorales": "Bach's chorales for four voices.",
    "folk": "Melodies of the Essen folk song collection.",
}


class Music21Scores(tfds.core.GeneratorBasedBuilder):
    """Scores that the pip package ``music21`` carries, on a grid of sixteenth notes.

    An example is a piece: its name, ``frames`` (``[time, 88]`` uint8: 0 silent, 1 struck, 2
    held), ``bar`` (frames in a bar, 0 if not known) and ``offset`` (the place of the first
    frame in its bar). Parts are by tune, 80/10/10 % of the pieces: pieces whose melodies begin
    alike, in whatever key, stay on one side.

    The scores are those of the music21 corpus, under the licences that the package states.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012 (the name and type are the base class's)
        tfds.core.BuilderConfig(name=name, description=facts) for name, facts in FACTS.items()
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{FACTS[self.builder_config.name]} From the pip package music21.",
            features=tfds.features.FeaturesDict(
                {
                    "name": tfds.features.Text(),
                    "frames": tfds.features.Tensor(shape=(None, KEYS), dtype=np.uint8),
                    "bar": np.int32,
                    "offset": np.int32,
                }
            ),
            homepage="https://pypi.org/project/music21/",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        parse = {"chorales": corpora.chorales, "folk": corpora.folk}[self.builder_config.name]
        pieces, refused = parse()
        corpora.tell(refused)
        parts = split(pieces, SHARES, seed=0)
        return {
            part: self._generate_examples(found) for part, found in zip(PARTS, parts, strict=True)
        }

    def _generate_examples(self, pieces: Sequence[Piece]) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, piece in enumerate(pieces):
            yield (
                f"{number:05d}",
                {
                    "name": piece.name,
                    "frames": piece.frames,
                    "bar": piece.bar,
                    "offset": piece.offset,
                },
            )


def load(
    dataset: str, data: Path | None, resolution: int | None = None, *, strict: bool = False
) -> Corpus:
    """The pieces of the user's file or folder `data`, or else of the named `dataset`.

    Args:
        dataset: chorales or folk, or a name in the TFDS catalogue with the same features.
        data: a benchmark file (``benchmark.SUFFIXES``), or a folder of MIDI and MusicXML.
        resolution: frames in a quarter note; if not given, 1 for a benchmark file, else 4.
        strict: refuses a folder with a file in it that can't be used, instead of naming it.

    Raises:
        UserError: for whatever in them can't be used.
    """
    if data is None:
        if resolution is not None:
            raise UserError("--resolution goes with --data: a named dataset has its own")
        return _named(dataset)
    if data.is_dir():
        pieces = corpora.own(data, resolution or corpora.RESOLUTION, strict=strict)
        return _corpus(str(data), split(pieces, SHARES, seed=0), resolution or corpora.RESOLUTION)
    if not data.is_file():
        raise UserError(f"{data}: no such file or folder")
    if data.suffix.lower() not in benchmark.SUFFIXES:
        expected = ", ".join(benchmark.SUFFIXES)
        raise UserError(f"{data}: expected a folder of MIDI or MusicXML files, or {expected}")
    parts = benchmark.read(data)
    return Corpus(data.stem, **parts, resolution=resolution or 1, articulated=False)


def _named(dataset: str) -> Corpus:
    name = f"{NAME}/{dataset}" if dataset in FACTS else dataset
    builder = catalogue.find(name, dataset, FACTS)
    features = builder.info.features
    if features is None or not {"frames", "bar", "offset"} <= set(features):
        found = ", ".join(features) if features else "none"
        raise UserError(
            f"--dataset {dataset}: expected features name, frames, bar and offset, found {found}"
        )
    catalogue.prepare(builder, dataset)
    parts = [
        [
            Piece(e["name"].decode(), e["frames"], int(e["bar"]), int(e["offset"]))
            for e in tfds.as_numpy(builder.as_dataset(split=part))
        ]
        for part in PARTS
    ]
    return _corpus(dataset, parts, corpora.RESOLUTION)


def _corpus(name: str, parts: Sequence[Sequence[Piece]], resolution: int) -> Corpus:
    articulated = any((piece.frames == HELD).any() for part in parts for piece in part)
    train, validation, test = map(tuple, parts)
    return Corpus(name, train, validation, test, resolution, articulated)
