"""The benchmark of workers: that it measures what it says, on a small network."""

import json
from pathlib import Path

import pytest

from benchmarks import scaling
from common.errors import UserError
from tests.commands import command


@pytest.mark.slow
def test_two_workers_are_measured_beside_one(tmp_path: Path) -> None:
    out = tmp_path / "results" / "scaling.json"
    small = ["--rounds", 1, "--steps", 3, "--batch-sizes", 8, "--length", 5, "--units", 4]
    answer = command("benchmarks.scaling", *small, "--out", out)
    assert answer.code == 0, answer.err
    result = json.loads(out.read_text())
    assert list(result["batch_sizes"]) == ["8"]
    found = result["batch_sizes"]["8"]
    assert found["ratios"] == [found["median_ratio"]]
    for row in found["workers"]["1"] + found["workers"]["2"]:
        assert row["sequences_a_second"] > 0
        assert row["input_share"] > 0
    assert "batch 8, two over one: median" in answer.out


def test_one_core_is_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0})
    with pytest.raises(UserError, match="one core found, expected two"):
        scaling.run(scaling.BenchmarkConfig())
