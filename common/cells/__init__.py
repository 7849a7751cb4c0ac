"""Recurrent cells, one file a family. ``CELLS`` names them all; ``make_cell`` builds one."""

from collections.abc import Callable
from typing import Any

import keras

from common.cells.base import Cell, WrittenCell
from common.cells.gated import GRUCell, LSTMCell, MGUCell
from common.cells.minimal import LinearCell, MinGRUCell, MinLSTMCell
from common.cells.simple import SimpleRNNCell
from common.initializers import ScaledIdentity


def irnn_cell(units: int, **kwargs: Any) -> SimpleRNNCell:
    """The IRNN of Le, Jaitly & Hinton (2015): ReLU, identity start, zero bias.

    Their input weights start as small Gaussian noise, here of deviation 0.01: with identity
    and ReLU nothing decays, and larger ones make long sums of inputs overflow.
    """
    kwargs = {
        "activation": "relu",
        "recurrent_initializer": ScaledIdentity(),
        "kernel_initializer": keras.initializers.RandomNormal(stddev=0.01),
        **kwargs,
    }
    return SimpleRNNCell(units, **kwargs)


CELLS: dict[str, Callable[..., Cell]] = {
    "simple": SimpleRNNCell,
    "irnn": irnn_cell,
    "lstm": LSTMCell,
    "gru": GRUCell,
    "mgu": MGUCell,
    "mingru": MinGRUCell,
    "minlstm": MinLSTMCell,
}


def make_cell(name: str, /, units: int, **kwargs: Any) -> Cell:
    """The cell called `name`, with `units` units; `kwargs` go to its constructor.

    Raises:
        ValueError: if no cell has that name.
    """
    if name not in CELLS:
        raise ValueError(f"unknown cell {name!r}: expected one of {', '.join(CELLS)}")
    return CELLS[name](units, **kwargs)


__all__ = [
    "CELLS",
    "Cell",
    "GRUCell",
    "LSTMCell",
    "LinearCell",
    "MGUCell",
    "MinGRUCell",
    "MinLSTMCell",
    "SimpleRNNCell",
    "WrittenCell",
    "make_cell",
]
