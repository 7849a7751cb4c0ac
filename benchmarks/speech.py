"""Speech: how fast it is prepared, turned into features and followed live; and a recogniser of
digits beside PocketSphinx with a digit grammar.

    python -m benchmarks.speech                 # preparation, features; PocketSphinx, if installed
    python -m benchmarks.speech --run RUN       # and a run beside it, on the same files
    python -m benchmarks.speech --run CAUSAL    # and how it follows a stream, in chunks of 50 ms

Times are of the processor, children included, on one thread, so that what else the machine does
does not count; real-time factors are seconds needed for a second of sound.
PocketSphinx needs the extra ``bench``; its word insertion penalty is chosen on the validation
split. Human recordings are heard where Debian's packages are installed. Writes
benchmarks/results/speech.json.
"""

import contextlib
import importlib.util
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from apps.speech.config import AugmentConfig, DataConfig, PredictConfig, SearchConfig
from apps.speech.utterances import RATE
from common import runs
from common.cli import main, start_tensorflow
from common.errors import UserError

PENALTIES = (0.65, 1e-2, 1e-4)
"""Of PocketSphinx, for another word: the first is its own."""
CHUNK = 800  # samples that a stream is read by
SILENCE = 2 * RATE  # samples that follow an utterance in a stream
TUNED = 100  # utterances that the penalty is chosen on
Texts = Callable[[Sequence[Any]], list[str]]
"""Utterances -> what was written down."""


@dataclass(frozen=True)
class BenchmarkConfig:
    """Measure preparation, features, and a finished run of apps.speech."""

    run: Path | None = None
    """Folder of a finished run on digits."""
    dataset: Literal["digits", "digits-few"] = "digits"
    """What is prepared and heard; digits-few shows in a minute that all of it runs."""
    utterances: int = 150
    """Heard of each set, at most."""
    out: Path = Path(__file__).parent / "results" / "speech.json"
    """Where to write the results."""


