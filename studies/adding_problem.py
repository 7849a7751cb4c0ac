r"""The adding problem: keep two numbers over hundreds of steps, and say their sum.

A sequence of T steps has two channels: values :math:`u_t`, uniform in [0, 1), and a marker
:math:`m_t` that is 1 at two places, one in each half, and 0 elsewhere. After the last step the
answer is

.. math:: y = \sum_t m_t u_t .

Whoever always answers 1, the mean of y, has a mean squared error of Var(y) = 2/12 = 1/6. To do
better a network has to carry what stood at the first marker over at least T/2 steps on average,
and its gradient has to come back as far (Hochreiter & Schmidhuber 1997; in this form Le, Jaitly
& Hinton 2015, arXiv:1504.00941).

Batches are drawn anew at each step; the validation set decides when to stop and which weights
to keep; the test set, drawn once and always the same, is scored once at the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from common import plots
from common.cli import main, start_tensorflow
from studies import report
from studies.config import Recipe, StudyConfig

if TYPE_CHECKING:
    from studies.training import Examples, Look

CHANCE = 1 / 6
"""Mean squared error of always answering 1."""

# What was published at these lengths, as a mean squared error: Bai, Kolter & Koltun 2018
# (arXiv:1803.01271, table 1; about 70,000 parameters each).
PUBLISHED = {("gru", 600): 5.3e-5, ("lstm", 600): 0.164, ("simple", 600): 0.177}

# What suits each cell, found on validation sets at 400 and 600 steps.
RECIPES: dict[str, Recipe] = {
    # Nothing in an IRNN decays, so that a change of its kernel is felt T times over: the
    # learning rate has to be small, the more so the wider the state is. At 400 steps the
    # states of 40 units overflow with 1e-4, at times with 6e-5, those of 100 now and then with
    # 1e-5. The error then falls about as the inverse of the steps taken.
    "irnn": Recipe(
        learning_rate=3e-5, steps=300_000, batch_size=16, units=40, input_deviation=0.001
    ),
    "simple": Recipe(learning_rate=1e-4, steps=40_000, units=40),
    # Linear in the state: neither a large learning rate nor a small batch does harm.
    "mingru": Recipe(learning_rate=2e-2, steps=20_000, batch_size=16),
    "minlstm": Recipe(learning_rate=2e-2, steps=20_000, batch_size=16),
}
DEFAULT = Recipe(learning_rate=5e-3, steps=12_000, units=64)


@dataclass(frozen=True)
class AddingConfig(StudyConfig):
    """The adding problem: mean squared error of every cell at growing lengths."""

    lengths: tuple[int, ...] = (150, 200, 300, 400, 600)
    """Steps of a sequence, T."""
    minutes: float = 20.0
    """Longest training of one case; the best weights so far are then scored."""
    goal: float = 3e-5
    """Validation mean squared error that ends a training early."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("lengths", bool(self.lengths) and min(self.lengths) > 1, "above 1")
        self.require("goal", self.goal >= 0, "at least 0")


def examples(rng: np.random.Generator, count: int, steps: int) -> "Examples":
    """`count` sequences ``[count, steps, 2]`` (values, markers) and their sums ``[count]``."""
    from studies.training import Examples

    values = rng.random((count, steps), dtype=np.float32)
    markers = np.zeros_like(values)
    rows = np.arange(count)
    markers[rows, rng.integers(0, steps // 2, count)] = 1
    markers[rows, rng.integers(steps // 2, steps, count)] = 1
    return Examples(np.stack([values, markers], axis=-1), (values * markers).sum(axis=1))


def held_out(steps: int, seed: int, quick: bool) -> tuple["Examples", "Examples"]:
    """Validation and test set; the test set is the same for every seed."""
    return (
        examples(np.random.default_rng([seed, 2]), 10 if quick else 1000, steps),
        examples(np.random.default_rng([0, 1, 3]), 10 if quick else 2000, steps),
    )


def mean_squared_error(y: Any, outputs: Any) -> Any:
    """Of a sum ``[batch]`` and a network's only output ``[batch, 1]``."""
    import tensorflow as tf

    return tf.reduce_mean(tf.square(outputs[:, 0] - y))


def case(cell: str, steps: int, config: AddingConfig) -> "tuple[report.Row, Sequence[Look]]":
    """Trains one cell at one length and scores it on the test set."""
    import keras

    from studies import training

    keras.utils.set_random_seed(config.seed)
    recipe = config.recipe(RECIPES.get(cell, DEFAULT))
    model = training.network(cell, recipe, (steps, 2), 1)
    model.get_layer("output").bias.assign([1.0])  # start from what can be answered unseen
    rng = np.random.default_rng([config.seed, 1])
    validation, test = held_out(steps, config.seed, config.quick)
    trained = training.fit(
        model,
        mean_squared_error,
        recipe,
        lambda count: examples(rng, count, steps),
        validation,
        minutes=config.minutes,
        goal=config.goal,
        label=f"{cell}, T = {steps}",
    )
    row = {
        "cell": cell,
        "T": steps,
        **trained.facts,
        "validation_mse": trained.best,
        "test_mse": trained.learner.score(test),
        "always_1": float(np.mean((test.y - 1) ** 2)),
        "published": PUBLISHED.get((cell, steps)),
    }
    return row, trained.looks


def picture(rows: Sequence[report.Row]) -> Figure:
    """Test error of every cell by length, both on logarithmic scales."""
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    for cell in report.distinct(rows, "cell"):
        points = [(row["T"], row["test_mse"]) for row in rows if row["cell"] == cell]
        axes.plot(*zip(*points, strict=True), marker="o", label=cell)
    axes.axhline(CHANCE, color="grey", linestyle="--", label="always 1")
    axes.set(xlabel="length T", ylabel="mean squared error, test", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def run(config: AddingConfig) -> None:
    """All cells at all lengths; after each case the files hold what is known by then."""
    start_tensorflow()
    out = report.folder("adding_problem", config.out)
    lengths = (6, 8) if config.quick else config.lengths
    count = len(config.cells) * len(lengths)
    print(f"{count} cases of at most {config.minutes:g} minutes each; results in {out}")
    rows: list[report.Row] = []
    looks: list[report.Row] = []
    for steps in lengths:
        for cell in config.cells:
            row, seen = case(cell, steps, config)
            rows.append(row)
            looks += [{"cell": cell, "T": steps, **look._asdict()} for look in seen]
            report.write_csv(out / "results.csv", rows)
            report.write_csv(out / "training.csv", looks)
            plots.save(picture(rows), out / "results.png")
            print(
                f"{cell}, T = {steps}: {row['test_mse']:.2e} in {row['seconds']:.0f} s", flush=True
            )
    print(f"\n{report.table(rows)}")
    print(
        "\nMean squared error on the test set; always_1 is what always answering 1 gets there."
        "\npublished: Bai, Kolter & Koltun 2018 (arXiv:1803.01271), about 70,000 parameters."
    )


if __name__ == "__main__":
    main(run, AddingConfig, prog="studies.adding_problem")
