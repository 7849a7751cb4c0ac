"""Sensor streams by name: the packaged recordings and the TFDS catalogue; or the user's own."""

import hashlib
import importlib.util
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from apps.gesture import tables
from apps.gesture.config import TableConfig
from apps.gesture.streams import Corpus, Stream, resampled
from common import catalogue
from common.errors import UserError

PACKAGED = ("watch",)
WATCH_SHA256 = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"
WATCH_RATE = 50.0
SIDES = {0.0: "left", 1.0: "right"}
# On the other arm the watch's x axis points the other way: a reflection in the plane across it.
# Accelerations turn round along x, rates of turn (an axial vector) along y and z.
WATCH_MIRROR = (-1.0, 1.0, 1.0, 1.0, -1.0, -1.0)
SUBJECTS = ("subject", "participant", "user", "person")  # what features are called
TIME = "time_millis"


class Watch(tfds.core.GeneratorBasedBuilder):
    """Seven shoulder exercises, recorded by a smartwatch (Burns et al. 2018, arXiv:1802.01489):
    140 recordings of 20 repetitions each, ten subjects, both sides, acceleration (g) and rate
    of turn (rad/s) at 50 Hz. From the file that the pip package ``seglearn`` carries
    (BSD 3-clause), read without importing the package.

    The file is a pickle inside an ``.npy``. It is opened only if its SHA-256 is the one that
    was looked at when this was written.
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        recordings = watch_recordings()
        return tfds.core.DatasetInfo(
            builder=self,
            description="Recordings of shoulder exercises from the pip package seglearn.",
            features=tfds.features.FeaturesDict(
                {
                    "values": {
                        name: tfds.features.Tensor(shape=(None,), dtype=np.float32)
                        for name in recordings["X_labels"]
                    },
                    "label": tfds.features.ClassLabel(names=recordings["y_labels"]),
                    "subject": tfds.features.Text(),
                    "side": tfds.features.Text(),
                }
            ),
            homepage="https://pypi.org/project/seglearn/",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples(watch_recordings())}

    def _generate_examples(
        self, recordings: Mapping[str, Any]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        rows = zip(*(recordings[k] for k in ("X", "y", "subject", "side")), strict=True)
        for number, (values, label, subject, side) in enumerate(rows):
            channels = np.asarray(values, np.float32).T
            yield (
                number,
                {
                    "values": dict(zip(recordings["X_labels"], channels, strict=True)),
                    "label": int(label),
                    "subject": str(int(subject)),
                    "side": SIDES[float(side)],
                },
            )


def watch_recordings() -> dict[str, Any]:
    """What the package carries: ``X``, ``y``, ``subject``, ``side`` of each recording, and the
    names ``X_labels`` and ``y_labels``.

    Raises:
        UserError: if the package is not installed, or carries another file.
    """
    package = importlib.util.find_spec("seglearn")
    if package is None or not package.submodule_search_locations:
        raise UserError("the package seglearn is missing: pip install seglearn==1.2.5")
    path = Path(package.submodule_search_locations[0]) / "data" / "watch_dataset.npy"
    if not path.is_file():
        raise UserError(
            f"{path}: no such file, expected seglearn 1.2.5: pip install seglearn==1.2.5"
        )
    return unpickled(path.read_bytes(), str(path))


def unpickled(content: bytes, where: str) -> dict[str, Any]:
    """The dictionary in the packaged file.

    Raises:
        UserError: for any other file: a pickle can run code as it is read.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != WATCH_SHA256:
        raise UserError(
            f"{where}: SHA-256 {found[:12]}..., expected {WATCH_SHA256[:12]}... of seglearn 1.2.5"
        )
    return np.load(io.BytesIO(content), allow_pickle=True).item()


def load(dataset: str, data: Path | None, config: TableConfig) -> Corpus:
    """The streams of the user's own `data`, or else of the named `dataset`.

    Raises:
        UserError: for whatever in them can't be used.
    """
    if data is not None:
        corpus = tables.read(data, config)
        if len(corpus.classes) < 2:
            raise UserError(f"{data}: one label, {corpus.classes[0]!r}; expected two or more")
        return corpus
    return load_named(dataset, config)


