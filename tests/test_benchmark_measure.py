"""What the benchmarks share: memory of a process, sizes, clocks, tables.

The top of this file imports no TensorFlow: the processes of its own begin here.
"""

import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import measure
from benchmarks.measure import Column
from common.errors import UserError

HELD = 150_000_000


def held(size: int) -> int:
    """Peak of memory of a process that filled so many bytes and let them go."""
    np.ones(size, np.uint8)
    return measure.peak_bytes()


def refused() -> None:
    raise UserError("found this, expected that")


def test_a_process_of_its_own_is_measured_alone() -> None:
    here = np.ones(2 * HELD, np.uint8)  # of this process, which is not to count
    little, much = measure.alone(held, 1), measure.alone(held, HELD)
    assert measure.peak_bytes() > len(here)
    assert little < len(here)
    assert much - little == pytest.approx(HELD, rel=0.2)


def test_an_error_of_the_user_comes_out_of_it() -> None:
    with pytest.raises(UserError, match="found this, expected that"):
        measure.alone(refused)


def test_sizes_are_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x").write_bytes(b"12345")
    (tmp_path / "y").write_bytes(b"67")
    assert measure.size_of(tmp_path) == 7
    assert measure.size_of(tmp_path / "y") == 2


def test_a_clock_stands_still_while_stopped() -> None:
    clock = measure.Clock()
    time.sleep(0.02)
    with clock.stopped():
        before = clock.times
        time.sleep(0.2)
        assert clock.times == before
    assert 0.02 <= clock.times["seconds"] < 0.2
    assert clock.times["processor_seconds"] < 0.02  # it slept


def test_the_machine_is_described_without_its_name() -> None:
    found = measure.machine()
    assert set(found) == {"cpu", "cores", "memory_gb", "load"}
    assert found["cores"] >= 1
    assert found["memory_gb"] > 0.5
    assert f"{found['cores']} cores" in measure.on(found)


def test_the_best_of_a_column_is_bold() -> None:
    columns = (
        Column("accuracy", "accuracy", ".2f", best=max),
        Column("MB", "bytes", ",.1f", 1e-6),
        Column("s", "seconds", ".0f", missing="never"),
    )
    rows = {
        "a": {"accuracy": 0.5, "bytes": 2_000_000, "seconds": None},
        "b": {"accuracy": 0.75, "bytes": 3_000_000, "seconds": 4.2},
    }
    assert measure.markdown(rows, columns).splitlines() == [
        "|  | accuracy | MB | s |",
        "| --- | --- | --- | --- |",
        "| a | 0.50 | **2.0** | never |",
        "| b | **0.75** | 3.0 | 4 |",
    ]


def test_a_run_is_trained_again_for_its_memory(tmp_path: Path) -> None:
    from tests.sentiment_runs import small_run

    folder = tmp_path / "again"
    peak = measure.training_peak("sentiment", small_run()[0], folder)
    assert peak > 100e6  # TensorFlow alone takes a few hundred MB
    assert (folder / "config.json").exists()
    assert not (folder / "metrics.json").exists()
