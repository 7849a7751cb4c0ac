"""The labeller's benchmark: what it refuses, and that it asks the files of a run."""

import importlib.util
import json
from pathlib import Path

import pytest

from common import formats
from tests.commands import command, refusal
from tests.gesture_runs import causal_run, small_run

BENCHMARK = "benchmarks.gesture"


def test_a_folder_without_a_causal_run_is_refused(tmp_path: Path) -> None:
    assert "no such folder" in refusal(command(BENCHMARK, "--run", tmp_path / "none"))
    assert "no config.json" in refusal(command(BENCHMARK, "--run", tmp_path))
    out = tmp_path / "results.json"
    said = refusal(command(BENCHMARK, "--run", small_run()[0], "--out", out))
    assert "bidirectional, expected a run with --causal" in said
    assert not out.exists()


def test_without_litert_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec

    def found(name: str, *words: object) -> object:
        return None if name == "ai_edge_litert" else real(name, *words)

    monkeypatch.setattr("importlib.util.find_spec", found)
    out = tmp_path / "results.json"
    said = refusal(command(BENCHMARK, "--run", causal_run()[0], "--out", out))
    assert "pip install -c constraints.txt -e '.[edge]'" in said
    assert not out.exists()


def test_every_file_of_the_run_is_asked(tmp_path: Path) -> None:
    run, out = causal_run()[0], tmp_path / "results.json"
    answer = command(BENCHMARK, "--run", run, "--hops", 3, "--out", out)
    assert answer.code == 0, answer.err
    result = json.loads(out.read_text())
    assert result["hop"] == 3
    rows = result["contenders"]
    assert set(rows) == {"SavedModel", *(f"LiteRT {name}" for name in formats.WEIGHTS)}
    assert [rows[name]["calls_a_hop"] for name in rows] == [3, 1, 1]
    for name in formats.WEIGHTS:
        row = rows[f"LiteRT {name}"]
        assert row["bytes"] == (run / "export" / "litert" / f"hop_{name}.tflite").stat().st_size
        assert row["median_ms_a_call"] == pytest.approx(3 * row["median_ms_a_frame"])
    assert all(name in answer.out for name in rows)
