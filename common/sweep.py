"""Sweeps: configurations are tried on the validation part, and the best of them is trained.

A trial is a run of the application's own ``run(config, trial=True)``. It loads, builds and fits as
every run does, and returns its validation scores (``common.training.Fitted.validated``) where other
runs go on to refit, calibrate, score and export: the test part decides nothing. It trains one
network, where the application trains several. The best is then trained as if its values had been
given as flags.

    trials.json             a record of each trial, rewritten after each
    trials/NNN/             its own run: config.json, history.csv, tensorboard/
    tensorboard/trial_NNN/  its values and scores, for TensorBoard's HParams tab

What to try next is said by an oracle of Keras Tuner, which is asked and told here, in the open.
random draws each configuration on its own (Bergstra & Bengio 2012). hyperband (Li et al. 2018) has
brackets s = S, ..., 0, where 3^S <= R < 3^(S + 1) and R is ``epochs``: bracket s draws about
(S + 1) 3^s / (s + 1) configurations, trains each for R / 3^s epochs, and the best third of every
round anew for three times as many, up to R. Anew, because the learning rate falls to zero over
all the epochs of a training: one that was meant to be short is not the beginning of a long one.

A sweep that was killed goes on: what an oracle says next depends on its seed and on what it was
told, so a new one is asked the same questions, and those that trials.json has the answers to are
answered from there. The trial that was under way starts anew.

TensorBoard is not told which columns to show (``hparams_config``): it would take those of the first
sweep it finds for all that are in its folder, and finds out by itself what each of them has.

The top of this module imports neither TensorFlow nor Keras Tuner.
"""

import contextlib
import importlib.util
import math
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from common import runs
from common.cli import one_line, start_tensorflow
from common.config import from_json
from common.errors import UserError

TRIALS = 10
"""Of a random sweep, unless told otherwise."""
ALONE: dict[str, Any] = {"members": 1, "refit": False}
"""How a trial differs from a run, in an application that has these fields."""
WORST = 1e30
"""What an oracle hears of a trial that failed: a round of hyperband with failures never ends."""
DIGITS = 3
"""That a drawn number keeps: enough to choose by, and to be typed again."""


@dataclass(frozen=True)
class Between:
    """Numbers from `low` to `high`, drawn evenly; their logarithms evenly, if `log`."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Space:
    """What an application sweeps over, and the validation score that it chooses by."""

    monitor: str
    fields: Mapping[str, Between | tuple[Any, ...]]
    """Field of the configuration -> its range, or the values to choose from."""
    lower_is_better: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of a trial."""

    scores: dict[str, float] = field(default_factory=dict)
    """On the validation part, at the best epoch; none of a trial that failed."""
    best_epoch: int = 0
    seconds: float = 0.0
    failure: str | None = None
    """Why it failed."""


@dataclass(frozen=True)
class Trial:
    """One configuration of a sweep."""

    number: int
    values: Mapping[str, Any]
    """Field -> value, of the fields that are swept over."""
    epochs: int | None
    """At most; None: as many as any run."""
    outcome: Outcome = Outcome()

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.number:03d}"

    @property
    def question(self) -> dict[str, Any]:
        """What was asked of it, as trials.json has it."""
        return {"trial": self.number, "values": dict(self.values), "epochs": self.epochs}

    def __str__(self) -> str:
        shown = [f"{name} {value}" for name, value in self.values.items()]
        return ", ".join([*shown, *([f"epochs {self.epochs}"] if self.epochs else [])])


def choose(
    run: Callable[..., Any], config: Any, app: str, space: Space | None, given: Collection[str] = ()
) -> Any:
    """Makes the sweep that `config` asks for, or goes on with it.

    Args:
        run: of the application: ``run(config, trial=True)`` returns
            ``common.training.Fitted.validated``.
        config: a ``common.config.TrainConfig`` whose ``sweep`` is set; flags gave it `given`.

    Returns:
        The configuration to train now, in the sweep's own folder. Its config.json says the same.

    Raises:
        UserError: if Keras Tuner is missing, or there is nothing to sweep over; as the first trial
            does, if it can't even begin; if every trial failed; if trials.json is of another sweep.
        KeyboardInterrupt: after Ctrl-C, saying how to go on.
    """
    if space is None:
        raise UserError("--sweep: nothing says what this application could try")
    if importlib.util.find_spec("keras_tuner") is None:
        raise UserError("--sweep needs Keras Tuner: pip install -c constraints.txt -e '.[sweep]'")
    names = swept(config, space, given)
    folder = runs.planned(app, config.run_dir, config.resume)
    config = replace(config, run_dir=folder.path, sweep_over=names)
    runs.start(folder, app, config)
    start_tensorflow()
    expected = count(config, space)
    print(f"sweep over {', '.join(names)}: {expected} trials, each in {folder.path / 'trials'}")
    try:
        trials = search(run, config, app, space, expected)
    except KeyboardInterrupt:
        print(f"interrupted: the same command with --resume {folder.path} goes on with the sweep")
        raise
    best = best_of(trials, space)
    if best is None:
        last = trials[-1].outcome.failure
        raise UserError(f"all {len(trials)} trials failed, the last one so: {last}")
    tell_all(trials, best, space)
    config = replace(config, **best.values)
    runs.write_config(folder, app, config)
    return replace(config, resume=folder.path)


