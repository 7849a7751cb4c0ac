"""Runs that several test files look at: two small real trainings on synthesised digits, and two of
random weights, which have more to say."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import soundfile

from apps.speech import language, model, schema
from apps.speech.alphabet import of_characters
from apps.speech.config import SpeechConfig
from apps.speech.grammar import DIGITS
from apps.speech.serving import Serving
from apps.speech.utterances import RATE, Corpus, Utterance
from common import export, runs
from tests.commands import Answer, command, trained
from tests.once import folder, shared

TRAIN, PREDICT, EVALUATE = (f"apps.speech.{name}" for name in ("train", "predict", "evaluate"))
SMALL: list[object] = ["--dataset", "digits-few", "--units", 12, "--width", 16, "--filters", 4]
SMALL += ["--attention", 12, "--mels", 20, "--layers", 1, "--epochs", 1, "--short-first", 0]
SMALL += ["--batch-size", 16, "--average", 0]
_FOLDER = folder("speech")


def train(run_dir: Path, *words: object) -> Answer:
    """What a training said that ended well."""
    return trained(TRAIN, None, run_dir, *SMALL, *words)


def predict(run: Path, *words: object, stdin: bytes = b"") -> Answer:
    """Which a run must answer."""
    answer = command(PREDICT, "--run", run, *words, stdin=stdin)
    assert answer.code == 0, answer.err
    return answer


@shared
def small_run() -> tuple[Path, Answer]:
    """The folder of a small bidirectional run, and what its training said."""
    run = _FOLDER / "run"
    return run, train(run)


@shared
def causal_run() -> tuple[Path, Answer]:
    """The same of a causal one."""
    run = _FOLDER / "causal"
    return run, train(run, "--causal")


def digits() -> Corpus:
    """Texts and sounds that have nothing to do with each other."""
    random = np.random.default_rng(0)
    texts = [DIGITS.sample(random) for _ in range(40)]
    said = tuple(Utterance(text, sound(n), text) for n, text in enumerate(texts))
    return Corpus(
        "noise", said, said, said, of_characters(texts), words=DIGITS.words(), grammar=DIGITS
    )


def sound(seed: int, seconds: float = 1.5) -> np.ndarray:
    """``[n]`` int16: noise that comes and goes, and a tone that wanders."""
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).normal(0, 1500, len(time))
    tone = 4000 * np.sin(2 * np.pi * 900 * time + 700 * np.sin(6 * time + seed) / 6)
    return (noise * np.sin(9 * time + seed) + tone).astype(np.int16)


@shared
def random_run(causal: bool = False, decoder: Any = None) -> Path:
    """The folder of a run whose network has random weights, and says much."""
    decoder = decoder or ("ctc" if causal else None)  # nothing is to be learnt here
    config = SpeechConfig(
        units=8, width=8, filters=3, attention=7, layers=1, causal=causal, decoder=decoder
    )
    run = runs.Run(_FOLDER / f"random_{causal}_{decoder}")
    keras.utils.set_random_seed(0)
    corpus = digits()
    network = model.build(config, len(corpus.alphabet))
    random = np.random.default_rng({"ctc": 7, "attention": 3}.get(config.decodes, 4))
    for weight in network.trainable_variables:
        weight.assign(weight.value + random.normal(0, 0.6 if causal else 0.3, weight.shape))
    if network.by_ctc:  # what is heard decides, and nothing else
        network.readout.bias.assign(0 * network.readout.bias)
    runs.start(run, "speech", config)
    schema.write(run, config, corpus, language.learn([u.text for u in corpus.train], 2))
    serving = Serving(network, corpus.alphabet.symbols)
    export.write(
        [network],
        serving.signatures(),
        run.export,
        examples=serving.examples(sound(5) / np.float32(32768)),
        portable=serving.PORTABLE,
    )
    run.unfinished.unlink(missing_ok=True)
    return run.path


def recording(folder: Path, name: str = "a.wav", seed: int = 3, seconds: float = 1.5) -> Path:
    """A sound file."""
    path = folder / name
    soundfile.write(path, sound(seed, seconds), RATE)
    return path
