"""The snippets of docs/scaling.md, run as they stand there."""

import json
import re
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds

from tests.commands import ROOT


def snippets() -> list[str]:
    text = (ROOT / "docs" / "scaling.md").read_text()
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


class Numbers(tfds.core.GeneratorBasedBuilder):
    """Ten numbers."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict({"number": tf.int64})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Any:
        for number in range(10):
            yield number, {"number": number}


def test_workers_read_their_own_parts_of_a_split(tmp_path: Path) -> None:
    Numbers(data_dir=tmp_path).download_and_prepare()
    read = []
    for index in range(2):
        names: dict[str, Any] = {"workers": 2, "index": index, "name": "numbers"}
        names["folder"] = tmp_path
        exec(snippets()[0], names)
        read.append([int(row["number"]) for row in names["dataset"]])
    assert [len(part) for part in read] == [5, 5]
    assert sorted(read[0] + read[1]) == list(range(10))


def test_other_processes_make_each_element_once() -> None:
    names: dict[str, Any] = {"source": tf.data.Dataset.range(20), "batch_size": 4}
    names["prepare"] = lambda number: number * number
    exec(snippets()[1], names)
    made = [int(number) for batch in names["dataset"] for number in batch]
    assert sorted(made) == [number * number for number in range(20)]


def test_there_are_no_other_snippets() -> None:
    assert len(snippets()) == 2
    assert json.loads(re.search(r'\{"cluster".*\}', (ROOT / "docs/scaling.md").read_text())[0])  # type: ignore[index]