def swept(config: Any, space: Space, given: Collection[str] = ()) -> tuple[str, ...]:
    """The fields to sweep over: those of ``sweep_over``; or all of the space but what a flag or
    the preset has set.

    Raises:
        UserError: for a field that is not in the space; if none is left.
    """
    known = ", ".join(space.fields)
    if config.sweep_over is not None:
        for name in config.sweep_over:
            if name not in space.fields:
                raise UserError(f"--sweep-over {name}: expected some of {known}")
        names = dict.fromkeys(config.sweep_over)
    else:
        default = {f.name: f.default for f in fields(config)}
        free = (n for n in space.fields if n not in given and getattr(config, n) == default[n])
        names = dict.fromkeys(free)
    if not names:
        raise UserError(
            f"--sweep: no field is left to sweep over; expected --sweep-over some of {known}"
        )
    return tuple(names)


@contextlib.contextmanager
def oracle_of(config: Any, space: Space) -> Iterator[Any]:
    """A ``keras_tuner.Oracle`` for the sweep; its own notes are not kept."""
    import keras_tuner

    hyperparameters = keras_tuner.HyperParameters()
    for name in config.sweep_over:
        domain = space.fields[name]
        if isinstance(domain, Between):
            sampling = "log" if domain.log else "linear"
            hyperparameters.Float(name, domain.low, domain.high, sampling=sampling)
        else:
            hyperparameters.Choice(name, list(domain))
    direction = "min" if space.lower_is_better else "max"
    given = {
        "objective": keras_tuner.Objective(space.monitor, direction),
        "hyperparameters": hyperparameters,
        "seed": config.seed + 1,  # 0 would be none
    }
    if config.sweep == "random":
        oracle = keras_tuner.oracles.RandomSearchOracle(**given)
    else:
        oracle = keras_tuner.oracles.HyperbandOracle(max_epochs=config.epochs, **given)
    oracle.max_trials = config.trials or (TRIALS if config.sweep == "random" else None)
    oracle.verbose = 0
    with tempfile.TemporaryDirectory(prefix="sweep-") as notes:
        # A tuner is where an oracle learns where to write; what else it does is done here.
        keras_tuner.engine.base_tuner.BaseTuner(oracle, directory=notes, project_name="oracle")
        yield oracle


def questions(oracle: Any) -> Iterator[tuple[Any, Trial]]:
    """What the oracle asks, one after the other: its own trial, and ours. ``answer`` it before
    going on."""
    number = 0
    while (asked := oracle.create_trial("sweep")).status == "RUNNING":
        values = asked.hyperparameters.values
        own = {h.name: rounded(values[h.name]) for h in oracle.get_space().space}
        yield asked, Trial(number, own, values.get("tuner/epochs"))
        number += 1


def rounded(value: Any) -> Any:
    """A value as it can be read: of a float, ``DIGITS`` significant digits."""
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def answer(oracle: Any, asked: Any, outcome: Outcome, space: Space) -> None:
    """Tells the oracle what came of a trial."""
    scores = outcome.scores
    if outcome.failure is not None:
        scores = {space.monitor: WORST if space.lower_is_better else -WORST}
    oracle.update_trial(asked.trial_id, scores, step=outcome.best_epoch)
    asked.status = "COMPLETED"
    oracle.end_trial(asked)


def count(config: Any, space: Space) -> int:
    """How many trials there will be: the oracle is told that all are alike."""
    alike, number = Outcome({space.monitor: 0.0}, 1), 0
    with oracle_of(config, space) as oracle:
        for asked, _ in questions(oracle):
            answer(oracle, asked, alike, space)
            number += 1
    return number


def search(
    run: Callable[..., Any], config: Any, app: str, space: Space, expected: int
) -> list[Trial]:
    """All trials, those of an earlier process included."""
    folder = runs.Run(config.run_dir)
    known, trials = read(folder), list[Trial]()
    with oracle_of(config, space) as oracle:
        for asked, trial in questions(oracle):
            if trial.number < len(known):
                trial = remembered(trial, known[trial.number], folder)
            else:
                place = f"{trial.number + 1} of {expected}"
                print(f"\ntrial {trial.name}, {place}: {trial}", flush=True)
                began = time.time()
                trial = replace(trial, outcome=attempt(run, config, space, trial))
                show(folder, app, trial, began)
                write(folder, config, space, [*trials, trial])
                print(f"trial {trial.name}: {said(trial, space)}", flush=True)
            trials.append(trial)
            answer(oracle, asked, trial.outcome, space)
    return trials


