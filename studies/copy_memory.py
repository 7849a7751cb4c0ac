r"""The copying memory task: say again, after a long pause, what was said at the beginning.

A sequence has T + 20 symbols: ten to remember, each one of 8, uniformly drawn; T - 1 blanks; a
go sign; ten blanks, in whose stead the ten symbols are to be said in their order. Until then
blanks are to be said (Hochreiter & Schmidhuber 1997, in the form of Arjovsky, Shah & Bengio
2016, arXiv:1511.06464).

Who remembers nothing says blanks for T + 10 steps, at no loss, and then guesses one of 8 ten
times. Averaged over the sequence that is a cross-entropy of

.. math:: \frac{10 \ln 8}{T + 20} .

Unlike in the adding problem, ten things have to be kept, in their order, and nothing but a
clock of T steps says when. Batches are drawn anew at each step; validation decides which
weights to keep; the test set, always the same, is scored once at the end.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from common import plots
from common.cli import main, start_tensorflow
from studies import report
from studies.config import Recipe, StudyConfig

if TYPE_CHECKING:
    from studies.training import Examples, Look

SYMBOLS, MEMORY = 8, 10
BLANK, GO = SYMBOLS, SYMBOLS + 1

RECIPES: dict[str, Recipe] = {
    "irnn": Recipe(learning_rate=3e-5, steps=20_000, units=64),
}
DEFAULT = Recipe(learning_rate=1e-3, steps=10_000, units=100)


@dataclass(frozen=True)
class CopyConfig(StudyConfig):
    """The copying memory task: cross-entropy of every cell after a pause."""

    length: int = 200
    """Steps of the pause, T."""
    goal: float = 1e-4
    """Validation cross-entropy, in nats a step, that ends a training early."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("length", self.length > 0, "above 0")
        self.require("goal", self.goal >= 0, "at least 0")


def memoryless(steps: int) -> float:
    """Cross-entropy, in nats a step, of who knows the task but remembers nothing."""
    return MEMORY * math.log(SYMBOLS) / (steps + 2 * MEMORY)


def examples(rng: np.random.Generator, count: int, steps: int) -> "Examples":
    """`count` sequences of one-hot symbols ``[count, steps + 20, 10]``, and the symbols to be
    said at each step ``[count, steps + 20]``."""
    from studies.training import Examples

    remembered = rng.integers(0, SYMBOLS, (count, MEMORY))
    read = np.full((count, steps + 2 * MEMORY), BLANK)
    read[:, :MEMORY] = remembered
    read[:, steps + MEMORY - 1] = GO
    said = np.full_like(read, BLANK, dtype=np.int32)
    said[:, -MEMORY:] = remembered
    return Examples(np.eye(SYMBOLS + 2, dtype=np.float32)[read], said)


def cross_entropy(y: Any, outputs: Any) -> Any:
    """In nats a step: symbols ``[batch, time]``, logits ``[batch, time, 9]``."""
    import tensorflow as tf

    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=outputs)
    return tf.reduce_mean(losses)


def case(cell: str, config: CopyConfig) -> "tuple[report.Row, Sequence[Look]]":
    """Trains one cell and scores it on the test set."""
    import keras

    from studies import training

    keras.utils.set_random_seed(config.seed)
    steps, held = (3, 10) if config.quick else (config.length, 500)
    recipe = config.recipe(RECIPES.get(cell, DEFAULT))
    shape = (steps + 2 * MEMORY, SYMBOLS + 2)
    model = training.network(cell, recipe, shape, SYMBOLS + 1, every_step=True)
    rng = np.random.default_rng([config.seed, 1])
    trained = training.fit(
        model,
        cross_entropy,
        recipe,
        lambda count: examples(rng, count, steps),
        examples(np.random.default_rng([config.seed, 2]), held, steps),
        minutes=config.minutes,
        goal=config.goal,
        label=cell,
    )
    test = examples(np.random.default_rng([0, 1, 3]), held, steps)
    said = trained.learner.answers(test.x).argmax(axis=-1)
    row = {
        "cell": cell,
        "T": steps,
        **trained.facts,
        "validation": trained.best,
        "test": trained.learner.score(test),
        "memoryless": memoryless(steps),
        "recalled": float(np.mean(said[:, -MEMORY:] == test.y[:, -MEMORY:])),
    }
    return row, trained.looks


def run(config: CopyConfig) -> None:
    """All cells; after each the files hold what is known by then."""
    start_tensorflow()
    out = report.folder("copy_memory", config.out)
    cells = config.cells
    print(f"{len(cells)} cases of at most {config.minutes:g} minutes each; results in {out}")
    rows: list[report.Row] = []
    looks: list[report.Row] = []
    for cell in cells:
        row, seen = case(cell, config)
        rows.append(row)
        looks += [{"cell": cell, **look._asdict()} for look in seen]
        report.write_csv(out / "results.csv", rows)
        report.write_csv(out / "training.csv", looks)
        baseline = ("memoryless", row["memoryless"])
        curves = report.learning_curves(looks, "cross-entropy, validation", baseline)
        plots.save(curves, out / "results.png")
        print(f"{cell}: {row['test']:.2e} in {row['seconds']:.0f} s", flush=True)
    print(f"\n{report.table(rows)}")
    print(
        "\nCross-entropy on the test set in nats a step; recalled: share of the ten symbols that"
        "\nwere said right, 1 in 8 by chance. Published at T = 1000 (Bai, Kolter & Koltun 2018,"
        "\narXiv:1803.01271): LSTM 0.0204, GRU 0.0197, tanh RNN 0.0202; memoryless is 0.0204."
    )


if __name__ == "__main__":
    main(run, CopyConfig, prog="studies.copy_memory")
