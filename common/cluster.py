"""Several processes, on one machine or many, that train one model together: which of them this
one is, and how it behaves as one of them. Imports no TensorFlow.

Every worker is started by the same command, with ``--strategy multi-worker``, and is told by the
environment variable TF_CONFIG who the others are::

    {"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}

The first is the chief: it alone validates, tests, exports, and writes into the run's folder. The
others work in a folder of their own that goes when they end, print nothing but how they ended,
and end when the chief does. Whatever all must agree on comes from the chief
(``common.workers``), so that only ``--resume`` needs a folder that every worker can read.
"""

import contextlib
import dataclasses
import errno
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from common import runs
from common.errors import UserError

Config = TypeVar("Config")
ALL_HERE = b"all here"
EXAMPLE = '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Place:
    """One worker among several."""

    addresses: tuple[str, ...]
    """Of all of them, the chief's first."""
    index: int

    @property
    def chief(self) -> bool:
        """Whether it is the first, which writes the files."""
        return self.index == 0

    @property
    def address(self) -> str:
        """HOST:PORT, its own."""
        return self.addresses[self.index]

    def __str__(self) -> str:
        return f"worker {self.index} of {len(self.addresses)} ({self.address})"


def place() -> Place:
    """Which worker this process is, by TF_CONFIG.

    Raises:
        UserError: if that is missing, or is not what TensorFlow expects.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        raise UserError(f"--strategy multi-worker: TF_CONFIG is not set; expected {EXAMPLE}")
    try:
        found = json.loads(text)
        cluster, task = found["cluster"], found["task"]
        groups = {kind: list(cluster[kind]) for kind in ("chief", "worker") if kind in cluster}
        others = sorted(set(cluster) - set(groups))
        kind, index = task["type"], task["index"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        why = f"no {error}" if isinstance(error, KeyError) else error
        raise UserError(f"TF_CONFIG can't be read ({why}); expected {EXAMPLE}") from None
    if others or kind not in groups:
        odd = others[0] if others else kind
        raise UserError(f"TF_CONFIG: a task of type {odd!r}; expected 'worker' (or 'chief')")
    addresses = [address for group in groups.values() for address in group]
    for address in addresses:
        if not _is_address(address):
            raise UserError(f"TF_CONFIG: {address!r} is no address, expected HOST:PORT")
    if len(set(addresses)) < len(addresses):
        raise UserError("TF_CONFIG: the same address twice; each worker needs its own")
    if type(index) is not int or not 0 <= index < len(groups[kind]):
        raise UserError(
            f"TF_CONFIG: task index {index!r}, expected one from 0 to {len(groups[kind]) - 1}"
        )
    before = len(groups["chief"]) if kind == "worker" and "chief" in groups else 0
    if len(groups.get("chief", [])) > 1:
        raise UserError("TF_CONFIG: several chiefs, expected one")
    return Place(tuple(addresses), before + index)


def _is_address(address: Any) -> bool:
    host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
    return bool(host) and port.isdecimal() and 0 < int(port) < 65536


@contextlib.contextmanager
def joined(config: Config, app: str) -> Iterator[Config]:
    """This process is one of several inside: gives the configuration that it is to run with, and
    at the end waits for the others. Where another has gone, says so in a UserError."""
    here = place()
    _listening(here).close()  # or it is refused before anything is loaded
    with _scratch() as folder, _peers_lost(here, config):
        given: Any = config
        if here.chief:
            if given.run_dir is None and given.resume is None:
                given = dataclasses.replace(given, run_dir=runs.planned(app, None).path)
            with _peers_lost(here, given):
                yield given
            with contextlib.suppress(UserError), _peers_lost(here, given):
                _meet()  # all is written: who has gone meanwhile is not missed
            return
        print(f"{here}: trains for {here.addresses[0]}, which says how it goes", flush=True)
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield dataclasses.replace(given, run_dir=folder / "run", resume=None)
            _meet()
    print(f"{here}: the run has ended", flush=True)


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for all that is temporary, which goes: a process that ends at once (``leave``)
    leaves to others what TensorFlow would have removed."""
    before, folder = tempfile.tempdir, Path(tempfile.mkdtemp(prefix="worker-"))
    tempfile.tempdir = str(folder)
    try:
        yield folder
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)


