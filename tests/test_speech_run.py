"""Small real trainings on synthesised digits, and what predict and evaluate make of runs."""

import csv
import json
import math
import shutil
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import soundfile

from apps.speech import data, gallery, schema
from apps.speech.config import SpeechConfig
from apps.speech.grammar import DIGITS
from apps.speech.utterances import RATE
from common.runs import Run
from tests.commands import command, refusal
from tests.pages import alike, assert_shown, sections
from tests.speech_runs import (
    EVALUATE,
    PREDICT,
    TRAIN,
    causal_run,
    digits,
    predict,
    random_run,
    recording,
    small_run,
    sound,
    train,
)

# train


@pytest.mark.parametrize("causal", [False, True])
def test_the_folder_of_a_run_has_all_that_was_promised(causal: bool) -> None:
    run, answer = causal_run() if causal else small_run()
    result = json.loads((run / "metrics.json").read_text())
    assert (result["app"], result["dataset"], result["causal"]) == ("speech", "digits-few", causal)
    assert result["decoder"] == ("ctc" if causal else "joint")
    for scores in (result["test"], *result["searches"].values(), *result["baselines"].values()):
        assert set(scores) == set(result["test"])
        assert all(math.isfinite(value) for value in scores.values())
    assert set(result["searches"]) == {"with the lexicon"}
    assert result["export_difference"] < 1e-3
    assert sum(row["utterances"] for row in result["by_speaker"].values()) == 60
    assert len(result["worst"]) == 10
    with (run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    learnt = "ctc" if causal else "loss"  # of what answers
    assert float(rows[0][learnt]) > float(rows[0]["val_loss"]) > 0
    plots = {path.stem for path in (run / "plots").iterdir()}
    assert plots == {"errors", "heard", "learning_curves"}
    assert list((run / "tensorboard").rglob("events*"))
    assert (run / "language.arpa").is_file()
    assert schema.read(Run(run)).words == DIGITS.words()
    for line in ("apps.speech.predict", "apps.speech.evaluate", "saved_model_cli", "the worst"):
        assert line in answer.out
    assert ("--live" in answer.out) == causal
    assert ("--live" in assert_shown(run).text) == causal


def test_the_worst_utterances_can_be_heard_in_the_report() -> None:
    run, _ = small_run()
    worst = json.loads((run / "metrics.json").read_text())["worst"]
    test = {u.name: u for u in data.load(SpeechConfig(dataset="digits-few")).test}
    shown = sections(run)
    assert [Path(block.source).stem for block in shown["What was heard"]] == ["heard", "errors"]
    sounds = [block for block in shown["Examples"] if "wrongly" in block.text]
    assert len(sounds) == gallery.PLAYED
    for block, row in zip(sounds, worst, strict=False):
        assert f"said {row['said']!r}, written {row['written']!r}" in block.text
        assert alike(block, test[row["name"]].waveform, RATE) > 0.9


def test_examples_are_the_worst_and_the_longest_that_are_right() -> None:
    corpus = digits()
    texts = [u.text if n % 2 else "zero " * (n + 12) for n, u in enumerate(corpus.test)]
    wrong, right = (gallery.examples(corpus, texts)[part] for part in (slice(3), slice(3, None)))
    longest = sorted((len(u.text.split()) for u in corpus.test[1::2]), reverse=True)[:3]
    assert len(wrong) == len(right) == 3
    for block, length in zip(right, longest, strict=True):
        said = next(u for u in corpus.test[1::2] if np.array_equal(u.waveform, block.samples))
        assert len(said.text.split()) == length
        assert f"written {said.text!r}" in block.caption
    places = [
        next(n for n, u in enumerate(corpus.test) if np.array_equal(u.waveform, block.samples))
        for block in wrong
    ]
    assert places == [38, 36, 34]
    none = gallery.examples(corpus, [u.text for u in corpus.test])
    assert "No test utterance" in none[0].text


def test_what_can_not_be_trained_on_is_refused(tmp_path: Path) -> None:
    words = ["--run-dir", tmp_path / "run"]
    assert "no such file or folder" in refusal(command(TRAIN, *words, "--data", tmp_path / "no"))
    assert "for testing only" in refusal(command(TRAIN, *words, "--dataset", "real-digits"))
    assert "with --causal" in refusal(command(TRAIN, *words, "--causal", "--decoder", "joint"))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["--precision", "mixed_bfloat16", "--cell", "lstm", "--gradient-flow"],
        ["--precision", "mixed_float16", "--causal", "--lookahead", 0],
        ["--jit", "--cell", "mingru", "--decoder", "ctc"],
        ["--strategy", "mirrored", "--decoder", "attention"],
        ["--cell", "irnn", "--truncate", 5, "--pieces", 24],
        ["--pyramid", 1, "--layers", 2, "--dataset", "commands-few"],
        ["--init-from", "RUN", "--epochs", 2],
    ],
    ids=lambda words: " ".join(map(str, words)),
)
def test_every_way_of_training_ends_with_scores_and_an_export(words: list, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(run, *(small_run()[0] if word == "RUN" else word for word in words))
    result = json.loads((run / "metrics.json").read_text())
    assert math.isfinite(result["test"]["wer"])
    assert result["export_difference"] < 0.02
    answer = command(PREDICT, "--run", run, recording(tmp_path))
    assert answer.code == 0, answer.err


@pytest.mark.slow
def test_one_seed_gives_one_result(tmp_path: Path) -> None:
    before = json.loads((small_run()[0] / "metrics.json").read_text())
    train(tmp_path / "again")
    again = json.loads((tmp_path / "again" / "metrics.json").read_text())
    assert again["test"] == before["test"]


# predict


def test_each_file_has_a_line(tmp_path: Path) -> None:
    run = random_run()
    files = [recording(tmp_path, f"{n}.wav", n, 0.6 + n / 4) for n in (4, 1, 2)]
    lines = predict(run, *files).out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(path) for path in files]
    assert predict(run, files[1]).out == lines[1].split(": ", 1)[1] + "\n"
    assert len({line.split(": ")[1] for line in lines}) == 3


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_a_file_of_any_rate_and_kind_is_read(rate: int, tmp_path: Path) -> None:
    path = tmp_path / "stereo.flac"
    soundfile.write(path, np.stack([sound(3), sound(4)], axis=1), rate)
    said = json.loads(predict(random_run(), path, "--json").out)
    assert said["text"]
    assert said["words"][-1]["end"] <= 1.5 * 16_000 / rate + 0.03


