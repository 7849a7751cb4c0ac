"""Sweeps of every application: a trial is its own training, and ends with the validation part."""

import importlib
import json
import re
import signal
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from common import cli, runs, sweep, training
from common.sweep import Between
from tests import kills
from tests.commands import child


def table(folder: Path) -> Any:
    return json.loads((folder / "trials.json").read_text())["trials"]


@pytest.fixture(scope="module", params=list(kills.RECIPES))
def swept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A sweep of one trial of each application, and the arguments of its trainings."""
    app, folder = request.param, tmp_path_factory.mktemp("swept")
    train = importlib.import_module(f"apps.{app}.train")
    kind = next(v for k, v in vars(train).items() if k.lower() == f"{app}config")
    words = ["--data", kills.data_of(app, folder / "data"), "--run-dir", folder / "run"]
    words += [*kills.RECIPES[app], "--epochs", 2, "--sweep", "random", "--trials", 1]
    words += ["--sweep-over", "learning_rate"]
    words += ["--pretrain-epochs", 0] if app == "sentiment" else []
    config = cli.parse(kind, list(map(str, words)), prog=app)
    with (
        mock.patch("common.training.fit", wraps=training.fit) as fit,
        mock.patch("common.export.write", side_effect=AssertionError("exported")),
    ):
        chosen = sweep.choose(train.run, config, app, train.SPACE)
    return train.SPACE, folder / "run", chosen, [call.kwargs for call in fit.call_args_list]


def test_a_trial_of_an_application_fits_one_network_by_the_score_of_its_space(swept: Any) -> None:
    space, run, chosen, fits = swept
    assert len(fits) == 1
    assert fits[0]["monitor"] == space.monitor
    assert fits[0].get("lower_is_better", False) == space.lower_is_better
    (row,) = table(run)
    assert row["failure"] is None
    assert space.monitor in row["scores"]
    assert 1 <= row["best_epoch"] <= 2
    assert row["values"] == {name: getattr(chosen, name) for name in chosen.sweep_over}
    found = {path.name for path in (run / "trials" / "000").iterdir()}
    assert {"config.json", "history.csv", "tensorboard"} <= found
    assert not {"metrics.json", "export", "checkpoints", "unfinished.json"} & found


@pytest.mark.parametrize("app", kills.RECIPES)
def test_every_value_in_a_space_is_one_that_its_application_takes(app: str) -> None:
    train = importlib.import_module(f"apps.{app}.train")
    kind = next(v for k, v in vars(train).items() if k.lower() == f"{app}config")
    assert {"learning_rate", "units", "layers", "cell"} <= set(train.SPACE.fields)
    for name, domain in train.SPACE.fields.items():
        values = (domain.low, domain.high) if isinstance(domain, Between) else domain
        assert len(set(values)) == len(values) > 1
        assert isinstance(domain, Between) or getattr(kind(), name) in domain
        assert not isinstance(domain, Between) or domain.low <= getattr(kind(), name) <= domain.high
        for value in values:
            kind(**{name: value})


KILLED_IN_TRIAL_1 = """
import os, signal
from common import cli, training
from apps.sentiment.config import SPACE, SentimentConfig
from apps.sentiment import train
fit, seen = training.fit, []
def dies(*given, **more):
    seen.append(fit(*given, **more))
    if len(seen) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return seen[-1]
training.fit = dies
cli.main(train.run, SentimentConfig, prog="sentiment", app="sentiment", space=SPACE)
"""


@pytest.mark.slow
def test_a_killed_sweep_ends_with_the_trials_of_one_that_never_was(tmp_path: Path) -> None:
    """And goes on by the application's own command to the scores and export of a run."""
    data = kills.data_of("sentiment", tmp_path / "data")
    words: list[object] = [*kills.RECIPES["sentiment"], "--data", data, "--seed", 3]
    words += ["--members", 1, "--pretrain-epochs", 0, "--sweep", "random", "--trials", 3]
    words += ["--sweep-over", "learning_rate", "embedding"]
    first = child("-c", KILLED_IN_TRIAL_1, "--run-dir", tmp_path / "run", *words)
    assert first.code == -signal.SIGKILL
    assert len(table(tmp_path / "run")) == 1
    again = child("-m", "apps.sentiment.train", "--resume", tmp_path / "run", *words)
    assert again.code == 0, again.err
    assert re.findall(r"^trial (\d+), ", again.out, re.MULTILINE) == ["001", "002"]
    train = importlib.import_module("apps.sentiment.train")
    given = list(map(str, [*words, "--run-dir", tmp_path / "whole"]))
    config = cli.parse(train.SentimentConfig, given, prog="sentiment")
    chosen = sweep.choose(train.run, config, "sentiment", train.SPACE)
    ends = [table(tmp_path / name) for name in ("whole", "run")]
    for row in [*ends[0], *ends[1]]:
        row.pop("seconds")
    assert ends[0] == ends[1]
    run = runs.Run(tmp_path / "run")
    assert run.is_finished
    assert (run.export / "saved_model.pb").exists()
    assert runs.read_config(run)["learning_rate"] == chosen.learning_rate
