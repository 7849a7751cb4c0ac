"""Sweeps: what is tried, what is chosen, and that nothing but the validation part decides."""

import dataclasses
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from common import cli, runs, sweep
from common.config import TrainConfig
from common.errors import UserError
from common.sweep import Between, Space
from tests.commands import command, refusal

SPACE = Space(
    "accuracy",
    {"learning_rate": Between(1e-4, 1e-1, log=True), "units": (4, 8, 16), "layers": (1, 2)},
)
Script = Callable[[TrainConfig], dict[str, float]]


@pytest.fixture(autouse=True)
def nothing_to_clear() -> Iterator[None]:
    """Where no network is trained; the garbage of a whole test session takes long to collect."""
    with mock.patch("keras.utils.clear_session"):
        yield


@dataclasses.dataclass(frozen=True)
class Ensemble(TrainConfig):
    members: int = 3
    refit: bool = True


def by_units(config: TrainConfig) -> dict[str, float]:
    """Scores that favour wide networks, and low learning rates a little."""
    return {"accuracy": config.units / 100 - config.learning_rate / 1000, "loss": 0.5}


class Runs:
    """Stands in for an application's ``run``; remembers what it was asked."""

    def __init__(self, script: Script = by_units) -> None:
        self.script = script
        self.asked: list[Any] = []

    def __call__(self, config: Any, trial: bool = False) -> dict[str, Any]:
        assert trial
        runs.start(runs.planned("toy", config.run_dir, config.resume), "toy", config)
        self.asked.append(config)
        scores = self.script(config)
        return {"scores": scores, "best_epoch": 2, "seconds": 1.0, "interrupted": False}


def wanted(folder: Path, **more: Any) -> Ensemble:
    return Ensemble(**{"run_dir": folder, "sweep": "random", "trials": 4, **more})


def table(folder: Path) -> Any:
    return json.loads((folder / "trials.json").read_text())


# What is tried, and what is chosen


def test_a_random_sweep_trains_each_configuration_alone_and_chooses_the_best(
    tmp_path: Path,
) -> None:
    run = Runs()
    chosen = sweep.choose(run, wanted(tmp_path / "run"), "toy", SPACE)
    assert [c.run_dir for c in run.asked] == [tmp_path / f"run/trials/00{n}" for n in range(4)]
    for config in run.asked:
        assert (config.members, config.refit, config.sweep, config.resume) == (1, False, None, None)
        assert 1e-4 <= config.learning_rate <= 1e-1
        assert config.units in (4, 8, 16)
    rates = {config.learning_rate for config in run.asked}
    assert len(rates) == 4
    assert all(float(f"{rate:.3g}") == rate for rate in rates)
    best = max(run.asked, key=lambda config: by_units(config)["accuracy"])
    for name in SPACE.fields:
        assert getattr(chosen, name) == getattr(best, name)
    assert (chosen.members, chosen.refit, chosen.resume) == (3, True, tmp_path / "run")
    written = runs.read_config(runs.Run(tmp_path / "run"))
    assert [written[name] for name in SPACE.fields] == [getattr(best, n) for n in SPACE.fields]
    assert written["sweep_over"] == list(SPACE.fields)
    found = table(tmp_path / "run")
    assert found["best"] == run.asked.index(best)
    assert found["trials"][1]["scores"] == by_units(run.asked[1])
    assert not list((tmp_path / "run" / "trials").glob("*/checkpoints"))


def test_the_lowest_is_chosen_where_lower_is_better(tmp_path: Path) -> None:
    run = Runs(lambda config: {"accuracy": config.learning_rate})
    space = dataclasses.replace(SPACE, lower_is_better=True)
    chosen = sweep.choose(run, wanted(tmp_path / "run"), "toy", space)
    assert chosen.learning_rate == min(config.learning_rate for config in run.asked)


def test_the_seed_fixes_what_is_tried(tmp_path: Path) -> None:
    tried = []
    for name, seed in (("a", 0), ("b", 0), ("c", 7)):
        run = Runs()
        sweep.choose(run, wanted(tmp_path / name, seed=seed, trials=3), "toy", SPACE)
        tried.append([(c.learning_rate, c.units, c.layers) for c in run.asked])
    assert tried[0] == tried[1] != tried[2]


