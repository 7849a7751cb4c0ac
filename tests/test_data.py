"""Users' tables, splits, and batches of sequences of like length."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from common.data import SequenceBatches, column, read_table, split_rows
from common.errors import UserError

ROWS = [["NA", "1"], ["two\nlines, and a comma", "null"], ['a "quoted" café 😀', ""]]
SAME_TABLE = {
    "t.csv": 'text,label\nNA,1\n"two\nlines, and a comma",null\n"a ""quoted"" café 😀",\n',
    "t.tsv": 'text\tlabel\nNA\t1\n"two\nlines, and a comma"\tnull\n"a ""quoted"" café 😀"\t\n',
    "t.jsonl": '{"text": "NA", "label": 1}\n\n{"label": "null", "text": "two\\nlines, and a comma"}'
    '\n{"text": "a \\"quoted\\" café 😀", "label": null}\n',
}
REFUSED: dict[str, tuple[str, bytes | None, str]] = {
    "missing": ("t.csv", None, "no such file"),
    "empty": ("t.csv", b"", "the file is empty"),
    "blank lines only": ("t.csv", b" \n\n\t\n", "the file is empty"),
    "a header only": ("t.csv", b"text,label\n", "no rows"),
    "a byte order mark only": ("t.csv", b"\xef\xbb\xbf", "the file is empty"),
    "empty objects only": ("t.jsonl", b"{}\n{}\n", "no rows"),
    "another suffix": ("t.xlsx", b"text\n1\n", r"expected a \.csv, \.tsv or \.jsonl"),
    "not UTF-8": ("t.csv", "text\nfine\ncafé\n".encode("latin1"), "line 3: .*0xe9"),
    "not UTF-8, as JSON": ("t.jsonl", b'{"text": "a"}\n{"text": "\xff"}\n', "line 2: .*0xff"),
    "a row too long": ("t.csv", b'a,b\n"1\n1",2\n\n3,4,5\n', r"line 5: 3 cells.*\(2\)"),
    "every row too long": ("t.csv", b"a,b\n1,2,3\n4,5,6\n", r"line 2: 3 cells.*\(2\)"),
    "a row too short": ("t.tsv", b"a\tb\n1\t2\n3\n", r"line 3: 1 cells.*\(2\)"),
    "a quote left open": ("t.csv", b'a,b\n1,2\n3,"4\n5,6\n', "line 3: "),
    "a heading twice": ("t.csv", b"text,text\n1,2\n", "'text' more than once"),
    "a JSON list": ("t.jsonl", b'{"a": 1}\n[1]\n', "line 2: .*object"),
    "broken JSON": ("t.jsonl", b'{"a": 1}\n\n{"a": \n', "line 3: .*object"),
    "JSON nested too deeply": ("t.jsonl", b'{"a": ' + b"[" * 100_000, "line 1: .*object"),
    "half a surrogate pair": ("t.jsonl", b'{"a": 1}\n{"a": "\\ud800"}\n', "line 2: .*Unicode"),
}


# read_table


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("name", SAME_TABLE)
def test_every_format_gives_the_same_table_of_strings(name: str, mark: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(mark + SAME_TABLE[name], encoding="utf-8")
    table = read_table(path)
    assert table.columns.tolist() == ["text", "label"]
    assert table.to_numpy().tolist() == ROWS


def test_a_suffix_may_be_in_capitals_and_lines_may_end_as_on_windows(tmp_path: Path) -> None:
    path = tmp_path / "T.CSV"
    path.write_bytes(b"text,label\r\na,1\r\n")
    assert read_table(path).to_numpy().tolist() == [["a", "1"]]


def test_keys_that_a_json_line_lacks_are_empty(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": "x"}\n{"b": [1, "é"]}\n{"a": true}\n')
    assert read_table(path).to_numpy().tolist() == [["x", ""], ["", '[1, "\\u00e9"]'], ["true", ""]]


def test_a_cell_may_be_longer_than_the_limit_of_the_csv_module(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"text\n{'a' * 500_000}\n")
    assert len(read_table(path)["text"][0]) == 500_000


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_is_refused_in_one_line_that_names_file_and_place(
    case: str, tmp_path: Path
) -> None:
    name, content, expected = REFUSED[case]
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=expected) as refusal:
        read_table(path)
    message = str(refusal.value)
    assert message.startswith(f"{path}: ")
    assert len(message.strip().splitlines()) == 1


def test_a_missing_column_is_refused_with_those_there_are(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("review,stars\na,1\n")
    table = read_table(path)
    assert column(table, "stars", path, "--label-column") == ["1"]
    with pytest.raises(UserError, match=r"no column 'text' among 'review', 'stars'.*--text-col"):
        column(table, "text", path, "--text-column")


# split_rows


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(20, 60), min_size=2, max_size=4), st.integers(0, 5))
def test_both_sides_of_a_split_are_disjoint_and_have_each_label_in_its_proportion(
    counts: list[int], seed: int
) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    kept, aside = split_rows(labels, 0.2, seed)
    assert_array_equal(np.sort(np.concatenate([kept, aside])), np.arange(len(labels)))
    expected = 0.2 * np.array(counts)
    assert (np.abs(np.bincount(labels[aside]) - expected) <= 1).all()


def test_a_split_depends_on_the_seed_and_on_nothing_else() -> None:
    labels = np.arange(100) % 3
    first, again, other = (split_rows(labels, 0.1, seed)[1] for seed in (4, 4, 5))
    assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("labels", [[], [0], [0, 1], [0] * 30 + [1]])
def test_too_few_rows_are_not_split(labels: list[int]) -> None:
    with pytest.raises(UserError, match="too few rows to set 10% of them aside"):
        split_rows(np.array(labels, int), 0.1)


# SequenceBatches


def numbered(count: int, batch_size: int, seed: int = 0, **options: int) -> SequenceBatches:
    """Sequences of mixed lengths, some empty; each one's target is its own number."""
    rng = np.random.default_rng(count)
    lengths = rng.integers(0, 40, count)
    sequences = [rng.integers(1, 1000, length).astype(np.int32) for length in lengths]
    return SequenceBatches(sequences, np.arange(count), batch_size, seed, **options)


