"""A small real training on a folder of tunes, what it exports, and the commands around it."""

import json
from pathlib import Path

import numpy as np
import pytest

from apps.music.pieces import HELD, KEYS, Piece
from tests.commands import child, command, refusal
from tests.music_pieces import (
    EVALUATE,
    PREDICT,
    SMALL,
    TRAIN,
    lines,
    part_run,
    small_data,
    small_run,
    train,
    tune,
    write_midi,
    write_rolls,
)
from tests.pages import alike, assert_shown, sections


def test_a_run_ends_with_scores_baselines_and_commands() -> None:
    run, answer = small_run()
    result = json.loads((run / "metrics.json").read_text())
    assert set(result["baselines"]) == {"marginal", "markov", "repeat_last"}
    for scores in (result["test"], *result["baselines"].values()):
        assert 0 < scores["nll"] < 100
        assert scores["nll_low"] <= scores["nll"] * 1.000001 <= scores["nll_high"] * 1.00001
        assert 0 <= scores["frame_accuracy"] <= 1
    assert result["export_difference"] < 1e-3
    assert f"apps.music.predict --run {run}" in answer.out
    settings = json.loads((run / "schema.json").read_text())
    assert sum(settings.pop("keys")) == 2  # training pieces
    assert settings == {
        "resolution": 4,
        "articulated": True,
        "metres": True,
        "head": "joint",
        "voices": 2,
    }
    assert (run / "plots" / "learning_curves.png").is_file()
    assert_shown(run)


def test_the_report_plays_what_the_seed_composes_and_a_test_piece_as_it_was_written() -> None:
    import tensorflow as tf

    from apps.music import data, gallery, keys, render, serving
    from apps.music.settings import draw
    from common import export

    run, _ = small_run()
    shown = sections(run)
    corpus = data.load("", small_data())
    bar = serving.usual_bar(corpus)
    steps = gallery.whole_bars(bar, corpus.resolution)
    assert bar
    assert steps % bar == 0
    assert len(shown["Composed"]) == 2 * gallery.COMPOSED
    key = int(np.argmax(keys.counts(corpus.train)))
    model = export.load(run / "export" / "1").signatures
    nothing = {"start": np.zeros((1, 0, KEYS), np.int32), "steps": np.array(steps, np.int32)}

    def heard(roll: np.ndarray) -> np.ndarray:
        found = render.sound(Piece("", roll), corpus.resolution, True, render.TEMPO)
        assert len(found) <= 15 * render.RATE
        return found

    for number, sound in enumerate(shown["Composed"][1::2], 1):
        roll = model["generate"](**nothing, **draw(seed=number, bar=bar, key=key))["roll"]
        assert alike(sound, heard(roll.numpy()[0]), render.RATE) > 0.9
    _, harmonised, picture, written = shown["A melody harmonised"]
    piece = gallery.beginning(corpus.test[0], corpus.resolution)
    assert alike(written, heard(piece.frames), render.RATE) > 0.9
    given = tf.constant(piece.frames[np.newaxis], tf.int32)
    how = draw(bar=piece.bar, offset=piece.offset, key=keys.of(piece))
    roll = model["harmonise"](given=given, start=given[:, :0], **how)["roll"].numpy()[0]
    assert alike(harmonised, heard(roll), render.RATE) > 0.9
    assert piece.name in picture.text
    assert {path.stem for path in (run / "plots").iterdir()} == {
        "learning_curves",
        *("composed_1", "composed_2", "harmonised", "written"),
    }


def test_what_is_played_is_whole_bars_and_no_longer_than_allowed() -> None:
    from apps.music.gallery import beginning, whole_bars

    assert (whole_bars(16, 4), whole_bars(12, 4), whole_bars(0, 4)) == (64, 72, 76)
    assert whole_bars(80, 4) == 76  # no bar fits
    piece = tune(np.random.default_rng(0), notes=90)
    begun = beginning(piece, 4)
    assert (len(begun) + begun.offset) % begun.bar == 0
    assert 76 - begun.bar < len(begun) + begun.offset <= 76
    assert len(beginning(lines(1, 0), 4)) == 32


def test_the_score_of_the_export_is_the_score_of_the_run() -> None:
    run, _ = small_run()
    answer = command(EVALUATE, "--run", run, "--out", run.parent / "scores.json")
    assert answer.code == 0, answer.err
    again = json.loads((run.parent / "scores.json").read_text())
    before = json.loads((run / "metrics.json").read_text())
    assert again["test"] == pytest.approx(before["test"], rel=1e-4)
    assert again["baselines"] == before["baselines"]


def test_every_frame_of_every_test_piece_counts() -> None:
    from apps.music import data
    from apps.music.settings import Settings, asked
    from common import export, runs

    run, _ = small_run()
    settings, model = Settings.read(runs.Run(run)), export.load(run / "export" / "1")
    test = data.load("", small_data()).test
    nats = [model.signatures["score"](**asked(piece, settings))["nll"].numpy()[0] for piece in test]
    assert [len(each) for each in nats] == [len(piece) for piece in test]
    assert (np.concatenate(nats) > 0).all()
    scored = json.loads((run / "metrics.json").read_text())["test"]["nll"]
    assert scored == pytest.approx(np.concatenate(nats).mean(), rel=1e-4)