@pytest.mark.parametrize(
    ("decoder", "search"),
    [
        (None, []),
        (None, ["--beam", 4]),
        (None, ["--lexicon", "words"]),
        ("ctc", ["--lexicon", "grammar"]),
        ("attention", []),
    ],
)
def test_json_has_words_with_times_and_confidences(
    decoder: str | None, search: list[object], tmp_path: Path
) -> None:
    path = recording(tmp_path)
    said = json.loads(predict(random_run(decoder=decoder), path, "--json", *search).out)
    assert [word["word"] for word in said["words"]] == said["text"].split()
    assert said["file"] == str(path)
    assert 0 <= said["confidence"] <= 1
    for word in said["words"]:
        assert 0 <= word["begin"] < word["end"] <= 1.53
        assert 0 <= word["confidence"] <= 1
    if search[:1] == ["--lexicon"]:
        assert set(said["text"].split()) <= set(DIGITS.words())
    assert said["text"]


def test_subtitles_and_a_picture_are_written(tmp_path: Path) -> None:
    path, png = recording(tmp_path), tmp_path / "heard.png"
    predict(random_run(), path, "--srt", "--png", png)
    blocks = (tmp_path / "a.srt").read_text().strip().split("\n\n")
    assert blocks[0].startswith("1\n00:00:0")
    assert matplotlib.image.imread(png).shape[1] > 500


def test_an_empty_file_has_an_empty_text(tmp_path: Path) -> None:
    path = tmp_path / "nothing.wav"
    soundfile.write(path, np.zeros(0, np.int16), 16_000)
    for search in ([], ["--beam", 3], ["--lexicon", "grammar"]):
        said = json.loads(predict(random_run(), path, "--json", *search).out)
        assert (said["text"], said["words"]) == ("", [])


def test_language_models_and_lexicons_of_ones_own_lead_the_search(tmp_path: Path) -> None:
    run, path = random_run(decoder="ctc"), recording(tmp_path)
    words = tmp_path / "words.txt"
    words.write_text("six\nnine\n")
    bound = ["--lexicon", words, "--word-bonus", 20, "--beam", 64]
    for liked, other in (("six", "nine"), ("nine", "six")):
        arpa = tmp_path / f"{liked}.arpa"
        grams = f"-1 </s>\n-0.1 {liked}\n-30 {other}\n-30 <unk>"
        arpa.write_text(f"\\data\\\nngram 1=4\n\n\\1-grams:\n{grams}\n\n\\end\\\n")
        led = predict(run, path, *bound, "--language", arpa, "--language-weight", 2).out.split()
        assert set(led) == {liked}


