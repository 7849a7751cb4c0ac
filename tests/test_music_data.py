"""Pieces on a grid: notes and frames, files of every kind, and parts without leakage."""

import json
from pathlib import Path

import numpy as np
import pytest

from apps.music import benchmark, corpora, data, pieces, scores
from apps.music.pieces import HELD, KEYS, STRUCK, Note, Piece, frames_of, notes_of
from apps.music.rolls import RollBatches
from common.errors import UserError
from tests.music_pieces import roll, tune, write_midi, write_rolls

# Notes and frames


def test_repeated_notes_are_told_from_held_ones() -> None:
    notes = [Note(0, 4, 50), Note(4, 6, 50), Note(1, 6, 40)]
    frames = frames_of(notes, 6)
    assert frames[:, 50].tolist() == [STRUCK, HELD, HELD, HELD, STRUCK, HELD]
    assert notes_of(frames) == sorted(notes, key=lambda n: (n.begin, -n.key))
    assert notes_of(frames, articulated=False) == [Note(0, 6, 50), Note(1, 6, 40)]


def test_notes_come_back_from_frames_of_a_whole_piece() -> None:
    piece = tune(np.random.default_rng(3))
    assert np.array_equal(frames_of(notes_of(piece.frames), len(piece)), piece.frames)


def test_the_clock_counts_from_the_upbeat() -> None:
    piece = Piece("", np.zeros((7, KEYS), np.uint8), bar=6, offset=4)
    assert pieces.clock(piece).tolist() == [[p, 6, 0] for p in (5, 6, 1, 2, 3, 4, 5)]
    assert pieces.clock(piece, ending=True)[:, 2].tolist() == [7, 6, 5, 4, 3, 2, 1]
    longer = Piece("", np.zeros((70, KEYS), np.uint8))
    assert pieces.clock(longer, ending=True)[:8, 2].tolist() == [64] * 7 + [63]
    assert not pieces.clock(Piece("", piece.frames)).any()


# Parts


def test_transpositions_and_other_settings_stay_on_one_side() -> None:
    random = np.random.default_rng(5)
    originals = [tune(random) for _ in range(20)]
    moved = [
        Piece(f"moved {n}", pieces.transposed(p.frames, 3), p.bar, p.offset)
        for n, p in enumerate(originals)
    ]
    bare = [
        Piece(f"bare {n}", np.where(np.arange(KEYS) > 25, p.frames, 0))
        for n, p in enumerate(originals)
    ]
    parts = pieces.split([*originals, *moved, *bare], (0.6, 0.2, 0.2), seed=1)
    assert sum(map(len, parts)) == 60
    assert min(map(len, parts)) >= 9
    tunes = [{pieces.melody(p)[: pieces.OPENING] for p in part} for part in parts]
    assert len(set.union(*tunes)) == sum(map(len, tunes))


def test_every_part_gets_a_tune_even_of_three() -> None:
    random = np.random.default_rng(5)
    assert [len(p) for p in pieces.split([tune(random) for _ in range(3)], (0.8, 0.1, 0.1), 0)] == [
        1,
        1,
        1,
    ]
    with pytest.raises(UserError, match="2 different tunes: expected at least 3"):
        pieces.split([tune(random) for _ in range(2)], (0.8, 0.1, 0.1), 0)


# Benchmark files


def as_json(random: np.random.Generator) -> dict:
    """One piece a part, in MIDI numbers."""
    frames = roll(random, 9)
    chords = [[int(key) + 21 for key in np.flatnonzero(row)] for row in frames]
    return {"train": [chords], "valid": [chords[:4]], "test": [chords[4:]]}