def test_composed_pieces_are_laid_beside_the_corpus() -> None:
    run, _ = small_run()
    answer = command(EVALUATE, "--run", run, "--compose", 2, "--out", run.parent / "style.json")
    assert answer.code == 0, answer.err
    style = json.loads((run.parent / "style.json").read_text())["style"]
    assert set(style) == {"composed", "test", "train"}
    assert (run.parent / "style.png").stat().st_size > 1000
    assert all(0 <= style["composed"][f"{k}_distance"] <= 1 for k in ("interval", "note_length"))


def test_a_folder_of_ones_own_is_scored_whole() -> None:
    run, _ = small_run()
    answer = command(EVALUATE, "--run", run, "--data", small_data())
    assert answer.code == 0, answer.err
    assert "4 pieces" in answer.out


def compose(out: Path, *words: object, run: Path | None = None) -> np.ndarray:
    """The frames of the MIDI file that a command wrote."""
    from apps.music import scores

    run = run or small_run()[0]
    answer = command(PREDICT, "--run", run, "--out", out, *words)
    assert answer.code == 0, answer.err
    assert "nats a frame" in answer.out
    for suffix in (".mid", ".musicxml", ".wav", ".png"):
        assert out.with_suffix(suffix).stat().st_size > 100
    return scores.read(out, 4).frames


def test_a_seed_gives_the_same_piece_and_begins_as_it_was_told(tmp_path: Path) -> None:
    words = ["--start", "C4+E4 G4", "--bars", 3, "--tempo", 90]
    first = compose(tmp_path / "a.mid", *words)
    assert np.array_equal(first, compose(tmp_path / "b.mid", *words))
    assert not np.array_equal(first, compose(tmp_path / "c.mid", *words, "--seed", 1))
    assert len(first) <= 3 * 16
    assert np.flatnonzero(first[0]).tolist() == [60 - 21, 64 - 21]
    assert np.flatnonzero(first[4]).tolist() == [67 - 21]
    assert (first[1:4, [60 - 21, 64 - 21]] == HELD).all()


def test_a_primer_is_gone_on_from(tmp_path: Path) -> None:
    piece = tune(np.random.default_rng(3), notes=12)
    primer = write_midi(piece, tmp_path / "primer.mid")
    composed = compose(tmp_path / "a.mid", "--primer", primer, "--steps", len(piece) + 9)
    assert np.array_equal(composed[: len(piece) - 1], piece.frames[:-1])


def test_the_melody_that_is_given_stays_on_top(tmp_path: Path) -> None:
    piece = tune(np.random.default_rng(3), notes=12, key=60)
    given = write_midi(piece, tmp_path / "given.mid")
    composed = compose(tmp_path / "a.mid", "--given", given)
    top = KEYS - 1 - (piece.frames[:, ::-1] > 0).argmax(axis=1)
    found = KEYS - 1 - (composed[:, ::-1] > 0).argmax(axis=1)
    assert np.array_equal(found, top)
    assert not np.array_equal(composed > 0, piece.frames > 0)


def test_a_beam_composes_and_harmonises(tmp_path: Path) -> None:
    words = ["--start", "C4+E4 G4", "--bars", 3, "--beam", 2, "--key", "G major"]
    first = compose(tmp_path / "a.mid", *words)
    assert np.array_equal(first, compose(tmp_path / "b.mid", *words))
    assert np.flatnonzero(first[4]).tolist() == [67 - 21]
    piece = tune(np.random.default_rng(3), notes=12, key=60)
    given = write_midi(piece, tmp_path / "given.mid")
    composed = compose(tmp_path / "c.mid", "--given", given, "--beam", 2, "--no-ending")
    found = KEYS - 1 - (composed[:, ::-1] > 0).argmax(axis=1)
    assert np.array_equal(found, KEYS - 1 - (piece.frames[:, ::-1] > 0).argmax(axis=1))


# Voices and melodies


def test_four_parts_are_read_voice_by_voice_and_stay_four(tmp_path: Path) -> None:
    run, answer = part_run(4)
    assert "frames voice by voice" in answer.out
    settings = json.loads((run / "schema.json").read_text())
    assert (settings["head"], settings["voices"]) == ("voices", 4)
    before = json.loads((run / "metrics.json").read_text())
    scored = command(EVALUATE, "--run", run, "--compose", 1, "--out", tmp_path / "scores.json")
    assert scored.code == 0, scored.err
    again = json.loads((tmp_path / "scores.json").read_text())
    assert again["test"] == pytest.approx(before["test"], rel=1e-4)
    given = write_midi(lines(1, 7, 62), tmp_path / "given.mid")
    for words in (["--bars", 2], ["--given", given], ["--given", given, "--beam", 2]):
        composed = compose(tmp_path / "a.mid", *words, run=run)
        assert 1 <= (composed > 0).sum(axis=1).max() <= 4
    high = write_midi(lines(5, 1), tmp_path / "five.mid")
    refused = refusal(command(PREDICT, "--run", run, "--primer", high, "--out", tmp_path / "b.mid"))
    assert "5 keys at once: the run's network has 4 voices" in refused