def attempt(run: Callable[..., Any], config: Any, space: Space, trial: Trial) -> Outcome:
    """Trains one configuration in a folder of its own.

    Raises:
        UserError: of the first trial, if it did not even begin: that is no fault of its values,
            and nothing is left behind.
        KeyboardInterrupt: after Ctrl-C: no outcome.
    """
    import keras
    import tensorflow as tf

    place = runs.Run(config.run_dir / "trials" / trial.name)
    runs.remove(place.path)  # of a process that was killed in it
    alone = {name: value for name, value in ALONE.items() if hasattr(config, name)}
    changes = {**alone, "sweep": None, "trials": None, "sweep_over": None, "resume": None}
    changes |= {"run_dir": place.path, "epochs": trial.epochs or config.epochs, **trial.values}
    try:
        own = replace(config, **changes)
    except UserError as error:  # values that don't go together
        return Outcome(failure=str(error))
    try:
        found = run(own, trial=True)
    except (UserError, tf.errors.ResourceExhaustedError) as error:
        if trial.number == 0 and isinstance(error, UserError) and not place.config.exists():
            runs.remove(config.run_dir)
            raise
        return Outcome(failure=one_line(str(error)))
    finally:
        for left in (place.weights().parent, place.unfinished):  # the best is trained again, whole
            runs.remove(left)
        keras.utils.clear_session()
    if found["interrupted"]:
        runs.remove(place.path)
        raise KeyboardInterrupt
    scores = {name: value for name, value in found["scores"].items() if math.isfinite(value)}
    failure = None if space.monitor in scores else f"{space.monitor} was a number in no epoch"
    return Outcome(scores, found["best_epoch"], found["seconds"], failure)


def show(folder: runs.Run, app: str, trial: Trial, began: float) -> None:
    """A row of TensorBoard's HParams tab; `began`: seconds since 1970."""
    from common.monitoring import Monitor

    place = folder.tensorboard / f"trial_{trial.name}"
    runs.remove(place)
    board = Monitor(place)
    values = {**trial.values, **({"epochs": trial.epochs} if trial.epochs else {})}
    board.hparams(values, f"{app}/{folder.path.absolute().name}/{trial.name}", began)
    board.scalars(trial.outcome.scores, trial.outcome.best_epoch, "validation")
    board.flush()


def file_of(folder: runs.Run) -> Path:
    """The table of the trials of a sweep."""
    return folder.path / "trials.json"


def write(folder: runs.Run, config: Any, space: Space, trials: list[Trial]) -> None:
    """The table of trials, the best one named."""
    best = best_of(trials, space)
    table = {
        "sweep": config.sweep,
        "monitor": space.monitor,
        "lower_is_better": space.lower_is_better,
        "best": None if best is None else best.number,
        "trials": [{**trial.question, **asdict(trial.outcome)} for trial in trials],
    }
    runs.write_json(file_of(folder), table)


def read(folder: runs.Run) -> list[Any]:
    """The records that an earlier process wrote.

    Raises:
        UserError: if the file is none of ours.
    """
    if not file_of(folder).exists():
        return []
    found = runs.read_json(file_of(folder)).get("trials")
    if not isinstance(found, list):
        raise UserError(f"{file_of(folder)}: expected a list of trials")
    return found


def remembered(trial: Trial, record: Any, folder: runs.Run) -> Trial:
    """The trial with what came of it according to its record.

    Raises:
        UserError: if another one stands there.
    """
    where = f"{file_of(folder)}: trial {trial.number}"
    outcome = from_json(Outcome, record, where)
    found = {name: record.get(name) for name in trial.question}
    if found != trial.question:
        raise UserError(
            f"{where}: expected {trial.question}, found {found}: of another sweep, or begun "
            f"by another version of this or of Keras Tuner; start the sweep anew"
        )
    return replace(trial, outcome=outcome)


def best_of(trials: list[Trial], space: Space) -> Trial | None:
    """The first of those with the best score; None if all failed."""
    sign = 1 if space.lower_is_better else -1
    finished = [trial for trial in trials if trial.outcome.failure is None]
    return min(finished, key=lambda t: sign * t.outcome.scores[space.monitor], default=None)


def said(trial: Trial, space: Space) -> str:
    """How it went, in a few words."""
    outcome = trial.outcome
    if outcome.failure is not None:
        return f"failed: {outcome.failure}"
    score = f"{space.monitor} {outcome.scores[space.monitor]:.4f}"
    return f"{score} at epoch {outcome.best_epoch}, {outcome.seconds:.0f} s"


def tell_all(trials: list[Trial], best: Trial, space: Space) -> None:
    """Prints the table of trials, the best first, and what will be trained."""
    sign = 1 if space.lower_is_better else -1

    def place(trial: Trial) -> tuple[bool, float]:
        failed = trial.outcome.failure is not None
        return failed, 0.0 if failed else sign * trial.outcome.scores[space.monitor]

    print(f"\n{len(trials)} trials, by {space.monitor} on the validation part:")
    for trial in sorted(trials, key=place):
        print(f"  {trial.name}  {said(trial, space)}: {trial}")
    values = ", ".join(f"{name} {value}" for name, value in best.values.items())
    print(f"training the best, trial {best.name}, as any run: {values}\n", flush=True)
