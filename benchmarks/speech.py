"""Speech: how fast it is prepared, turned into features and followed live; and a recogniser of
digits beside PocketSphinx with a digit grammar.

    python -m benchmarks.speech                 # preparation, features; PocketSphinx, if installed
    python -m benchmarks.speech --run RUN       # and a run beside it, on the same files
    python -m benchmarks.speech --run CAUSAL    # and how it follows a stream, in chunks of 50 ms

Times are of the processor, children included, on one thread, so that what else the machine does
does not count; real-time factors are seconds needed for a second of sound.
PocketSphinx needs the extra ``bench``; its word insertion penalty is chosen on the validation
split; it comes trained, and its size is that of its English model and dictionary. A run's time to
PocketSphinx's error rate on validation is read from its history. Peaks of memory are of a process
that hears, and of one that trains the run anew for some steps. Human recordings are heard where
Debian's packages are installed. Writes benchmarks/results/speech.json.
"""

import contextlib
import importlib.util
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from apps.speech.config import AugmentConfig, DataConfig, PredictConfig, SearchConfig
from apps.speech.utterances import RATE
from benchmarks import measure
from benchmarks.measure import SIZE, Column
from common import runs
from common.cli import main, start_tensorflow
from common.errors import UserError

PENALTIES = (0.65, 1e-2, 1e-4)
"""Of PocketSphinx, for another word: the first is its own."""
CHUNK = 800  # samples that a stream is read by
SILENCE = 2 * RATE  # samples that follow an utterance in a stream
TUNED = 100  # utterances that the penalty is chosen on
SPHINX, GREEDY, LEXICON = "PocketSphinx", "greedy", "with lexicon"
COLUMNS = (
    Column("WER", "wer", ".2%"),
    Column("95 % interval", "interval"),
    Column("real-time factor", "real_time_factor"),
    Column("an utterance, ms", "utterance_ms", ",.0f"),
    Column("s to PocketSphinx's WER", "target_seconds", ",.0f", best=None),
    Column("training, s", "train_seconds", ",.0f", best=None, missing="comes trained"),
    Column("peak memory, hearing, MB", "peak_bytes", ",.0f", 1e-6),
    Column("training", "training_peak_bytes", ",.0f", 1e-6),
    SIZE,
)
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
    result |= {"machine": measure.machine(), "versions": runs.versions()}
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
    """Word error rates and costs on unseen voices and on human recordings, of PocketSphinx and of
    a run, if there is one."""
    from apps.speech import data
    from apps.speech import schema as schemas
    from common import export

    sphinx, rate = tuned_sphinx(corpus)
    contenders: dict[str, Texts] = {SPHINX: sphinx}
    if finished is not None:
        contenders |= {name: of_run(finished.path, name) for name in (GREEDY, LEXICON)}
    sets = {corpus.name: corpus.test}
    for name in ("real-digits", "real-digits-wide"):
        with contextlib.suppress(UserError):  # Debian's package is not installed
            sets[name] = data.load_test(name)
    costs = costs_of(contenders, finished, corpus, rate)
    rows: dict[str, Any] = {}
    for name, utterances in sets.items():
        heard = some(utterances, count)
        rows[name] = {k: scored(texts, heard) | costs[k] for k, texts in contenders.items()}
        print(f"\n{name}, {len(heard)} utterances\n")
        print(measure.markdown(rows[name], COLUMNS), flush=True)
    result: dict[str, Any] = {"recognition": rows}
    if finished is not None and schemas.read(finished).causal:
        single = [utterance for utterance in corpus.test if " " not in utterance.text]
        model = export.load(finished.export)
        result["stream"] = streamed(model, some(corpus.test, count), some(single, count))
    return result


def scored(texts: Texts, heard: Sequence[Any]) -> dict[str, Any]:
    """All scores of what was written down, and what it took, an utterance at a time."""
    from apps.speech import metrics

    texts(heard[:2])  # warm
    written, taken = [], []
    for utterance in heard:
        started = spent()
        written += texts([utterance])
        taken.append(spent() - started)
    scores = metrics.scores(heard, written)
    return {
        **scores,
        "interval": f"[{scores['wer_low']:.2%}, {scores['wer_high']:.2%}]",
        "real_time_factor": sum(taken) / sum(utterance.seconds for utterance in heard),
        "utterance_ms": 1e3 * float(np.median(taken)),
    }


