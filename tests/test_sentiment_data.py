"""Labelled texts: packaged corpora, the TFDS catalogue, and the user's own files."""

import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import tensorflow_datasets as tfds

from apps.sentiment.data import load
from apps.sentiment.texts import Splits
from common.errors import UserError
from tests.commands import command, refusal
from tests.sentiment_runs import MOODS, SMALL, TRAIN, moods, write_csv

PARTS = ("train", "validation", "test")


def parts(splits: Splits) -> list[Counter[tuple[str, str]]]:
    """Of each part the texts with the names of their classes, and how often they occur."""
    return [
        Counter(
            (text, splits.classes[label]) for text, label in zip(p.texts, p.labels, strict=True)
        )
        for p in (splits.train, splits.validation, splits.test)
    ]


def sizes(splits: Splits) -> tuple[int, ...]:
    return tuple(len(getattr(splits, name)) for name in PARTS)


def own(path: Path) -> Splits:
    return load("imdb", path)


def rows(count: int, name: str = "film") -> tuple[list[str], list[str]]:
    """Different texts, and labels of two classes in turn."""
    return [f"{name} {n}" for n in range(count)], [("bad", "good")[n % 2] for n in range(count)]


# Named corpora


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        pytest.param("imdb", (19922, 2491, 2491), marks=pytest.mark.slow),
        ("rotten_tomatoes", (6824, 853, 853)),
    ],
)
def test_a_packaged_corpus_has_its_sizes_is_balanced_and_shares_no_text(
    name: str, wanted: tuple[int, ...]
) -> None:
    splits = load(name, None)
    assert sizes(splits) == wanted
    assert splits.classes == ("negative", "positive")
    for part in (splits.train, splits.validation, splits.test):
        assert abs(part.labels.mean() - 0.5) < 0.005
        assert all(text == text.strip() != "" for text in part.texts)
    texts = [text for part in parts(splits) for text, _ in part]
    assert len(texts) == len(set(texts)) == sum(wanted)


def test_a_packaged_corpus_is_split_the_same_way_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it is prepared anew, in another folder."""
    first = load("rotten_tomatoes", None)
    again = tfds.builder("movie_reviews/rotten_tomatoes", data_dir=str(tmp_path))
    again.download_and_prepare()
    for name in PARTS:
        found = [row["text"].decode() for row in tfds.as_numpy(again.as_dataset(split=name))]
        assert sorted(found) == sorted(getattr(first, name).texts)
    assert load("rotten_tomatoes", None).test.texts == first.test.texts


@pytest.mark.parametrize(
    ("name", "given", "classes"),
    [
        ("imdb_reviews", ("train", "test", "unsupervised"), ("neg", "pos")),
        ("glue/sst2", ("train", "validation", "test"), ("negative", "positive")),
    ],
)
def test_a_corpus_of_the_catalogue_is_taken_by_its_name(
    name: str, given: tuple[str, ...], classes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline: TFDS makes up the texts, and does not know then which parts there are."""
    part_info = SimpleNamespace(num_examples=60, num_bytes=0)
    monkeypatch.setattr(tfds.core.DatasetInfo, "splits", dict.fromkeys(given, part_info))
    with tfds.testing.mock_data(num_examples=60):
        splits = load(name, None)
    assert splits.classes == classes
    assert sizes(splits) == ((60, 60, 60) if "validation" in given else (54, 6, 60))
    for part in (splits.train, splits.validation, splits.test):
        assert all(isinstance(text, str) for text in part.texts)
        assert set(part.labels.tolist()) <= {0, 1}


@pytest.mark.parametrize("name", ["no_such_corpus", "mnist", "wikipedia", "", "../imdb", "a b"])
def test_a_name_that_gives_no_labelled_texts_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"--dataset {name}: expected") as refused:
        load(name, None)
    assert len(str(refused.value).splitlines()) == 1


# Own files


