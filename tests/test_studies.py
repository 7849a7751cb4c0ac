"""The studies: their data against what can be counted by hand, their theory, their commands."""

import csv
import itertools
import math
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from common.cells import CELLS
from studies import adding_problem, copy_memory, report, sequential_digits, vanishing_gradients
from studies.config import ALL_CELLS, Recipe
from studies.training import Examples, Learner, fit, network, over_time
from tests.commands import child, command, refusal

STUDIES = ("adding_problem", "copy_memory", "sequential_digits", "vanishing_gradients")
each_study = pytest.mark.parametrize("study", STUDIES)


def generator(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# The adding problem


@pytest.mark.parametrize("steps", [2, 7, 30])
def test_the_sum_is_that_of_two_marked_values_one_in_each_half(steps: int) -> None:
    x, y = adding_problem.examples(generator(), 200, steps)
    assert x.shape == (200, steps, 2)
    for (values, markers), said in zip(x.transpose(0, 2, 1), y, strict=True):
        first, second = np.flatnonzero(markers)
        assert first < steps // 2 <= second
        assert markers.sum() == 2
        assert said == values[first] + values[second]
        assert 0 <= values.min() <= values.max() < 1


def test_always_answering_1_has_an_error_of_a_sixth() -> None:
    y = adding_problem.examples(generator(), 20_000, 10).y
    ones = np.ones([len(y), 1], np.float32)
    error = float(adding_problem.mean_squared_error(y, ones))
    assert error == pytest.approx(adding_problem.CHANCE, rel=0.03)
    assert_allclose(error, np.mean((y - 1) ** 2), rtol=1e-5)


def test_the_test_set_is_the_same_for_every_seed_and_nothing_else_is() -> None:
    validation, test = adding_problem.held_out(12, seed=0, quick=True)
    other_validation, same_test = adding_problem.held_out(12, seed=1, quick=True)
    training = adding_problem.examples(np.random.default_rng([0, 1]), 10, 12)
    assert_array_equal(test.x, same_test.x)
    values = [set(part.x[..., 0].flat) for part in (training, validation, other_validation, test)]
    assert len(set.union(*values)) == sum(map(len, values))


# Copying memory


def test_what_is_to_be_said_at_the_end_stood_at_the_beginning() -> None:
    steps = 6
    x, y = copy_memory.examples(generator(), 50, steps)
    assert x.shape == (50, steps + 20, 10)
    assert_array_equal(x.sum(axis=-1), 1)
    read = x.argmax(axis=-1)
    assert_array_equal(y[:, -10:], read[:, :10])
    assert set(read[:, :10].flat) == set(range(8))
    assert_array_equal(np.argwhere(read == copy_memory.GO)[:, 1], steps + 9)
    assert (np.delete(read, [*range(10), steps + 9], axis=1) == copy_memory.BLANK).all()
    assert (y[:, :-10] == copy_memory.BLANK).all()


def test_a_guess_without_memory_has_the_baseline_s_cross_entropy() -> None:
    steps = 30
    y = copy_memory.examples(generator(), 20, steps).y
    logits = np.full([*y.shape, 9], -30.0, np.float32)
    logits[:, :-10, copy_memory.BLANK] = 30
    logits[:, -10:, :8] = 0
    loss = float(copy_memory.cross_entropy(y, logits))
    assert_allclose(loss, copy_memory.memoryless(steps), rtol=1e-5)
    assert_allclose(copy_memory.memoryless(200), 10 * math.log(8) / 220)


# Digits


def test_permuted_digits_hold_the_same_pixels_in_another_order() -> None:
    for plain, permuted in zip(
        sequential_digits.digits("plain"), sequential_digits.digits("permuted"), strict=True
    ):
        assert plain.x.shape[1:] == (64, 1)
        assert_array_equal(plain.y, permuted.y)
        assert_array_equal(np.sort(plain.x, axis=1), np.sort(permuted.x, axis=1))
        assert (plain.x != permuted.x).any()


def test_the_digits_are_split_whole_and_disjoint() -> None:
    from sklearn.datasets import load_digits

    def pictures(x: np.ndarray) -> list[bytes]:
        return [picture.tobytes() for picture in np.round(x * 16).astype(np.uint8)]

    splits = sequential_digits.digits("plain")
    parts = [pictures(part.x) for part in splits]
    everything = pictures(load_digits().data / 16)
    assert sorted(itertools.chain(*parts)) == sorted(everything)
    assert len(set(everything)) == len(everything)  # so that equal parts would show
    assert [len(part) for part in parts] == [1077, 360, 360]
    for part in splits:
        assert set(part.y) == set(range(10))


# Gradients going back


def plain(cell: Any, time: int = 31) -> keras.Model:
    return over_time(cell, (time, 2), 1, every_step=False)


@pytest.mark.parametrize("gain", [0.5, 0.95, 1.3])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_no_gradient_of_a_plain_cell_exceeds_the_bound(activation: str, gain: float) -> None:
    keras.utils.set_random_seed(3)
    cell = CELLS["simple"](
        9,
        activation=activation,
        recurrent_initializer=keras.initializers.RandomNormal(stddev=gain / 3),
    )
    found = vanishing_gradients.profile(plain(cell), adding_problem.examples(generator(), 16, 31))
    singular = np.linalg.svd(np.asarray(cell.recurrent_kernel.value), compute_uv=False)
    assert found.sigma == pytest.approx(singular[0], rel=1e-5)
    assert found.bounds is not None
    assert_allclose(found.bounds, found.sigma ** np.arange(31))
    assert (found.ratios <= found.bounds * (1 + 1e-5)).all()
    assert found.ratios[0] == 1


def test_an_irnn_passes_the_gradient_unchanged_where_nothing_comes_in() -> None:
    cell = CELLS["irnn"](6)
    model = plain(cell)
    cell.bias.assign(np.full(6, 1e-3))  # off zero, where ReLU has no slope
    nothing = Examples(np.zeros([4, 31, 2], np.float32), np.ones(4, np.float32))
    found = vanishing_gradients.profile(model, nothing)
    assert found.norms[0] > 0
    assert_allclose(found.ratios, 1, rtol=1e-6)


def test_the_norm_at_the_last_state_is_that_of_the_loss_alone() -> None:
    keras.utils.set_random_seed(3)
    model = plain(CELLS["lstm"](5))
    examples = adding_problem.examples(generator(), 8, 31)
    errors = np.asarray(model(examples.x))[:, 0] - examples.y
    weights = np.asarray(model.get_layer("output").kernel.value)
    expected = np.mean(np.abs(2 * errors)) * np.linalg.norm(weights)
    assert_allclose(vanishing_gradients.profile(model, examples).norms[0], expected, rtol=1e-5)


@pytest.mark.parametrize("name", [*CELLS, *get_args(vanishing_gradients.Variant)])
def test_every_cell_has_a_profile(name: str) -> None:
    model = plain(vanishing_gradients.make(name, 4), time=5)
    found = vanishing_gradients.profile(model, adding_problem.examples(generator(), 3, 5))
    assert found.norms.shape == (5,)
    assert np.isfinite(found.norms).all()
    assert (found.bounds is None) == (name not in ("simple", "irnn", "relu", "small"))


# Training


def line(count: int, rng: np.random.Generator) -> Examples:
    """The first value of a sequence is to be said."""
    x = rng.normal(size=(count, 3, 1)).astype(np.float32)
    return Examples(x, x[:, 0, 0])


def fitted(recipe: Recipe, **asked: Any) -> Any:
    keras.utils.set_random_seed(1)
    rng = generator()
    return fit(
        network("irnn", recipe, (3, 1), 1),
        adding_problem.mean_squared_error,
        recipe,
        lambda count: line(count, rng),
        line(50, generator(6)),
        label="line",
        **{"minutes": 1.0, **asked},
    )


def test_training_keeps_the_weights_of_the_best_validation_and_repeats_itself() -> None:
    recipe = Recipe(learning_rate=0.03, steps=120, batch_size=8, units=4, decay="constant")
    training = fitted(recipe)
    assert training.looks[-1].step == 120
    assert training.best < 0.5 * training.looks[0].validation
    assert training.learner.score(line(50, generator(6))) == pytest.approx(training.best)
    again = fitted(recipe)
    assert [look.validation for look in again.looks] == [look.validation for look in training.looks]


def test_training_ends_at_the_goal_or_when_time_is_over() -> None:
    recipe = Recipe(steps=500, batch_size=4, units=4)
    assert len(fitted(recipe, goal=1e9).looks) == 1
    assert [look.step for look in fitted(recipe, minutes=1e-9).looks] == [0, 50]


def test_a_training_that_runs_away_comes_back_with_a_smaller_learning_rate() -> None:
    recipe = Recipe(learning_rate=30.0, steps=300, batch_size=8, units=4, decay="constant")
    looks = fitted(recipe).looks
    assert looks[-1].learning_rate in [30 / 2**times for times in range(1, 7)]
    assert looks[-1].validation <= 100 * looks[0].validation


def test_a_gradient_that_overflows_leaves_the_weights_finite() -> None:
    recipe = Recipe(units=4, batch_size=2)
    model = network("irnn", recipe, (3, 1), 1)
    learner = Learner(model, adding_problem.mean_squared_error, recipe)
    huge = Examples(np.full([2, 3, 1], 1e30, np.float32), np.zeros(2, np.float32))
    assert not np.isfinite(learner.train(huge, 0.1))
    assert all(np.isfinite(weights).all() for weights in model.get_weights())


# Tables


def test_a_table_has_words_to_the_left_and_numbers_to_the_right() -> None:
    rows = [{"cell": "gru", "n": 12345, "e": 0.00012345, "p": None}]
    heads, rule, line = report.table(rows).splitlines()
    assert heads.split() == ["cell", "n", "e", "p"]
    assert set(rule) == {"-"}
    assert line.split() == ["gru", "12,345", "0.000123"]
    assert heads.index("n") == line.index("12,345") + 5


# Commands


def test_the_studies_take_all_cells_there_are() -> None:
    assert set(ALL_CELLS) == set(CELLS)


@each_study
def test_a_quick_study_prints_its_table_and_leaves_csv_and_png(study: str, tmp_path: Path) -> None:
    few = {"sequential_digits": ["--orders", "permuted"]}.get(study, [])
    few += {"vanishing_gradients": ["--variants", "small"]}.get(study, [])
    answer = command(f"studies.{study}", "--quick", "--cells", "irnn", *few, "--out", tmp_path)
    assert answer.code == 0, answer.err
    rows = rows_of(tmp_path / "results.csv")
    assert rows[0]["cell"] == "irnn"
    heads = report.table([dict(rows[0])]).splitlines()[0].split()
    assert heads[0] in answer.out
    assert set(heads) <= set(answer.out.split())
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")
    others = {"results.csv", "results.png"} ^ {path.name for path in tmp_path.iterdir()}
    assert others == {"curves.csv" if study == "vanishing_gradients" else "training.csv"}


@pytest.mark.slow
@each_study
def test_a_quick_study_takes_every_cell(study: str, tmp_path: Path) -> None:
    answer = command(f"studies.{study}", "--quick", "--out", tmp_path)
    assert answer.code == 0, answer.err
    assert set(CELLS) <= {row["cell"] for row in rows_of(tmp_path / "results.csv")}


@pytest.mark.slow
@each_study
def test_help_imports_no_tensorflow(study: str) -> None:
    answer = child("-X", "importtime", "-m", f"studies.{study}", "--help")
    assert answer.code == 0
    assert all(flag in answer.out for flag in ("--cells", "--out", "--quick", "--seed"))
    imported = {line.rpartition("|")[2].strip() for line in answer.err.splitlines()}
    assert not {"tensorflow", "keras"} & imported


@pytest.mark.parametrize(
    ("study", "words", "said"),
    [
        ("adding_problem", ["--cells", "tulip"], "tulip"),
        ("adding_problem", ["--lengths", "1"], "--lengths 1: expected"),
        ("adding_problem", ["--goal", "-1"], "--goal"),
        ("copy_memory", ["--length", "0"], "--length 0: expected"),
        ("copy_memory", ["--minutes", "0"], "--minutes 0.0: expected"),
        ("sequential_digits", ["--orders", "sorted"], "sorted"),
        ("sequential_digits", ["--units", "0"], "--units 0: expected"),
        ("vanishing_gradients", ["--rows", "0"], "--rows 0: expected"),
        ("vanishing_gradients", ["--seed", "-1"], "--seed -1: expected"),
    ],
)
def test_a_flag_that_cannot_be_used_ends_in_one_line(
    study: str, words: list[str], said: str
) -> None:
    assert said in refusal(command(f"studies.{study}", *words))


@each_study
def test_a_folder_that_cannot_be_made_ends_in_one_line(study: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert "--out" in refusal(command(f"studies.{study}", "--quick", "--out", file / "folder"))