def test_what_can_not_be_written_down_is_refused(tmp_path: Path) -> None:
    run, path = random_run(), recording(tmp_path)
    words = ["--run", run]
    assert "found neither" in refusal(command(PREDICT, *words))
    assert "found both" in refusal(command(PREDICT, *words, path, "--live"))
    assert "is bidirectional" in refusal(command(PREDICT, *words, "--live"))
    assert "no such file" in refusal(command(PREDICT, *words, tmp_path / "no.wav"))
    text = tmp_path / "text.wav"
    text.write_text("hello")
    assert "can't be read as WAV, FLAC or OGG" in refusal(command(PREDICT, *words, text))
    assert "--lexicon no.txt" in refusal(command(PREDICT, *words, path, "--lexicon", "no.txt"))
    assert "ends with .png" in refusal(command(PREDICT, *words, path, "--png", tmp_path / "x.jpg"))
    other = recording(tmp_path, "a.flac")
    assert "written twice" in refusal(command(PREDICT, *words, path, other, "--srt"))
    live = ["--run", random_run(causal=True), "--live"]
    assert "drop --json" in refusal(command(PREDICT, *live, "--json"))
    assert "half a sample" in refusal(command(PREDICT, *live, stdin=b"abc"))
    assert "found a sound file" in refusal(command(PREDICT, *live, stdin=path.read_bytes()))


# evaluate


@pytest.mark.parametrize("causal", [False, True])
def test_the_runs_own_test_part_gives_the_scores_of_training(causal: bool, tmp_path: Path) -> None:
    run, _ = causal_run() if causal else small_run()
    before = json.loads((run / "metrics.json").read_text())
    out, png = tmp_path / "scores.json", tmp_path / "errors.png"
    answer = command(EVALUATE, "--run", run, "--out", out, "--png", png)
    assert answer.code == 0, answer.err
    found = json.loads(out.read_text())
    assert {k: found["test"][k] for k in before["test"]} == pytest.approx(before["test"])
    assert found["utterances"] == 60
    assert png.is_file()
    answer = command(EVALUATE, "--run", run, "--out", out, "--lexicon", "words")
    assert answer.code == 0, answer.err
    again = json.loads(out.read_text())["test"]
    expected = before["searches"]["with the lexicon"]
    assert {k: again[k] for k in expected} == pytest.approx(expected)


def test_a_run_on_recordings_of_ones_own_is_scored_on_those_it_set_aside(tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(random_run(), run)
    table = tmp_path / "mine.csv"
    parts = ["train", "train", "validation", "test", "test"]
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "text", "split"])
        for n, part in enumerate(parts):
            rows.writerow([recording(tmp_path, f"{n}.wav", n).name, "one two", part])
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"data": str(table)}))
    out = tmp_path / "scores.json"
    for words, count in (([], 2), (["--data", table], 5)):
        answer = command(EVALUATE, "--run", run, "--out", out, *words)
        assert answer.code == 0, answer.err
        assert json.loads(out.read_text())["utterances"] == count


def test_recordings_of_ones_own_are_scored(tmp_path: Path) -> None:
    run = random_run()
    for n in range(3):
        recording(tmp_path, f"{n}.wav", n)
    texts = [predict(run, tmp_path / f"{n}.wav").out.strip() for n in range(3)]
    said = [" ".join([*texts[0].split(), "oh"]), texts[1], texts[2]]
    table = tmp_path / "mine.csv"
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "text", "who"])
        rows.writerows([f"{n}.wav", text, "me"] for n, text in enumerate(said))
    out = tmp_path / "scores.json"
    words = ["--data", table, "--path-column", "file", "--speaker-column", "who", "--out", out]
    answer = command(EVALUATE, "--run", run, *words)
    assert answer.code == 0, answer.err
    found = json.loads(out.read_text())
    assert found["test"]["wer"] == pytest.approx(1 / sum(len(text.split()) for text in said))
    assert found["test"]["deletions"] == found["test"]["wer"]
    assert found["worst"][0]["said"] == said[0]
    assert list(found["by_speaker"]) == ["me"]
    with table.open("a", newline="") as file:
        csv.writer(file).writerow(["0.wav", "quite", "me"])
    answer = command(EVALUATE, "--run", run, *words)
    assert "left out:" in answer.out
    assert "'q'" in refusal(command(EVALUATE, "--run", run, *words, "--strict"))