def _meet() -> None:
    """Waits until every worker has come here: the chief last, when all is written."""
    workers = sys.modules.get("common.workers")
    if workers is not None:  # or the run was over before it began
        workers.meet()


@contextlib.contextmanager
def _peers_lost(here: Place, config: Any) -> Iterator[None]:
    """Turns what TensorFlow says when a worker has gone into one line."""
    try:
        yield
    except Exception as error:
        if not _is_loss(error):
            raise
        raise UserError(
            f"{here}: another worker has ended or can't be reached; start all of them again"
            f"{_go_on(config)}"
        ) from None


def _is_loss(error: Exception) -> bool:
    if "tensorflow" not in sys.modules:
        return False
    from tensorflow import errors

    lost = (errors.UnavailableError, errors.AbortedError, errors.DeadlineExceededError)
    return isinstance(error, lost) or (
        isinstance(error, errors.OpError) and "ollective" in error.message
    )


def _go_on(config: Any) -> str:
    """How to start again what was lost."""
    path = config.resume or config.run_dir
    if path is None:
        return " with --resume and the chief's run folder"
    if runs.Run(path).config.exists():
        return f" with --resume {path}"
    return f" (with --resume {path} if that has a config.json)"


def gather(minutes: float) -> None:
    """Returns when all workers have come here, which they have `minutes` for. TensorFlow itself
    would wait for ever, and let no other thread of this process end that.

    Every worker calls on the chief, at the port that TensorFlow is going to listen on, and says
    its number; when all have, the chief answers each.

    Raises:
        UserError: if some have not, naming them.
    """
    here, deadline = place(), time.monotonic() + 60 * minutes
    missing = _receive(here, deadline) if here.chief else _call(here, deadline)
    if missing:
        who = ", ".join(f"worker {n} ({here.addresses[n]})" for n in missing)
        raise UserError(
            f"{here}: waited {minutes:g} minutes (--worker-minutes) for {who}; is it started, and "
            "does TF_CONFIG name the same addresses everywhere?"
        )


def _receive(here: Place, deadline: float) -> list[int]:
    """The chief's part. Returns who has not come."""
    came: dict[int, socket.socket] = {}
    others = set(range(1, len(here.addresses)))
    with contextlib.ExitStack() as opened, _listening(here) as door:
        while others - set(came):
            came = {n: caller for n, caller in came.items() if not _hung_up(caller)}
            if time.monotonic() > deadline:
                return sorted(others - set(came))
            with contextlib.suppress(OSError, ValueError):  # nobody yet; or a stranger
                caller = opened.enter_context(door.accept()[0])
                caller.settimeout(2)
                number = int(caller.recv(16))
                if number in others:
                    came[number] = caller
        for caller in came.values():
            with contextlib.suppress(OSError):
                caller.sendall(ALL_HERE)
                caller.settimeout(2)
                caller.recv(1)  # who calls hangs up first: the port is free at once
    return []


def _call(here: Place, deadline: float) -> list[int]:
    """The part of all others."""
    host, _, port = here.addresses[0].rpartition(":")
    while (left := deadline - time.monotonic()) > 0:
        with (
            contextlib.suppress(OSError),
            socket.create_connection((host.strip("[]"), int(port)), timeout=2) as chief,
        ):
            chief.sendall(f"{here.index}\n".encode())
            chief.settimeout(left)
            if chief.recv(len(ALL_HERE)) == ALL_HERE:
                return []
        time.sleep(0.2)
    return [0]


def _listening(here: Place) -> socket.socket:
    """A server at this worker's port.

    Raises:
        UserError: if another process is there.
    """
    port = int(here.address.rpartition(":")[2])
    try:
        door = socket.create_server(("", port), backlog=128)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            why = "is in use by another process; end that one, or choose another port"
        else:
            why = f"can't be listened on: {error.strerror}"
        raise UserError(f"{here}: port {port} {why}") from None
    door.settimeout(0.5)
    return door


def _hung_up(caller: socket.socket) -> bool:
    caller.setblocking(False)
    try:
        return caller.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def leave(code: int) -> None:
    """Ends a process that has joined others at once: TensorFlow would wait for those that have
    gone."""
    workers = sys.modules.get("common.workers")
    if workers is not None and workers.joined():
        _end(code)


def _end(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