def taken(batches: SequenceBatches, epoch: int, start: int = 0) -> list[tuple]:
    return list(batches.epoch(epoch, start).as_numpy_iterator())


def order(batches: SequenceBatches, epoch: int) -> list[int]:
    return np.concatenate([targets for _, targets in taken(batches, epoch)]).tolist()


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 3), st.integers(0, 3))
def test_every_epoch_has_every_sequence_once(
    count: int, batch_size: int, pool: int, epoch: int
) -> None:
    batches = numbered(count, batch_size, pool=pool)
    plan = batches.plan(epoch)
    assert len(plan) == batches.steps
    assert sorted(np.concatenate(plan).tolist()) == list(range(count))
    sizes = sorted(map(len, plan), reverse=True)
    assert sizes[0] <= batch_size
    assert all(size == batch_size for size in sizes[:-1])


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    first = order(numbered(50, 4, seed=3), 7)
    assert sorted(first) == list(range(50))
    assert order(numbered(50, 4, seed=3), 7) == first
    assert order(numbered(50, 4, seed=3), 8) != first
    assert order(numbered(50, 4, seed=4), 7) != first


@pytest.mark.parametrize("start", [0, 1, 6, 12, 13])
def test_an_epoch_from_the_middle_is_the_tail_of_the_whole_one(start: int) -> None:
    batches = numbered(50, 4)
    whole, tail = taken(batches, 2), taken(batches, 2, start)
    assert len(whole) == 13
    assert len(tail) == 13 - start
    for got, wanted in zip(tail, whole[start:], strict=True):
        for part, same in zip(got, wanted, strict=True):
            assert_array_equal(part, same)


@pytest.mark.parametrize("multiple", [1, 16])
def test_zeros_stand_after_a_sequence_and_nowhere_else(multiple: int) -> None:
    batches = numbered(50, 4, multiple=multiple)
    for padded, targets in taken(batches, 1):
        longest = max(1, *(len(batches.sequences[i]) for i in targets))
        assert padded.shape[1] == -(-longest // multiple) * multiple
        for row, i in zip(padded, targets, strict=True):
            length = len(batches.sequences[i])
            assert_array_equal(row[:length], batches.sequences[i])
            assert not row[length:].any()


def test_targets_keep_their_shape_and_type() -> None:
    batches = numbered(5, 2)
    targets = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    batches = SequenceBatches(batches.sequences, targets, 2)
    for (_, got), rows in zip(taken(batches, 0), batches.plan(0), strict=True):
        assert got.dtype == np.float32
        assert_array_equal(got, targets[rows])


def padding_share(batches: SequenceBatches, plan: list[np.ndarray]) -> float:
    lengths = np.array([len(s) for s in batches.sequences])
    padded = sum(len(rows) * max(1, lengths[rows].max()) for rows in plan)
    return 1 - lengths.sum() / padded


def test_short_sequences_are_with_short_ones() -> None:
    batches = numbered(2000, 16)
    shuffled = np.random.default_rng(0).permutation(2000)
    random = padding_share(batches, np.array_split(shuffled, batches.steps))
    assert random > 0.4
    assert padding_share(batches, batches.plan(0)) < random / 8


def test_empty_sequences_get_one_padded_step() -> None:
    nothing = [np.zeros(0, np.int32)] * 3
    batches = SequenceBatches(nothing, np.zeros(3, np.int32), 2)
    for whole in (batches.epoch(0), batches.in_order()):
        shapes = sorted(padded.shape for padded, _ in whole.as_numpy_iterator())
        assert shapes == [(1, 1), (2, 1)]


def test_restore_undoes_the_order_of_in_order() -> None:
    batches = numbered(50, 4)
    padded, targets = zip(*batches.in_order().as_numpy_iterator(), strict=True)
    assert np.concatenate(targets).tolist() != list(range(50))
    assert_array_equal(batches.restore(np.concatenate(targets)), np.arange(50))
    sums = np.concatenate([rows.sum(axis=1) for rows in padded])
    assert_array_equal(batches.restore(sums), [s.sum() for s in batches.sequences])
