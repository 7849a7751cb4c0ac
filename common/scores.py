"""The scores of a run beside its baselines', as tables for a page. Imports no TensorFlow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.charts import LARGEST, Interval, intervals
from common.html import places

ENDS = ("_low", "_high", "_std")
"""What the names of intervals and spreads end in."""

DRAWN = ("_low", "", "_high")
"""An interval, from its low end to its high end."""


@dataclass(frozen=True)
class Cell:
    """A score as text, and its interval or spread; all empty if there is none."""

    value: str = ""
    spread: str = ""
    raw: float | None = None


@dataclass(frozen=True)
class Scores:
    """A table: a row a model, a column a score.

    Args:
        caption: what was scored.
        names: of the columns.
        rows: name of the model to its cells; the first is the network.
        drawn: of the first column the intervals to draw, a row each; none where they are unknown.
        drawn_as: what these are.
    """

    caption: str
    names: Sequence[str]
    rows: Mapping[str, Sequence[Cell]]
    drawn: Sequence[Interval]
    drawn_as: str


def tables(result: Mapping[str, Any]) -> list[Scores]:
    """Of a metrics.json: its test part beside the baselines'.

    Where these were scored on a part of it (``single_words``), that is a table of its own, and the
    whole test part stands beside other ways to read the same network (``searches``).
    """
    network = f"{result.get('cell', '')} network".strip()
    baselines, others = (_models(result.get(name)) for name in ("baselines", "searches"))
    whole, part = (numbers(result.get(name)) for name in ("test", "single_words"))
    if part:
        pairs = {"test part": (whole, others), "test part, single words": (part, baselines)}
    else:
        pairs = {"test part": (whole, {**others, **baselines})}
    found = [
        table(caption, {network: own, **beside}) for caption, (own, beside) in pairs.items() if own
    ]
    if validation := numbers(result.get("validation")):
        found.append(table("validation part", {network: validation}))
    return found


def table(caption: str, rows: Mapping[str, Mapping[str, float]]) -> Scores:
    """Scores of several models: columns in the order in which they first appear."""
    names = list(dict.fromkeys(n for row in rows.values() for n in row if not n.endswith(ENDS)))
    cells = dict(zip(rows, cells_of(list(rows.values()), names), strict=True))
    drawn = [r for r in rows.values() if names and all(f"{names[0]}{e}" in r for e in DRAWN)]
    ends = [(row[f"{n}_low"], row[n], row[f"{n}_high"]) for n in names[:1] for row in drawn]
    whole = intervals(ends) if len(ends) == len(rows) > 1 else []
    several = any(f"{name}_std" in row for name in names[:1] for row in rows.values())
    drawn_as = "lowest to highest" if several else "95 % interval"
    return Scores(caption, [name.replace("_", " ") for name in names], cells, whole, drawn_as)


def cells_of(rows: Sequence[Mapping[str, float]], names: Sequence[str]) -> list[list[Cell]]:
    """A row of cells each, every column with one number of decimals."""
    decimals = {name: places([row[name] for row in rows if name in row]) for name in names}
    return [[_cell(row, name, decimals[name]) for name in names] for row in rows]


def _cell(row: Mapping[str, float], name: str, decimals: int) -> Cell:
    if name not in row:
        return Cell()
    spread = ""
    if f"{name}_std" in row:  # over several trainings; low and high are the ends of these
        spread = f"± {row[f'{name}_std']:.{decimals}f}"
    elif f"{name}_low" in row and f"{name}_high" in row:
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        spread = f"{low:.{decimals}f} to {high:.{decimals}f}"
    return Cell(f"{row[name]:.{decimals}f}", spread, row[name])


def _models(found: object) -> dict[str, dict[str, float]]:
    return {str(k): numbers(v) for k, v in found.items()} if isinstance(found, dict) else {}


def numbers(found: object) -> dict[str, float]:
    """What of a mapping are numbers: files of other versions, or of others, may hold anything."""
    if not isinstance(found, dict):
        return {}
    kept = {k: v for k, v in found.items() if isinstance(v, int | float)}
    return {str(k): float(v) for k, v in kept.items() if abs(v) < LARGEST}
