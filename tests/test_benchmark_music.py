"""The benchmark of composing: it measures a finished run, and says what."""

import json
from pathlib import Path

import pytest

from tests.commands import command, refusal
from tests.music_pieces import part_run

BENCHMARK = "benchmarks.music"


@pytest.mark.parametrize("parts", [1, 4])
def test_composing_is_timed(parts: int, tmp_path: Path) -> None:
    run, _ = part_run(parts)
    out = tmp_path / "music.json"
    answer = command(BENCHMARK, "--run", run, "--bars", 2, "--repeats", 2, "--out", out)
    assert answer.code == 0, answer.err
    assert "2 bars, 32 frames, by generate" in answer.out
    result = json.loads(out.read_text())
    assert result["frames"] == 32
    assert 0 < result["generate_seconds"] <= result["generate_seconds_slowest"]
    assert result["step_ms"] > 0


def test_what_can_not_be_timed_is_one_line(tmp_path: Path) -> None:
    assert "no config.json" in refusal(command(BENCHMARK, "--run", tmp_path))
    refused = refusal(command(BENCHMARK, "--run", tmp_path, "--bars", 0))
    assert "--bars 0: expected a value above 0" in refused
