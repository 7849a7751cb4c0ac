"""Scores a finished run on labelled data: a named corpus's test part, or the user's file."""

import sys
from typing import TYPE_CHECKING, Any

from apps.sentiment.config import EvaluateConfig, SentimentConfig
from common.cli import main, start_tensorflow
from common.errors import UserError

if TYPE_CHECKING:
    import numpy as np


def run(config: EvaluateConfig) -> dict[str, Any]:
    """Prints the scores, and writes them to --out."""
    from common import runs

    finished = runs.to_evaluate("sentiment", config.run, config.dataset, config.data, config.out)
    start_tensorflow()
    where, rows, names = labelled(config, runs.settings(finished, SentimentConfig))

    from apps.sentiment import metrics
    from apps.sentiment.predict import label
    from common import export

    model = export.load(finished.export, "serving_default", "trajectory")
    classes, probabilities = label(model, rows, progress=True)
    scores = metrics.scores(probabilities, indices(names, classes, where))
    print(f"{where}: {len(rows):,} texts")
    for line in describe(scores):
        print(line)
    result = {"app": "sentiment", "run": str(config.run), "dataset": where, "test": scores}
    if config.out is not None:
        runs.write_json(config.out, result)
        print(f"written to {config.out}", file=sys.stderr)
    return result


def labelled(
    config: EvaluateConfig, trained_on: dict[str, Any]
) -> tuple[str, list[str], list[str]]:
    """Where the data are from, the texts, and the names of their classes.

    Rows of --data whose column ``split`` says train or validation are left out.

    Raises:
        UserError: if no row of --data is for testing, and for data that can't be read.
    """
    from pathlib import Path

    from apps.sentiment import data, texts

    if config.data is not None:
        rows, names, cells = texts.read_labelled(
            config.data, config.text_column, config.label_column
        )
        if cells is not None:
            test = texts.split_parts(config.data, cells) == "test"
            rows = [row for row, keep in zip(rows, test, strict=True) if keep]
            names = [name for name, keep in zip(names, test, strict=True) if keep]
            if not rows:
                raise UserError(f"{config.data}: no row with split test")
        return str(config.data), rows, names
    own = trained_on.get("data") if config.dataset is None else None
    dataset = config.dataset or str(trained_on.get("dataset"))
    splits = data.load(
        dataset,
        Path(own) if own else None,
        str(trained_on.get("text_column")),
        str(trained_on.get("label_column")),
    )
    names = [splits.classes[i] for i in splits.test.labels]
    return f"{splits.name} (test)", splits.test.texts, names


def indices(names: list[str], classes: list[str], where: str) -> "np.ndarray":
    """The labels as indices into the model's classes, ``[texts]``.

    Raises:
        UserError: for a label that the model does not know, naming its row.
    """
    import numpy as np

    number = {name: index for index, name in enumerate(classes)}
    for row, name in enumerate(names, 1):
        if name not in number:
            expected = ", ".join(map(repr, classes))
            raise UserError(f"{where}: row {row}: label {name!r}, the model knows {expected}")
    return np.array([number[name] for name in names])


def describe(scores: dict[str, float]) -> list[str]:
    """A line a score, with its interval."""
    lines = []
    for name, value in scores.items():
        if not name.endswith(("_low", "_high")):
            low, high = scores.get(f"{name}_low"), scores.get(f"{name}_high")
            spread = f"  [{low:.4f}, {high:.4f}]" if low is not None else ""
            lines.append(f"  {name:18s} {value:.4f}{spread}")
    return lines


if __name__ == "__main__":
    main(run, EvaluateConfig, prog="python -m apps.sentiment.evaluate")