@pytest.mark.parametrize("count", [20, 200])
def test_an_own_file_is_split_in_eight_one_and_one_tenths(count: int, tmp_path: Path) -> None:
    texts, labels = rows(count)
    splits = own(write_csv(tmp_path / "t.csv", texts, labels))
    assert sizes(splits) == (count * 8 // 10, count // 10, count // 10)
    assert splits.classes == ("bad", "good")
    assert splits.name == "t.csv"
    assert sum(parts(splits), Counter()) == Counter(zip(texts, labels, strict=True))
    for part in (splits.train, splits.validation, splits.test):
        assert part.labels.mean() == 0.5


def test_classes_may_be_more_than_two(tmp_path: Path) -> None:
    splits = own(moods(tmp_path / "t.csv"))
    assert splits.classes == tuple(MOODS)
    assert min(Counter(splits.train.labels.tolist()).values()) >= 19
    texts = [f"film {n}" for n in range(100)]
    splits = own(write_csv(tmp_path / "t.csv", texts, list("edcba") * 20))
    assert splits.classes == ("a", "b", "c", "d", "e")


def test_numbers_as_labels_stand_in_their_order(tmp_path: Path) -> None:
    labels = ["10", "9", "-1", "2.5"] * 10
    splits = own(write_csv(tmp_path / "t.csv", [f"film {n}" for n in range(40)], labels))
    assert splits.classes == ("-1", "2.5", "9", "10")


def test_white_space_around_labels_does_not_count(tmp_path: Path) -> None:
    splits = own(write_csv(tmp_path / "t.csv", rows(40)[0], [" good", "good ", "bad", "bad"] * 10))
    assert splits.classes == ("bad", "good")


def test_duplicates_are_dropped_before_splitting(tmp_path: Path) -> None:
    texts, labels = rows(40)
    spaced = [f" {text}\n" for text in texts]
    splits = own(write_csv(tmp_path / "t.csv", [*texts, *spaced], [*labels, *labels]))
    assert sum(sizes(splits)) == 40
    every = [text.strip() for part in parts(splits) for text, _ in part]
    assert len(set(every)) == 40


@pytest.mark.parametrize("lacking", ["", "validation", "test", "validation test"])
def test_a_column_split_is_obeyed_and_missing_parts_are_cut_from_training(
    lacking: str, tmp_path: Path
) -> None:
    given = [name for name in PARTS if name not in lacking.split()]
    texts, labels = rows(120)
    marks = [given[n // 2 % len(given)] for n in range(120)]
    spelt = [{"validation": " DEV", "train": "Training"}.get(mark, mark) for mark in marks]
    path = write_csv(tmp_path / "t.csv", texts, labels, split=spelt)
    splits = own(path)
    assert min(sizes(splits)) > 0
    assert sum(parts(splits), Counter()) == Counter(zip(texts, labels, strict=True))
    for name in given:
        wanted = {text for text, mark in zip(texts, marks, strict=True) if mark == name}
        found = set(getattr(splits, name).texts)
        assert found == wanted if name != "train" else found <= wanted


@pytest.mark.parametrize("suffix", ["tsv", "jsonl"])
def test_other_formats_and_columns_do_the_same(suffix: str, tmp_path: Path) -> None:
    texts, labels = rows(20)
    pairs = list(zip(texts, labels, strict=True))
    lines = {
        "tsv": ["review\tverdict", *(f"{text}\t{label}" for text, label in pairs)],
        "jsonl": [f'{{"verdict": "{label}", "review": "{text}"}}' for text, label in pairs],
    }
    path = tmp_path / f"t.{suffix}"
    path.write_text("\n".join(lines[suffix]) + "\n")
    splits = load("imdb", path, text_column="review", label_column="verdict")
    assert sum(parts(splits), Counter()) == Counter(pairs)


# What can't be used


FILES: dict[str, tuple[bytes | None, str]] = {
    "a missing file": (None, "no such file"),
    "an empty file": (b"", "the file is empty"),
    "no text column": (b"review,label\na,1\nb,0\n", "no column 'text'.*--text-column"),
    "no label column": (b"text,stars\na,1\nb,0\n", "no column 'label'.*--label-column"),
    "one class only": (b"text,label\n" + b"a,1\n" * 30, "one class only"),
    "an empty text": (b"text,label\na,1\n ,0\n,1\n", r"row 2: the text is empty \(and 1 more"),
    "only empty texts": (b"text,label\n" + b",1\n,0\n" * 20, "row 1: the text is empty"),
    "half the rows without a label": (b"text,label\n" + b"a,1\nb,\n" * 20, "row 2: the label"),
    "bytes that are not UTF-8": (b"text,label\na,1\nb\xe9,0\n", "line 3: .*0xe9"),
    "a review of 2 MB": (b"text,label\na,1\n" + b"b " * 1_000_000 + b",0\n", "row 2: .*2,0"),
    "too few rows": (b"text,label\na,1\nb,0\n", "2 rows; expected at least"),
    "texts as labels": (
        b"text,label\n" + b"".join(b"a%d,b%d\n" % (n, n) for n in range(40)),
        "40 classes in 40 rows",
    ),
    "an unknown split": (b"text,label,split\na,1,train\nb,0,some\n", "row 2: split 'some'"),
    "no training rows": (b"text,label,split\na,1,test\nb,0,test\n", "no row with split train"),
    "a class not trained on": (
        b"text,label,split\n" + b"a,1,train\nb,0,train\n" * 20 + b"c,2,test\n",
        "no training row of class '2'",
    ),
    "a class of one row": (
        b"text,label\nc,2\n" + b"".join(b"a%d,1\nb%d,0\n" % (n, n) for n in range(20)),
        r"class '2' has 1 different text\(s\); expected at least 3",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_bad_input_is_one_line_with_exit_code_2_and_nothing_is_written(
    case: str, tmp_path: Path
) -> None:
    content, expected = FILES[case]
    data = tmp_path / "t.csv"
    if content is not None:
        data.write_bytes(content)
    line = refusal(command(TRAIN, "--data", data, "--run-dir", tmp_path / "run", *SMALL))
    assert line.startswith(f"python -m {TRAIN}: error: {data}: ")
    assert re.search(expected, line), line
    assert not (tmp_path / "run").exists()


def test_an_unknown_dataset_is_one_line_as_well(tmp_path: Path) -> None:
    answer = command(TRAIN, "--dataset", "imbd", "--run-dir", tmp_path / "run", *SMALL)
    assert "--dataset imbd: expected imdb, rotten_tomatoes or" in refusal(answer)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("given", ["nothing", "an empty folder", "a run without weights"])
def test_a_run_to_start_from_that_is_none_is_one_line_as_well(given: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    if given != "nothing":
        other.mkdir()
    if given == "a run without weights":
        (other / "vocabulary.txt").write_text("\n[UNK]\ngood\n")
    data = moods(tmp_path / "t.csv")
    words = ["--data", data, "--run-dir", tmp_path / "run", "--init-from", other, *SMALL]
    assert str(other) in refusal(command(TRAIN, *words))
    assert not (tmp_path / "run").exists()