def test_the_three_formats_say_the_same(tmp_path: Path) -> None:
    from scipy.io import savemat

    held = as_json(np.random.default_rng(0))
    matrices = {}
    for part, (chords,) in held.items():
        matrices[part] = np.zeros((len(chords), KEYS), np.uint8)
        for row, chord in zip(matrices[part], chords, strict=True):
            row[np.array(chord, int) - 21] = 1
    (tmp_path / "a.json").write_text(json.dumps(held))
    np.savez(tmp_path / "a.npz", **{f"{part}_0": m for part, m in matrices.items()})
    cells = {}
    for part, matrix in matrices.items():
        cells[part + "data"] = np.empty((1, 1), object)
        cells[part + "data"][0, 0] = matrix
    savemat(tmp_path / "a.mat", cells)
    for suffix in benchmark.SUFFIXES:
        found = benchmark.read(tmp_path / f"a{suffix}")
        for part, name in zip(pieces.PARTS, ("train", "valid", "test"), strict=True):
            assert np.array_equal(found[part][0].frames, matrices[name]), (suffix, part)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"train": []}, "no train pieces"),
        ({"train": [[[60], [130]]]}, "train piece 1, frame 2: note 130: .*21 to 108"),
        ({"valid": [[["C4"]]]}, "validation piece 1, frame 1: expected MIDI numbers"),
        ({"test": [[[60]], 7]}, "test piece 2: expected frames, found int"),
        ({"test": [[]]}, "test piece 1: no frames"),
        ({"train": {"a": 1}}, "expected lists of pieces"),
    ],
)
def test_bad_json_is_named(change: dict, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "rolls.json"
    path.write_text(json.dumps({**as_json(np.random.default_rng(0)), **change}))
    with pytest.raises(UserError, match=expected):
        benchmark.read(path)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.zeros((3, 87)), r"expected a \[time, 88\] matrix, found 3x87"),
        (np.full((3, 88), 2), "matrix of 0 and 1"),
        (np.array([[None]], object), "pickled objects"),
    ],
)
def test_bad_arrays_are_named(array: np.ndarray, expected: str, tmp_path: Path) -> None:
    good = np.zeros((2, 88))
    np.savez(tmp_path / "a.npz", train_0=array, valid_0=good, test_0=good)
    with pytest.raises(UserError, match=expected):
        benchmark.read(tmp_path / "a.npz")


@pytest.mark.parametrize("suffix", benchmark.SUFFIXES)
def test_a_broken_file_is_one_line(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"a{suffix}").write_bytes(b"no such thing")
    with pytest.raises(UserError, match="can't be read"):
        benchmark.read(tmp_path / f"a{suffix}")


# MIDI and MusicXML


@pytest.mark.parametrize("tempo", [61.0, 120.0, 97.3])
def test_midi_comes_back_whatever_its_tempo(tempo: float, tmp_path: Path) -> None:
    piece = tune(np.random.default_rng(2))
    found = scores.read(write_midi(piece, tmp_path / "a.mid", tempo), 4)
    assert np.array_equal(found.frames, piece.frames)
    assert found.bar == piece.bar


def test_musicxml_comes_back_with_its_ties_and_upbeat(tmp_path: Path) -> None:
    from apps.music import render

    piece = tune(np.random.default_rng(2))
    render.write(piece, tmp_path / "a.mid", 4, True, 80)
    found = scores.read(tmp_path / "a.musicxml", 4)
    assert np.array_equal(found.frames[: len(piece)], piece.frames)
    assert (found.bar, found.offset) == (piece.bar, piece.offset)


def midi(path: Path, pitches: tuple[int, ...] = (60,), drum: bool = False, metre: str = "") -> Path:
    import pretty_midi

    song = pretty_midi.PrettyMIDI()
    track = pretty_midi.Instrument(0, is_drum=drum)
    track.notes = [pretty_midi.Note(80, p, i / 2, (i + 1) / 2) for i, p in enumerate(pitches)]
    song.instruments.append(track)
    for place, signature in enumerate(metre.split()):
        upper, lower = map(int, signature.split("/"))
        song.time_signature_changes.append(pretty_midi.TimeSignature(upper, lower, 4.0 * place))
    song.write(str(path))
    return path


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ({"drum": True}, "drums alone"),
        ({"pitches": ()}, "no notes"),
        ({"pitches": (60, 109)}, "MIDI note 109 is outside the 88 keys"),
        ({"metre": "4/4 3/4"}, "bars of 3.0, 4.0 quarter notes: expected one length"),
        ({"metre": "7/32"}, "unsupported metre: a bar of 0.875 quarter notes"),
    ],
)
def test_what_can_not_stand_on_the_grid_is_refused(
    kind: dict, expected: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=expected):
        scores.read(midi(tmp_path / "a.mid", **kind), 4)


