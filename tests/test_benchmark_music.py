"""The benchmark of composing: it measures a finished run, and says what."""

import json
import shutil
from pathlib import Path

import pytest

from benchmarks import measure
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
    assert "expected --run or --beside" in refusal(command(BENCHMARK))
    other = refusal(command(BENCHMARK, "--beside", part_run(4)[0], "--out", tmp_path / "a.json"))
    assert "expected JSB_Chorales.mat" in other


def test_runs_stand_beside_published_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "alone", lambda function, *words: 123_000_000)
    run = tmp_path / "run"
    shutil.copytree(part_run(4)[0], run)
    metrics = json.loads((run / "metrics.json").read_text()) | {"dataset": "JSB_Chorales"}
    metrics |= {"head": "joint", "train_seconds": 321.0}
    metrics["test"] |= {"nll": 4.5678, "nll_low": 4.1, "nll_high": 4.9}
    (run / "metrics.json").write_text(json.dumps(metrics))
    (run / "history.csv").write_text("epoch,val_nll,seconds\n1,5.6,10\n2,5.5,20\n3,5.4,30\n")
    answer = command(BENCHMARK, "--beside", run, "--out", tmp_path / "music.json")
    assert answer.code == 0, answer.err
    (ours,) = (line for line in answer.out.splitlines() if line.startswith("| ours"))
    shown = "| joint | 4.57 | [4.10, 4.90] | 20 | 321 | 123 |"
    assert shown in ours
    assert "arXiv:1206.6392) | joint | 5.56 |" in answer.out
