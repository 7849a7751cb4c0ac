"""The sixth application, taken from CONTRIBUTING.md as it stands there, built and used."""

import ast
import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from sklearn.datasets import load_digits

import apps
from common import export
from tests.commands import ROOT, command, refusal
from tests.test_imports import is_private, may_use, names_used

BLOCK = re.compile(r"^`(apps/digits/\w+\.py)`\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = dict(BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))
MOST_LINES = 150
TRAIN, EVALUATE = "apps.digits.train", "apps.digits.evaluate"
SMALL = ("--units", 16, "--epochs", 4, "--learning-rate", 0.02, "--average", 0, "--patience", 9)


class Killed(BaseException):
    """Nothing that the code under test could catch."""


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The application in a folder of its own, beside those that are installed."""
    folder = tmp_path_factory.mktemp("sixth")
    write_to(folder)
    for name in ("common", "pyproject.toml"):  # where ruff looks for what is ours
        (folder / name).symlink_to(ROOT / name)
    apps.__path__.append(str(folder / "apps"))
    yield folder
    apps.__path__.remove(str(folder / "apps"))
    for name in [name for name in sys.modules if name.startswith("apps.digits")]:
        del sys.modules[name]


def write_to(folder: Path) -> None:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def run(digits: Path) -> Path:
    """A short training of it, on the real digits."""
    answer = command(TRAIN, "--run-dir", digits / "run", *SMALL)
    assert answer.code == 0, answer.err
    assert "neighbours" in answer.out
    return digits / "run"


def lines_of_code(text: str) -> int:
    """Lines that hold code: neither blank nor of comments or docstrings alone."""
    nothing = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in (*nothing, tokenize.ENDMARKER):
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def test_it_takes_fewer_lines_than_promised() -> None:
    assert {"config.py", "data.py", "model.py", "train.py", "evaluate.py"} <= {
        name.rpartition("/")[2] for name in FILES
    }
    assert sum(map(lines_of_code, FILES.values())) < MOST_LINES
    assert lines_of_code('"""Text."""\n\nx = 1  # one\n\n# note\ny = (\n    2\n)\n') == 4


@pytest.mark.parametrize("name", FILES)
def test_it_keeps_the_rules_of_the_others(name: str) -> None:
    used = set(names_used(FILES[name], "apps.digits"))
    assert [one for one in used if not may_use(name, one) or is_private(one)] == []


@pytest.mark.parametrize("words", [["check"], ["format", "--check"]])
def test_it_is_written_as_the_others_are(digits: Path, words: list[str]) -> None:
    ruff = [sys.executable, "-m", "ruff", *words, "--no-cache", "apps"]
    subprocess.run(ruff, cwd=digits, check=True)


def test_its_command_lines_are_made_without_tensorflow(digits: Path) -> None:
    program = (
        "import sys, apps; apps.__path__.append(sys.argv[1])\n"
        "import apps.digits.train, apps.digits.evaluate\n"
        "sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    words = [sys.executable, "-c", program, str(digits / "apps")]
    subprocess.run(words, cwd=ROOT, check=True)


def test_a_run_leaves_what_every_run_leaves(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["app"] == "digits"
    assert metrics["test"]["accuracy"] > 0.5
    assert metrics["baselines"]["neighbours"]["accuracy"] > metrics["test"]["accuracy"]
    assert metrics["export_difference"] < 1e-5
    assert (run / "plots" / "learning_curves.png").stat().st_size > 1000
    assert list((run / "tensorboard").glob("events*"))
    assert len(list(csv.DictReader((run / "history.csv").open()))) == 4
    assert not (run / "unfinished.json").exists()


def test_the_savedmodel_answers_in_a_process_without_this_code(run: Path) -> None:
    """Images of another height than any in training."""
    rows = load_digits().images[-5:, :5].astype("float32")
    answer = export.answer_in_clean_process(run / "export/1", "serving_default", {"rows": rows})
    assert answer["probabilities"].shape == (5, 10)
    assert answer["probabilities"].sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_evaluate_scores_the_test_part_and_own_images(run: Path, tmp_path: Path) -> None:
    table = load_digits(as_frame=True).frame
    table[int(0.8 * len(table)) :].to_csv(tmp_path / "images.csv", index=False)
    trained = json.loads((run / "metrics.json").read_text())["test"]
    for words in ([], ["--data", tmp_path / "images.csv"]):
        answer = command(EVALUATE, "--run", run, *words, "--out", tmp_path / "scores.json")
        assert answer.code == 0, answer.err
        scores = json.loads((tmp_path / "scores.json").read_text())["test"]
        assert scores == pytest.approx(trained, abs=1e-5)


@pytest.mark.parametrize("cell", ["eleven", "12", "nan"])
def test_a_table_that_is_none_of_digits_is_refused(run: Path, tmp_path: Path, cell: str) -> None:
    pixels = ["0"] * 8 if cell != "nan" else ["nan"] * 8
    target = cell if cell != "nan" else "3"
    header = ",".join([*(f"pixel_{n}" for n in range(8)), "target"])
    (tmp_path / "odd.csv").write_text(f"{header}\n{','.join([*pixels, target])}\n")
    answer = command(EVALUATE, "--run", run, "--data", tmp_path / "odd.csv")
    assert "odd.csv: expected digits and rows of 8 pixels" in refusal(answer)


@pytest.mark.slow
def test_a_killed_run_ends_as_one_that_was_not(run: Path, digits: Path) -> None:
    from apps.digits import metrics

    scores, judged = metrics.scores, []

    def score_or_die(*given: object) -> dict[str, float]:
        judged.append(given)
        if len(judged) == 3:
            raise Killed
        return scores(*given)

    with mock.patch.object(metrics, "scores", score_or_die), pytest.raises(Killed):
        command(TRAIN, "--run-dir", digits / "killed", *SMALL)
    assert not (digits / "killed" / "metrics.json").exists()
    answer = command(TRAIN, "--resume", digits / "killed")
    assert answer.code == 0, answer.err
    kept = (digits / "killed", run)
    ends = [json.loads((folder / "metrics.json").read_text()) for folder in kept]
    assert ends[0]["test"] == ends[1]["test"]
    rows = [list(csv.DictReader((folder / "history.csv").open())) for folder in kept]
    for row in (*rows[0], *rows[1]):
        del row["seconds"]
    assert rows[0] == rows[1]


@pytest.mark.slow
def test_its_types_are_right(tmp_path: Path) -> None:
    write_to(tmp_path)
    shutil.copytree(ROOT / "common", tmp_path / "common")
    for name in ("apps/__init__.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    subprocess.run(
        [sys.executable, "-m", "mypy", "-p", "apps.digits"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        check=True,
    )
