"""Settings that mean the same in every application. Imports no TensorFlow, so that --help is
quick; each application adds its own fields in its ``config.py``."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from common.errors import UserError

CellName = Literal["simple", "irnn", "lstm", "gru", "mgu", "mingru", "minlstm"]
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]
StrategyName = Literal["none", "mirrored", "multi-worker"]
Fields = TypeVar("Fields")


@dataclass(frozen=True)
class TrainConfig:
    """What every training run needs to know."""

    run_dir: Path | None = None
    """Folder of this run; new, or empty. Default: runs/APP/TIME."""
    resume: Path | None = None
    """A run that was killed or interrupted: it goes on, with its own configuration, to the end that
    it would have had."""
    checkpoint_minutes: float = 5.0
    """At most so many minutes are lost when a run is killed: a checkpoint is written as often, and
    at every end of an epoch; 0: only there. Lower it where machines are taken away."""
    keep_checkpoints: int = 2
    """So many checkpoints are kept, in case the newest is damaged; each takes four times the
    weights' place on disk. All go when the run ends."""
    data: Path | None = None
    """Your own data instead of a named dataset; see the application's README."""
    init_from: Path | None = None
    """A finished run to start from: weights whose shapes fit are carried over."""
    cell: CellName = "gru"
    """Recurrent cell: simple (tanh), irnn (ReLU from the identity), or one with gates."""
    units: int = 64
    """Width of the hidden state, in each direction. Raise it when there is much data."""
    layers: int = 1
    """Recurrent layers on top of each other."""
    epochs: int | None = None
    """At most so many passes over the training split. Default: more for a small one."""
    patience: int | None = None
    """Stop after so many epochs without a better validation score. Default: a third of all."""
    batch_size: int = 64
    """Examples in one optimiser step, over all devices together."""
    learning_rate: float = 1e-3
    """Highest learning rate of AdamW, after warm-up and before the cosine decay."""
    warmup: float = 0.1
    """Share of all steps over which the learning rate rises."""
    weight_decay: float = 0.01
    """Decay of kernels (never of biases or embeddings), as a share of the learning rate."""
    clip_norm: float = 1.0
    """Longer gradients (global norm) are shortened to this; 0 turns it off."""
    average: float = 0.0
    """Momentum of the running average of the weights that is validated and kept; 0 is off."""
    precision: Precision = "float32"
    """Arithmetic: bfloat16 or float16 pay on GPUs that have them, not on a CPU."""
    jit: bool = False
    """Compile the training step by XLA: worth trying on a GPU; each new length costs time."""
    strategy: StrategyName = "none"
    """mirrored: split each batch over all GPUs (or logical CPUs) of this machine. multi-worker:
    over all workers of TF_CONFIG, each started by the same command (docs/scaling.md)."""
    worker_minutes: float = 5.0
    """So long do workers wait for each other at the start. Raise it where machines come slowly."""
    truncate: int = 0
    """Steps that a gradient travels back through time, for long streams; 0: all of them."""
    gradient_flow: bool = False
    """Log how far the loss reaches back in time: norms of dL/ds at each step, on one batch."""
    seed: int = 0
    """Fixes initial weights, order and dropout: the same seed gives the same scores."""

    def __post_init__(self) -> None:
        positive = ("units", "layers", "epochs", "patience", "batch_size", "learning_rate")
        shares = ("warmup", "average")
        for name in (*positive, "keep_checkpoints", "worker_minutes"):
            value = getattr(self, name)
            self.require(name, value is None or value > 0, "above 0")
        for name in shares:
            self.require(name, 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        for name in ("weight_decay", "clip_norm", "truncate", "seed", "checkpoint_minutes"):
            self.require(name, getattr(self, name) >= 0, "at least 0")

    def require(self, name: str, holds: bool, expected: str) -> None:
        """Raises UserError, naming the flag, unless `holds`."""
        if not holds:
            flag = "--" + name.replace("_", "-")
            raise UserError(f"{flag} {getattr(self, name)}: expected a value {expected}")


def to_json(config: object) -> dict[str, object]:
    """The fields of a configuration as JSON can hold them; paths become absolute."""
    values = {f.name: getattr(config, f.name) for f in fields(config)}  # type: ignore[arg-type]
    return {
        name: str(value.absolute()) if isinstance(value, Path) else value
        for name, value in values.items()
    }


def from_json(kind: type[Fields], values: Mapping[str, Any], source: str) -> Fields:
    """The dataclass `kind` with fields from JSON, each checked against its type: nothing in a file
    can name code, or be of another shape than the program expects.

    Args:
        source: where they stand, for the error.

    Raises:
        UserError: for a field that `kind` doesn't have, or a value of another type.
    """
    hints = get_type_hints(kind)
    given = {}
    for name, value in values.items():
        if name not in {f.name for f in fields(kind)}:  # type: ignore[arg-type]
            raise UserError(f"{source}: {name!r} is no field of {kind.__name__}")
        try:
            given[name] = _typed(value, hints[name])
        except TypeError:
            raise UserError(f"{source}: {name}: {value!r} is of another type") from None
    return kind(**given)


def _typed(value: Any, hint: Any) -> Any:
    """`value` as a `hint`; TypeError if it is none."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if value is None and NoneType in inner:
            return None
        return _typed(value, next(kind for kind in inner if kind is not NoneType))
    if origin is Literal and any(value == one and type(value) is type(one) for one in inner):
        return value
    if origin in (list, tuple) and isinstance(value, list):
        kinds = inner[:1] * len(value) if origin is list or inner[-1] is Ellipsis else inner
        if len(kinds) == len(value):
            return origin(map(_typed, value, kinds))
    if origin is dict and isinstance(value, dict):
        return {key: _typed(one, inner[1]) for key, one in value.items()}
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if hint in (bool, int, str) and type(value) is hint:
        return value
    raise TypeError(value)
