"""The packaged recordings, their TFDS builder, and other datasets of the catalogue."""

import importlib.machinery
import importlib.util
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from numpy.testing import assert_allclose, assert_array_equal

from apps.gesture.augment import triads
from apps.gesture.config import TableConfig
from apps.gesture.data import WATCH_MIRROR, WATCH_SHA256, load, unpickled, watch_recordings
from apps.gesture.streams import Corpus
from common.errors import UserError

PLAIN = TableConfig()


@pytest.fixture(scope="module")
def watch() -> Corpus:
    return load("watch", None, PLAIN)


# The packaged recordings


def test_the_corpus_has_every_recording_of_the_package(watch: Corpus) -> None:
    raw = watch_recordings()
    assert watch.classes == ("PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW")
    assert watch.channels == ("ax", "ay", "az", "wx", "wy", "wz")
    assert (watch.rate, watch.isolated, len(watch.streams)) == (50, True, 140)
    assert watch.subjects == tuple(map(str, range(1, 11)))
    found = {(s.subject, s.place, int(s.labels[0])): s for s in watch.streams}
    assert len(found) == 140
    for values, label, subject, side in zip(
        raw["X"], raw["y"], raw["subject"], raw["side"], strict=True
    ):
        place = {0: "left", 1: "right"}[int(side)]
        stream = found.pop((str(int(subject)), place, int(label)))
        assert stream.values.dtype == np.float32
        assert_array_equal(stream.values, np.asarray(values, np.float32))
        assert stream.labels.dtype == np.int32
        assert_array_equal(stream.labels, np.full(len(values), label))
    assert not found


def test_the_builder_gives_the_recordings_by_name() -> None:
    examples, info = tfds.load("watch", split="train", with_info=True)
    assert info.features["label"].names == ["PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW"]
    found = list(tfds.as_numpy(examples))
    assert len(found) == info.splits["train"].num_examples == 140
    assert {example["side"] for example in found} == {b"left", b"right"}
    gravity = [
        np.linalg.norm([example["values"][name].mean() for name in ("ax", "ay", "az")])
        for example in found
    ]
    assert np.median(gravity) == pytest.approx(1, abs=0.05)  # g
    assert 0.5 < min(gravity) < max(gravity) < 2


def test_the_mirror_makes_a_left_arm_of_a_right_one(watch: Corpus) -> None:
    of = {(s.subject, s.place, int(s.labels[0])): s.values for s in watch.streams}
    turned = np.array(WATCH_MIRROR)
    assert_array_equal(np.abs(turned), np.ones(6))

    def apart(one: np.ndarray, other: np.ndarray) -> float:
        """How much the correlations of the channels differ."""
        return float(np.abs(np.corrcoef(one.T) - np.corrcoef(other.T)).mean())

    pairs = [
        (of[subject, "left", label], of[subject, "right", label])
        for subject in watch.subjects
        for label in range(7)
    ]
    before = np.mean([apart(left, right) for left, right in pairs])
    assert np.mean([apart(left * turned, right) for left, right in pairs]) < before / 2
    for channel in range(6):  # and no sign can be spared
        wrong = turned.copy()
        wrong[channel] *= -1
        assert np.mean([apart(left * wrong, right) for left, right in pairs]) > before / 2
    assert watch.mirror == WATCH_MIRROR


def test_the_corpus_at_another_rate(watch: Corpus) -> None:
    slow = load("watch", None, TableConfig(resample=25))
    assert slow.rate == 25
    for one, other in zip(slow.streams, watch.streams, strict=True):
        assert (one.subject, one.place) == (other.subject, other.place)
        assert len(one) == (len(other) + 1) // 2
        assert_allclose(one.values.mean(axis=0), other.values.mean(axis=0), atol=0.05)


class Trap:
    """Runs code when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_no_other_pickle_is_opened(tmp_path: Path) -> None:
    content = pickle.dumps(Trap(tmp_path / "ran"))
    with pytest.raises(UserError, match=rf"^x\.npy: SHA-256 .*expected {WATCH_SHA256[:12]}"):
        unpickled(content, "x.npy")
    assert not (tmp_path / "ran").exists()
    pickle.loads(content)
    assert (tmp_path / "ran").exists()  # it would have


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "seglearn" else real(name)
    )
    with pytest.raises(UserError) as error:
        load("watch", None, PLAIN)
    assert str(error.value) == "the package seglearn is missing: pip install seglearn==1.2.5"


def test_another_version_of_the_package_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = importlib.machinery.ModuleSpec("seglearn", None, is_package=True)
    found.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: found)
    with pytest.raises(UserError, match=r"watch_dataset\.npy: no such file, expected seglearn 1"):
        watch_recordings()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "watch_dataset.npy").write_bytes(b"another")
    with pytest.raises(UserError, match=r"watch_dataset\.npy: SHA-256 .*expected .*of seglearn 1"):
        watch_recordings()


# Other datasets of TFDS


@pytest.mark.parametrize("name", ["no_such_gestures", "", "../watch", "a b"])
def test_an_unknown_name_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(UserError, match="expected watch or a name in the TFDS cat") as error:
        load(name, None, PLAIN)
    assert str(error.value).startswith(f"--dataset {name}: ")
    assert len(str(error.value).splitlines()) == 1


def test_a_dataset_without_a_subject_is_refused_with_its_features() -> None:
    with pytest.raises(
        UserError, match=r"^--dataset mnist: expected one class label, and a .*found image, label"
    ):
        load("mnist", None, PLAIN)


class Wrists(tfds.core.GeneratorBasedBuilder):
    """The features of ``smartwatch_gestures``, which can't be fetched here, with made-up rows:
    one reading is missing, and some are in the wrong order."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> Any:
        features = tfds.builder("smartwatch_gestures").info.features
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Any:
        for number in range(6):
            moments = np.delete(np.arange(30 + number), 7)
            moments[3:20] = moments[3:20][::-1]
            axes = {f"accel_{axis}": moments**2 * slope for axis, slope in zip("xyz", (1.0, 2, 3))}  # noqa: B905
            times = {f"time_{unit}": moments * 100 for unit in ("millis", "nanos", "event")}
            yield (
                number,
                {
                    "attempt": number,
                    "participant": number % 3 + 1,
                    "gesture": number,
                    "features": axes | times,
                },
            )


def test_smartwatch_gestures_is_read_by_its_features() -> None:
    corpus = load("wrists", None, PLAIN)
    assert corpus.channels == ("accel_x", "accel_y", "accel_z")
    assert triads(corpus.channels) == [(0, 1, 2)]
    assert corpus.rate == pytest.approx(10)
    assert corpus.isolated
    assert corpus.mirror is None
    assert len(corpus.classes) == 20
    assert corpus.subjects == ("1", "2", "3")
    for stream in corpus.streams:
        number = int(stream.labels[0])
        assert stream.subject == str(number % 3 + 1)
        wanted = np.arange(30.0 + number) ** 2
        wanted[7] = (6**2 + 8**2) / 2
        wanted = wanted[:, np.newaxis] * np.array([1, 2, 3])
        assert_allclose(stream.values, wanted, atol=1e-4)  # on an even grid, in order


def test_the_real_smartwatch_gestures_has_these_features() -> None:
    features = tfds.builder("smartwatch_gestures").info.features
    assert features["gesture"].num_classes == 20
    assert {"participant", "attempt", "features"} < set(features)
