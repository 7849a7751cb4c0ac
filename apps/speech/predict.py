"""Writes down what is said in sound files, or on stdin while it is said."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.speech.config import PredictConfig
from common.cli import main, start_tensorflow
from common.errors import UserError

if TYPE_CHECKING:
    from apps.speech.transcribe import Transcript
    from apps.speech.words import Word

PAUSE, LONGEST = 0.8, 42  # seconds between two subtitles, characters in one


def run(config: PredictConfig) -> None:
    """Prints the text of each file, or what comes in on stdin.

    Raises:
        UserError: for flags that can't be used together or with this run, and for files that can't
            be read.
    """
    from common import runs

    finished = runs.finished("speech", config.run)
    check(config)

    from apps.speech import schema as schemas

    schema = schemas.read(finished)
    if config.live and not schema.causal:
        raise UserError(f"--live: {config.run} is bidirectional, expected a run with --causal")
    schema.scorer(config)  # a lexicon that can't be read is said before the wait
    start_tensorflow()

    from apps.speech import comparison, live
    from apps.speech.manifest import read_sound
    from apps.speech.transcribe import Transcriber
    from common import export
    from common.plots import save

    waveforms = [read_sound(path).astype("float32") / 32768 for path in config.files]
    transcriber = Transcriber(
        export.load(finished.export, "serving_default", "hear"), schema, config
    )
    if config.live:
        live.follow(transcriber.model, schema, config.silence)
        return
    found = transcriber.transcribe(waveforms, progress=len(waveforms) > 1)
    for path, waveform, transcript in zip(config.files, waveforms, found, strict=True):
        words: Sequence[Word] = ()
        if config.json or config.srt:
            words = transcriber.listen(waveform, transcript).words
        if config.srt:
            text = subtitles(words)
            runs.write_text(path.with_suffix(".srt"), text)
        if config.json:
            print(json.dumps(described(path, transcript, words), ensure_ascii=False), flush=True)
        else:
            name = f"{path}: " if len(found) > 1 else ""
            print(f"{name}{transcript.text}", flush=True)
    if config.png is not None:
        save(comparison.draw(transcriber, waveforms[0], config.files[0].name), config.png)


def check(config: PredictConfig) -> None:
    """Raises UserError for flags that can't be used together, or name nothing."""
    if config.live == bool(config.files):
        found = "both" if config.live else "neither"
        raise UserError(f"expected sound files or --live, found {found}")
    if config.live and (config.json or config.srt or config.png or config.followed):
        raise UserError("--live prints greedy text: drop --json, --srt, --png, --beam, --lexicon")
    for path in config.files:
        if not path.is_file():
            raise UserError(f"{path}: no such file")
    if config.srt:
        names = [path.with_suffix(".srt") for path in config.files]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise UserError(f"--srt: {twice[0]} would be written twice")
    if config.png is not None and not config.png.absolute().parent.is_dir():
        raise UserError(f"--png {config.png}: no such folder")
    if config.png is not None and config.png.suffix.lower() != ".png":
        raise UserError(f"--png {config.png}: expected a name that ends with .png")


def described(path: Path, transcript: "Transcript", words: "Sequence[Word]") -> dict[str, Any]:
    """For --json. Times in seconds."""
    return {
        "file": str(path),
        "text": transcript.text,
        "confidence": round(transcript.confidence, 4),
        "words": [
            {
                "word": word.text,
                "begin": round(word.begin, 3),
                "end": round(word.end, 3),
                "confidence": round(word.confidence, 4),
            }
            for word in words
        ],
    }


def subtitles(words: "Sequence[Word]") -> str:
    """SubRip text: a subtitle for what is said without a pause, as long as one can read."""
    cues: list[list[Word]] = []
    for word in words:
        fits = (
            bool(cues)
            and word.begin - cues[-1][-1].end < PAUSE
            and sum(len(w.text) + 1 for w in cues[-1]) + len(word.text) <= LONGEST
        )
        if fits:
            cues[-1].append(word)
        else:
            cues.append([word])
    blocks = [
        f"{number}\n{clock(cue[0].begin)} --> {clock(cue[-1].end)}\n"
        f"{' '.join(word.text for word in cue)}\n"
        for number, cue in enumerate(cues, 1)
    ]
    return "\n".join(blocks)


def clock(seconds: float) -> str:
    """As SubRip has it: 00:00:01,250."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    minutes, second = divmod(whole, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{second:02d},{milliseconds:03d}"


if __name__ == "__main__":
    main(run, PredictConfig, prog="python -m apps.speech.predict")
