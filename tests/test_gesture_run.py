"""Small real trainings on streams of one's own, and what predict and evaluate make of them."""

import json
import math
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from apps.gesture import gallery
from apps.gesture.streams import Corpus, Stream
from common import formats
from common.runs import Run
from tests.commands import Answer, command, refusal
from tests.gesture_runs import (
    CLASSES,
    EVALUATE,
    PREDICT,
    RATE,
    TRAIN,
    causal_run,
    movement,
    small_data,
    small_run,
    train,
    write,
)
from tests.pages import Page, assert_shown, sections

CHANNELS = ["ax", "ay", "az"]


def follow(table: pd.DataFrame, *words: object) -> Answer:
    rows = table.to_csv(index=False).encode()
    return command(PREDICT, "--run", causal_run()[0], "--live", *words, stdin=rows)


def predict(run: Path, table: pd.DataFrame, folder: Path, *words: object) -> Answer:
    data = write(table, folder / "new.csv")
    return command(PREDICT, "--run", run, "--data", data, "--out", folder / "out.csv", *words)


# train


@pytest.mark.parametrize("causal", [False, True])
def test_the_folder_of_a_run_has_all_that_was_promised(causal: bool) -> None:
    run, answer = causal_run() if causal else small_run()
    result = json.loads((run / "metrics.json").read_text())
    assert (result["app"], result["cell"], result["causal"]) == ("gesture", "gru", causal)
    assert set(result["baselines"]) == {"majority", "random_forest"}
    for scores in result["baselines"].values():
        assert set(scores) == set(result["test"])
    assert result["test"]["frame_accuracy"] > result["baselines"]["majority"]["frame_accuracy"]
    assert all(math.isfinite(value) for value in result["test"].values())
    assert result["export_difference"] < 1e-5
    assert np.sum(result["confusion"]) == 800
    assert list(result["by_subject"]) == ["s0"]
    plots = {path.stem for path in (run / "plots").iterdir()}
    assert plots == {"bands", "confusion", "subjects", "learning_curves"}
    assert list((run / "tensorboard").rglob("events*"))
    files = {path.name for path in (run / "export").rglob("*.tflite")}
    wanted = {f"hop_{weights}.tflite" for weights in formats.WEIGHTS}
    assert files == set(result["litert_bytes"] if causal else ()) == (wanted if causal else set())
    for line in ("apps.gesture.predict", "apps.gesture.evaluate", "saved_model_cli"):
        assert line in answer.out
    assert ("--live" in answer.out) == causal
    assert_shown(run)


def test_stretches_that_are_shown_as_wrong_are_labelled_wrongly(tmp_path: Path) -> None:
    run, _ = small_run()
    bands, table = sections(run)["Streams"]
    assert Path(bands.source).stem == "bands"
    truth = movement(0)
    assert predict(run, truth.drop(columns=["label", "subject"]), tmp_path).code == 0
    said = pd.read_csv(tmp_path / "out.csv")["label"]
    assert 0 < len(table.rows) <= gallery.STRETCHES
    lengths = []
    for subject, _, begin, end, true, predicted in table.rows:
        stretch = slice(round(float(begin) * RATE), round(float(end) * RATE))
        assert subject == "s0"
        assert set(truth["label"][stretch]) == {true}
        assert set(said[stretch]) == {predicted}
        assert true != predicted
        lengths.append(float(end) - float(begin))
    assert lengths == sorted(lengths, reverse=True)
    confusion, _, subjects = sections(run)["Right and wrong"]
    result = json.loads((run / "metrics.json").read_text())
    shares = np.diag(result["confusion"]) / np.sum(result["confusion"], axis=1)
    for name, share in zip(CLASSES, shares, strict=True):
        assert f"{name} {share:.0%} of" in confusion.text
    assert subjects.rows[0][1] == f"{result['test']['frame_accuracy']:.4f}"


def test_the_hardest_of_the_other_streams_is_drawn(tmp_path: Path) -> None:
    truth = np.repeat([0, 1, 0, -1], 10).astype(np.int32)
    values = np.zeros((40, 1), np.float32)
    streams = tuple(Stream(f"stream {n}", "s", values, truth) for n in range(3))
    said = [truth, np.where(truth == 1, 0, truth), np.ones(40, int)]
    corpus = Corpus("own", ("rest", "wave"), ("ax",), 10.0, streams)
    Run(tmp_path).plots.mkdir()
    [picture] = gallery.hardest(Run(tmp_path), corpus, streams, {"network": said})
    assert picture.path.is_file()
    assert "stream 2" in picture.alt
    assert "33.3% of its frames" in picture.alt
    assert gallery.hardest(Run(tmp_path), corpus, streams[:1], {"network": said[:1]}) == []
    rows = gallery.wrong(streams, said, corpus.classes, corpus.rate)
    assert rows == [
        ("s", "stream 1", "1.00", "2.00", "wave", "rest"),
        ("s", "stream 2", "0.00", "1.00", "rest", "wave"),
        ("s", "stream 2", "2.00", "3.00", "rest", "wave"),
    ]


