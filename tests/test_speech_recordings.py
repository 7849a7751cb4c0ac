"""Recordings of one's own: manifests, LJSpeech folders, and what is wrong with them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.testing import assert_allclose, assert_array_equal

from apps.speech import data
from apps.speech.alphabet import of_characters
from apps.speech.config import DataConfig
from apps.speech.intake import Intake, parted, reasons
from apps.speech.manifest import read_sound
from apps.speech.utterances import Utterance
from common.errors import UserError
from tests.speech_sounds import manifest, recordings, tones, word

SPLITS = ("train", "validation", "test")


def load(path: Path, **settings: Any) -> Any:
    return data.load(DataConfig(data=path, **settings))


def texts(utterances: Sequence[Utterance]) -> set[str]:
    return {utterance.text for utterance in utterances}


# What is read


def test_a_manifest_is_read_with_files_beside_it(tmp_path: Path) -> None:
    rows = recordings(tmp_path, 12, "Say {}!")
    corpus = load(manifest(tmp_path, rows))
    every = corpus.train + corpus.validation + corpus.test
    assert [len(getattr(corpus, split)) for split in SPLITS] == [10, 1, 1]
    assert texts(every) == {f"say {word(number)}" for number in range(12)}
    assert corpus.name == str(tmp_path / "manifest.csv")
    assert corpus.words == ()
    assert corpus.grammar is None
    for utterance in every:
        number = next(n for n in range(12) if utterance.text.endswith(word(n)))
        wanted = tones(1 + number / 10, frequency=200 + 50 * number)
        assert_allclose(utterance.samples / 32768, wanted, atol=2 / 32768)
        assert (
            utterance.name == f"{tmp_path}/manifest.csv: row {number + 1}: {tmp_path}/{number}.wav"
        )


@pytest.mark.parametrize(
    ("name", "rate", "kind"),
    [
        ("a.wav", 8000, "PCM_16"),
        ("a.wav", 44_100, "FLOAT"),
        ("a.wav", 16_000, "ULAW"),
        ("a.flac", 48_000, "PCM_24"),
        ("a.ogg", 22_050, "VORBIS"),
    ],
)
def test_any_kind_and_rate_of_sound_is_brought_to_16_khz(
    tmp_path: Path, name: str, rate: int, kind: str
) -> None:
    sound = tones(1.3, rate)
    stereo = np.stack([1.2 * sound, 0.8 * sound], axis=1)  # their mean is the tone
    soundfile.write(tmp_path / name, stereo, rate, subtype=kind)
    samples = read_sound(tmp_path / name)
    assert samples.dtype == np.int16
    assert len(samples) == pytest.approx(1.3 * 16_000, abs=1)
    inner = slice(800, 20_000)
    assert_allclose(samples[inner] / 32768, tones(1.3)[inner], atol=0.02)


def test_louder_than_full_scale_is_clipped(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", 4 * tones(1), 16_000, subtype="FLOAT")
    samples = read_sound(tmp_path / "a.wav")
    assert (samples.min(), samples.max()) == (-32768, 32767)


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    rows = [
        {"file": row["path"], "said": row["text"], "who": str(number % 4), "part": part}
        for number, (row, part) in enumerate(
            zip(recordings(tmp_path, 12), ["train", "dev", "test", "Train"] * 3, strict=True)
        )
    ]
    corpus = load(
        manifest(tmp_path, rows),
        path_column="file",
        text_column="said",
        speaker_column="who",
        split_column="part",
    )
    assert [len(getattr(corpus, split)) for split in SPLITS] == [6, 3, 3]
    assert {u.speaker for u in corpus.train} == {"0", "3"}
    assert {u.speaker for u in corpus.validation} == {"1"}


def test_named_speakers_are_kept_apart(tmp_path: Path) -> None:
    rows = recordings(tmp_path, 15)
    rows = [{**row, "speaker": "vwxyz"[number % 5]} for number, row in enumerate(rows)]
    corpus = load(manifest(tmp_path, rows))
    found = [{u.speaker for u in getattr(corpus, split)} for split in SPLITS]
    assert [len(one) for one in found] == [3, 1, 1]
    assert set.union(*found) == set("vwxyz")
    assert [len(getattr(corpus, split)) for split in SPLITS] == [9, 3, 3]


def test_a_split_that_is_not_named_is_set_aside_from_training(tmp_path: Path) -> None:
    rows = recordings(tmp_path, 15)
    rows = [{**row, "split": "test" if n in (3, 9) else "train"} for n, row in enumerate(rows)]
    corpus = load(manifest(tmp_path, rows))
    assert texts(corpus.test) == {f"say {word(3)}", f"say {word(9)}"}
    assert (len(corpus.train), len(corpus.validation)) == (12, 1)
    rows = [{**row, "split": row["split"].replace("test", "dev")} for row in rows]
    corpus = load(manifest(tmp_path, rows))
    assert texts(corpus.validation) == {f"say {word(3)}", f"say {word(9)}"}
    assert (len(corpus.train), len(corpus.test)) == (12, 1)


def test_splits_do_not_change_with_what_else_is_asked(tmp_path: Path) -> None:
    path = manifest(tmp_path, recordings(tmp_path, 12))
    assert texts(load(path).test) == texts(load(path, pieces=0, longest=9).test)


def test_an_ljspeech_folder_is_read_with_its_normalised_text(tmp_path: Path) -> None:
    (tmp_path / "wavs").mkdir()
    lines = []
    for row in recordings(tmp_path / "wavs", 10):
        name = row["path"].removesuffix(".wav")
        lines.append(f"{name}|Say {name}|{row['text']}")
    lines[4] = "4|B; say: a"
    (tmp_path / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    corpus = load(tmp_path)
    every = corpus.train + corpus.validation + corpus.test
    wanted = {f"say {word(number)}" for number in range(10) if number != 4}
    assert texts(every) == wanted | {"b say a"}


def test_what_the_generator_writes_can_be_read(tmp_path: Path) -> None:
    from apps.speech.synthesise import SynthesiseConfig, run

    path = run(SynthesiseConfig(tmp_path / "made", train=5, validation=2, test=3))
    corpus = load(path)
    assert [len(getattr(corpus, split)) for split in SPLITS] == [5, 2, 3]


# What can't be used is named, counted, and skipped


def spoilt(folder: Path) -> list[dict[str, str]]:
    """Twelve good rows in splits, and after them one for every fault."""
    rows = recordings(folder, 12, "say {}")
    (folder / "text.wav").write_text("no sound at all")
    soundfile.write(folder / "empty.wav", np.zeros(0), 16_000)
    soundfile.write(folder / "zeros.wav", np.zeros(16_000), 16_000)
    soundfile.write(folder / "faint.wav", tones(1) * 0.0005, 16_000)
    soundfile.write(folder / "long.wav", tones(21), 16_000)
    soundfile.write(folder / "short.wav", tones(0.2), 16_000)
    soundfile.write(folder / "nan.wav", np.full(9000, np.nan), 16_000, subtype="FLOAT")
    bad = ["missing", "text", "empty", "zeros", "faint", "long", "short", "nan"]
    rows += [{"path": f"{name}.wav", "text": "say aaa"} for name in bad]
    rows.append({"path": "0.wav", "text": "..."})
    rows = [{**row, "split": "train"} for row in rows]
    for number, split in ((1, "test"), (2, "validation")):
        rows[number]["split"] = split
    return [*rows, {"path": "5.wav", "text": "sáy a", "split": "test"}]


FAULTS = {
    13: r"missing\.wav: no such file",
    14: r"text\.wav: can't be read as WAV, FLAC or OGG: [A-Z]",
    15: "silent: nothing but zeros, expected a peak above -60 dB",
    16: "silent: nothing but zeros, expected a peak above -60 dB",
    17: "silent: -71 dB, expected a peak above -60 dB",
    18: "too long: 21.0 s, --longest allows 20",
    19: "shorter than its transcript can be: 0.20 s for 7 symbols, --pace expects 0.27 or more",
    20: r"nan\.wav: can't be read: samples that are no numbers",
    21: "no transcript",
    22: r"'á' \(latin small letter a with acute\) in its transcript is outside the alphabet ' ab",
}


def test_bad_recordings_are_left_out_and_named(tmp_path: Path) -> None:
    corpus = load(manifest(tmp_path, spoilt(tmp_path)))
    assert [len(getattr(corpus, split)) for split in SPLITS] == [10, 1, 1]
    found = {int(line.split(": row ")[1].split(":")[0]): line for line in corpus.skipped}
    assert len(corpus.skipped) == len(found) == len(FAULTS)
    for row, message in FAULTS.items():
        with pytest.raises(UserError, match=message):
            raise UserError(found[row])
        assert len(found[row].splitlines()) == 1
    counted = "3 silent, 2 unreadable, 1 missing, 1 without a transcript, 1 too long, 1 too short"
    assert set(reasons(corpus.skipped).split(", ")) == {
        *counted.split(", "),
        "1 outside the alphabet",
    }


@pytest.mark.parametrize("row", FAULTS)
def test_strict_refuses_the_first_of_them(tmp_path: Path, row: int) -> None:
    rows = spoilt(tmp_path)
    path = manifest(tmp_path, [*rows[:12], rows[row - 1]])
    with pytest.raises(UserError, match=FAULTS[row]) as error:
        load(path, strict=True)
    assert str(error.value).startswith(f"{path}: row 13: ")
    assert str(error.value).endswith("(--strict)")
    assert len(load(path).skipped) == 1


def test_limits_can_be_moved(tmp_path: Path) -> None:
    rows = spoilt(tmp_path)
    path = manifest(tmp_path, rows)
    corpus = load(path, longest=30, pace=0.01, alphabet=" sayáb", text="as-is")
    left = {int(line.split(": row ")[1].split(":")[0]) for line in corpus.skipped}
    assert left == {13, 14, 15, 16, 17, 20, 21}  # and '...' is not in that alphabet


def test_an_alphabet_that_is_given_decides_in_training_too(tmp_path: Path) -> None:
    rows = recordings(tmp_path, 12)
    path = manifest(tmp_path, [{**row, "split": SPLITS[n % 3]} for n, row in enumerate(rows)])
    rows[3]["text"], rows[7]["text"] = "say c", "say d"
    other = manifest(
        tmp_path, [{**row, "split": SPLITS[n % 3]} for n, row in enumerate(rows)], "other.csv"
    )
    corpus = load(other, alphabet="bay sq")
    assert "".join(corpus.alphabet.symbols) == " abqsy"
    assert len(corpus.skipped) == 2
    assert (len(corpus.train), len(corpus.validation)) == (3, 3)
    assert len(load(path, alphabet="bay sq").train) == 4
    pieces = load(other, alphabet="bay sq", pieces=8).alphabet
    assert len(pieces) == 8
    assert pieces.outside("c") == "c"


def test_words_are_those_of_the_training_text(tmp_path: Path) -> None:
    rows = recordings(tmp_path, 12)
    rows = [{**row, "split": SPLITS[n % 3], "text": "go left"} for n, row in enumerate(rows)]
    rows[3]["text"], rows[4]["text"], rows[5]["text"] = "go on", "on", "go right"
    corpus = load(manifest(tmp_path, rows), symbols="words")
    assert corpus.alphabet.symbols == (" go", " left", " on")
    assert texts(corpus.validation) == {"go left", "on"}
    (skipped,) = corpus.skipped  # nobody can learn a word that is never heard
    assert "'right' in its transcript is outside the alphabet of 3 words" in skipped


def test_a_split_without_anything_to_use_is_an_error(tmp_path: Path) -> None:
    rows = [{**row, "split": "train"} for row in recordings(tmp_path, 4)]
    rows[2]["split"] = "validation"
    rows.append({"path": "none.wav", "text": "say a", "split": "test"})
    with pytest.raises(UserError, match=r"the test split; left out: 1 missing; the first: .*none"):
        load(manifest(tmp_path, rows))
    rows = [{**row, "split": "test"} for row in rows[:4]]
    with pytest.raises(UserError, match="to use in the train split; there are none"):
        load(manifest(tmp_path, [*rows, {**rows[0], "split": "dev"}], "b.csv"), alphabet="say b")


# What is wrong with a manifest is an error


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"file": "a.wav", "text": "a"}], "no column 'path' among 'file', 'text'; name another"),
        ([{"path": "a.wav", "said": "a"}], "no column 'text' among .* with --text-column"),
        ([{"path": "", "text": "a"}], "row 1: path is empty"),
        (
            [{"path": "a.wav", "text": "a", "split": "train"}] * 2
            + [{"path": "a.wav", "text": "a", "split": "later"}],
            "row 3: split is 'later', expected train, validation or test",
        ),
        (
            [
                {"path": "a.wav", "text": "a", "speaker": "x", "split": "train"},
                {"path": "b.wav", "text": "b", "speaker": "x", "split": "test"},
            ],
            "row 2: speaker 'x' is in the test and the train split, expected one",
        ),
    ],
)
def test_a_manifest_that_is_wrong(tmp_path: Path, rows: list[dict[str, str]], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        load(manifest(tmp_path, rows))
    assert str(error.value).startswith(str(tmp_path / "manifest.csv"))
    assert len(str(error.value).splitlines()) == 1


def test_a_folder_that_is_not_ljspeech(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no metadata\.csv in it, expected a folder in LJSpeech's"):
        load(tmp_path)
    (tmp_path / "metadata.csv").write_text("a|b\nc\n")
    with pytest.raises(UserError, match=r"metadata\.csv: line 2: 1 cells, expected id\|transcript"):
        load(tmp_path)
    (tmp_path / "metadata.csv").write_text("\n")
    with pytest.raises(UserError, match=r"metadata\.csv: the file is empty"):
        load(tmp_path)
    (tmp_path / "metadata.csv").write_bytes(b"a|\xff\n")
    with pytest.raises(UserError, match=r"metadata\.csv: line 1: expected UTF-8 text"):
        load(tmp_path)


def test_too_few_recordings_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="2 recordings: expected three or more"):
        load(manifest(tmp_path, recordings(tmp_path, 2)))


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.csv: no such file"):
        load(tmp_path / "nowhere.csv")


# Scoring, and splits


def test_all_of_a_manifest_is_scored_whatever_its_splits(tmp_path: Path) -> None:
    rows = [{**row, "split": SPLITS[n % 3]} for n, row in enumerate(recordings(tmp_path, 9))]
    path = manifest(tmp_path, rows)
    rows[4]["text"] = "say c"
    kept, skipped = data.to_score(DataConfig(data=path), of_characters([" sayb"]))
    assert len(kept) == 9
    assert skipped == []
    again = manifest(tmp_path, rows)
    kept, skipped = data.to_score(DataConfig(data=again), of_characters([" sayb"]))
    assert len(kept) == 8
    assert len(skipped) == 1


@pytest.mark.parametrize("speakers", [3, 4, 10, 57])
def test_parts_are_whole_speakers_and_cover_all(speakers: int) -> None:
    random = np.random.default_rng(speakers)
    people = [*range(speakers), *random.integers(speakers, size=150)]
    utterances = [
        Utterance(str(n), np.ones(9, np.int16), "a", f"s{who}") for n, who in enumerate(people)
    ]
    parts = parted(utterances)
    assert sorted(int(u.name) for part in parts.values() for u in part) == list(range(len(people)))
    found = [{u.speaker for u in parts[split]} for split in SPLITS]
    assert len(found[0]) + len(found[1]) + len(found[2]) == speakers
    assert len(found[1]) == len(found[2]) == max(1, round(speakers / 10))
    again = parted(utterances)
    assert all([u.name for u in parts[s]] == [u.name for u in again[s]] for s in SPLITS)


def test_two_speakers_are_too_few_to_keep_apart() -> None:
    utterances = [Utterance(str(n), np.ones(9, np.int16), "a", f"s{n % 2}") for n in range(50)]
    assert [len(parted(utterances)[split]) for split in SPLITS] == [40, 5, 5]


def test_an_intake_that_is_strict_refuses() -> None:
    lenient, strict = Intake(False), Intake(True)
    lenient.leave_out("a.wav: row 3", "it is bad")
    assert lenient.skipped == ["a.wav: row 3: it is bad"]
    with pytest.raises(UserError, match=r"^a\.wav: row 3: it is bad \(--strict\)$"):
        strict.leave_out("a.wav: row 3", "it is bad")


def test_a_waveform_is_the_samples_in_full_scale() -> None:
    samples = np.array([-32768, 0, 16384, 32767], np.int16)
    found = Utterance("a", samples, "a").waveform
    assert found.dtype == np.float32
    assert_array_equal(found, np.array([-1, 0, 0.5, 32767 / 32768], np.float32))
