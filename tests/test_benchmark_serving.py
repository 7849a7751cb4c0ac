"""The benchmark of exported models: what it refuses, and that it asks each signature both ways."""

import json
import shutil
from pathlib import Path

import pytest

from common import export, warmup
from tests.commands import command, refusal
from tests.deployment_cases import export_of, run_of

BENCHMARK = "benchmarks.serving"


def test_folders_without_a_model_to_ask_are_refused(tmp_path: Path) -> None:
    assert "no config.json" in refusal(command(BENCHMARK, tmp_path))
    run = tmp_path / "run"
    shutil.copytree(run_of("sentiment"), run)
    shutil.rmtree(run / "export" / "1" / export.EXTRA)
    out = tmp_path / "results.json"
    assert "carries no requests" in refusal(command(BENCHMARK, run, "--out", out))
    assert "above 0" in refusal(command(BENCHMARK, run, "--calls", 0))
    assert not out.exists()


def test_every_request_is_asked_both_ways(tmp_path: Path) -> None:
    apps, out = ("sentiment", "music"), tmp_path / "results.json"
    folders = [run_of(app) for app in apps]
    answer = command(BENCHMARK, *folders, "--calls", 2, "--out", out)
    assert answer.code == 0, answer.err
    rows = json.loads(out.read_text())["rows"]
    asked = [(app, name) for app in apps for name in warmup.read(export_of(app))]
    assert [(row["app"], row["signature"]) for row in rows] == asked
    for row in rows:
        assert row["ratio"] == pytest.approx(row["predict_ms"] / row["saved_model_ms"])
        assert f"{row['app']} {row['signature']}" in answer.out
