"""Files that somebody else made: which are opened, how large they may be, and how much memory and
time reading them may take. Imports no TensorFlow."""

import contextlib
import os
import signal
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from common.errors import UserError

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

SECONDS = 120.0
"""Of the processor for one file: the slowest real score takes 20."""
MEMORY = 2 * 2**30
"""Bytes that the address space may grow by: a benchmark file of 100 MB takes 1 GB."""
LONGEST_LINE = 2**24
"""Bytes: above that it is no text with lines."""
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def check(path: Path, most: int | None = None) -> None:
    """Refuses what can't be read as a file is: a pipe would wait for ever, a device never end.

    Args:
        most: bytes that the file may have.

    Raises:
        UserError: if there is no such file, it is something else, or too large.
    """
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # a loop of links, a name too long, a NUL in it
        raise UserError(f"{path}: can't be opened: {_reason(error)}") from None
    kind = stat.S_IFMT(found.st_mode)
    if kind != stat.S_IFREG:
        raise UserError(f"{path}: expected a file, found {KINDS.get(kind, 'something else')}")
    if most is not None and found.st_size > most:
        raise UserError(
            f"{path}: {found.st_size:,} bytes, expected at most {most:,} in a file of its kind"
        )


def lines(path: Path, longest: int = LONGEST_LINE) -> Iterator[tuple[int, str]]:
    """The lines of a text file, counted from 1, without their ends and a byte order mark, one
    after the other: memory does not grow with the file.

    Args:
        longest: bytes that a line may have.

    Raises:
        UserError: naming the line, for bytes that are not UTF-8 text, and for a longer line; as
            ``check``; if the file can't be opened.
    """
    check(path)
    try:
        with path.open("rb") as file:
            yield from decoded(file, str(path), longest)
    except OSError as error:
        raise UserError(f"{path}: can't be read: {_reason(error)}") from None


def decoded(file: BinaryIO, where: str, longest: int = LONGEST_LINE) -> Iterator[tuple[int, str]]:
    """The same of an open file, such as stdin.

    Raises:
        UserError: naming the line, for bytes that are not UTF-8 text, and for a longer line.
    """
    number = 0
    while line := file.readline(longest + 1):
        number += 1
        if len(line) > longest:
            raise UserError(f"{where}: line {number}: expected at most {longest:,} bytes")
        try:
            text = line.decode("utf-8")
            place = line.find(0)  # half of a UTF-16 letter, or no text at all
        except UnicodeDecodeError as error:
            place = error.start
        if place >= 0:
            wide = number == 1 and (not line[place] or line[:2] in (b"\xff\xfe", b"\xfe\xff"))
            raise UserError(
                f"{where}: line {number}: expected UTF-8 text, found byte 0x{line[place]:02x}; "
                f"`iconv -f {'UTF-16' if wide else 'LATIN1'} -t UTF-8` may convert it"
            )
        yield number, text.removeprefix("\ufeff" if number == 1 else "").rstrip("\r\n")


def read_text(path: Path, most: int) -> str:
    """The lines of a text file of at most so many bytes, together.

    Raises:
        UserError: as ``lines``; for a larger file.
    """
    check(path, most)
    return "\n".join(line for _, line in lines(path, most))


def inside(path: Path, folder: Path) -> bool:
    """Whether `path` lies below `folder` when links and `..` are followed."""
    try:
        found = Path(os.path.realpath(path))
    except (OSError, ValueError):
        return False
    return found.is_relative_to(os.path.realpath(folder))


class _Spent(BaseException):
    """The time is over. No ``Exception``: parsers catch these, and go on."""


@contextlib.contextmanager
def bounded(where: object, seconds: float = SECONDS, memory: int | None = MEMORY) -> Iterator[None]:
    """Reads a foreign file in bounded time and memory.

    For parsers that believe what a file claims, or whose work grows faster than the file. Where
    the system has no such limits (Windows), and in threads other than the first, time is not
    bounded; where there is no ``/proc``, memory is not.

    Args:
        where: what errors call the file.
        seconds: of the processor.
        memory: bytes that the address space may grow by.

    Raises:
        UserError: when it takes more of either.
    """
    try:
        with _clock(seconds), _ceiling(memory):
            yield
    except MemoryError:
        raise UserError(
            f"{where}: reading it takes more than {(memory or 0) / 2**30:.3g} GB of memory: "
            f"broken, or not what it claims to be"
        ) from None
    except _Spent:
        raise UserError(
            f"{where}: reading it takes more than {seconds:g} s: broken, or not what it claims "
            f"to be"
        ) from None


@contextlib.contextmanager
def _clock(seconds: float) -> Iterator[None]:
    first = threading.current_thread() is threading.main_thread()
    if not first or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Spent

    before = signal.signal(signal.SIGVTALRM, stop)
    try:
        # Again every second: a parser may swallow the first.
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds, 1.0)
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@contextlib.contextmanager
def _ceiling(memory: int | None) -> Iterator[None]:
    held = Path("/proc/self/statm")
    if memory is None or resource is None or not held.exists():
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    now = int(held.read_text().split()[0]) * resource.getpagesize()
    top = now + memory
    if soft != resource.RLIM_INFINITY:
        top = min(top, soft)
    resource.setrlimit(resource.RLIMIT_AS, (top, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
