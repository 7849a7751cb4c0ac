"""Composes with an exported model: from nothing, from notes, on from a piece, or to a melody."""

import re
from typing import TYPE_CHECKING, Any

from apps.music.config import PredictConfig
from common.cli import main, start_tensorflow
from common.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from apps.music.pieces import Piece
    from apps.music.settings import Settings

BARS = 16


def run(config: PredictConfig) -> None:
    """Writes the pieces to --out and beside it.

    Raises:
        UserError: for flags that can't be used together or with this run, and for a start, primer
            or melody that can't be read.
    """
    from common import runs

    finished = runs.finished("music", config.run)
    if not config.out.absolute().parent.is_dir():
        raise UserError(f"--out {config.out}: no such folder")

    from apps.music import keys, plots, render
    from apps.music.settings import Settings
    from common.plots import save

    settings = Settings.read(finished)
    first = opening(config, settings)
    key = wanted(config, settings, first)
    start_tensorflow()  # only now: the errors above come without the wait

    from common import export

    model = export.load(finished.export, "generate", "score")
    grid = (settings.resolution, settings.articulated)
    for number, (piece, nats) in enumerate(compose(model, config, settings, first, key), 1):
        path = config.out
        if config.count > 1:
            path = path.with_stem(f"{path.stem}_{number}")
        render.write(piece, path, *grid, config.tempo)
        given = 0 if config.given else len(first)
        picture = plots.piano_roll(piece, *grid, given=given, title=path.stem)
        save(picture, path.with_suffix(".png"))
        print(
            f"{path}: {len(piece) / settings.resolution:g} quarter notes, {keys.name(key)}; "
            f"{nats.mean():.3f} nats a frame ({nats.sum():.0f} in all); beside it .musicxml, "
            ".png and .wav"
        )


def opening(config: PredictConfig, settings: "Settings") -> "Piece":
    """What stands at the beginning, or the melody that is given; perhaps no frames at all.

    Raises:
        UserError: for notes or files that can't be read.
    """
    import numpy as np

    from apps.music import scores
    from apps.music.pieces import HELD, KEYS, STRUCK, Piece, frames_of
    from apps.music.shape import too_many

    if config.given and settings.head == "events":
        raise UserError("--given: the run's network sings melodies, and adds no voices to one")
    bar, offset = _metre(config, settings.resolution)
    path = config.given or config.primer
    if path is not None:
        piece = scores.read(path, settings.resolution)
        if piece.bar:
            bar, offset = piece.bar, piece.offset
        frames = piece.frames
        too_many([piece], settings.head, KEYS if config.given else settings.voices)
    elif config.start:
        notes = started(config.start, settings.resolution)
        frames = frames_of(notes, notes[-1].end)
        too_many([Piece("--start", frames)], settings.head, settings.voices)
    else:
        frames = np.zeros((0, KEYS), np.uint8)
    if config.given:
        heights = np.arange(1, KEYS + 1)
        top = (frames > 0) & (heights == ((frames > 0) * heights).max(axis=1, keepdims=True))
        was = np.concatenate([np.zeros((1, KEYS), bool), top[:-1]])
        frames = np.where(top, np.where((frames == HELD) & was, HELD, STRUCK), 0)
    if not settings.articulated:
        frames = np.where(frames > 0, STRUCK, 0)
    return Piece("opening", frames.astype(np.uint8), bar, offset)


def started(text: str, resolution: int) -> list[Any]:
    """The notes of --start, each a quarter note long.

    Raises:
        UserError: for a name that is none, or a note outside the 88 keys.
    """
    import pretty_midi

    from apps.music.pieces import KEYS, LOWEST, Note

    notes = []
    for place, chord in enumerate(text.split()):
        for name in chord.split("+"):
            try:
                key = pretty_midi.note_name_to_number(name) - LOWEST
            except ValueError:
                raise UserError(
                    f"--start: {name!r}: expected a note such as C4, F#3 or Bb4, or several "
                    "joined by +"
                ) from None
            if not 0 <= key < KEYS:
                raise UserError(f"--start: {name}: outside the 88 keys, A0 to C8")
            notes.append(Note(place * resolution, (place + 1) * resolution, key))
    return notes


def _metre(config: PredictConfig, resolution: int) -> tuple[int, int]:
    """Frames in a bar, and where in it the piece begins."""
    from apps.music.pieces import LONGEST_BAR

    upper, _, lower = config.metre.partition("/")
    if not all(re.fullmatch("[1-9][0-9]{0,2}", part) for part in (upper, lower)):
        raise UserError(f"--metre {config.metre}: expected a time signature such as 4/4")
    frames = int(upper) * 4 * resolution / int(lower)
    if frames != int(frames) or not 0 < frames <= LONGEST_BAR:
        raise UserError(
            f"--metre {config.metre}: expected bars of a whole number of the run's frames, "
            f"1/{4 * resolution} notes, {LONGEST_BAR} at most"
        )
    ahead = config.upbeat * resolution
    if ahead != int(ahead) or ahead >= frames:
        raise UserError(f"--upbeat {config.upbeat}: expected whole frames, fewer than a bar has")
    return int(frames), int(-ahead % frames)


def wanted(config: PredictConfig, settings: "Settings", first: "Piece") -> int:
    """The key to compose in: --key, or that of what is given, or drawn."""
    from apps.music import keys

    if config.key is not None:
        return keys.read(config.key)
    return keys.of(first) or keys.drawn(settings.keys, config.seed)


def compose(
    model: Any, config: PredictConfig, settings: "Settings", first: "Piece", key: int
) -> list[tuple["Piece", "np.ndarray"]]:
    """Each piece, and the nats ``[time]`` of each frame that was composed.

    Raises:
        UserError: if what is given is as long as the piece already.
    """
    import numpy as np
    import tensorflow as tf

    from apps.music import beam
    from apps.music.pieces import Piece
    from apps.music.settings import draw

    told = (first.bar, first.offset) if settings.metres else (0, 0)
    choice = (config.temperature, config.top_k, config.top_p, config.seed)
    how = draw(*choice, *told, key, config.ending)
    start = tf.tile(tf.constant(first.frames[np.newaxis], tf.int32), [config.count, 1, 1])
    known = 0 if config.given else len(first)
    total = len(first)
    if config.given is None:
        ahead = -first.offset % first.bar  # the upbeat is not counted as a bar
        total = config.steps or ahead + (config.bars or BARS) * first.bar
        if total <= known:
            raise UserError(
                f"{total} frames to compose, {known} of them given: expected more --bars"
            )
    if config.beam > 1:
        search = beam.Search(model, how, config.beam, first.bar)
        rolls = search.harmonised(start) if config.given else search.composed(start, total)
    elif config.given is not None:
        rolls = model.signatures["harmonise"](given=start, start=start[:, :0], **how)["roll"]
    else:
        steps = tf.constant(total - known, tf.int32)
        rolls = model.signatures["generate"](start=start, steps=steps, **how)["roll"]
    told_of = {name: how[name] for name in ("bar", "offset", "key")}
    nats = model.signatures["score"](roll=rolls, **told_of)["nll"].numpy()[:, known:]
    pieces = [
        Piece(f"piece {number}", roll.astype(np.uint8), first.bar, first.offset)
        for number, roll in enumerate(rolls.numpy(), 1)
    ]
    return list(zip(pieces, nats, strict=True))


if __name__ == "__main__":
    main(run, PredictConfig, prog="python -m apps.music.predict")
