"""The command line: flags made from a dataclass, errors in one line. Imports no TensorFlow."""

import contextlib
import errno
import io
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import tyro

from common import cluster, resuming, runs
from common.errors import UserError

if TYPE_CHECKING:
    from common.sweep import Space

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NOT_OURS = (
    *(errno.EACCES, errno.EPERM, errno.EROFS),  # it may not be read, or written
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR, errno.ENOTDIR, errno.EEXIST),
    *NO_ROOM,
)
"""What the system refuses: no fault of the code."""
LONGEST_MESSAGE = 2_000
"""Characters of an error; what is longer is cut in its middle."""
Config = TypeVar("Config")
Presets = Mapping[str, Mapping[str, Any]]


def main(
    run: Callable[[Config], object],
    config_type: type[Config],
    *,
    prog: str,
    presets: Presets | None = None,
    app: str = "",
    space: "Space | None" = None,
) -> NoReturn:
    """Parses the command line into a `config_type`, runs it, and exits; a run that --resume names
    and that has ended already is left alone. With --sweep what to run is first chosen by trials.

    Exit codes: 0; 2 for what the user can mend, after one line on stderr; 130 after Ctrl-C.

    Args:
        app: the application whose runs the command trains.
        space: what its sweeps go over; `run` then takes ``trial`` (``common.sweep``).
    """
    several = False
    try:
        config: Any = parse(config_type, sys.argv[1:], prog=prog, presets=presets, app=app)
        path = getattr(config, "resume", None)
        if path is not None and runs.Run(path).is_finished:
            runs.tidy(runs.Run(path))  # it may have been killed at its very end
            print(f"{path}: this run is finished; there is nothing to resume")
            sys.exit(0)
        if path is not None:
            resuming.refuse_other_data(path, config)
        several = getattr(config, "strategy", "") == "multi-worker"
        with cluster.joined(config, app) if several else contextlib.nullcontext(config) as own:
            if getattr(own, "sweep", None) is not None:
                from common import sweep

                own = sweep.choose(run, own, app, space, given=_fields_in(sys.argv[1:]))
            run(own)
        code = 0
    except UserError as error:
        print(f"{prog}: error: {one_line(str(error))}", file=sys.stderr)
        code = 2
    except BrokenPipeError:  # the reader of our output has gone, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        if error.errno in NOT_OURS:
            named = error.filename2 or error.filename  # of a renaming, its end
            where = "" if named is None else f"{named}: "
            whole = "; what was written whole stays" if error.errno in NO_ROOM else ""
            said = one_line(f"{where}{os.strerror(error.errno)}{whole}")
            print(f"{prog}: error: {said}", file=sys.stderr)
            code = 2
        elif several:
            traceback.print_exc()
            code = 1
        else:
            raise
    except KeyboardInterrupt:
        print(f"{prog}: interrupted", file=sys.stderr)
        code = 130
    except Exception:
        if not several:
            raise
        traceback.print_exc()
        code = 1
    if several:
        cluster.leave(code)
    sys.exit(code)


def one_line(message: str) -> str:
    """A message as a terminal shows it: what files put into it moves no cursor and fills no
    screen."""
    words = " ".join(message.split())
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)
    half = LONGEST_MESSAGE // 2
    return shown if len(shown) <= 2 * half else f"{shown[:half]} ... {shown[-half:]}"


def start_tensorflow() -> None:
    """Imports TensorFlow and Keras without the dozen lines that they say about themselves.

    What goes wrong is raised as an exception all the same. Set TF_CPP_MIN_LOG_LEVEL to hear
    more.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)  # written by C++, before its log level counts
        import keras  # noqa: F401
        import tensorflow as tf

        tf.config.list_physical_devices()
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def command(name: str) -> str:
    """How to call a program of this Python's environment from the folder one is in."""
    program = Path(sys.executable).with_name(name)
    if not program.exists():
        return name
    return str(program.relative_to(Path.cwd())) if program.is_relative_to(Path.cwd()) else name


def say_next(commands: Sequence[str], folder: Path) -> None:
    """Prints what to type after a training, the application's own `commands` first."""
    shown = f"{command('saved_model_cli')} show --dir {shlex.quote(str(folder / 'export' / '1'))}"
    print("\nNext:", *commands, f"{shown} --all", "make board", sep="\n  ")
    print(f"To look at: {folder / 'report.html'}")


def parse(
    config_type: type[Config],
    argv: Sequence[str],
    *,
    prog: str,
    presets: Presets | None = None,
    app: str = "",
) -> Config:
    """`argv` as a `config_type`. Flags win over the preset, the preset over the defaults. With
    --resume the run's own configuration, which flags must not contradict.

    Raises:
        UserError: in one line, for whatever tyro refuses, and for what can't be resumed.
        SystemExit: with code 0, after --help.
    """
    default = None
    resumed = _value_of("--resume", argv) if app else None
    if resumed is not None:
        default = resuming.configuration(app, config_type, Path(resumed))
    elif presets:
        name = _value_of("--preset", argv)
        if name is not None and name not in presets:
            raise UserError(f"--preset {name}: expected one of {', '.join(presets)}")
        if name is not None:
            default = config_type(**{"preset": name, **presets[name]})
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            if default is None:
                return tyro.cli(config_type, args=argv, prog=prog)
            config = tyro.cli(config_type, args=argv, prog=prog, default=default)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UserError(_first_message(said.getvalue())) from None
    if resumed is not None:
        resuming.refuse_changes(default, config)
    return config


def _fields_in(argv: Sequence[str]) -> set[str]:
    """The fields that flags set, to whatever value."""
    flags = (word[2:].split("=", 1)[0] for word in argv if word.startswith("--"))
    return {flag.removeprefix("no-").replace("-", "_") for flag in flags}


def _value_of(flag: str, argv: Sequence[str]) -> str | None:
    for place, word in enumerate(argv):
        if word == flag and place + 1 < len(argv):
            return argv[place + 1]
        if word.startswith(flag + "="):
            return word.split("=", 1)[1]
    return None


def _first_message(boxed: str) -> str:
    """The first message out of the box that tyro draws around its errors."""
    lines = []
    for line in boxed.splitlines():
        text = line.strip().strip("│╭╮╰╯─").strip()
        if not text or line.strip().startswith(("╭", "╰")):
            continue
        if set(text) <= {"─"} or "───" in line:
            break
        lines.append(text)
    return " ".join(lines) or " ".join(boxed.split()) or "the command line can't be read"