def test_a_folder_names_what_it_skips_and_refuses_it_when_strict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    for number in range(3):
        write_midi(tune(random), tmp_path / f"{number}.mid")
    (tmp_path / "broken.mid").write_bytes(b"MThd and then nothing")
    corpus = data.load("", tmp_path)
    assert [len(p) for p in (corpus.train, corpus.validation, corpus.test)] == [1, 1, 1]
    assert corpus.articulated
    assert "broken.mid: can't be read as MIDI" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"broken\.mid"):
        data.load("", tmp_path, strict=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none", "no such file or folder"),
        ("empty", "no files in it"),
        ("a.txt", "expected a folder .* or .mat, .json, .npz"),
    ],
)
def test_other_data_is_refused(name: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("la la la")
    with pytest.raises(UserError, match=expected):
        data.load("", tmp_path / name)


def test_a_packaged_chorale_has_four_voices_with_their_repeated_notes() -> None:
    from music21 import corpus

    found, refused = corpora._chorale(Path(corpus.getWork("bach/bwv66.6")))
    assert not refused
    (piece,) = found
    assert (piece.bar, piece.offset) == (16, 12)  # a quarter note of upbeat
    score = corpus.parse("bach/bwv66.6")
    sung = sum(len(part.stripTies().flatten().notes) for part in score.parts)
    doubled = sum(
        a.offset == b.offset and a.pitch.midi == b.pitch.midi
        for i, upper in enumerate(score.parts)
        for lower in list(score.parts)[i + 1 :]
        for a in upper.stripTies().flatten().notes
        for b in lower.stripTies().flatten().notes
    )
    assert abs(np.count_nonzero(piece.frames == STRUCK) - (sung - doubled)) <= 2
    assert piece.sounding.sum(axis=1).max() == 4


# Batches


def test_training_moves_pieces_and_everything_else_stands_still(tmp_path: Path) -> None:
    corpus = data.load("", write_rolls(tmp_path / "a.npz", (5, 2, 2)))
    batches = RollBatches(corpus.train, 2, transpose=3, seed=4)
    assert batches.steps == 3
    keys = []
    for epoch in range(6):
        seen = 0
        for inputs, lengths in batches.epoch(epoch):
            for frames, mask, length in zip(
                *(inputs[n].numpy() for n in ("frames", "mask")), lengths, strict=True
            ):
                assert mask.sum() == length
                assert not frames[~mask].any()
                shifts = [
                    by
                    for piece in corpus.train
                    if len(piece) == length
                    for by in range(-3, 4)
                    if np.array_equal(pieces.transposed(piece.frames, by), frames[mask])
                ]
                assert shifts
                keys += shifts
                seen += 1
        assert seen == 5
    assert len(set(keys)) == 7
    still = [
        frames
        for inputs, _ in RollBatches(corpus.test, 2).in_order()
        for frames in inputs["frames"]
    ]
    assert sorted(int(f.numpy().sum()) for f in still) == sorted(
        int(p.frames.sum()) for p in corpus.test
    )


def test_keys_and_ends_are_told_of_as_many_pieces_as_asked_for(tmp_path: Path) -> None:
    from apps.music import keys

    random = np.random.default_rng(0)
    songs = [tune(random, key=40 + n) for n in range(6)]
    told = {0.0: 0, 0.5: 0, 1.0: 0}
    for share in told:
        batches = RollBatches(songs, 4, transpose=3, seed=1, told=share)
        for epoch in range(5):
            for inputs, lengths in batches.epoch(epoch):
                for row, length in enumerate(lengths.numpy()):
                    frames = inputs["frames"][row, :length].numpy().astype(np.uint8)
                    key, left = inputs["key"][row].numpy(), inputs["clock"][row, :length, 2]
                    assert key in (0, keys.of(Piece("", frames)))
                    assert left.numpy().tolist() in (
                        [0] * length,
                        np.minimum(np.arange(length, 0, -1), 64).tolist(),
                    )
                    told[share] += int(key > 0) + int(left[-1] > 0)
    assert told[0.0] == 0
    assert told[1.0] == 60
    assert 15 <= told[0.5] <= 45
    for inputs, _ in RollBatches(songs, 4).in_order():
        assert not inputs["key"].numpy().any()
        assert not inputs["clock"].numpy()[..., 2].any()


def test_batches_go_on_from_any_place(tmp_path: Path) -> None:
    corpus = data.load("", write_rolls(tmp_path / "a.npz"))
    batches = RollBatches(corpus.train, 2, transpose=3)
    whole = [inputs["frames"].numpy() for inputs, _ in batches.epoch(7)]
    rest = [inputs["frames"].numpy() for inputs, _ in batches.epoch(7, start=1)]
    assert all(np.array_equal(a, b) for a, b in zip(whole[1:], rest, strict=True))