def test_too_few_subjects_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "streams"
    folder.mkdir()
    for subject in range(2):
        write(movement(subject, seconds=13), folder / f"{subject}.csv")
    for fold in ("0", "all"):
        words = ["--data", folder, "--run-dir", tmp_path / "run", "--fold", fold]
        assert "2 subject(s), expected at least 3" in refusal(command(TRAIN, *words))
    assert not (tmp_path / "run").exists()


def test_all_folds_test_each_subject_once(tmp_path: Path) -> None:
    data, run = tmp_path / "streams", tmp_path / "run"
    data.mkdir()
    for subject in range(3):
        write(movement(subject, seconds=20), data / f"{subject}.csv")
    answer = train(run, "--folds", "all", "--no-refit", "--members", 1, data=data)
    result = json.loads((run / "metrics.json").read_text())
    assert sorted(result["by_subject"]) == ["s0", "s1", "s2"]
    folds = [json.loads((run / f"fold_{n}" / "metrics.json").read_text()) for n in range(3)]
    accuracies = [fold["test"]["frame_accuracy"] for fold in folds]
    assert result["test"]["frame_accuracy"] == pytest.approx(np.mean(accuracies))
    assert result["test"]["frame_accuracy_std"] == pytest.approx(np.std(accuracies, ddof=1))
    assert np.sum(result["confusion"]) == 3 * 400
    assert [list(fold["by_subject"]) for fold in folds] == [[f"s{n}"] for n in range(3)]
    assert all((run / f"fold_{n}" / "export" / "1" / "saved_model.pb").exists() for n in range(3))
    assert {path.stem for path in (run / "plots").iterdir()} == {"confusion", "subjects"}
    assert "3 folds, mean and standard deviation" in answer.out
    assert "± " in Page(run / "report.html").text
    assert_shown(run / "fold_2")
    shown = sections(run)
    assert "fold_2/report.html" in shown["Folds"][0].text
    rows = shown["Right and wrong"][-1].rows  # the hardest first
    assert {row[0] for row in rows} == {"s0", "s1", "s2"}
    assert [float(row[1]) for row in rows] == sorted(float(row[1]) for row in rows)
    assert "--run {run/fold_0}" in shown["Ask it"][0].lines[0]  # wherever it is moved to
    assert f"--run {run / 'fold_0'}" in Page(run / "report.html").text


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["--precision", "mixed_bfloat16", "--cell", "lstm", "--gradient-flow"],
        ["--precision", "mixed_float16", "--causal"],
        ["--jit", "--cell", "mingru"],
        ["--strategy", "mirrored"],
        ["--cell", "irnn", "--truncate", 5, "--smoothing", "minimum"],
        ["--init-from", "RUN", "--causal", "--lookahead", 0],
    ],
    ids=lambda words: " ".join(map(str, words)),
)
def test_every_way_of_training_ends_with_scores_and_an_export(words: list, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(run, *(small_run()[0] if word == "RUN" else word for word in words))
    result = json.loads((run / "metrics.json").read_text())
    assert result["test"]["frame_accuracy"] > result["baselines"]["majority"]["frame_accuracy"]
    assert result["export_difference"] < (0.05 if "mixed" in str(words) else 1e-5)
    table = movement(7, seconds=13)
    assert predict(run, table, tmp_path).code == 0
    found = pd.read_csv(tmp_path / "out.csv")
    assert (found["label"] == table["label"]).mean() > 0.4


# predict


def test_every_frame_of_a_file_is_labelled(tmp_path: Path) -> None:
    run, _ = small_run()
    table, png = movement(7, seconds=13), tmp_path / "new.png"
    table["time"] += 100
    answer = predict(run, table.drop(columns=["label", "subject"]), tmp_path, "--png", png)
    assert matplotlib.image.imread(png).shape[1] > 500
    assert answer.code == 0, answer.err
    found = pd.read_csv(tmp_path / "out.csv")
    assert list(found.columns) == ["stream", "time", "label", "confidence"]
    assert set(found["stream"]) == {"new"}
    np.testing.assert_allclose(found["time"], table["time"], atol=1e-6)
    assert found["confidence"].between(0, 1).all()
    assert (found["label"] == table["label"]).mean() > 0.5


def test_columns_stand_in_any_order_and_at_any_rate(tmp_path: Path) -> None:
    run, _ = small_run()
    table = movement(7, seconds=13)
    assert predict(run, table, tmp_path).code == 0
    found = pd.read_csv(tmp_path / "out.csv")
    assert predict(run, table[["az", "time", "ay", "ax"]], tmp_path).code == 0
    pd.testing.assert_frame_equal(found, pd.read_csv(tmp_path / "out.csv"))
    half = table[::2]
    assert "--resample 20 brings them there" in refusal(predict(run, half, tmp_path))
    assert predict(run, half, tmp_path, "--resample", RATE).code == 0
    again = pd.read_csv(tmp_path / "out.csv")
    assert len(again) == len(found) - 1


def test_what_can_not_be_labelled_is_refused(tmp_path: Path) -> None:
    run, _ = small_run()
    table = movement(7, seconds=5)
    missing = table.drop(columns=["ay", "label", "subject"])
    assert "2 channels (ax, az), expected the run's 3" in refusal(predict(run, missing, tmp_path))
    table.loc[3, "ay"] = np.nan
    assert "row 4: ay is ''" in refusal(predict(run, table, tmp_path))
    assert not (tmp_path / "out.csv").exists()
    words = ["--run", run, "--data", tmp_path / "new.csv"]
    assert "nothing to do" in refusal(command(PREDICT, *words))
    assert "found both" in refusal(command(PREDICT, *words, "--live"))
    assert "found neither" in refusal(command(PREDICT, "--run", run))
    assert "no such folder" in refusal(command(PREDICT, *words, "--out", tmp_path / "no" / "x.csv"))
    assert "ends with .png" in refusal(command(PREDICT, *words, "--png", tmp_path / "x.csv"))
    assert "is bidirectional" in refusal(command(PREDICT, "--run", run, "--live"))


# live


def test_changes_are_printed_as_the_whole_stream_has_them(tmp_path: Path) -> None:
    table = movement(8, seconds=13).drop(columns=["label", "subject"])
    assert predict(causal_run()[0], table, tmp_path).code == 0
    whole = pd.read_csv(tmp_path / "out.csv")
    changes = whole[whole["label"] != whole["label"].shift()]
    answer = follow(table)
    assert answer.code == 0, answer.err
    rows = [line.split("\t") for line in answer.out.splitlines()]
    assert len(rows) > 1
    assert [label for _, label, _ in rows] == list(changes["label"])
    np.testing.assert_allclose([float(t) for t, _, _ in rows], changes["time"], atol=1e-6)
    np.testing.assert_allclose([float(c) for _, _, c in rows], changes["confidence"], atol=1e-4)
    clockless = follow(table.drop(columns="time"))
    assert [line.split("\t")[1:] for line in clockless.out.splitlines()] == [r[1:] for r in rows]


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda t: t.drop(columns="az"), "stdin: 2 channels (ax, ay), expected the run's 3"),
        (lambda t: t.assign(ay=t["ay"].where(t.index != 29)), "row 30: ay is '', expected a fin"),
        (lambda t: t.drop(index=29), "row 30: 0.1 s after the row before, expected 0.05 s"),
        (lambda t: t.assign(time=t["time"] / 2), "40 frames a second"),
        (lambda t: t.assign(time=t["time"].where(t.index != 29, 1.0)), "row 30: time 1 s after"),
    ],
)
def test_a_row_that_can_not_be_used_ends_the_stream(spoil: object, expected: str) -> None:
    table = movement(8, seconds=5)[["time", *CHANNELS]]
    assert expected in refusal(follow(spoil(table)))  # type: ignore[operator]