def test_a_melody_is_sung_note_by_note(tmp_path: Path) -> None:
    run, answer = part_run(1)
    assert "notes by pitch and duration" in answer.out
    result = json.loads((run / "metrics.json").read_text())
    assert result["head"] == "events"
    assert result["export_difference"] < 1e-3
    assert {block.kind for block in sections(run)["A melody continued"]} == {"picture", "sound"}
    scored = command(EVALUATE, "--run", run, "--compose", 1, "--out", tmp_path / "scores.json")
    assert scored.code == 0, scored.err
    again = json.loads((tmp_path / "scores.json").read_text())
    assert again["test"] == pytest.approx(result["test"], rel=1e-4)
    words = ["--start", "C4 E4 G4", "--bars", 3, "--beam", 2]
    composed = compose(tmp_path / "a.mid", *words, run=run)
    assert (composed > 0).sum(axis=1).max() == 1
    assert np.flatnonzero(composed[4]).tolist() == [64 - 21]
    given = write_midi(lines(1, 7), tmp_path / "given.mid")
    refused = refusal(command(PREDICT, "--run", run, "--given", given))
    assert "--given: the run's network sings melodies" in refused
    refused = refusal(command(PREDICT, "--run", run, "--start", "C4+E4"))
    assert "--start: 2 keys at once: the run's network has 1 voice at most" in refused


def test_melodies_and_voices_are_not_made_of_what_they_are_not(tmp_path: Path) -> None:
    words = ["--data", small_data(), "--head", "events", "--run-dir", tmp_path / "run"]
    assert "--head events: 2 keys at once: expected melodies" in refusal(command(TRAIN, *words))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--start H4", "'H4': expected a note such as C4"),
        ("--start C9", "C9: outside the 88 keys"),
        ("--primer none.mid", "none.mid: no such file"),
        ("--metre 5", "--metre 5: expected a time signature"),
        ("--metre 3/64", "--metre 3/64"),
        ("--key H", "--key H: expected a key such as"),
        ("--beam 0", "--beam 0: expected a value above 0"),
        ("--top-p 0", "--top-p 0.0: expected a value above 0"),
        ("--bars 0", "--bars 0"),
        ("--bars 2 --steps 9", "--bars or --steps, found both"),
        ("--start C4 --primer a.mid", "--start or --primer, found both"),
        ("--out piece.txt", "ends in .mid"),
        ("--out none/piece.mid", "no such folder"),
    ],
)
def test_what_can_not_be_composed_is_one_line(
    words: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run, _ = small_run()
    assert expected in refusal(command(PREDICT, "--run", run, *words.split()))
    assert not list(tmp_path.iterdir())


def test_a_start_longer_than_the_piece_is_refused(tmp_path: Path) -> None:
    run, _ = small_run()
    words = ["--start", "C4 D4 E4 F4", "--bars", 1, "--out", tmp_path / "a.mid"]
    assert "16 frames to compose, 16 of them given" in refusal(
        command(PREDICT, "--run", run, *words)
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--data none.mat", "none.mat: no such file or folder"),
        ("--head both", "--head"),
        ("--dropout 1", "--dropout 1"),
        ("--told 2", "--told 2.0: expected a value from 0 to 1"),
        ("--transpose 13", "--transpose 13: expected a value from 0 to 12"),
        ("--resolution 4", "--resolution goes with --data"),
    ],
)
def test_a_bad_value_is_one_line_and_makes_no_folder(
    words: str, expected: str, tmp_path: Path
) -> None:
    answer = command(TRAIN, "--run-dir", tmp_path / "run", *words.split())
    assert expected in refusal(answer)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["train", "predict", "evaluate"])
def test_help_imports_no_tensorflow(name: str) -> None:
    answer = child("-X", "importtime", "-m", f"apps.music.{name}", "--help")
    assert answer.code == 0
    imported = {line.rpartition("|")[2].strip() for line in answer.err.splitlines()}
    assert not {"tensorflow", "keras", "music21", "pretty_midi"} & imported


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["--head", "independent", "--members", 2],
        ["--cell", "lstm", "--layers", 2, "--gradient-flow"],
        ["--precision", "mixed_bfloat16"],
        ["--jit"],
        ["--strategy", "mirrored"],
    ],
    ids=lambda words: " ".join(map(str, words)),
)
def test_every_way_of_training_ends_with_scores_and_an_export(words: list, tmp_path: Path) -> None:
    train(write_rolls(tmp_path / "rolls.npz"), tmp_path / "run", *words)
    result = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert 0 < result["test"]["nll"] < 100
    assert result["export_difference"] < 1e-2


@pytest.mark.slow
def test_a_seed_gives_the_same_scores(tmp_path: Path) -> None:
    data = write_rolls(tmp_path / "rolls.npz")
    scores = []
    for name in ("a", "b"):
        train(data, tmp_path / name, *SMALL)
        scores.append(json.loads((tmp_path / name / "metrics.json").read_text())["test"])
    assert scores[0] == scores[1]
