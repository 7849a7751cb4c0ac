"""What several test files look at is made once, by whichever process of pytest needs it first."""

import fcntl
import functools
import inspect
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from tests.commands import Answer

GIVEN = "TESTS_SHARED_FOLDER"
"""Names the folder to the processes that share it (tests/conftest.py)."""
_OWN = None if GIVEN in os.environ else tempfile.TemporaryDirectory(prefix="suite-")
FOLDER = Path(_OWN.name if _OWN else os.environ[GIVEN])


def folder(name: str) -> Path:
    """One for what an application's tests share; it is there."""
    (FOLDER / name).mkdir(exist_ok=True)
    return FOLDER / name


P = ParamSpec("P")
Made = TypeVar("Made", Path, tuple[Path, Answer])


def shared(make: Callable[P, Made]) -> Callable[P, Made]:
    """`make`, called once for each of its arguments in all processes together.

    It returns where it wrote, with a command's answer if it ran one; the others read that, and
    wait while it works.
    """

    @functools.cache
    def wrapper(*given: P.args, **named: P.kwargs) -> Made:
        bound = inspect.signature(make).bind(*given, **named)
        bound.apply_defaults()
        name = "_".join(map(str, [make.__module__, make.__name__, *bound.arguments.values()]))
        made = FOLDER / f"{name}.json"
        with (FOLDER / f"{name}.door").open("w") as door:
            fcntl.flock(door, fcntl.LOCK_EX)
            if not made.exists():
                made.write_text(json.dumps(make(*given, **named), default=str))
        return _read(json.loads(made.read_text()))

    return wrapper  # type: ignore[return-value]


def _read(said: Any) -> Any:
    if isinstance(said, str):
        return Path(said)
    path, answer = said
    return Path(path), Answer(*answer)
