"""Parts of time, and the windows that are cut from them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from apps.timeseries.panel import PARTS, Panel, Roles, Series, cut, gather, origins
from common.errors import UserError

HOUR = 3600


def series(count: int, start: int = 0, missing: Sequence[int] = (), name: str = "a") -> Series:
    """Each value says which hour it is of."""
    hours = np.arange(start, start + count)
    target = np.stack([hours, -hours], axis=1).astype(np.float32)
    target[list(missing)] = np.nan
    past = hours[:, np.newaxis].astype(np.float32) + 0.5
    return Series(name, hours * HOUR, target, past, np.zeros((count, 0), np.float32))


def panel(*several: Series) -> Panel:
    return Panel("t", several, Roles(("x", "y"), ("z",)), "h")


def rows_in(one: Panel, split: tuple[float, float, float]) -> list[int]:
    cuts = cut(one, split)
    grid = np.unique(np.concatenate([s.seconds for s in one.series]))
    bounds = [cuts.bounds(part) for part in PARTS]
    return [int(((grid >= first) & (grid < end)).sum()) for first, end in bounds]


@pytest.mark.parametrize(
    ("count", "split", "wanted"),
    [
        (100, (0.7, 0.1, 0.2), [70, 10, 20]),
        (100, (7, 1, 2), [70, 10, 20]),
        (1_000, (70, 10, 20), [700, 100, 200]),
        (17_520, (0.7, 0.1, 0.2), [12_264, 1_752, 3_504]),
        (17_420, (8640, 2880, 2880), [8640, 2880, 2880]),
        (14_400, (8640, 2880, 2880), [8640, 2880, 2880]),
        (10, (0.34, 0.33, 0.33), [3, 3, 4]),
        (1_000, (1.5, 0.25, 0.25), [750, 125, 125]),
    ],
)
def test_a_split_is_shares_per_cent_or_numbers_of_rows(
    count: int, split: tuple[float, float, float], wanted: list[int]
) -> None:
    assert rows_in(panel(series(count)), split) == wanted


def test_all_series_are_cut_at_the_same_moments() -> None:
    both = panel(series(60), series(60, start=40))
    cuts = cut(both, (0.7, 0.1, 0.2))
    assert [cuts.train, cuts.validation] == [70 * HOUR, 80 * HOUR]
    assert cuts.test > 99 * HOUR
    assert rows_in(both, (0.7, 0.1, 0.2)) == [70, 10, 20]


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ((0.7, 0.0, 0.3), "--split 0.7 0 0.3: expected three sizes above 0"),
        ((0.7, -0.1, 0.4), "expected three sizes above 0"),
        ((float("nan"), 0.1, 0.4), "expected three sizes above 0"),
        ((float("inf"), 2, 3), "expected three sizes above 0"),
        ((80, 20, 30), "--split 80 20 30: expected three whole numbers of rows, 100 together"),
        ((50.5, 20, 10), "expected three whole numbers"),
    ],
)
def test_a_split_that_can_not_be_is_refused(
    split: tuple[float, float, float], expected: str
) -> None:
    with pytest.raises(UserError, match=expected) as error:
        cut(panel(series(100)), split)
    assert len(str(error.value).splitlines()) == 1


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 80), st.integers(0, 60)), min_size=1, max_size=3),
    st.integers(1, 9),
    st.integers(1, 9),
    st.sets(st.integers(0, 79), max_size=60),
)
def test_windows_lie_in_their_part_and_know_something(
    sizes: list[tuple[int, int]], history: int, horizon: int, missing: set[int]
) -> None:
    one = panel(*(series(n, s, [m for m in missing if m < n]) for n, s in sizes))
    cuts = cut(one, (0.6, 0.2, 0.2))
    seen: set[tuple[int, int]] = set()
    for part in PARTS:
        windows = origins(one, cuts, part, history, horizon)
        first, end = cuts.bounds(part)
        wanted = []
        for number, s in enumerate(one.series):
            for row in range(history, len(s) - horizon + 1):
                seconds = s.seconds[row : row + horizon]
                known = np.isfinite(s.target).any(axis=1)
                inside = first <= seconds[0] and seconds[-1] < end
                if inside and known[row - history : row].any() and known[row : row + horizon].any():
                    wanted.append((number, row))
        assert [tuple(window) for window in windows.tolist()] == wanted
        rows = {(n, r) for n, row in wanted for r in range(row, row + horizon)}
        assert not rows & seen
        seen |= rows


def test_windows_are_left_out_only_without_any_known_value() -> None:
    one = panel(series(40, missing=[*range(10, 14), 20]))
    cuts = cut(one, (0.9, 0.05, 0.05))
    rows = origins(one, cuts, "train", 3, 2)[:, 1].tolist()
    # 10 to 12 would be forecast from 12 known rows into nothing; 13 and 14 see only what is missing
    assert sorted(set(range(3, 35)) - set(rows)) == [10, 11, 12, 13, 14]


def test_a_part_may_have_no_window() -> None:
    one = panel(series(30))
    windows = origins(one, cut(one, (0.8, 0.1, 0.1)), "test", 5, 4)
    assert windows.shape == (0, 2)
    assert gather(one, windows, -5, 4, "target").shape == (0, 9, 2)


def test_gather_takes_the_rows_around_each_origin() -> None:
    one = panel(series(30), series(20, start=100, name="b"))
    places = np.array([[1, 7], [0, 10], [1, 3]])
    hours = np.array([107, 10, 103])
    target = gather(one, places, -3, 2, "target")
    assert target.dtype == np.float32
    wanted = hours[:, np.newaxis] + np.arange(-3, 2)
    assert_array_equal(target, np.stack([wanted, -wanted], axis=2))
    assert_array_equal(gather(one, places, 0, 4, "seconds"), (hours[:, None] + range(4)) * HOUR)
    assert_array_equal(gather(one, places, -1, 0, "past")[:, 0, 0], hours - 0.5)
    assert gather(one, places, 0, 4, "future").shape == (3, 4, 0)


@pytest.mark.parametrize(
    ("frequency", "seconds"),
    [
        ("30min", 1800),
        ("h", HOUR),
        ("D", 86_400),
        ("B", 86_400),
        ("W-WED", 604_800),
        ("MS", 31 * 86_400),
        ("YS-JAN", 365 * 86_400),
    ],
)
def test_the_step_is_of_the_frequency(frequency: str, seconds: int) -> None:
    assert Panel("t", (series(1),), Roles(("x", "y"), ("z",)), frequency).step == seconds


def test_times_are_those_of_the_clock() -> None:
    assert_array_equal(
        series(3, start=24).times,
        pd.to_datetime(["1970-01-02 00", "1970-01-02 01", "1970-01-02 02"]),
    )
