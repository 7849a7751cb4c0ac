"""Reports and their index, of whole runs and old ones, of broken and hostile ones."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from common import charts, html, media, overview, records, report, runs
from common.config import TrainConfig
from common.page import Commands, Section, Sound
from tests.broken_files import refused
from tests.commands import child, command, refusal
from tests.pages import Page
from tests.report_runs import EVIL, RESULT, TONE, begun, finished, picture

REPORT = "common.report"


# A run's page


def test_a_report_is_one_file_with_everything_in_it(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    page = Page(run.path / "report.html")
    for shown in (
        "0.8765",
        "0.8612 to 0.8931",
        "11.061",
        "4.637",
        "12,345",
        "1 h 2 min",
        "6.0e-08",
    ):
        assert shown in page.texts
    changed = page.texts[page.texts.index("not at their defaults") :]
    assert changed[4:10] == ["data", "/x/y.csv", "—", "units", "9", "64"]
    assert page.texts.count("learning_rate") == 1
    assert page.tags["script"] == 0
    assert page.tags["img"] == 3  # the learning curves are drawn
    assert page.tags["audio"] == 1
    assert page.tags["polyline"] == 2
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert "errors by length" in page.texts
    assert page.text.count(EVIL) >= 8


def test_a_sound_is_heard_as_it_was_given(tmp_path: Path) -> None:
    for rate, kind in ((16_000, "mpeg"), (12_345, "flac")):
        uri = media.sound_uri(Sound("a tone", TONE.samples, rate))
        head, _, content = uri.partition(";base64,")
        assert head == f"data:audio/{kind}"
        heard, found = soundfile.read(io.BytesIO(media.base64.b64decode(content)))
        assert found == rate
        near = heard[: len(TONE.samples)] - TONE.samples[: len(heard)]
        assert np.abs(near[500:-500]).max() < 0.05
    assert len(media.sound_uri(TONE)) < 8000  # less than half of the samples' bytes


def test_a_report_is_written_anew_from_what_is_on_disk(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    before = (run.path / "report.html").read_bytes()
    (run.path / "report.html").unlink()
    answer = command(REPORT, run.path)
    assert answer == (0, f"{run.path / 'report.html'}\n", "")
    assert (run.path / "report.html").read_bytes() == before


def test_a_run_of_an_older_version_has_a_report_too(tmp_path: Path) -> None:
    config = {"app": "music", "units": 384}
    for result in ({}, {"test": {"nll": 4.5}}, {"test": None, "baselines": [1], "versions": "x"}):
        (tmp_path / "config.json").write_text(json.dumps(config))
        (tmp_path / "metrics.json").write_text(json.dumps(result))
        assert command(REPORT, tmp_path).code == 0
        page = Page(tmp_path / "report.html")
        assert {"units", "384", "Settings"} <= set(page.texts)
        assert ("4.5000" in page.texts) == ("test" in result and bool(result["test"]))


def test_a_run_that_has_not_ended_says_so(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    assert command(REPORT, run.path).code == 0
    assert "has not ended" in Page(run.path / "report.html").text
    (run.weights().parent / "interrupted-history").touch()
    finished_after = RESULT | {"parameters": 1}
    report.write(run, finished_after)
    runs.end(run, finished_after)
    text = Page(run.path / "report.html").text
    assert f"--resume {run.path} trains on" in text
    command(REPORT, run.path)
    assert Page(run.path / "report.html").text == text


def test_a_run_that_is_trained_on_after_ctrl_c_has_not_ended(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    runs.write_json(run.unfinished, {})
    command(REPORT, run.path)
    assert "has not ended" in Page(run.path / "report.html").text
    command(REPORT, tmp_path)
    assert "not ended" in Page(tmp_path / "index.html").texts


def test_a_run_that_was_moved_is_asked_where_it_is(tmp_path: Path) -> None:
    run = begun(tmp_path / "a")
    told = [f"predict --run {run.path} 'a text'", f"ls {run.export}; ls {run.path}b", "say {run}"]
    report.write(run, RESULT, [Section("Ask it", [Commands(told)])])
    runs.end(run, RESULT)
    assert set(told[:2]) <= set(Page(run.path / "report.html").text.splitlines())
    moved = run.path.rename(tmp_path / "b c")
    command(REPORT, moved)
    text = Page(moved / "report.html").text
    assert f"predict --run '{moved}' 'a text'" in text
    assert f"ls {run.export}; ls {run.path}b" in text  # not a word of its own


def test_where_baselines_had_single_words_they_stand_beside_these(tmp_path: Path) -> None:
    test, part, other = ({"wer": value} for value in (0.11, 0.22, 0.33))
    result = RESULT | {
        "test": test,
        "single_words": part,
        "baselines": {"template": other},
        "searches": {"with the lexicon": {"wer": 0.44}},
    }
    run = finished(tmp_path / "run", **result)
    texts = Page(run.path / "report.html").texts
    whole, words = texts.index("test part"), texts.index("test part, single words")
    assert {"0.1100", "0.4400", "with the lexicon"} <= set(texts[whole:words])
    assert {"0.2200", "0.3300", "template"} <= set(texts[words : words + 8])


def test_a_mean_over_trainings_has_its_deviation_beside_it(tmp_path: Path) -> None:
    rows = [{"f1": f1, "f1_std": 0.04, "f1_low": 0.3, "f1_high": 0.9} for f1 in (0.7, 0.6)]
    run = finished(tmp_path / "run", test=rows[0], baselines={"forest": rows[1]})
    texts = Page(run.path / "report.html").texts
    assert texts.count("± 0.0400") == 2
    assert "lowest to highest" in texts
    assert "95 % interval" not in texts


def test_serving_is_told_where_there_is_something_to_serve(tmp_path: Path) -> None:
    run = finished(tmp_path / "it's")
    assert "tensorflow/serving" not in Page(run.path / "report.html").text
    run.export.mkdir(parents=True)
    (run.export / "saved_model.pb").touch()
    command(REPORT, run.path)
    text = Page(run.path / "report.html").text
    assert "MODEL_NAME=toy tensorflow/serving" in text
    assert f"""saved_model_cli show --dir '{tmp_path}/it'"'"'s/export'/1 --all""" in text


def test_help_imports_no_tensorflow() -> None:
    program = "import sys, common.report; sys.exit('tensorflow' in sys.modules)"
    assert child("-c", program).code == 0


# The index


def test_the_index_compares_the_runs_of_an_application(tmp_path: Path) -> None:
    finished(tmp_path / "a", TrainConfig(units=9))
    finished(tmp_path / "deep" / "er" / "b c", TrainConfig(units=17, cell="lstm"), cell="lstm")
    begun(tmp_path / "running", TrainConfig(units=9))
    answer = command(REPORT, tmp_path)
    assert answer == (0, f"{tmp_path / 'index.html'}: 3 runs\n", "")
    page = Page(tmp_path / "index.html")
    links = [a for a in page.addresses if not a.startswith(("data:", "#"))]
    assert links == ["a/report.html", "deep/er/b%20c/report.html"]
    assert "not ended" in page.texts
    differing = page.texts[page.texts.index("Settings that differ") :]
    assert differing[2:5] == ["run", "cell", "units"]
    assert differing[5:14] == ["a", "gru", "9", "deep/er/b c", "lstm", "17", "running", "gru", "9"]
    assert page.tags["polyline"] == 6  # three runs' training losses and validation scores
    assert EVIL in page.texts
    assert page.tags["script"] == 1


def test_the_index_has_sweeps_and_not_their_trials(tmp_path: Path) -> None:
    run = finished(tmp_path / "sweep")
    runs.write_json(run.path / "trials.json", {})
    for number in range(2):
        trial = begun(run.path / "trials" / f"{number:03d}", TrainConfig(data=Path("/x/y.csv")))
        trial.unfinished.unlink()
    assert command(REPORT, tmp_path).out.endswith(": 1 runs\n")
    assert command(REPORT, run.path / "trials").out.endswith(": 2 runs\n")
    texts = Page(run.path / "trials" / "index.html").texts
    assert texts.count("trial of a sweep") == 2
    assert texts.count("/x/y.csv") == 2
    command(REPORT, trial.path)
    assert "A trial of a sweep" in Page(trial.path / "report.html").text


def test_settings_are_sorted_as_numbers(tmp_path: Path) -> None:
    for units in (64, 1024):
        finished(tmp_path / str(units), TrainConfig(units=units))
    command(REPORT, tmp_path)
    assert 'data-value="1024">1,024<' in (tmp_path / "index.html").read_text()


def test_broken_runs_are_named_and_passed_over(tmp_path: Path) -> None:
    finished(tmp_path / "whole")
    for name, file, content in (
        ("a", "config.json", "{"),
        ("b", "metrics.json", "[1]"),
        ("c", "history.csv", "x\n1\n"),
        ("d", "history.csv", "\xff"),
    ):
        run = begun(tmp_path / name)
        (run.path / file).write_bytes(content.encode("latin1"))
    run = begun(tmp_path / "e")
    run.metrics.symlink_to(tmp_path / "whole" / "metrics.json")
    run = begun(tmp_path / "f")
    run.history().unlink()
    os.mkfifo(run.history())
    (tmp_path / "g").symlink_to(tmp_path / "whole")
    answer = command(REPORT, tmp_path)
    assert answer.code == 0
    assert answer.out.endswith(": 1 runs\n")
    lines = answer.err.splitlines()
    assert len(lines) == 6
    for name, line in zip("abcdef", lines, strict=True):
        assert line.startswith(f"skipped: {tmp_path / name}/")


def test_what_is_no_run_and_holds_none_is_one_line(tmp_path: Path) -> None:
    assert "no such folder" in refusal(command(REPORT, tmp_path / "no"))
    assert "no run in it" in refusal(command(REPORT, tmp_path))
    run = begun(tmp_path / "run")
    run.metrics.write_text("{")
    assert f"{run.metrics}: can't be read" in refusal(command(REPORT, run.path))
    assert not list(tmp_path.rglob("*.html"))


def test_too_many_folders_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        begun(tmp_path / str(number))
    monkeypatch.setattr(overview, "MOST_RUNS", 2)
    assert "more than 2 runs" in refusal(command(REPORT, tmp_path))
    monkeypatch.setattr(overview, "MOST_FOLDERS", 2)
    refused(lambda: overview.read(tmp_path), "more than 2 folders")


# What foreign runs may say


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"kind": "sound", "source": "https://example.org/a.mp3"}, "expected a sound as data URI"),
        ({"kind": "sound", "source": "data:text/html;base64,AAAA"}, "expected a sound as data URI"),
        ({"kind": "frame"}, "kind: expected text or table"),
        ({"kind": "table", "rows": [[1]]}, "rows: expected text"),
        ({"text": "x"}, "no 'kind' in it"),
    ],
)
def test_a_kept_block_that_is_none_is_refused(
    block: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    run = finished(tmp_path / "run")
    kept = {"sections": [{"title": "x", "blocks": [block]}]}
    (run.path / "report.json").write_text(json.dumps(kept))
    before = (run.path / "report.html").read_bytes()
    assert expected in refusal(command(REPORT, run.path))
    assert (run.path / "report.html").read_bytes() == before


def test_pictures_are_pngs_of_the_runs_own_folder(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    outside = picture(tmp_path / "outside.png")
    (run.plots / "link.png").symlink_to(outside)
    (run.plots / "gradient_flow.png").symlink_to(outside)
    (run.plots / "text.png").write_text("<svg onload='alert(1)'/>")
    with (run.plots / "huge.png").open("wb") as file:
        file.truncate(media.MOST_BYTES + 1)
    os.mkfifo(run.plots / "pipe.png")
    blocks = [{"kind": "picture", "source": source} for source in ("../outside.png", "gone.png")]
    kept = {"sections": [{"title": "x", "blocks": blocks}]}
    (run.path / "report.json").write_text(json.dumps(kept))
    assert command(REPORT, run.path).code == 0
    page = Page(run.path / "report.html")
    assert page.tags["img"] == 0
    assert page.text.count("A picture that can't be shown") == 6


NUMBERS = st.one_of(
    st.floats(), st.sampled_from(["", "x", "1e999", "-0", "9" * 40, "1e-320", "1e99", "١"])
)


@settings(max_examples=30, deadline=None, database=None, derandomize=True)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=6))
def test_whatever_a_history_holds_curves_stay_inside_their_frame(rows: list[Any]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([("epoch", "val_x"), *rows])
    columns = list(csv.reader(io.StringIO(text.getvalue())))[1:]
    history = {
        name: [charts._number(row[place]) for row in columns]
        for place, name in enumerate(("epoch", "val_x"))
    }
    for chart in charts.curves(history):
        left, top, right, bottom = chart.frame
        for _, points in chart.lines:
            assert all(left <= x <= right and top <= y <= bottom for x, y in points)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
NAMES = st.sampled_from(["test", "baselines", "versions", "cell", "train_seconds", "parameters"])


@settings(max_examples=30, deadline=None, database=None, derandomize=True)
@given(st.dictionaries(NAMES, JSON | st.dictionaries(st.just("a"), JSON)))
def test_whatever_metrics_hold_there_is_a_page(result: dict[str, Any]) -> None:
    record = records.Record({"app": "x", "defaults": result}, result, {})
    text = report.page(runs.Run(Path("/none")), record, media.KeptReport(), ended=True)
    assert text.endswith("</html>\n")
    entries = [overview.Entry("a", Path("/none"), record)] * 2
    assert overview.page(Path("/none"), entries).endswith("</html>\n")


def test_of_very_many_epochs_some_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("epoch,loss\n" + "".join(f"{n},{n}\n" for n in range(1, 2503)))
    history = charts.read_history(path)
    assert history["epoch"] == history["loss"] == list(range(3, 2503, 3))
    ((_, points),) = charts.curves(history)[0].lines
    assert 250 < len(points) <= charts.MOST_POINTS


def test_numbers_have_four_places_that_count() -> None:
    shown = {1234567: "1,234,567", 0.00012345: "0.0001234", True: "yes", None: "—", 1e-9: "1e-09"}
    assert {value: html.number(value) for value in shown} == shown
    for values, places in (
        ([0.9, 0.12], 4),
        ([4.6, 0.1], 4),
        ([11.06, 4.6], 3),
        ([1234.5], 1),
        ([0.00123], 6),
        ([0.0], 1),
        ([float("nan")], 1),
    ):
        assert html.places(values) == places
