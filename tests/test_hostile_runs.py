"""Runs of other people: settings that are damaged, or lie, and are never more than values."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.gesture import schema as gesture
from apps.gesture.config import GestureConfig
from apps.music.config import MusicConfig
from apps.music.settings import Settings
from apps.sentiment.config import SentimentConfig
from apps.sentiment.report import vocabulary_of
from apps.speech import schema as speech
from apps.speech.config import SearchConfig, SpeechConfig
from apps.timeseries.config import TimeSeriesConfig
from apps.timeseries.panel import Cuts, Roles
from apps.timeseries.schema import Schema
from apps.timeseries.shape import Shape
from common import runs
from common.config import from_json, to_json
from tests.broken_files import FUZZ, read_or_refused, refused, write

CONFIGS = (SentimentConfig, TimeSeriesConfig, MusicConfig, SpeechConfig, GestureConfig)


# config.json


@pytest.mark.parametrize("config_type", CONFIGS)
def test_a_configuration_comes_back_from_json(config_type: Any, tmp_path: Path) -> None:
    config = config_type(data=tmp_path / "own", seed=7, cell="lstm", warmup=0.25)
    written = json.loads(json.dumps(to_json(config)))
    assert from_json(config_type, written, "config.json") == config
    later = {"app": "x", "of_a_later_version": [1]}
    assert from_json(config_type, later, "c") == config_type()
    refused(lambda: from_json(config_type, later, "c", exact=True), "'app' is no field")


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("units", "64", "a whole number, found '64'"),
        ("units", 1.5, "a whole number, found 1.5"),
        ("units", True, "a whole number, found True"),
        ("units", 10**30, "a whole number, found 1000"),
        ("units", [[[1]]], r"a whole number, found \[\[\[1"),
        ("units", -1, "above 0"),
        ("learning_rate", float("nan"), "a finite number, found nan"),
        ("learning_rate", float("inf"), "a finite number, found inf"),
        ("learning_rate", 10**400, "a finite number"),
        ("jit", "yes", "true or false, found 'yes'"),
        ("cell", "os.system", "simple or irnn .*, found 'os.system'"),
        ("cell", ["gru"], "simple or irnn"),
        ("cell", {"module": "os", "class_name": "system", "config": {}}, "simple or irnn"),
        ("data", 5, "a path, found 5"),
        ("data", "a\0b", "a path, found 'a"),
        ("dataset", "\ud800", "text, found"),
        ("dataset", None, "text, found None"),
        ("split", [0.5, 0.5], "a list of 3"),
        ("split", 3, "a list of 3, found 3"),
        ("target", "y", "a list, found 'y'"),
        ("target", [1], "text, found 1"),
    ],
)
def test_a_setting_of_another_type_is_refused_by_name(
    field: str, value: object, expected: str, tmp_path: Path
) -> None:
    config = to_json(TimeSeriesConfig())
    write(tmp_path / "config.json", json.dumps({**config, field: value}))
    message = refused(lambda: runs.settings(runs.Run(tmp_path), TimeSeriesConfig), expected)
    assert message.startswith(f"{tmp_path / 'config.json'}: ")
    assert field.replace("_", "-") in message.replace("_", "-")


def test_no_setting_is_code(tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    code = f"__import__('pathlib').Path({str(evil)!r}).touch()"
    reduced = {"py/reduce": [{"py/function": "os.system"}, {"py/tuple": [f"touch {evil}"]}]}
    keras_object = {"module": "builtins", "class_name": "eval", "config": {"source": code}}
    for config_type in CONFIGS:
        for field in to_json(config_type()):
            for value in (code, reduced, keras_object, [keras_object]):
                read_or_refused(lambda f=field, v=value: from_json(config_type, {f: v}, "c"))  # noqa: B023
    assert not evil.exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "can't be read as JSON"),
        (b"[" * 100_000, "can't be read as JSON: maximum recursion"),
        (b'{"a": ' * 100_000, "can't be read as JSON: maximum recursion"),
        (b'{"a": ' + b"1" * 5_000 + b"}", "can't be read as JSON"),
        ("{}".encode("utf-16"), "0xff"),
        (b'{"a": "\0"}', "0x00"),
        (b"[]", "expected a JSON object"),
        (b" " * (runs.MOST_BYTES + 1), "expected at most"),
    ],
)
def test_json_that_is_none_is_refused(content: bytes, expected: str, tmp_path: Path) -> None:
    refused(lambda: runs.read_json(write(tmp_path / "config.json", content)), expected)


def test_json_that_is_no_file_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    refused(lambda: runs.read_json(tmp_path / "pipe.json"), "found a pipe")
    refused(lambda: runs.read_json(Path("/dev/zero")), "found a device")
    refused(lambda: runs.read_json(tmp_path), "found a folder")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@pytest.mark.parametrize("config_type", CONFIGS)
def test_whatever_a_setting_is_it_is_taken_or_refused(config_type: Any) -> None:
    @FUZZ
    @given(st.sampled_from(sorted(to_json(config_type()))), JSON)
    def each(field: str, value: object) -> None:
        read_or_refused(lambda: from_json(config_type, {field: value}, "c"))

    each()


# schema.json

SERIES = asdict(
    Schema("h", Roles(("y",), ("p",)), ("a",), Cuts(1, 2, 3), Shape(24, 6, 6, 24, (24,), (86_400,)))
)
STREAMS = asdict(
    gesture.Schema(
        channels=("ax",),
        classes=("a", "b"),
        rate=20.0,
        causal=True,
        lookahead=2,
        smoothing="filter",
        shortest=3,
        transitions=((0.9, 0.1), (0.2, 0.8)),
        subjects={"test": ("s",)},
    )
)
TUNES = asdict(Settings(4, True, True, "joint", 4, (1,) * 25))
TEXTS = {
    "alphabet": {"symbols": [" ", "a"], "merges": ""},
    "decoder": "ctc",
    "causal": False,
    "ctc_weight": 0.5,
    "seconds_a_step": 0.03,
    "delay": 0,
    "words": ["a"],
    "grammar": {"rules": {"sentence": ["a", "a <sentence>"]}, "start": "sentence"},
}
SCHEMAS: dict[str, tuple[dict[str, Any], Callable[[runs.Run], Any]]] = {
    "timeseries": (SERIES, Schema.read),
    "gesture": (STREAMS, gesture.read),
    "music": (TUNES, Settings.read),
    "speech": (TEXTS, speech.read),
}


@pytest.mark.parametrize("app", SCHEMAS)
def test_what_a_run_knows_is_read_whole_or_not_at_all(app: str, tmp_path: Path) -> None:
    whole, read = SCHEMAS[app]
    run = runs.Run(tmp_path)
    path = write(tmp_path / "schema.json", json.dumps(whole))
    read(run)
    for field in whole:
        write(path, json.dumps({k: v for k, v in whole.items() if k != field}))
        refused(lambda: read(run), f"{path}: no '{field}' in it")
        for value in (None, "x", -1, 1e308, float("nan"), [[]], {"a": 1}):
            if value != whole[field] and not (app == "speech" and field in ("grammar", "decoder")):
                write(path, json.dumps({**whole, field: value}))
                read_or_refused(lambda: read(run))
    for content in (b"", b"[]", b"{}", b"[" * 100_000, b"\xff", json.dumps(whole).encode()[:-20]):
        assert str(path) in refused(lambda c=content: read(runs.Run(write(path, c).parent)))
    path.unlink()
    refused(lambda: read(run), "no such file|no schema.json in it")


def test_a_composers_schema_of_another_name_is_read(tmp_path: Path) -> None:
    write(tmp_path / "music.json", json.dumps(TUNES))
    assert asdict(Settings.read(runs.Run(tmp_path))) == TUNES


@pytest.mark.parametrize(
    ("app", "change", "expected"),
    [
        ("timeseries", {"frequency": "soon"}, "frequency 'soon' is none"),
        ("timeseries", {"shape": {**SERIES["shape"], "horizon": 10**12}}, "expected lengths"),
        ("timeseries", {"shape": {**SERIES["shape"], "history": 0}}, "expected lengths"),
        ("timeseries", {"roles": {"targets": []}}, "a target at least"),
        ("gesture", {"rate": 0}, "a rate above 0"),
        ("gesture", {"transitions": [[1.0]]}, "2 rows of 2 numbers"),
        ("music", {"resolution": 10**9}, "expected a resolution"),
        ("music", {"head": "os.system"}, "expected a head"),
        ("music", {"keys": [1]}, "expected a head and keys"),
        ("speech", {"alphabet": {"symbols": [1]}}, "alphabet: symbols: expected text"),
        ("speech", {"seconds_a_step": 0}, "seconds_a_step above 0"),
    ],
)
def test_what_no_training_writes_is_refused(
    app: str, change: dict[str, object], expected: str, tmp_path: Path
) -> None:
    whole, read = SCHEMAS[app]
    write(tmp_path / "schema.json", json.dumps({**whole, **change}))
    refused(lambda: read(runs.Run(tmp_path)), expected)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"sentence": ["<sentence> a"]}, "inside itself"),
        ({"sentence": ["<none>"]}, "grammar: can't be read: 'none'"),
        ({f"r{n}": [f"<r{n + 1}> <r{n + 1}>"] for n in range(40)} | {"r40": ["a"]}, "reading it"),
        ({f"r{n}": [f"a <r{n + 1}>"] for n in range(3000)} | {"r3000": ["a"]}, "recursion"),
    ],
)
def test_a_grammar_that_says_too_much_is_refused(
    rules: dict[str, list[str]], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speech, "SECONDS", 0.5)
    grammar = {"rules": rules, "start": next(iter(rules))}
    write(tmp_path / "schema.json", json.dumps({**TEXTS, "grammar": grammar}))
    schema = speech.read(runs.Run(tmp_path))
    refused(lambda: schema.scorer(SearchConfig(lexicon="grammar")), expected)


@pytest.mark.parametrize("content", ["", "word\n", "\n[UNK]", "[UNK]\n\n"])
def test_a_vocabulary_that_is_none_is_refused(content: str, tmp_path: Path) -> None:
    write(tmp_path / "vocabulary.txt", content)
    refused(lambda: vocabulary_of(tmp_path), "expected a run's vocabulary")
