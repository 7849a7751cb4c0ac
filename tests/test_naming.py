"""What means the same is called the same in all applications: flags, scores, files of a run."""

import dataclasses
import importlib
import json
import re
import types
import typing
from pathlib import Path

import pytest

from tests import gesture_runs, music_pieces, sentiment_runs, speech_runs, timeseries_runs
from tests.commands import ROOT

RUNS = {
    "sentiment": sentiment_runs.small_run,
    "timeseries": timeseries_runs.small_run,
    "music": music_pieces.small_run,
    "speech": speech_runs.small_run,
    "gesture": gesture_runs.small_run,
}
COMMANDS = ("train", "predict", "evaluate")

# Flags

EVERYWHERE = {
    "train": {
        *("run_dir", "dataset", "data", "cell", "units", "layers", "epochs", "batch_size"),
        *("learning_rate", "seed", "precision", "jit", "strategy", "resume", "init_from"),
        *("patience", "average", "dropout"),
    },
    "predict": {"run"},
    "evaluate": {"run", "dataset", "data", "out"},
}
TWO_MEANINGS = {
    "lookahead": "seconds where all sounds have one rate, frames where streams differ in theirs",
}
"""Flags whose values are not of one kind, and why."""
OTHER_NAMES = {
    "run": {"model", "model_dir", "checkpoint", "folder"},
    "data": {"file", "input", "csv", "table", "source"},
    "out": {"output", "save", "to", "target_file"},
    "png": {"plot", "picture", "image", "figure"},
    "live": {"stream", "stdin", "follow"},
    "units": {"hidden", "hidden_size", "width_of_state"},
    "layers": {"depth", "num_layers"},
    "epochs": {"num_epochs", "passes"},
    "batch_size": {"batch", "bs"},
    "learning_rate": {"lr", "rate_of_learning"},
    "members": {"ensemble", "networks", "models"},
    "dropout": {"drop", "dropout_rate"},
    "input_dropout": {"dropout_input", "embedding_dropout"},
    "label_smoothing": {"smooth", "smoothed"},
    "decoder": {"decoding"},
    "history": {"lookback", "context"},
    "text_column": {"text_field"},
    "label_column": {"target_column", "class_column"},
}
"""What a flag may not be called, as another name is that already."""


class Flag(typing.NamedTuple):
    """One of a command."""

    command: str
    name: str
    kind: str
    """The type of its value, whether it may be left out or not."""


def kind_of(hint: typing.Any) -> str:
    """A type's name: of an optional one that of what is given, of literals ``choice``."""
    parts = [part for part in typing.get_args(hint) if part is not type(None)]
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return kind_of(parts[0])
    if origin is typing.Literal:
        return "choice"
    if origin in (types.UnionType, typing.Union):
        return " or ".join(sorted({kind_of(part) for part in parts}))
    return hint.__name__ if not parts else str(hint)


def config_of(app: str, command: str) -> type:
    """The dataclass that a command's flags are made from."""
    module = importlib.import_module(f"apps.{app}.config")
    if command != "train":
        return getattr(module, f"{command.title()}Config")
    return next(v for k, v in vars(module).items() if k.lower() == f"{app}config")


def flags() -> list[Flag]:
    """Those of all commands of all applications."""
    return [
        Flag(f"{app}.{command}", field.name, kind_of(hints[field.name]))
        for app in RUNS
        for command in COMMANDS
        for config in [config_of(app, command)]
        for hints in [typing.get_type_hints(config, include_extras=True)]
        for field in dataclasses.fields(config)
    ]


FLAGS = flags()


def test_kinds_are_told_apart() -> None:
    assert kind_of(int | None) == kind_of(typing.Annotated[int, "x"]) == "int"
    assert kind_of(typing.Literal["a", 1]) == kind_of(typing.Literal["b"] | None) == "choice"
    assert kind_of(float) != kind_of(int)
    assert kind_of(int | typing.Literal["all"]) == "choice or int"
    assert len(FLAGS) > 250


