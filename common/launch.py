"""Starts several workers of one training on this machine. Imports no TensorFlow."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO


def tf_configs(workers: int) -> list[str]:
    """What TF_CONFIG is to be for each of them, at free ports of the loopback interface."""
    with contextlib.ExitStack() as opened:
        doors = [
            opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(workers)
        ]
        addresses = [f"127.0.0.1:{door.getsockname()[1]}" for door in doors]
    return [
        json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": n}})
        for n in range(workers)
    ]


def start(
    words: Sequence[object],
    said: IO[str],
    tf_config: str = "",
    cores: Sequence[int] = (),
    variables: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """``python words`` in a process of its own, in the folder that this package is in.

    Args:
        said: the file that its output goes to.
        tf_config: its TF_CONFIG; none if empty.
        cores: those that it may use; none given: all.
        variables: more of its environment.
    """
    around = {k: v for k, v in os.environ.items() if k != "TF_CONFIG"} | dict(variables or {})
    if tf_config:
        around["TF_CONFIG"] = tf_config
    process = subprocess.Popen(
        [sys.executable, *map(str, words)],
        cwd=Path(__file__).parent.parent,
        env=around,
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if cores:
        os.sched_setaffinity(process.pid, cores)  # before it has made a thread
    return process