def test_a_row_of_too_few_cells_and_no_rows_are_refused() -> None:
    words = ["--run", causal_run()[0], "--live"]
    answer = command(PREDICT, *words, stdin=b"time,ax,ay,az\n0,1,2\n")
    assert "row 1: 3 cells, expected 4" in refusal(answer)
    assert "found nothing" in refusal(command(PREDICT, *words))
    answer = command(PREDICT, *words, stdin=b"time,ax,ay,az\n")
    assert (answer.code, answer.out) == (0, "")


# evaluate


@pytest.mark.parametrize("causal", [False, True])
def test_the_runs_own_test_subjects_give_the_scores_of_training(
    causal: bool, tmp_path: Path
) -> None:
    run, _ = causal_run() if causal else small_run()
    out = tmp_path / "scores.json"
    answer = command(EVALUATE, "--run", run, "--out", out)
    assert answer.code == 0, answer.err
    found, before = json.loads(out.read_text()), json.loads((run / "metrics.json").read_text())
    assert found["test"] == pytest.approx(before["test"])
    assert found["confusion"] == before["confusion"]
    assert "subject s0" in answer.out


def test_a_file_of_ones_own_is_scored_as_a_whole(tmp_path: Path) -> None:
    run, _ = small_run()
    data = write(movement(9, seconds=13), tmp_path / "new.csv")
    out = tmp_path / "scores.json"
    assert command(EVALUATE, "--run", run, "--data", data, "--out", out).code == 0
    found = json.loads(out.read_text())
    assert found["frames"] == 260
    assert list(found["by_subject"]) == ["s9"]
    both = ["--data", small_data(), "--dataset", "watch"]
    assert "found both" in refusal(command(EVALUATE, "--run", run, *both))
    strange = movement(9, seconds=13)
    strange.loc[40, "label"] = "wave"
    data = write(strange, tmp_path / "new.csv")
    line = refusal(command(EVALUATE, "--run", run, "--data", data))
    assert "row 41: label 'wave', expected one of circle, rest, shake" in line