def run(config: BenchmarkConfig) -> dict[str, Any]:
    """Prints what was measured, and writes it to --out."""
    finished = runs.finished("speech", config.run) if config.run is not None else None
    sphinx = importlib.util.find_spec("pocketsphinx") is not None
    if finished is not None and not sphinx:
        raise UserError("pocketsphinx is missing: pip install -c constraints.txt -e '.[bench]'")
    os.environ.update(TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1", OMP_NUM_THREADS="1")
    start_tensorflow()

    from apps.speech import data

    corpus = data.load(DataConfig(dataset=config.dataset))
    result: dict[str, Any] = {"times_real_time": {"preparation": preparation(config.dataset)}}
    result["times_real_time"] |= features(corpus.train)
    for name, value in result["times_real_time"].items():
        print(f"{name:14s}{value:8.0f} times faster than real time")
    if finished is not None:
        result["run"] = str(config.run)
    if sphinx:
        result |= recognition(finished, corpus, config.utterances)
    result["versions"] = runs.versions()
    config.out.parent.mkdir(parents=True, exist_ok=True)
    runs.write_json(config.out, result)
    return result


# Speed


def preparation(dataset: str) -> float:
    """Seconds of speech in a second of preparing a packaged task, files and all."""
    from apps.speech import data

    with tempfile.TemporaryDirectory() as folder:
        started = spent()
        builder = data.SynthesisedSpeech(config=dataset, data_dir=folder)
        builder.download_and_prepare()
        taken = spent() - started
        samples = sum(
            len(example["speech"])
            for split in builder.info.splits
            for example in builder.as_dataset(split=split).as_numpy_iterator()
        )
    return samples / data.RATE / taken


def spent() -> float:
    """Seconds that processors have worked for this process and its children."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def features(utterances: Sequence[Any]) -> dict[str, float]:
    """The same of the log-mel features of batches, and of making those batches augmented."""
    import tensorflow as tf

    from apps.speech.alphabet import of_characters
    from apps.speech.batches import SpeechBatches
    from apps.speech.features import LogMel, normalise

    layer = LogMel()
    signature = [tf.TensorSpec([None, None]), tf.TensorSpec([None], tf.int32)]
    made = tf.function(lambda x, lengths: normalise(*layer(x, lengths)), input_signature=signature)
    alphabet = of_characters(utterance.text for utterance in utterances)
    batches = SpeechBatches(utterances[:960], alphabet, 32, AugmentConfig())
    started = spent()
    sounds = [sound for sound, _ in batches.epoch(0)]
    augmenting = spent() - started
    seconds = sum(int(tf.reduce_sum(lengths)) for _, lengths in sounds) / 16_000
    made(*sounds[0])  # traced
    started = spent()
    for sound in sounds:
        made(*sound).numpy()
    return {
        "features": seconds / (spent() - started),
        "augmentation": seconds / augmenting,
    }


# Recognition


def recognition(finished: runs.Run | None, corpus: Any, count: int) -> dict[str, Any]:
    """Word error rates and real-time factors on unseen voices and on human recordings, of
    PocketSphinx and of a run, if there is one."""
    from apps.speech import data, metrics
    from apps.speech import schema as schemas
    from apps.speech.transcribe import Transcriber
    from common import export

    contenders: dict[str, Texts] = {"PocketSphinx": tuned_sphinx(corpus)}
    if finished is not None:
        model, schema = export.load(finished.export), schemas.read(finished)
        lexicon = SearchConfig(lexicon="words")
        contenders["greedy"] = texts_of(Transcriber(model, schema))
        contenders["with lexicon"] = texts_of(Transcriber(model, schema, lexicon))
    sets = {corpus.name: corpus.test}
    for name in ("real-digits", "real-digits-wide"):
        with contextlib.suppress(UserError):  # Debian's package is not installed
            sets[name] = data.load_test(name)
    rows: dict[str, Any] = {}
    for name, utterances in sets.items():
        heard = some(utterances, count)
        seconds = sum(utterance.seconds for utterance in heard)
        rows[name] = {}
        for contender, texts in contenders.items():
            texts(heard[:2])  # warm
            started = spent()
            written = texts(heard)
            factor = (spent() - started) / seconds
            scores = metrics.scores(heard, written)
            rows[name][contender] = {**scores, "real_time_factor": factor}
            print(
                f"{name:18s}{contender:14s} WER {scores['wer']:7.2%} ({scores['wer_low']:.2%} to "
                f"{scores['wer_high']:.2%}), real-time factor {factor:.3f}",
                flush=True,
            )
    result: dict[str, Any] = {"recognition": rows}
    if finished is not None and schema.causal:
        single = [utterance for utterance in corpus.test if " " not in utterance.text]
        result["stream"] = streamed(model, some(corpus.test, count), some(single, count))
    return result


def some(utterances: Sequence[Any], count: int) -> list[Any]:
    """So many at most, from all over."""
    every = max(1, -(-len(utterances) // count))
    return list(utterances[::every])


def texts_of(transcriber: Any) -> Texts:
    def texts(utterances: Sequence[Any]) -> list[str]:
        return [t.text for t in transcriber.transcribe([u.waveform for u in utterances])]

    return texts


def tuned_sphinx(corpus: Any) -> Texts:
    """PocketSphinx with the penalty that suits the validation split."""
    from apps.speech import metrics

    heard = some(corpus.validation, TUNED)
    found = {p: sphinx_with(corpus.words, p) for p in PENALTIES}
    rates = {p: metrics.scores(heard, t(heard), resamples=0)["wer"] for p, t in found.items()}
    best = min(rates, key=rates.__getitem__)
    print(f"PocketSphinx: word insertion penalty {best:g} of {', '.join(map(str, PENALTIES))}")
    return found[best]


def sphinx_with(words: Sequence[str], penalty: float) -> Texts:
    """PocketSphinx's own English model, with a grammar of strings of those words."""
    import pocketsphinx as ps

    with tempfile.TemporaryDirectory() as folder:
        grammar = Path(folder) / "strings.gram"
        strings = f"public <string> = ({' | '.join(words)})+;"
        grammar.write_text(f"#JSGF V1.0;\ngrammar strings;\n{strings}\n")
        decoder = ps.Decoder(
            hmm=ps.get_model_path("en-us/en-us"),
            dict=ps.get_model_path("en-us/cmudict-en-us.dict"),
            lm=None,
            jsgf=str(grammar),
            wip=penalty,
            samprate=16_000.0,
            loglevel="FATAL",
        )

    def texts(utterances: Sequence[Any]) -> list[str]:
        found = []
        for utterance in utterances:
            decoder.start_utt()
            decoder.process_raw(utterance.samples.tobytes(), full_utt=True)
            decoder.end_utt()
            said = decoder.hyp()
            found.append(said.hypstr if said else "")
        return found

    return texts


# Streams


def streamed(model: Any, utterances: Sequence[Any], single: Sequence[Any]) -> dict[str, float]:
    """How a causal model follows: its real-time factor; after how many ms of speech the first text
    stands there, and how long after the end of a word that stands alone (medians, and 90th
    percentiles).

    Args:
        single: utterances of one word.
    """
    followed(model, utterances[0])  # the first one is traced
    started = spent()
    firsts, heard = zip(*(followed(model, utterance) for utterance in utterances), strict=True)
    factor = (spent() - started) / sum(heard) * RATE
    begins = [first - speech(u)[0] for u, first in zip(utterances, firsts, strict=True) if first]
    alone = [(utterance, followed(model, utterance)[0]) for utterance in single]
    ends = [first - speech(utterance)[1] for utterance, first in alone if first]
    result = {"real_time_factor": factor}
    print(f"stream: real-time factor {factor:.3f}")
    for what, waits in (("speech begins", begins), ("a single word ends", ends)):
        if not waits:
            continue
        median, most = (float(ms) for ms in np.quantile(waits, (0.5, 0.9)) / 16)  # of samples
        name = what.replace(" ", "_")
        result |= {f"first_text_after_{name}_ms": median, f"first_text_after_{name}_ms_90": most}
        print(
            f"stream: first text {median:.0f} ms after {what} (median of {len(waits)}; 90 % within "
            f"{most:.0f} ms)"
        )
    return result


def followed(model: Any, utterance: Any) -> tuple[int | None, int]:
    """Samples of a stream that had been heard when the first text stood there, silence going on
    after the utterance (None for no text at all); and when it had come to its end."""
    from apps.speech import live

    heard, first, stream, pause = 0, None, live.Stream(model), live.Pause()
    for waveform in chunks(np.pad(utterance.waveform, (0, SILENCE))):
        heard += len(waveform)
        said = stream.hear(waveform)["text"][0].strip()
        pause.hear(waveform)
        ended = pause.follows and pause.seconds >= PredictConfig.silence
        if first is None and (said or (ended and stream.end()["text"][0].strip())):
            first = heard
        if ended and heard > len(utterance.waveform):
            break
    return first, heard


def speech(utterance: Any) -> tuple[int, int]:
    """The samples between which an utterance is loud: above a hundredth of its peak."""
    loud = np.flatnonzero(np.abs(utterance.waveform) > 0.01 * np.abs(utterance.waveform).max())
    return int(loud[0]), int(loud[-1]) + 1


def chunks(waveform: np.ndarray) -> Iterator[np.ndarray]:
    for begin in range(0, len(waveform), CHUNK):
        yield waveform[begin : begin + CHUNK]


if __name__ == "__main__":
    main(run, BenchmarkConfig, prog="python -m benchmarks.speech")
