"""A finished run: its folder, and what predict and evaluate say with it."""

import csv
import io
import json
import math
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from apps.sentiment.data import load
from apps.sentiment.gallery import SHOWN, misclassified
from apps.sentiment.model import normalise
from apps.sentiment.texts import Labelled
from tests.commands import Answer, child, command, refusal
from tests.pages import assert_shown, sections
from tests.sentiment_runs import EVALUATE, PREDICT, small_data, small_run, write_csv

SCORES = {"accuracy", "log_loss", "roc_auc", "calibration_error"}
WITH_INTERVALS = {name + end for name in SCORES for end in ("", "_low", "_high")}


@pytest.fixture(scope="module")
def run() -> Path:
    return small_run()[0]


@pytest.fixture(scope="module")
def metrics(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text())


def predict(run: Path, *words: object, stdin: bytes = b"") -> Answer:
    return command(PREDICT, "--run", run, *words, stdin=stdin)


# The folder


def test_the_configuration_is_all_that_is_needed_to_run_again(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    assert config["app"] == "sentiment"
    assert config["data"] == str(small_data())
    assert (config["units"], config["epochs"], config["seed"]) == (6, 2, 0)


def test_the_metrics_have_the_keys_and_names_of_the_design(metrics: dict) -> None:
    assert {"parameters", "train_seconds", "versions"} <= set(metrics)
    assert (metrics["app"], metrics["cell"]) == ("sentiment", "gru")
    assert metrics["dataset"] == small_data().name
    assert set(metrics["baselines"]) == {"majority", "tfidf_logistic", "nbsvm"}
    for scores in (metrics["test"], *metrics["baselines"].values()):
        assert set(scores) == WITH_INTERVALS
        assert all(math.isfinite(value) for value in scores.values())
    assert metrics["parameters"] > 8 * 100
    assert metrics["train_seconds"] > 0


def test_floats_are_not_rounded(metrics: dict) -> None:
    assert len(repr(metrics["test"]["log_loss"])) > 10


def test_the_history_has_a_row_an_epoch(run: Path) -> None:
    rows = list(csv.DictReader((run / "history.csv").open()))
    assert [float(row["epoch"]) for row in rows] == [1, 2]
    assert {"loss", "accuracy", "val_accuracy", "val_log_loss", "val_roc_auc"} <= set(rows[0])


def test_the_report_shows_what_came_out(run: Path) -> None:
    page = assert_shown(run)
    assert {"not at their defaults", "units", "6"} <= set(page.texts)


def test_texts_that_are_shown_as_wrong_are_labelled_wrongly(run: Path, metrics: dict) -> None:
    shown = sections(run)
    assert [Path(block.source).stem for block in shown["Right and wrong"]] == [
        "confusion",
        "reliability",
    ]
    splits = load("", small_data())
    truth = {
        " ".join(text.split()): splits.classes[label]
        for text, label in zip(splits.test.texts, splits.test.labels, strict=True)
    }
    right = round(metrics["test"]["accuracy"] * len(truth))
    wanted = {False: len(truth) - right, True: right}
    assert all(wanted.values())
    for is_right, table in zip(wanted, shown["Examples"], strict=True):
        assert len(table.rows) == min(SHOWN, wanted[is_right])
        said = predict(run, *(text for *_, text in table.rows)).out.splitlines()
        for (true, predicted, probability, text), line in zip(table.rows, said, strict=True):
            assert line.split("\t")[:1] == [predicted]
            assert float(line.split("\t")[1]) == pytest.approx(float(probability), abs=0.002)
            assert truth[text] == true
            assert (true == predicted) == is_right
        sure = [float(row[2]) for row in table.rows]
        assert sure == sorted(sure, reverse=True)


def test_texts_are_shown_as_a_table_can_hold_them() -> None:
    long = Labelled(["a | b\n" * 300, "c"], np.array([0, 1]))
    sure = np.array([[0.2, 0.8], [0.9, 0.1]])
    assert misclassified(long, ("no", "yes"), sure).splitlines()[2].startswith("| yes | no | 0.900")
    line = misclassified(long, ("no", "yes"), sure).splitlines()[3]
    assert line.count("|") == 5
    assert 400 < len(line) < 440
    assert misclassified(long, ("no", "yes"), sure[::-1]).count("\n") == 1


@pytest.mark.parametrize("name", ["learning_curves", "confusion", "reliability"])
def test_every_plot_is_a_picture(name: str, run: Path) -> None:
    pixels = matplotlib.image.imread(run / "plots" / f"{name}.png")
    assert min(pixels.shape[:2]) > 200
    assert pixels[..., :3].std() > 0.02


def test_the_vocabulary_is_of_the_training_part_alone(run: Path) -> None:
    words = (run / "vocabulary.txt").read_text(encoding="utf-8").split("\n")
    assert words[:2] == ["", "[UNK]"]
    assert words[-1] == ""
    splits = load("", small_data())
    train, tested = (
        set(tf.strings.split(normalise(part.texts)).flat_values.numpy().tolist())
        for part in (splits.train, splits.test)
    )
    assert tested - train
    assert {word.encode() for word in words[2:-1]} == train


def test_the_rest_of_the_folder_is_there_and_no_litter(run: Path) -> None:
    assert (run / "checkpoints" / "best.weights.h5").is_file()
    assert (run / "export" / "1" / "saved_model.pb").is_file()
    assert list((run / "tensorboard").glob("events.out.tfevents.*"))
    assert not [path for path in run.rglob("*") if path.name.startswith(".")]


def test_the_run_says_what_it_does_and_what_to_type_next(run: Path) -> None:
    said = small_run()[1].out
    assert "224 / 28 / 28 texts" in said
    assert "epoch 2/2" in said
    for name in ("gru network", "majority", "tfidf_logistic", "nbsvm", "better than"):
        assert name in said
    for module in (PREDICT, EVALUATE):
        assert f"python -m {module} --run {run}" in said


# predict


def test_texts_are_labelled_in_their_order(run: Path) -> None:
    texts = ["A film to fall asleep in.", "", "wonderful\twonderful"]
    answer = predict(run, *texts)
    assert answer.code == 0
    rows = [line.split("\t") for line in answer.out.splitlines()]
    assert [row[2] for row in rows] == ["A film to fall asleep in.", "", "wonderful wonderful"]
    for label, probability, _ in rows:
        assert label in ("negative", "positive")
        assert 0.5 <= float(probability) <= 1


def test_lines_on_stdin_are_labelled_like_arguments(run: Path) -> None:
    piped = predict(run, stdin="good film\r\n\nune très belle fête 😀".encode())
    assert piped.out == predict(run, "good film", "", "une très belle fête 😀").out
    assert len(piped.out.splitlines()) == 3


def test_a_file_is_written_with_its_columns_and_the_answers_beside(
    run: Path, tmp_path: Path
) -> None:
    texts = ["a, b", 'say "what"\nnow', "", "NA"]
    path = write_csv(tmp_path / "in.csv", texts, [1, 2, 3, 4], predictedly=["007", "1e5", "", "x"])
    answer = predict(run, "--data", path, "--out", tmp_path / "out.csv")
    assert answer.code == 0
    got = pd.read_csv(tmp_path / "out.csv", dtype=str, keep_default_na=False)
    given = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert got.columns.tolist() == [*given.columns, "predicted", "p_negative", "p_positive"]
    assert got[given.columns].equals(given)
    p = got[["p_negative", "p_positive"]].astype(float)
    assert p.sum(axis=1).to_numpy() == pytest.approx(1)
    assert got["predicted"].tolist() == [c[2:] for c in p.idxmax(axis=1)]
    # By the flag's other name.
    printed = pd.read_csv(io.StringIO(predict(run, "--file", path).out), keep_default_na=False)
    assert printed["predicted"].tolist() == got["predicted"].tolist()


@pytest.mark.slow
def test_an_explanation_is_coloured_text_and_a_picture(run: Path, tmp_path: Path) -> None:
    png = tmp_path / "words.png"
    words = ["-m", PREDICT, "--run", run, "--explain", "--png", png, "Not bad $5 at all.", "  "]
    answer = child(*words)
    assert answer.code == 0
    for token in ("not", "bad", "$", "at", "all", ".", "(no words)", str(png)):
        assert token in answer.out
    assert answer.out.count("0.") >= 7
    assert min(matplotlib.image.imread(png).shape[:2]) > 200
    assert "Traceback" not in answer.err


def test_an_explanation_ends_with_the_answer(run: Path, tmp_path: Path) -> None:
    explained = predict(run, "--explain", "--png", tmp_path / "x.png", "not bad")
    label, probability, _ = predict(run, "not bad").out.split("\t")
    assert f"= {label} {probability}" in explained.out


@pytest.mark.parametrize(
    ("words", "stdin", "expected"),
    [
        (["--data", "no.csv"], b"", "no.csv: no such file"),
        (["--data", "no.csv", "a text"], b"", "found both"),
        (["--out", "x.csv", "a text"], b"", "--out goes with --data"),
        (["--explain", "--png", "/nowhere/x.png", "a text"], b"", "/nowhere/x.png: no such folder"),
        ([], b"", "stdin: no lines"),
        ([], b"good\n\xff\n", "stdin: line 2: expected UTF-8"),
        (["a" * 200_001], b"", "text 1: a text of 200,001 characters"),
        (["good \udcff film"], b"", "text 1"),
    ],
)
def test_what_can_not_be_predicted_is_one_line(
    words: list[str], stdin: bytes, expected: str, run: Path
) -> None:
    assert expected in refusal(predict(run, *words, stdin=stdin))


@pytest.mark.parametrize("module", [PREDICT, EVALUATE])
@pytest.mark.parametrize("given", ["nothing", "an empty folder", "a run without export"])
def test_a_folder_without_an_export_is_one_line(module: str, given: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    if given != "nothing":
        path.mkdir()
    if given == "a run without export":
        (path / "config.json").write_text('{"app": "sentiment"}')
    words = ["a text"] if module == PREDICT else []
    assert f"{path}: no" in refusal(command(module, "--run", path, *words))


# evaluate


@pytest.mark.parametrize("words", [[], ["--data", small_data]], ids=["own data", "--data"])
def test_the_scores_are_those_of_the_training(
    words: list, run: Path, metrics: dict, tmp_path: Path
) -> None:
    out = tmp_path / "scores.json"
    given = [word() if callable(word) else word for word in words]
    answer = command(EVALUATE, "--run", run, "--out", out, *given)
    assert answer.code == 0
    result = json.loads(out.read_text())
    assert result["app"] == "sentiment"
    assert result["test"] == pytest.approx(metrics["test"], abs=1e-5)
    for name in SCORES:
        assert f"{result['test'][name]:.4f}" in answer.out


def test_all_rows_of_a_file_without_splits_are_scored(run: Path, tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "t.csv", ["good", "bad", "so so"], ["positive", "negative", "negative"]
    )
    answer = command(EVALUATE, "--run", run, "--data", path)
    assert answer.code == 0
    assert "3 texts" in answer.out


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("text,label\ngood,positive\nbad,so so\n", "row 2: label 'so so', the model knows"),
        ("text,label\ngood,positive\nbad,\n", "row 2: the label is empty"),
        ("text,stars\ngood,positive\n", "no column 'label'"),
        ("text,label,split\ngood,positive,train\n", "no row with split test"),
    ],
)
def test_what_can_not_be_scored_is_one_line(
    content: str, expected: str, run: Path, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text(content)
    out = tmp_path / "scores.json"
    answer = command(EVALUATE, "--run", run, "--data", tmp_path / "t.csv", "--out", out)
    assert expected in refusal(answer)
    assert not out.exists()


def test_two_sources_at_once_are_refused(run: Path) -> None:
    words = ["--run", run, "--data", "x.csv", "--dataset", "imdb"]
    assert "found both" in refusal(command(EVALUATE, *words))