def load_named(dataset: str, config: TableConfig) -> Corpus:
    """The packaged recordings, or those of a TFDS dataset with a class label, sequences of
    numbers, and a subject.

    Raises:
        UserError: for an unknown name, or a dataset that can't be fetched or has other features.
    """
    if dataset in PACKAGED:
        watch_recordings()  # its errors as they are: TFDS would wrap them
    builder = catalogue.find(dataset, dataset, PACKAGED)
    label, subject = _roles(builder.info.features, dataset)
    catalogue.prepare(builder, dataset)
    examples = [
        example
        for split in sorted(builder.info.splits)
        for example in tfds.as_numpy(builder.as_dataset(split=split))
    ]
    places = "side" if dataset == "watch" else None
    sequences = [_sequences(example) for example in examples]
    channels = tuple(name for name in sequences[0] if not name.startswith("time"))
    rates = [_rate(s, dataset, config) for s in sequences]
    rate = float(np.nanmedian(rates))
    streams = []
    for number, (example, columns) in enumerate(zip(examples, sequences, strict=True), 1):
        where = f"--dataset {dataset}: recording {number}"
        values = _even(columns, channels, rate, where)
        stream = Stream(
            str(number),
            _text(example[subject]),
            values,
            np.full(len(values), example[label], np.int32),
            _text(example[places]) if places else "",
        )
        streams.append(resampled(stream, rate, config.resample or rate))
    return Corpus(
        dataset,
        tuple(builder.info.features[label].names),
        channels,
        config.resample or rate,
        tuple(streams),
        isolated=True,
        mirror=WATCH_MIRROR if dataset == "watch" else None,
    )


def _roles(features: Any, dataset: str) -> tuple[str, str]:
    described = dict(features.items()) if hasattr(features, "items") else {}
    labels = [n for n, f in described.items() if isinstance(f, tfds.features.ClassLabel)]
    subjects = [name for name in SUBJECTS if name in described]
    if len(labels) != 1 or not subjects:
        raise UserError(
            f"--dataset {dataset}: expected one class label, and a feature {' or '.join(SUBJECTS)}"
            f"; found {', '.join(described) or 'none'}"
        )
    return labels[0], subjects[0]


def _sequences(example: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The sequences of numbers of an example, those inside a feature of features too."""
    found: dict[str, np.ndarray] = {}
    for name in sorted(example):
        if isinstance(example[name], Mapping):
            found |= _sequences(example[name])
        elif np.ndim(example[name]) == 1 and np.asarray(example[name]).dtype.kind in "fiu":
            found[name] = np.asarray(example[name])
    return found


def _rate(sequences: Mapping[str, np.ndarray], dataset: str, config: TableConfig) -> float:
    if dataset == "watch":
        return WATCH_RATE
    if config.rate is not None:
        return config.rate
    if TIME not in sequences:
        raise UserError(f"--dataset {dataset}: it says no sample rate: give it with --rate")
    apart = np.diff(sequences[TIME].astype(np.float64)) / 1000
    return 1 / float(np.median(apart[apart > 0])) if (apart > 0).any() else float("nan")


def _even(
    sequences: Mapping[str, np.ndarray], channels: tuple[str, ...], rate: float, where: str
) -> np.ndarray:
    """``[time, channels]`` float32 in equal steps: by linear interpolation, where there are
    times."""
    lengths = {len(sequences[name]) for name in channels if name in sequences}
    if len(lengths) != 1 or any(name not in sequences for name in channels):
        raise UserError(f"{where}: expected {len(channels)} channels of one length")
    columns = [sequences[name].astype(np.float64) for name in channels]
    if not np.isfinite(columns).all() or not lengths.pop():
        raise UserError(f"{where}: expected finite numbers, one frame at least")
    if TIME in sequences:
        order = np.argsort(sequences[TIME], kind="stable")
        times = sequences[TIME][order].astype(np.float64) / 1000
        even = np.arange(times[0], times[-1] + 1e-9, 1 / rate)
        columns = [np.interp(even, times, column[order]) for column in columns]
    return np.stack(columns, axis=1).astype(np.float32)


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