def costs_of(
    contenders: Iterable[str], finished: runs.Run | None, corpus: Any, rate: float
) -> dict[str, dict[str, Any]]:
    """Training, memory and size of each contender.

    Args:
        rate: word error rate of PocketSphinx on the ``TUNED`` validation utterances.
    """
    heard, found = some(corpus.test, 8), {}
    for name in contenders:
        run = None if finished is None else finished.path
        peak = measure.alone(hearing_peak, run, name, list(corpus.words), heard)
        found[name] = {"peak_bytes": peak}
    found[SPHINX]["bytes"] = sum(measure.size_of(path) for path in sphinx_files())
    if finished is not None:
        with tempfile.TemporaryDirectory() as folder:
            again = Path(folder) / "run"
            peak = measure.alone(measure.training_peak, "speech", finished.path, again)
        history = measure.history(finished.history())
        trained = {
            "target_seconds": measure.reached(history, "val_wer", rate, at_most=True) or "never",
            "train_seconds": runs.read_json(finished.metrics)["train_seconds"],
            "training_peak_bytes": peak,
            "bytes": measure.size_of(finished.export),
        }
        for name in set(found) - {SPHINX}:
            found[name] |= trained
    return found


def hearing_peak(run: Path | None, name: str, words: Sequence[str], heard: Sequence[Any]) -> int:
    """Peak of memory of one contender that hears some utterances, in a process of its own."""
    if run is None or name == SPHINX:
        sphinx_with(words, PENALTIES[0])(heard)
    else:
        start_tensorflow()
        of_run(run, name)(heard)
    return measure.peak_bytes()


def of_run(run: Path, name: str) -> Texts:
    """A run's SavedModel: greedy, or with the lexicon of its words."""
    from apps.speech import schema as schemas
    from apps.speech.transcribe import Transcriber
    from common import export

    finished = runs.Run(run)
    search = SearchConfig(lexicon="words") if name == LEXICON else SearchConfig()
    transcriber = Transcriber(export.load(finished.export), schemas.read(finished), search)

    def texts(utterances: Sequence[Any]) -> list[str]:
        return [t.text for t in transcriber.transcribe([u.waveform for u in utterances])]

    return texts


def some(utterances: Sequence[Any], count: int) -> list[Any]:
    """So many at most, from all over."""
    every = max(1, -(-len(utterances) // count))
    return list(utterances[::every])


def tuned_sphinx(corpus: Any) -> tuple[Texts, float]:
    """PocketSphinx with the penalty that suits the validation split, and its error rate there."""
    from apps.speech import metrics

    heard = some(corpus.validation, TUNED)
    found = {p: sphinx_with(corpus.words, p) for p in PENALTIES}
    rates = {p: metrics.scores(heard, t(heard), resamples=0)["wer"] for p, t in found.items()}
    best = min(rates, key=rates.__getitem__)
    print(f"PocketSphinx: word insertion penalty {best:g} of {', '.join(map(str, PENALTIES))}")
    return found[best], rates[best]


def sphinx_files() -> list[Path]:
    """Its English model, and the words that it can say."""
    import pocketsphinx as ps

    names = ("en-us/en-us", "en-us/cmudict-en-us.dict")
    return [Path(ps.get_model_path(name)) for name in names]


def sphinx_with(words: Sequence[str], penalty: float) -> Texts:
    """PocketSphinx's own English model, with a grammar of strings of those words."""
    import pocketsphinx as ps

    model, dictionary = sphinx_files()
    with tempfile.TemporaryDirectory() as folder:
        grammar = Path(folder) / "strings.gram"
        strings = f"public <string> = ({' | '.join(words)})+;"
        grammar.write_text(f"#JSGF V1.0;\ngrammar strings;\n{strings}\n")
        decoder = ps.Decoder(
            hmm=str(model),
            dict=str(dictionary),
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
