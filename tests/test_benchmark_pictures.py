"""The README's pictures: what they are made from, and that they stay small."""

from pathlib import Path

import pytest
from PIL import Image

from benchmarks import pictures
from tests.commands import ROOT, command, refusal


def test_a_wide_picture_becomes_small(tmp_path: Path) -> None:
    study = tmp_path / "some_study"
    study.mkdir()
    Image.linear_gradient("L").resize((1500, 500)).convert("RGB").save(study / "results.png")
    answer = command("benchmarks.pictures", study, "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    with Image.open(tmp_path / "out" / "some_study.png") as made:
        assert made.size == (880, 293)
        assert len(made.getcolors() or []) <= pictures.COLOURS
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["some_study.png"]


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    assert "not a run's folder" in refusal(command("benchmarks.pictures", tmp_path))
    assert "no folder is named" in refusal(command("benchmarks.pictures"))


@pytest.mark.parametrize("name", [*pictures.DRAWN, *pictures.MADE, "vanishing_gradients"])
def test_every_picture_is_there_and_a_document_shows_it(name: str) -> None:
    with Image.open(ROOT / "docs" / "pictures" / f"{name}.png") as picture:
        picture.verify()
    documents = [ROOT / "README.md", ROOT / "docs" / "mathematics.md"]
    assert any(f"pictures/{name}.png" in path.read_text(encoding="utf-8") for path in documents)


def test_all_pictures_together_are_small() -> None:
    found = list((ROOT / "docs" / "pictures").iterdir())
    assert sum(path.stat().st_size for path in found) < pictures.MOST_BYTES
