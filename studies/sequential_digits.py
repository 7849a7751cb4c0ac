"""Digits read pixel by pixel: 64 steps of one grey value each, then the label.

Plain, from left to right and top to bottom, neighbours in a row come one after the other, and
those in a column eight steps apart. Permuted, by one fixed permutation of all pixels, what
belongs together may be 60 steps apart (both after Le, Jaitly & Hinton 2015, arXiv:1504.00941).

The images are scikit-learn's 1,797 handwritten digits of 8x8 pixels (a test part of the UCI
optical recognition data, Alpaydin & Kaynak 1998), which come with the package. The published
figures beside them are for MNIST, 70,000 digits of 28x28 pixels, 784 steps: neighbours, not
the same task.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from matplotlib.figure import Figure

from common import plots
from common.cli import main, start_tensorflow
from studies import report
from studies.config import Recipe, StudyConfig

if TYPE_CHECKING:
    from studies.training import Examples, Look

Order = Literal["plain", "permuted"]
SPLIT_SEED, PERMUTATION_SEED = 8, 64

# Accuracy on 28x28 MNIST: Le et al. 2015 (irnn), Arjovsky, Shah & Bengio 2016
# (arXiv:1511.06464; lstm).
MNIST = {
    ("irnn", "plain"): 0.97,
    ("irnn", "permuted"): 0.82,
    ("lstm", "plain"): 0.982,
    ("lstm", "permuted"): 0.88,
}

RECIPES: dict[str, Recipe] = {
    "irnn": Recipe(learning_rate=1e-3, steps=10_000),
    "simple": Recipe(learning_rate=5e-4, steps=10_000),
}
DEFAULT = Recipe(learning_rate=3e-3, steps=10_000)


@dataclass(frozen=True)
class DigitsConfig(StudyConfig):
    """8x8 digits read pixel by pixel: accuracy of every cell."""

    orders: tuple[Order, ...] = get_args(Order)
    """Orders of the pixels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("orders", bool(self.orders), "of at least one order")


class Splits(NamedTuple):
    """Disjoint parts, the same for every seed."""

    train: "Examples"
    validation: "Examples"
    test: "Examples"


def digits(order: Order) -> Splits:
    """Three fifths, a fifth and a fifth of the digits as ``[count, 64, 1]`` in [0, 1], labels
    ``[count]``; equally many of each label in each."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    from studies.training import Examples

    x, y = load_digits(return_X_y=True)
    x, y = (x / 16).astype(np.float32)[:, :, np.newaxis], y.astype(np.int32)
    if order == "permuted":
        x = x[:, np.random.default_rng(PERMUTATION_SEED).permutation(x.shape[1])]
    parts: list[Examples] = []
    for share in (0.2, 0.25):
        x, x_part, y, y_part = train_test_split(
            x, y, test_size=share, stratify=y, random_state=SPLIT_SEED
        )
        parts.insert(0, Examples(x_part, y_part))
    return Splits(Examples(x, y), *parts)


def cross_entropy(y: Any, outputs: Any) -> Any:
    """In nats: labels ``[batch]``, logits ``[batch, 10]``."""
    import tensorflow as tf

    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=outputs)
    return tf.reduce_mean(losses)


def case(cell: str, order: Order, config: DigitsConfig) -> "tuple[report.Row, Sequence[Look]]":
    """Trains one cell on one order and scores it on the test part."""
    import keras

    from studies import training

    keras.utils.set_random_seed(config.seed)
    splits = digits(order)
    recipe = config.recipe(RECIPES.get(cell, DEFAULT))
    model = training.network(cell, recipe, splits.train.x.shape[1:], 10)
    rng = np.random.default_rng([config.seed, 1])

    def draw(count: int) -> "Examples":
        rows = rng.integers(0, len(splits.train.x), count)
        return training.Examples(splits.train.x[rows], splits.train.y[rows])

    trained = training.fit(
        model,
        cross_entropy,
        recipe,
        draw,
        splits.validation,
        minutes=config.minutes,
        label=f"{cell}, {order}",
    )
    right = trained.learner.answers(splits.test.x).argmax(axis=-1) == splits.test.y
    row = {
        "cell": cell,
        "order": order,
        **trained.facts,
        "validation_loss": trained.best,
        "test_accuracy": float(right.mean()),
        "mnist_published": MNIST.get((cell, order)),
    }
    return row, trained.looks


def picture(rows: Sequence[report.Row]) -> Figure:
    """Test accuracy of every cell, a group of bars for each order."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    cells = report.distinct(rows, "cell")
    orders = report.distinct(rows, "order")
    for number, order in enumerate(orders):
        bars = {row["cell"]: row["test_accuracy"] for row in rows if row["order"] == order}
        places = [cells.index(cell) + 0.4 * number for cell in bars]
        axes.bar(places, list(bars.values()), width=0.38, label=order)
    axes.set_xticks([place + 0.2 * (len(orders) - 1) for place in range(len(cells))], cells)
    axes.set(ylabel="accuracy, test", ylim=(0, 1))
    axes.grid(alpha=0.3, axis="y")
    axes.legend(loc="lower right")
    return figure


def run(config: DigitsConfig) -> None:
    """All cells on all orders; after each case the files hold what is known by then."""
    start_tensorflow()
    out = report.folder("sequential_digits", config.out)
    count = len(config.cells) * len(config.orders)
    print(f"{count} cases of at most {config.minutes:g} minutes each; results in {out}")
    rows: list[report.Row] = []
    looks: list[report.Row] = []
    for order in config.orders:
        for cell in config.cells:
            row, seen = case(cell, order, config)
            rows.append(row)
            looks += [{"cell": cell, "order": order, **look._asdict()} for look in seen]
            report.write_csv(out / "results.csv", rows)
            report.write_csv(out / "training.csv", looks)
            plots.save(picture(rows), out / "results.png")
            accuracy, seconds = row["test_accuracy"], row["seconds"]
            print(f"{cell}, {order}: accuracy {accuracy:.4f} in {seconds:.0f} s", flush=True)
    print(f"\n{report.table(rows)}")
    print(
        "\nAccuracy on 360 test digits of 8x8 pixels. mnist_published: on 28x28 MNIST, another"
        "\nand larger data set (irnn: Le, Jaitly & Hinton 2015, arXiv:1504.00941; lstm: Arjovsky,"
        "\nShah & Bengio 2016, arXiv:1511.06464)."
    )


if __name__ == "__main__":
    main(run, DigitsConfig, prog="studies.sequential_digits")