def test_hyperband_gives_the_better_third_three_times_the_epochs(tmp_path: Path) -> None:
    """By the formulas in the module's docstring, R = 9: brackets of 9, 3, 1; 5, 2; and 3."""
    run = Runs()
    config = wanted(tmp_path / "run", sweep="hyperband", epochs=9, trials=None)
    chosen = sweep.choose(run, config, "toy", SPACE)
    assert [c.epochs for c in run.asked] == [1] * 9 + [3] * 3 + [9] + [3] * 5 + [9] * 2 + [9] * 3
    first = sorted(run.asked[:9], key=lambda c: by_units(c)["accuracy"])
    again = [(c.learning_rate, c.units) for c in run.asked[9:12]]
    assert sorted(again) == sorted((c.learning_rate, c.units) for c in first[-3:])
    assert chosen.epochs == 9
    assert [row["epochs"] for row in table(tmp_path / "run")["trials"]][:10] == [1] * 9 + [3]


def test_trials_end_hyperband_earlier(tmp_path: Path) -> None:
    run = Runs()
    config = wanted(tmp_path / "run", sweep="hyperband", epochs=9, trials=5)
    sweep.choose(run, config, "toy", SPACE)
    assert len(run.asked) == 5


def test_a_small_space_is_tried_whole(tmp_path: Path) -> None:
    run = Runs()
    config = wanted(tmp_path / "run", trials=9, sweep_over=("layers",))
    sweep.choose(run, config, "toy", SPACE)
    assert sorted(c.layers for c in run.asked) == [1, 2]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, ("learning_rate", "units", "layers")),
        ({"units": 32}, ("learning_rate", "layers")),
        ({"units": 32, "sweep_over": ("units", "units")}, ("units",)),
    ],
)
def test_what_a_flag_has_set_is_swept_only_by_name(more: Any, expected: Any) -> None:
    assert sweep.swept(wanted(Path("run"), **more), SPACE) == expected


def test_a_flag_counts_that_sets_a_field_to_its_default(tmp_path: Path) -> None:
    words = ["--run-dir", str(tmp_path / "run"), "--sweep", "random", "--trials", "3"]
    given = ["--units", str(TrainConfig.units), f"--layers={TrainConfig.layers}"]
    run = Runs()
    with mock.patch.object(sys, "argv", ["toy", *words, *given]), pytest.raises(SystemExit):
        cli.main(
            lambda c, trial=False: run(c, trial) if trial else None,
            Ensemble,
            prog="toy",
            app="toy",
            space=SPACE,
        )
    assert [set(row["values"]) for row in table(tmp_path / "run")["trials"]] == [
        {"learning_rate"}
    ] * 3


def test_an_application_without_a_space_can_not_be_swept(tmp_path: Path, capsys: Any) -> None:
    words = ["toy", "--run-dir", str(tmp_path / "run"), "--sweep", "random"]
    with mock.patch.object(sys, "argv", words), pytest.raises(SystemExit) as stop:
        cli.main(Runs(), Ensemble, prog="toy", app="toy")
    assert stop.value.code == 2
    assert "nothing says what this application could try" in capsys.readouterr().err


# What fails


def test_a_trial_that_fails_is_named_and_the_sweep_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def script(config: Any) -> dict[str, float]:
        number = int(config.run_dir.name)
        if number == 0:
            raise UserError("training has diverged: the loss is nan")
        if number == 1:
            return {"accuracy": float("nan")}
        if number == 2:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when\nallocating")
        return {"accuracy": 0.3}

    chosen = sweep.choose(Runs(script), wanted(tmp_path / "run"), "toy", SPACE)
    found = table(tmp_path / "run")
    assert [row["failure"] for row in found["trials"]] == [
        "training has diverged: the loss is nan",
        "accuracy was a number in no epoch",
        mock.ANY,
        None,
    ]
    assert "OOM when allocating" in found["trials"][2]["failure"]
    assert found["best"] == 3
    assert chosen.learning_rate == found["trials"][3]["values"]["learning_rate"]
    assert "trial 000: failed: training has diverged: the loss is nan" in capsys.readouterr().out


