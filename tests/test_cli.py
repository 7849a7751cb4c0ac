"""The command line: help, presets, and one line for whatever can't be used."""

import dataclasses
import json
import re
import sys
import typing
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import pytest

from apps.sentiment.config import PRESETS, SentimentConfig
from common import cli
from common.cells import CELLS
from common.config import CellName, TrainConfig, to_json
from common.errors import UserError
from tests.commands import child, command, refusal

TRAIN = "apps.sentiment.train"
SHARED_FLAGS = [
    *("--run-dir", "--dataset", "--data", "--cell", "--units", "--layers", "--epochs"),
    *("--batch-size", "--learning-rate", "--seed", "--precision", "--jit", "--strategy"),
    *("--init-from", "--resume", "--checkpoint-minutes", "--keep-checkpoints", "--worker-minutes"),
    *("--sweep", "--trials", "--sweep-over"),
]
FLAGS = {
    "train": [*SHARED_FLAGS, "--preset", "--text-column", "--label-column"],
    "predict": ["--run", "--file", "--out", "--explain", "--text-column"],
    "evaluate": ["--run", "--dataset", "--data", "--out", "--label-column"],
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Cook something."""

    preset: Literal["default", "slow"] = "default"
    minutes: int = 10
    heat: float = 0.5
    name: str = "soup"


RECIPES: dict[str, dict[str, Any]] = {"default": {}, "slow": {"minutes": 90, "heat": 0.2}}


def parse(*words: str) -> Recipe:
    return cli.parse(Recipe, words, prog="cook", presets=RECIPES)


# --help


@pytest.mark.parametrize("name", FLAGS)
def test_help_names_the_flags_and_imports_no_tensorflow(name: str) -> None:
    answer = child("-X", "importtime", "-m", f"apps.sentiment.{name}", "--help")
    assert answer.code == 0
    assert [flag for flag in FLAGS[name] if flag not in answer.out] == []
    imported = {line.rpartition("|")[2].strip() for line in answer.err.splitlines()}
    assert "tyro" in imported
    assert not {"tensorflow", "keras", "keras_tuner", "pandas", "sklearn"} & imported


@pytest.mark.parametrize("name", FLAGS)
def test_a_file_can_be_run_by_its_path_too(name: str, root: Path) -> None:
    answer = child(root / "apps" / "sentiment" / f"{name}.py", "--help")
    assert answer.code == 0
    assert FLAGS[name][0] in answer.out


# Refusals


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--cell rnn", "cell.*simple.*irnn.*lstm.*gru.*mgu"),
        ("--epoch-count 3", "--epoch-count"),
        ("--preset fast", "fast.*default.*best"),
        ("--preset=fast", "fast.*default.*best"),
        ("--epochs 0", "--epochs 0: expected a value above 0"),
        ("--preset best --epochs 0", "--epochs 0: expected a value above 0"),
        ("--epochs two", "--epochs"),
        ("--units -3", "--units -3: expected a value above 0"),
        ("--batch-size 0", "--batch-size 0"),
        ("--learning-rate x", "--learning-rate"),
        ("--learning-rate nan", "--learning-rate nan"),
        ("--learning-rate -1", "--learning-rate -1"),
        ("--warmup 1.5", "--warmup 1.5: .*below 1"),
        ("--average 1", "--average 1.0: .*below 1"),
        ("--seed -1", "--seed -1"),
        ("--clip-norm -1", "--clip-norm -1"),
        ("--readout-dropout 1", "--readout-dropout 1"),
        ("--members 0", "--members 0"),
        ("--precision float8", "--precision.*float32.*mixed_bfloat16"),
        ("--strategy everywhere", "--strategy.*none.*mirrored.*multi-worker"),
        ("stray", "stray"),
    ],
)
def test_a_bad_value_is_one_line_and_makes_no_folder(
    words: str, expected: str, tmp_path: Path
) -> None:
    line = refusal(command(TRAIN, "--run-dir", tmp_path / "run", *words.split()))
    assert line.startswith(f"python -m {TRAIN}: error: ")
    assert re.search(expected, line), line
    assert not (tmp_path / "run").exists()


def test_a_refusal_of_a_process_of_its_own_is_one_line_as_well() -> None:
    assert "--epochs 0: expected" in refusal(child("-m", TRAIN, "--epochs", 0))


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (UserError("row 3:\n  no text"), 2, "cook: error: row 3: no text\n"),
        (KeyboardInterrupt(), 130, "cook: interrupted\n"),
        (None, 0, ""),
    ],
)
def test_the_exit_code_says_how_a_command_ended(
    raised: BaseException | None, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cook = mock.Mock(side_effect=raised)
    with mock.patch.object(sys, "argv", ["cook"]), pytest.raises(SystemExit) as stop:
        cli.main(cook, Recipe, prog="cook")
    assert stop.value.code == code
    assert capsys.readouterr().err == said


def test_a_mistake_of_our_own_keeps_its_traceback() -> None:
    cook = mock.Mock(side_effect=ZeroDivisionError)
    with mock.patch.object(sys, "argv", ["cook"]), pytest.raises(ZeroDivisionError):
        cli.main(cook, Recipe, prog="cook")


# Presets


def test_flags_win_over_the_preset_and_the_preset_over_the_defaults() -> None:
    assert parse() == Recipe()
    assert parse("--preset", "slow") == Recipe("slow", 90, 0.2, "soup")
    assert parse("--minutes", "3", "--preset=slow") == Recipe("slow", 3, 0.2, "soup")
    assert parse("--preset", "slow", "--minutes", "10") == Recipe("slow", 10, 0.2, "soup")


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_of_the_application_is_a_valid_configuration(preset: str) -> None:
    words = ["--preset", preset, "--units", "7"]
    config = cli.parse(SentimentConfig, words, prog="train", presets=PRESETS)
    values = dataclasses.asdict(config)
    expected = {**PRESETS[preset], "preset": preset, "units": 7}
    assert {name: values[name] for name in expected} == expected


# Configurations


def test_the_names_of_cells_are_those_there_are() -> None:
    assert typing.get_args(CellName) == tuple(CELLS)


def test_a_configuration_is_whole_as_json() -> None:
    config = SentimentConfig(data=Path("reviews.csv"), units=7)
    values = json.loads(json.dumps(to_json(config), allow_nan=False))
    assert set(values) == {field.name for field in dataclasses.fields(SentimentConfig)}
    assert values["data"] == str(Path("reviews.csv").absolute())
    again = SentimentConfig(**{**values, "data": Path(values["data"])})
    assert to_json(again) == values


def test_a_configuration_made_in_code_is_checked_too() -> None:
    with pytest.raises(UserError, match="--batch-size 0"):
        TrainConfig(batch_size=0)
