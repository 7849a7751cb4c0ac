"""Which worker a process is, and that all of them have come: without TensorFlow."""

import json
import socket
import sys
import threading
import time
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen

import pytest

from common import cluster, launch
from common.errors import UserError
from tests.commands import ROOT, child, command, refusal
from tests.sentiment_runs import TRAIN


def tf_config(workers: object, kind: object = "worker", index: object = 0, **more: object) -> str:
    return json.dumps(
        {"cluster": {"worker": workers, **more}, "task": {"type": kind, "index": index}}
    )


TWO = ["a:1000", "[::1]:2000"]


@pytest.mark.parametrize(
    ("text", "index", "address"),
    [
        (tf_config(TWO), 0, "a:1000"),
        (tf_config(TWO, index=1), 1, "[::1]:2000"),
        (tf_config(TWO, index=1, chief=["c:1"]), 2, "[::1]:2000"),
        (tf_config(TWO, kind="chief", chief=["c:1"]), 0, "c:1"),
    ],
)
def test_a_place_is_read(
    monkeypatch: pytest.MonkeyPatch, text: str, index: int, address: str
) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    here = cluster.place()
    assert (here.index, here.address, here.chief) == (index, address, index == 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "TF_CONFIG is not set; expected .*cluster.*task"),
        ("{", "can't be read"),
        ("[]", "can't be read"),
        ("{}", "no 'cluster'"),
        ("[" * 10_000, "can't be read"),
        (json.dumps({"cluster": {"worker": TWO}}), "no 'task'"),
        (json.dumps({"cluster": {"worker": 5}, "task": {"type": "worker", "index": 0}}), "read"),
        (tf_config(TWO, kind="ps", ps=["p:1"]), "type 'ps'"),
        (tf_config(TWO, kind="evaluator"), "type 'evaluator'"),
        (tf_config(TWO, index=2), "index 2, expected one from 0 to 1"),
        (tf_config(TWO, index="0"), "index '0'"),
        (tf_config(TWO, index=True), "index True"),
        (tf_config(["a:1", "a:1"]), "the same address twice"),
        (tf_config(["a"]), "'a' is no address"),
        (tf_config(["a:99999"]), "'a:99999' is no address"),
        (tf_config([7]), "7 is no address"),
        (tf_config(TWO, chief=["c:1", "d:1"]), "several chiefs"),
    ],
)
def test_a_bad_place_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, expected: str
) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    words = ["--strategy", "multi-worker", "--run-dir", tmp_path / "run"]
    line = refusal(command(TRAIN, *words))
    with pytest.raises(UserError, match=expected):
        raise UserError(line)
    assert not (tmp_path / "run").exists()


def test_an_address_in_use_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv("TF_CONFIG", tf_config([f"127.0.0.1:{port}", "a:1"]))
        words = ["--strategy", "multi-worker", "--run-dir", tmp_path / "run"]
        assert f"port {port} is in use" in refusal(command(TRAIN, *words))


def gathers(monkeypatch: pytest.MonkeyPatch, place: str, minutes: float) -> None:
    monkeypatch.setenv("TF_CONFIG", place)
    cluster.gather(minutes)


def apart(place: str, minutes: float) -> Popen[str]:
    """The same in a process of its own."""
    lines = "import os, sys; os.environ['TF_CONFIG'] = sys.argv[1]\nfrom common import cluster\n"
    lines += "print('ready', flush=True); cluster.gather(float(sys.argv[2]))\n"
    lines += "print('here', 'tensorflow' in sys.modules)"
    words = [sys.executable, "-c", lines, place, str(minutes)]
    return Popen(words, cwd=ROOT, stdout=PIPE, stderr=STDOUT, text=True)


def test_all_go_on_when_the_last_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the order; a stranger who calls, and one who comes twice, do no harm."""
    places = launch.tf_configs(3)
    port = json.loads(places[0])["cluster"]["worker"][0].rpartition(":")[2]
    others = [apart(place, 1) for place in places[1:]]
    chief = threading.Thread(target=gathers, args=(monkeypatch, places[0], 1))
    assert [other.poll() for other in others] == [None, None]
    chief.start()
    for word in (b"", b"GET / HTTP/1.1\r\n", b"77\n", b"-1\n"):
        try:
            with socket.create_connection(("127.0.0.1", int(port)), timeout=5) as stranger:
                stranger.sendall(word)
        except OSError:
            time.sleep(0.1)
    chief.join(60)
    assert not chief.is_alive()
    assert [other.communicate(timeout=30)[0] for other in others] == ["ready\nhere False\n"] * 2
    with socket.create_server(("", int(port))):  # TensorFlow can listen there at once
        pass


def test_who_does_not_come_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    places = launch.tf_configs(3)
    addresses = json.loads(places[0])["cluster"]["worker"]
    second = apart(places[1], 0.1)
    assert second.stdout
    assert second.stdout.readline() == "ready\n"
    began = time.monotonic()
    with pytest.raises(UserError, match=rf"0\.05 minutes.*for worker 2 \({addresses[2]}\)"):
        gathers(monkeypatch, places[0], 0.05)
    assert time.monotonic() - began < 20
    assert f"for worker 0 ({addresses[0]})" in second.communicate(timeout=30)[0]


def test_it_imports_no_tensorflow() -> None:
    answer = child("-c", "import sys, common.cluster; print('tensorflow' in sys.modules)")
    assert answer.out == "False\n"
