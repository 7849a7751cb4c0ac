"""What a study leaves: a table on the screen, tables and pictures in its folder."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from common.errors import UserError
from common.runs import write_text

Row = Mapping[str, Any]


def folder(study: str, out: Path | None) -> Path:
    """The folder of a study's results, made if need be.

    Raises:
        UserError: if it can't be made.
    """
    path = out or Path("runs") / "studies" / study
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {path}: can't be made: {error.strerror}") from None
    return path


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """Rows of the same columns, numbers unrounded."""
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def table(rows: Sequence[Row]) -> str:
    """Rows of the same columns as text: words to the left, numbers to the right."""
    heads = list(rows[0])
    texts = [[shown(row[head]) for head in heads] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *texts, strict=True)]
    right = [not isinstance(rows[0][head], str) for head in heads]
    lines = [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in [heads, *texts]
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def distinct(rows: Iterable[Row], column: str) -> list[Any]:
    """The values of a column, each once, as they come."""
    return list(dict.fromkeys(row[column] for row in rows))


def learning_curves(looks: Sequence[Row], ylabel: str, level: tuple[str, float]) -> Figure:
    """Validation loss of each cell over training, and a level to compare with.

    Args:
        looks: rows with ``cell``, ``step`` and ``validation``.
        ylabel: what the loss is.
        level: a name and a loss.
    """
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    for cell in distinct(looks, "cell"):
        points = [(row["step"], row["validation"]) for row in looks if row["cell"] == cell]
        axes.plot(*zip(*points, strict=True), label=cell)
    axes.axhline(level[1], color="grey", linestyle="--", label=level[0])
    axes.set(xlabel="step", ylabel=ylabel, yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def shown(value: Any) -> str:
    """A number with three digits that count; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
