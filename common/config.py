"""Settings that mean the same in every application. Imports no TensorFlow, so that --help is
quick; each application adds its own fields in its ``config.py``."""

import dataclasses
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from common.errors import UserError

CellName = Literal["simple", "irnn", "lstm", "gru", "mgu", "mingru", "minlstm"]
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]
StrategyName = Literal["none", "mirrored", "multi-worker"]
SweepName = Literal["random", "hyperband"]


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
    """Fixes initial weights, order and dropout: the same seed gives the same scores, with as
    many threads on the same kind of machine."""
    sweep: SweepName | None = None
    """First try other values of some fields, and train what scores best on the validation part.
    random: each drawn on its own; hyperband: many for few epochs, the better ones for more, up to
    --epochs."""
    trials: int | None = None
    """Configurations that a sweep tries. Default: 10; with hyperband as many as its brackets have,
    and fewer if this is lower."""
    sweep_over: tuple[str, ...] | None = None
    """Fields to sweep over, such as `learning_rate units`. Default: all that the application has
    ranges for and no flag has set."""

    def __post_init__(self) -> None:
        positive = ("units", "layers", "epochs", "patience", "batch_size", "learning_rate")
        shares = ("warmup", "average")
        for name in (*positive, "keep_checkpoints", "worker_minutes", "trials"):
            value = getattr(self, name)
            self.require(name, value is None or value > 0, "above 0")
        for name in shares:
            self.require(name, 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        for name in ("weight_decay", "clip_norm", "truncate", "seed", "checkpoint_minutes"):
            self.require(name, getattr(self, name) >= 0, "at least 0")
        if self.sweep is None and (self.trials is not None or self.sweep_over is not None):
            raise UserError("--trials and --sweep-over go with --sweep random or hyperband")
        if self.sweep == "hyperband" and self.epochs is None:
            raise UserError("--sweep hyperband: expected --epochs, the most that a trial is given")
        if self.sweep is not None and self.strategy == "multi-worker":
            raise UserError(
                "--sweep with --strategy multi-worker: sweep on one machine, then train"
            )

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


def defaults(config: object) -> dict[str, object]:
    """Of the fields that are not at their defaults, these, as JSON can hold them: when a later
    version has others, a run still knows its own. Where and how it was run is not among them."""
    kind = type(config)
    usual, values = to_json(kind()), to_json(config)
    ways = ("run_dir", "resume")
    return {k: usual[k] for k, v in values.items() if v != usual[k] and k not in ways}


Type = TypeVar("Type")

LARGEST_INT = 2**63 - 1
_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "text",
    Path: "a path",
    type(None): "null",
}


def from_json(
    wanted: type[Type], found: Any, where: str, *, exact: bool = False, finite: bool = True
) -> Type:
    """A dataclass out of what JSON holds, as ``to_json`` or ``dataclasses.asdict`` wrote it.

    A field that is missing has its default. The values are values: none of them is imported,
    called or evaluated.

    Args:
        wanted: a dataclass of bool, int, float, str, Path, Literal, tuples, lists, dicts,
            dataclasses.
        where: what errors call the place.
        exact: refuses a field that `wanted` does not know, instead of passing over it.
        finite: refuses NaN and infinity, which JSON proper does not have, Python's does.

    Raises:
        UserError: naming the field, for one without a default that is missing, and for a value of
            another type, that is not finite, or that the dataclass itself refuses.
    """
    if not isinstance(found, Mapping):
        raise UserError(f"{where}: expected an object, found {_shown(found)}")
    hints = get_type_hints(wanted, include_extras=True)
    strange = [name for name in found if name not in hints]
    if exact and strange:
        raise UserError(f"{where}: {strange[0]!r} is no field of {wanted.__name__}")
    values = {}
    for field in fields(wanted):  # type: ignore[arg-type]
        if field.name in found:
            place = f"{where}: {field.name}"
            values[field.name] = _value(hints[field.name], found[field.name], place, finite)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise UserError(f"{where}: no {field.name!r} in it")
    try:
        return wanted(**values)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _value(hint: Any, found: Any, where: str, finite: bool) -> Any:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _value(parts[0], found, where, finite)
    if origin in (Union, types.UnionType):
        if found is None and type(None) in parts:
            return None
        some = next(part for part in parts if part is not type(None))
        return _value(some, found, where, finite)
    if dataclasses.is_dataclass(hint):
        return from_json(hint, found, where, finite=finite)  # type: ignore[arg-type]
    if origin in (tuple, list) and isinstance(found, list):
        each = parts[:1] * len(found) if origin is list or parts[1:] == (...,) else parts
        if len(each) == len(found):
            return origin(_value(h, v, where, finite) for h, v in zip(each, found, strict=True))
    elif origin in (dict, Mapping) and isinstance(found, dict):
        return {key: _value(parts[1], value, where, finite) for key, value in found.items()}
    elif origin is Literal:
        if isinstance(found, str | int) and found in parts:
            return found
        raise UserError(f"{where}: expected {' or '.join(parts)}, found {_shown(found)}")
    elif _is(hint, found) or (hint is float and not finite and isinstance(found, float)):
        return Path(found) if hint is Path else found
    expected = _WORDS.get(hint, "an object" if origin in (dict, Mapping) else "a list")
    if origin is tuple and parts[1:] != (...,):
        expected = f"a list of {len(parts)}"
    raise UserError(f"{where}: expected {expected}, found {_shown(found)}")


def _is(hint: Any, found: Any) -> bool:
    """Whether a single value is of that type; NaN and infinity are of none."""
    if hint in (int, float):
        kinds = (int, float) if hint is float else int
        most = LARGEST_INT if hint is int else sys.float_info.max
        return isinstance(found, kinds) and not isinstance(found, bool) and abs(found) <= most
    if hint in (str, Path):
        # JSON can write down half of a surrogate pair, and no file has a NUL in its name.
        whole = isinstance(found, str) and found.encode("utf-8", "ignore").decode() == found
        return whole and "\0" not in found
    return isinstance(hint, type) and isinstance(found, hint)


def _shown(found: Any) -> str:
    try:
        text = repr(found)
    except RecursionError:
        text = "something nested deeply"
    return text if len(text) <= 60 else f"{text[:57]}..."
