"""What is written while somebody speaks."""

from pathlib import Path

import numpy as np
import soundfile

from apps.speech import live, schema
from apps.speech.live import Line
from apps.speech.utterances import RATE
from common.runs import Run
from tests.speech_runs import predict, random_run, recording, sound


def test_live_text_is_that_of_the_whole_file(tmp_path: Path) -> None:
    run, path = random_run(causal=True), recording(tmp_path, seconds=2.0)
    raw = sound(3, 2.0).astype("<i2").tobytes()
    rows = [line.split("\t") for line in predict(run, "--live", stdin=raw).out.splitlines()]
    assert {row[1] for row in rows} == {"partial", "final"}
    finals = [row for row in rows if row[1] == "final"]
    whole = predict(run, path).out.strip()
    assert len(whole) > 3
    assert "".join(row[2] for row in finals).replace(" ", "") == whole.replace(" ", "")
    assert [float(row[0]) for row in rows] == sorted(float(row[0]) for row in rows)
    texts = ""
    for row in rows:  # a partial text only ever grows
        if row[1] == "partial":
            assert row[2].startswith(texts)
            texts = row[2]
        else:
            assert row[2] == texts
            texts = ""
    assert all(0 <= float(row[3]) <= 1 for row in finals)


def test_silence_ends_a_text() -> None:
    run = random_run(causal=True)
    loud, silence = sound(3, 1.0), np.zeros(RATE, np.int16)
    raw = np.concatenate([loud, silence, loud]).astype("<i2").tobytes()
    assert predict(run, "--live", "--silence", 1.5, stdin=raw).out.count("final") == 1
    assert predict(run, "--live", stdin=raw).out.count("final") == 2
    assert predict(run, "--live", stdin=b"").out == ""


def test_a_pause_is_silence_after_sound() -> None:
    pause = live.Pause()

    def hear(level: float, seconds: float) -> tuple[bool, float]:
        for _ in range(round(seconds / 0.05)):
            time = np.arange(800) / RATE
            pause.hear((10 ** (level / 20) * np.sqrt(2) * np.sin(2000 * time)).astype(np.float32))
        return pause.follows, round(pause.seconds, 2)

    assert hear(-70, 0.5) == (False, 0.5)  # nobody has spoken yet
    assert hear(-20, 0.3) == (True, 0.0)
    assert hear(-45, 0.3) == (True, 0.0)  # a consonant
    assert hear(-52, 0.4) == (True, 0.4)
    assert hear(-30, 0.1) == (True, 0.0)
    assert hear(-57, 5) == (True, 5.0)
    assert hear(-57, 5) == (True, 0.0)  # what was loud is forgotten: this is the sound now


def test_samples_that_arrive_in_halves_are_put_together() -> None:
    class Trickle:
        """A pipe that gives a byte at a time."""

        def __init__(self, said: bytes) -> None:
            self.said, self.buffer = said, self

        def isatty(self) -> bool:
            return False

        def read1(self, size: int) -> bytes:
            given, self.said = self.said[:1], self.said[1:]
            return given

    samples = np.array([1, -2, 300, -32768], "<i2")
    heard = list(live.sound_of(Trickle(samples.tobytes())))
    assert [len(chunk) for chunk in heard] == [1] * 4
    assert (np.concatenate(heard) == samples / 32768).all()


def test_a_pause_ends_a_text_with_all_that_was_said(tmp_path: Path) -> None:
    run, silence = random_run(causal=True), np.zeros(RATE, np.int16)
    raw = np.concatenate([sound(3, 1.0), silence, sound(5, 1.5), silence]).astype("<i2").tobytes()
    rows = [line.split("\t") for line in predict(run, "--live", stdin=raw).out.splitlines()]
    finals = [row for row in rows if row[1] == "final"][:2]  # such a network hears words in silence
    first = [sound(3, 1.0), silence[: RATE * 7 // 10]]
    second = [silence[: RATE * 3 // 10], sound(5, 1.5), silence[: RATE * 7 // 10]]
    for row, heard in zip(finals, [first, second], strict=True):
        path = tmp_path / "heard.wav"
        soundfile.write(path, np.concatenate(heard), RATE)
        assert row[2] == predict(run, path).out.strip()


def test_a_line_is_as_likely_as_its_symbols_and_keeps_no_silence() -> None:
    heard = Line(schema.read(Run(random_run(causal=True))))
    symbols = heard.schema.alphabet.symbols
    sure = np.log(np.eye(len(symbols) + 1) * 0.8 + 0.2 / (len(symbols) + 1))

    def steps(text: str) -> np.ndarray:
        return sure[[symbols.index(c) + 1 if c != "-" else 0 for c in text]]

    for _ in range(100):
        assert not heard.take("", steps("---"))
    assert len(heard.heard) == 1
    assert heard.take("o", steps("-oo"))
    assert heard.take("ne", steps("n-e"))
    p = 0.8 + 0.2 / (len(symbols) + 1)
    assert heard.text == "one"
    assert 0.9 * p**2 < heard.confidence() < 1
    heard.begin()
    heard.take("", steps("e"))  # the last symbol goes on: nothing new
    heard.take("o", steps("-o"))
    assert (heard.text, round(heard.still, 3)) == ("o", 0.0)
    assert p * 0.9 < heard.confidence() < min(1.0, p * 1.1)
