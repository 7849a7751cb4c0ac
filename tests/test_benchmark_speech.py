"""The benchmark of speech: what it refuses, what it measures, and that it asks a run."""

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from apps.speech import real
from benchmarks import measure
from tests.commands import command, refusal
from tests.speech_runs import random_run

BENCHMARK = "benchmarks.speech"


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without the packages of recordings; what is set for one core is undone."""
    monkeypatch.setattr(real, "DEBIAN", tmp_path / "nowhere")
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "1")


def sphinx_is(module: ModuleType | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installs a module as ``pocketsphinx``, or hides it."""
    known = importlib.util.find_spec
    monkeypatch.setitem(sys.modules, "pocketsphinx", module)
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *words: module if name == "pocketsphinx" else known(name, *words),
    )


def test_without_pocketsphinx_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sphinx_is(None, monkeypatch)
    out = tmp_path / "results.json"
    said = refusal(command(BENCHMARK, "--run", random_run(causal=True), "--out", out))
    assert "pip install -c constraints.txt -e '.[bench]'" in said
    assert "no such folder" in refusal(command(BENCHMARK, "--run", tmp_path / "none"))
    assert not out.exists()


def test_speed_is_measured_without_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sphinx_is(None, monkeypatch)
    out = tmp_path / "results.json"
    answer = command(BENCHMARK, "--dataset", "digits-few", "--out", out)
    assert answer.code == 0, answer.err
    found = json.loads(out.read_text())["times_real_time"]
    assert set(found) == {"preparation", "features", "augmentation"}
    assert min(found.values()) > 0
    assert all(f"{name:14s}{value:8.0f} times" in answer.out for name, value in found.items())
    assert "recognition" not in json.loads(out.read_text())


class Oracle(ModuleType):
    """What stands in for ``pocketsphinx``: a decoder that hears one word, whatever is said, if a
    word is likely enough to it."""

    def __init__(self) -> None:
        super().__init__("pocketsphinx")

    @staticmethod
    def get_model_path(name: str) -> str:
        return name

    class Decoder:
        def __init__(self, **settings: object) -> None:
            self.settings = settings
            self.grammar = Path(str(settings["jsgf"])).read_text()

        def start_utt(self) -> None:
            self.heard = b""

        def process_raw(self, sound: bytes, full_utt: bool) -> None:
            self.heard += sound

        def end_utt(self) -> None:
            assert len(self.heard) % 2 == 0

        def hyp(self) -> object:
            if self.settings["wip"] != 1e-2:
                return None
            return type("Hypothesis", (), {"hypstr": "nine" if " nine " in self.grammar else ""})


def test_a_run_is_heard_beside_pocketsphinx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sphinx_is(Oracle(), monkeypatch)

    def alone(function: Callable[..., Any], *given: Any) -> Any:
        return 7e8 if function is measure.training_peak else function(*given)

    monkeypatch.setattr(measure, "alone", alone)
    run, out = tmp_path / "run", tmp_path / "results.json"
    shutil.copytree(random_run(causal=True), run)
    (run / "metrics.json").write_text('{"train_seconds": 99.0}')
    (run / "history.csv").write_text("epoch,val_wer,seconds\n1,1.0,20\n2,0.4,40\n3,0.3,60\n")
    words: Sequence[object] = ("--dataset", "digits-few", "--utterances", 6, "--out", out)
    answer = command(BENCHMARK, "--run", run, *words)
    assert answer.code == 0, answer.err
    assert "word insertion penalty 0.01 of 0.65, 0.01, 0.0001" in answer.out
    found = json.loads(out.read_text())
    rows = found["recognition"]["digits-few"]
    assert set(rows) == {"greedy", "with lexicon", "PocketSphinx"}
    assert 0.7 < rows["PocketSphinx"]["wer"] <= 1  # one word of several
    assert rows["PocketSphinx"]["substitutions"] + rows["PocketSphinx"]["deletions"] > 0.7
    for row in rows.values():
        assert min(row["real_time_factor"], row["utterance_ms"], row["peak_bytes"]) > 0
    for name in ("greedy", "with lexicon"):
        assert rows[name]["target_seconds"] == 40  # it says one word of several
        assert rows[name]["bytes"] == measure.size_of(run / "export" / "1")
        assert rows[name]["train_seconds"] == 99
    assert "| PocketSphinx | " in answer.out
    assert found["stream"]["real_time_factor"] > 0
    for what in ("speech_begins", "a_single_word_ends"):
        name = f"first_text_after_{what}_ms"
        assert found["stream"][f"{name}_90"] >= found["stream"][name]
        assert f"{found['stream'][name]:.0f} ms after {what.replace('_', ' ')}" in answer.out
