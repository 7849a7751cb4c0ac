"""What every study can be asked. Imports no TensorFlow, so that --help is quick."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from common.config import CellName
from common.errors import UserError

Decay = Literal["constant", "cosine"]
ALL_CELLS: tuple[CellName, ...] = get_args(CellName)


@dataclass(frozen=True)
class Recipe:
    """How one cell is trained in one study: by Adam, on gradients of limited length."""

    learning_rate: float = 1e-3
    decay: Decay = "cosine"
    """cosine: after a short rise down to a hundredth; it brings the error down at the end."""
    steps: int = 10_000
    """Optimiser steps, one batch each."""
    batch_size: int = 32
    units: int = 64
    clip_norm: float = 1.0
    """Longer gradients (global norm) are shortened to this."""
    input_deviation: float | None = None
    """Standard deviation of the input weights' Gaussian start; None leaves it to the cell."""


@dataclass(frozen=True)
class StudyConfig:
    """What all studies have in common."""

    cells: tuple[CellName, ...] = ALL_CELLS
    """Cells to compare."""
    out: Path | None = None
    """Folder of the tables (CSV) and pictures (PNG). Default: runs/studies/STUDY."""
    minutes: float = 3.0
    """Longest training of one case; the best weights so far are then scored."""
    learning_rate: float | None = None
    """Highest learning rate of Adam. Default: what suits each cell, see RECIPES in the study."""
    steps: int | None = None
    """Optimiser steps at most. Default: see RECIPES in the study."""
    units: int | None = None
    """Width of the hidden state. Default: see RECIPES in the study."""
    seed: int = 0
    """Fixes weights and examples: the same seed gives the same scores, if time suffices."""
    quick: bool = False
    """A few steps on short sequences: to see that it runs, not to learn anything."""

    def __post_init__(self) -> None:
        self.require("cells", bool(self.cells), "of at least one cell")
        self.require("minutes", self.minutes > 0, "above 0")
        for name in ("learning_rate", "steps", "units"):
            value = getattr(self, name)
            self.require(name, value is None or value > 0, "above 0")
        self.require("seed", self.seed >= 0, "at least 0")

    def require(self, name: str, holds: bool, expected: str) -> None:
        """Raises UserError, naming the flag, unless `holds`."""
        if not holds:
            flag, value = "--" + name.replace("_", "-"), getattr(self, name)
            shown = " ".join(map(str, value)) if isinstance(value, tuple) else value
            raise UserError(f"{flag} {shown}: expected a value {expected}")

    def recipe(self, usual: Recipe) -> Recipe:
        """A cell's usual recipe with what was asked for instead."""
        if self.quick:
            usual = replace(usual, steps=4, units=4, batch_size=4)
        asked = {name: getattr(self, name) for name in ("learning_rate", "steps", "units")}
        return replace(usual, **{name: value for name, value in asked.items() if value is not None})