def test_a_failure_costs_hyperband_none_of_its_rounds(tmp_path: Path) -> None:
    def script(config: Any) -> dict[str, float]:
        if config.run_dir.name == "001":
            raise UserError("diverged")
        return by_units(config)

    more = {"sweep": "hyperband", "epochs": 9, "trials": None}
    for name, run in (("whole", Runs()), ("failing", Runs(script))):
        sweep.choose(run, wanted(tmp_path / name, **more), "toy", SPACE)
    whole, failing = (
        [row["epochs"] for row in table(tmp_path / name)["trials"]] for name in ("whole", "failing")
    )
    assert failing == whole
    assert [whole.count(epochs) for epochs in (1, 3, 9)] == [9, 8, 6]
    promoted = [row for row in table(tmp_path / "failing")["trials"] if row["epochs"] == 9]
    assert not any(row["failure"] for row in promoted)


def test_values_that_do_not_go_together_are_a_failed_trial(tmp_path: Path) -> None:
    space = Space("accuracy", {"learning_rate": (-1.0, 0.1)})
    chosen = sweep.choose(Runs(), wanted(tmp_path / "run"), "toy", space)
    assert chosen.learning_rate == 0.1
    failures = [row["failure"] for row in table(tmp_path / "run")["trials"]]
    assert sorted(map(bool, failures)) == [False, True]


def test_if_all_fail_the_last_reason_is_told(tmp_path: Path) -> None:
    def script(config: Any) -> dict[str, float]:
        raise UserError(f"diverged {config.run_dir.name}")

    for name, more in (("a", {}), ("b", {"sweep": "hyperband", "epochs": 3, "trials": None})):
        with pytest.raises(UserError, match=r"all \d trials failed, the last one so: diverged 00"):
            sweep.choose(Runs(script), wanted(tmp_path / name, **more), "toy", SPACE)


def test_what_stops_the_first_trial_before_it_begins_stops_the_sweep(tmp_path: Path) -> None:
    run = mock.Mock(side_effect=UserError("reviews.csv: no such file"))
    with pytest.raises(UserError, match=r"^reviews.csv: no such file"):
        sweep.choose(run, wanted(tmp_path / "run"), "toy", SPACE)
    assert run.call_count == 1
    assert not (tmp_path / "run").exists()