def test_every_application_is_looked_at() -> None:
    assert set(RUNS) == {path.parent.name for path in ROOT.glob("apps/*/train.py")}


@pytest.mark.parametrize("app", RUNS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_what_all_have(app: str, command: str) -> None:
    own = {flag.name for flag in FLAGS if flag.command == f"{app}.{command}"}
    assert own >= EVERYWHERE[command]


def test_a_name_has_one_kind_of_value() -> None:
    kinds: dict[str, set[str]] = {}
    for flag in FLAGS:
        kinds.setdefault(flag.name, set()).add(flag.kind)
    assert {name for name, found in kinds.items() if len(found) > 1} == set(TWO_MEANINGS)


def test_nothing_has_two_names() -> None:
    taken = {other: name for name, others in OTHER_NAMES.items() for other in others}
    assert not [f"{f.command} --{f.name}: {taken[f.name]}" for f in FLAGS if f.name in taken]


# Scores

SCORES = {
    "sentiment": {"accuracy", "log_loss", "roc_auc", "macro_f1", "calibration_error"},
    "timeseries": {
        *("mae", "mse", "rmse", "smape", "mase", "pinball", "crps", "scaled_mse", "scaled_mae"),
        *("coverage_80", "width_80", "coverage_95", "width_95", "mae_ratio"),
    },
    "music": {"nll", "frame_accuracy"},
    "speech": {"wer", "cer", "string_accuracy", "substitutions", "deletions", "insertions"},
    "gesture": {
        *("frame_accuracy", "macro_f1", "segmental_f1_10", "segmental_f1_25", "segmental_f1_50"),
        *("edit_score", "latency", "missed"),
    },
}
"""All that a run may be scored by; what each means and its unit: the docstrings of
``apps.*.metrics``."""
ALWAYS = {"app", "dataset", "cell", "parameters", "train_seconds", "test", "baselines", "versions"}


def result_of(app: str) -> dict[str, typing.Any]:
    return json.loads((RUNS[app]()[0] / "metrics.json").read_text())


@pytest.mark.parametrize("app", RUNS)
def test_scores_have_the_names_that_are_documented(app: str) -> None:
    result = result_of(app)
    assert result.keys() >= ALWAYS
    assert result["app"] == app
    scores = [result["test"], *result["baselines"].values()]
    names = {re.sub("_(low|high)$", "", name) for each in scores for name in each}
    assert names <= SCORES[app]
    assert all(each.keys() >= result["test"].keys() for each in scores)
    for each in scores:
        for name in each:
            other = re.sub("_(low|high)$", "", name)
            assert other == name or {other, f"{other}_low", f"{other}_high"} <= each.keys()


@pytest.mark.parametrize("app", RUNS)
def test_every_score_is_explained(app: str) -> None:
    source = (ROOT / "apps" / app / "metrics.py").read_text(encoding="utf-8")
    for name in SCORES[app]:
        stem = re.sub(r"_(\d+|mae)$", "", name)  # "``width_80``, 95", "``scaled_mse``, _mae"
        assert re.search(rf"``{stem}\w*``|def {name}\(", source) or name == "mae_ratio", name


# Files

COMMON = {"config.json", "metrics.json", "report.json", "report.html"}


@pytest.mark.parametrize("app", RUNS)
def test_a_run_has_the_files_that_all_have(app: str) -> None:
    run: Path = RUNS[app]()[0]
    for name in (*COMMON, "history.csv", "plots/learning_curves.png"):
        assert (run / name).is_file(), name
    for name in ("checkpoints", "tensorboard", "export/1"):
        assert (run / name).is_dir(), name
    own = {path.name for path in run.glob("*") if path.is_file()}
    more = {name for name in own - COMMON if not re.fullmatch(r"history\w*\.csv", name)}
    assert more <= {"schema.json", "vocabulary.txt", "language.arpa"}
