"""What an exact resume rests on, in every application: a step depends on the trainer's variables
and its batch alone, and batches on the epoch and their number alone."""

import importlib
import re
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_array_equal

from common import cli
from tests import kills
from tests.commands import ROOT

MORE: dict[str, list[object]] = {
    **{app: [] for app in kills.RECIPES},
    "sentiment": ["--pretrain-epochs", 0],
    "sentiment, reading first": [],
}
"""What training is looked at: each application's first."""


class Made(Exception):
    """Of a training that was about to begin."""


@pytest.fixture(scope="module", params=list(MORE))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Trainer and batches as the application's own train.py makes them."""
    app, folder = request.param.split(",")[0], tmp_path_factory.mktemp("made")
    words = ["--data", kills.data_of(app, folder / "data"), "--run-dir", folder / "run"]
    words += [*kills.RECIPES[app], *MORE[request.param]]
    train = importlib.import_module(f"apps.{app}.train")
    kind = next(v for k, v in vars(train).items() if k.lower() == f"{app}config")
    config = cli.parse(kind, list(map(str, words)), prog=app)

    def fit(*given: Any, **_: Any) -> None:
        raise Made(*given)

    few = mock.patch("apps.sentiment.pretrain.BATCH", 16)
    with few, mock.patch("common.training.fit", fit), pytest.raises(Made) as found:
        train.run(config)
    return found.value.args


def test_batches_from_the_middle_on_are_those_of_the_whole_epoch(made: Any) -> None:
    _, batches = made
    assert batches.steps > 2
    for epoch in (0, 5):
        whole = list(batches.epoch(epoch).take(8).as_numpy_iterator())
        for start in (1, 3, 6):
            rest = list(batches.epoch(epoch, start).take(8 - start).as_numpy_iterator())
            tf.nest.map_structure(assert_array_equal, rest, whole[start:])
    assert not list(batches.epoch(1, batches.steps))


@pytest.mark.slow
def test_a_step_depends_on_the_variables_and_its_batch_alone(made: Any) -> None:
    """Also on its second time, with other steps in between: whatever kept a state of its own
    (``tf.random``, say) would show."""
    trainer, batches = made

    def two_steps(start: int) -> list[np.ndarray]:
        feed = iter(trainer.strategy.experimental_distribute_dataset(batches.epoch(2, start)))
        sums = [trainer.step(feed) for _ in range(2)]
        return [*(v.numpy() for v in trainer.variables), *tf.nest.flatten(sums)]

    two_steps(0)
    before = [variable.numpy() for variable in trainer.variables]
    first = two_steps(1)
    assert any((a != b).any() for a, b in zip(first, before, strict=False))
    two_steps(0)
    for variable, value in zip(trainer.variables, before, strict=True):
        variable.assign(value)
    for one, again in zip(first, two_steps(1), strict=True):
        assert_array_equal(one, again)


def test_no_random_number_comes_from_where_no_checkpoint_reaches() -> None:
    stateful = re.compile(r"tf\.random\.(?!stateless_)\w+|np\.random\.(?!default_rng|Generator)\w+")
    found = {
        f"{path.relative_to(ROOT)}: {match[0]}"
        for folder in ("apps", "common")
        for path in (Path(ROOT) / folder).rglob("*.py")
        for match in stateful.finditer(path.read_text(encoding="utf-8"))
    }
    assert not found