def test_a_mistake_of_our_own_is_no_failed_trial(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        sweep.choose(mock.Mock(side_effect=ZeroDivisionError), wanted(tmp_path), "toy", SPACE)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--trials 3", "go with --sweep random or hyperband"),
        ("--sweep-over units", "go with --sweep"),
        ("--sweep random --trials 0", "--trials 0: expected a value above 0"),
        ("--sweep grid", "grid.*--sweep"),
        ("--sweep hyperband", "expected --epochs"),
        ("--sweep random --strategy multi-worker", "one machine"),
        ("--sweep random --fold all", "--fold all"),
        ("--sweep random --sweep-over hop", "--sweep-over hop: expected some of learning_rate, "),
        ("--sweep random --sweep-over", "no field is left"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_one_line(words: str, expected: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    line = refusal(command("apps.gesture.train", "--run-dir", run, *words.split()))
    assert re.search(expected, line), line
    assert not run.exists()


def test_without_keras_tuner_one_line_says_how_to_install_it(tmp_path: Path) -> None:
    with mock.patch.dict(sys.modules, {"keras_tuner": None}):  # as one that is not there
        words = ("--run-dir", tmp_path / "run", "--sweep", "random")
        line = refusal(command("apps.gesture.train", *words))
    assert "pip install -c constraints.txt -e '.[sweep]'" in line
    assert not (tmp_path / "run").exists()


# What goes on


class Killed(BaseException):
    """Of a process: nothing that it would have done comes after it."""


def killed_at(number: int, kind: type[BaseException] = Killed) -> Script:
    def script(config: TrainConfig) -> dict[str, float]:
        assert config.run_dir is not None
        if config.run_dir.name == f"{number:03d}":
            raise kind
        return by_units(config)

    return script


@pytest.mark.parametrize(
    "more", [{}, {"sweep": "hyperband", "epochs": 3, "trials": None}], ids=["random", "hyperband"]
)
@pytest.mark.parametrize("number", [0, 2, 3])
def test_a_sweep_that_was_killed_goes_on_at_the_trial_it_was_in(
    more: Any, number: int, tmp_path: Path
) -> None:
    folder, whole = tmp_path / "run", tmp_path / "whole"
    expected = sweep.choose(Runs(), wanted(whole, **more), "toy", SPACE)
    with pytest.raises(Killed):
        sweep.choose(Runs(killed_at(number)), wanted(folder, **more), "toy", SPACE)
    saved = cli.parse(Ensemble, ["--resume", str(folder)], prog="toy", app="toy")
    assert saved.sweep_over == tuple(SPACE.fields)
    run = Runs()
    chosen = sweep.choose(run, saved, "toy", SPACE)
    assert table(folder) == table(whole)
    assert len(run.asked) == len(table(whole)["trials"]) - number
    assert all(getattr(chosen, name) == getattr(expected, name) for name in SPACE.fields)


def test_when_the_best_was_being_trained_no_trial_runs_again(tmp_path: Path) -> None:
    first = sweep.choose(Runs(), wanted(tmp_path / "run"), "toy", SPACE)
    saved = cli.parse(Ensemble, ["--resume", str(tmp_path / "run")], prog="toy", app="toy")
    run = Runs()
    assert sweep.choose(run, saved, "toy", SPACE) == first
    assert not run.asked


def test_ctrl_c_ends_the_sweep_and_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(config: Any, trial: bool = False) -> dict[str, Any]:
        said = Runs()(config, trial)
        return {**said, "interrupted": config.run_dir.name == "001"}

    with pytest.raises(KeyboardInterrupt):
        sweep.choose(run, wanted(tmp_path / "run"), "toy", SPACE)
    assert f"--resume {tmp_path / 'run'} goes on with the sweep" in capsys.readouterr().out
    assert len(table(tmp_path / "run")["trials"]) == 1
    assert not (tmp_path / "run/trials/001").exists()


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ("{", "JSON"),
        ('{"trials": 3}', "expected a list of trials"),
        ('{"trials": [3]}', "expected an object"),
        ('{"trials": [{"trial": 0, "scores": {"accuracy": "high"}}]}', "expected a finite number"),
        ('{"trials": [{"trial": 0, "values": {"units": 5}, "epochs": null}]}', "another sweep"),
    ],
)
def test_a_table_that_is_not_of_this_sweep_is_refused(
    broken: str, expected: str, tmp_path: Path
) -> None:
    config = wanted(tmp_path / "run")
    runs.start(runs.Run(tmp_path / "run"), "toy", config)
    (tmp_path / "run" / "trials.json").write_text(broken)
    config = dataclasses.replace(config, resume=tmp_path / "run")
    with pytest.raises(UserError, match=f"trials.json.*{expected}"):
        sweep.choose(Runs(), config, "toy", SPACE)


# What TensorBoard shows


def test_the_hparams_tab_has_a_row_for_each_trial(tmp_path: Path) -> None:
    run = Runs(killed_at(1, UserError))
    sweep.choose(run, wanted(tmp_path / "run", epochs=1, sweep="hyperband"), "toy", SPACE)
    sweep.choose(run, wanted(tmp_path / "other"), "toy", SPACE)
    names = set()
    for folder in (tmp_path / "run", tmp_path / "other"):
        for row in table(folder)["trials"]:
            board = EventAccumulator(str(folder / f"tensorboard/trial_{row['trial']:03d}"))
            board.Reload()
            content = board.PluginTagToContent("hparams")["_hparams_/session_start_info"]
            told = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
            values = {k: v.string_value or v.number_value for k, v in told.hparams.items()}
            epochs = {"epochs": row["epochs"]} if row["epochs"] else {}
            assert values == {**row["values"], **epochs}
            scores = {
                tag: tf.make_ndarray(board.Tensors(tag)[0].tensor_proto).item()
                for tag in board.Tags()["tensors"]
                if "hparams" not in tag
            }
            expected = {f"validation/{k}": pytest.approx(v) for k, v in row["scores"].items()}
            assert scores == expected
            names.add(told.group_name)
    assert len(names) == 1 + 4  # trials of one name would be shown as one
