"""Whole trainings: more classes, every cell, half precision, and a start from another run."""

import json
from pathlib import Path

import numpy as np
import pytest

from common import export
from common.cells import CELLS
from common.runs import Run
from tests.commands import command
from tests.sentiment_runs import (
    EVALUATE,
    MOODS,
    moods,
    sentences,
    small_data,
    small_run,
    train,
    write_csv,
)


def metrics_of(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text())


@pytest.fixture
def quick_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer resamples of the bootstrap, which has its own tests."""
    from apps.sentiment import metrics

    interval = metrics.interval
    monkeypatch.setattr(metrics, "interval", lambda *given: interval(*given[:3], 20))


def test_a_run_starts_from_another_with_more_classes(quick_intervals: None, tmp_path: Path) -> None:
    """And learns them: the words of a class tell it."""
    first, _ = small_run()
    run = tmp_path / "run"
    words = ["--init-from", first, "--epochs", 15, "--learning-rate", 0.1, "--patience", 15]
    said = train(moods(tmp_path / "t.csv"), run, *words).out
    assert "weights carried over, 2 new" in said
    assert (run / "vocabulary.txt").read_bytes() == (first / "vocabulary.txt").read_bytes()
    result = metrics_of(run)
    assert "macro_f1" in result["test"]
    assert "roc_auc" not in result["test"]
    assert result["test"]["accuracy"] > 0.6
    answer = export.answer_in_clean_process(
        run / "export" / "1", "serving_default", {"text": np.array(["", "boring and bad"])}
    )
    assert answer["classes"].tolist() == [name.encode() for name in MOODS]
    assert answer["probabilities"].shape == (2, 3)
    scored = command(EVALUATE, "--run", run, "--data", moods(tmp_path / "t.csv"))
    assert scored.code == 0
    assert "macro_f1" in scored.out


@pytest.mark.slow
def test_two_runs_with_one_seed_give_the_same_metrics(tmp_path: Path) -> None:
    results = []
    for name in ("first", "second"):
        train(small_data(), tmp_path / name, "--epochs", 1, "--word-dropout", 0.1)
        results.append(metrics_of(tmp_path / name))
    for key in ("test", "baselines", "parameters"):
        assert results[0][key] == results[1][key]
    first, second = (Run(tmp_path / name).weights().read_bytes() for name in ("first", "second"))
    assert len(first) == len(second)


@pytest.mark.slow
@pytest.mark.parametrize("cell", [name for name in CELLS if name != "gru"])
def test_every_cell_trains_and_exports(cell: str, quick_intervals: None, tmp_path: Path) -> None:
    train(sentences(tmp_path / "t.csv", 40), tmp_path / "run", "--cell", cell, "--epochs", 1)
    assert metrics_of(tmp_path / "run")["cell"] == cell
    assert set(export.load(tmp_path / "run" / "export" / "1").signatures) == {
        "serving_default",
        "trajectory",
        "read",
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["--precision", "mixed_bfloat16"],
        ["--precision", "mixed_float16"],
        ["--jit", "--segment", 0, "--max-tokens", 32],
        ["--strategy", "mirrored"],
        ["--members", 2, "--layers", 2, "--residual", "--dropout", 0.2],
        ["--direction", "forward", "--adversarial", 0.5, "--word-dropout", 0.1, "--average", 0],
        ["--no-word-vectors", "--segment", 0],
    ],
    ids=lambda words: " ".join(map(str, words)),
)
def test_every_way_of_training_ends_with_scores_and_an_export(
    words: list, quick_intervals: None, tmp_path: Path
) -> None:
    train(sentences(tmp_path / "t.csv", 40), tmp_path / "run", "--epochs", 1, *words)
    assert 0 <= metrics_of(tmp_path / "run")["test"]["accuracy"] <= 1


@pytest.mark.slow
def test_labels_with_odd_names_go_through_to_the_answers(
    quick_intervals: None, tmp_path: Path
) -> None:
    names = ["très bon", "a, b", "$x_1$", "😀"]
    texts = [f"film {n} {'abcd'[n % 4]}" for n in range(80)]
    data = write_csv(tmp_path / "t.csv", texts, [names[n % 4] for n in range(80)])
    train(data, tmp_path / "run", "--epochs", 1)
    model = export.load(tmp_path / "run" / "export" / "1")
    classes = model.signatures["serving_default"](text=np.array(["a"]))["classes"].numpy()
    assert [name.decode() for name in classes] == sorted(names)
