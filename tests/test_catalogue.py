"""Datasets are prepared once, however many processes want them."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tensorflow_datasets as tfds

from common import catalogue
from common.errors import UserError


class SlowlyMade(tfds.core.GeneratorBasedBuilder):
    """Five numbers, which take a while."""

    VERSION = tfds.core.Version("1.0.0")
    made: ClassVar[list[int]] = []

    def _info(self) -> Any:
        features = tfds.features.FeaturesDict({"n": np.int64})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager: Any) -> Any:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[Any]:
        self.made.append(1)
        time.sleep(0.5)
        for n in range(5):
            yield n, {"n": n}


def test_a_dataset_that_several_want_at_once_is_made_once(tmp_path: Path) -> None:
    builders = [SlowlyMade(data_dir=tmp_path) for _ in range(3)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda builder: catalogue.prepare(builder, "slow"), builders))
    assert len(SlowlyMade.made) == 1
    for builder in builders:
        numbers = [int(row["n"]) for row in tfds.as_numpy(builder.as_dataset(split="train"))]
        assert sorted(numbers) == [0, 1, 2, 3, 4]


def test_what_fails_is_one_line_and_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any) -> Iterator[Any]:
        raise OSError("no\nsuch host")

    monkeypatch.setattr(SlowlyMade, "_generate_examples", fail)
    for _ in range(2):
        with pytest.raises(UserError, match="--dataset slow: can't be prepared: no such host"):
            catalogue.prepare(SlowlyMade(data_dir=tmp_path), "slow")
