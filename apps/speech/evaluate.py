"""Scores a finished run: on its own test part, on human recordings, or on the user's."""

import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from apps.speech.config import DataConfig, EvaluateConfig, SpeechConfig
from common.cli import main, start_tensorflow
from common.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping


def run(config: EvaluateConfig) -> dict[str, Any]:
    """Prints the scores, and writes them to --out.

    Raises:
        UserError: for a picture's folder that is not there, and for data or a run that can't be
            scored.
    """
    from common import runs

    finished = runs.to_evaluate("speech", config.run, config.dataset, config.data, config.out)
    if config.png is not None and not config.png.absolute().parent.is_dir():
        raise UserError(f"--png {config.png}: no such folder")
    wanted = asked_for(config, runs.settings(finished, SpeechConfig))
    start_tensorflow()

    from apps.speech import data, metrics, plots, report
    from apps.speech import schema as schemas
    from apps.speech.transcribe import Transcriber
    from apps.speech.utterances import seconds
    from common import export
    from common.plots import save

    schema = schemas.read(finished)
    transcriber = Transcriber(
        export.load(finished.export, "serving_default", "hear"), schema, config
    )
    if wanted.data is not None and config.data is None:  # what the run did not learn from
        corpus = data.load(wanted)
        utterances, skipped = corpus.test, list(corpus.skipped)
    else:
        utterances, skipped = data.to_score(wanted, schema.alphabet)
    found = transcriber.transcribe([u.waveform for u in utterances], progress=True)
    texts = [transcript.text for transcript in found]
    scores = metrics.scores(utterances, texts)
    scores["confidence"] = sum(t.confidence for t in found) / len(found)
    speakers = metrics.by_speaker(utterances, texts)
    name = str(config.data or config.dataset or wanted.data or wanted.dataset)
    print(f"{name}: {len(utterances):,} utterances, {seconds(utterances) / 60:.1f} minutes")
    report.left_out(skipped)
    report.table({how(config, schema.decoder): scores})
    report.speakers(speakers)
    worst = metrics.worst(utterances, texts)
    report.wrong(worst)
    result = {
        "app": "speech",
        "run": str(config.run),
        "dataset": name,
        "utterances": len(utterances),
        "search": {f.name: getattr(config, f.name) for f in fields(config) if f.name in SEARCH},
        "test": scores,
        "by_speaker": speakers,
        "worst": worst,
    }
    if config.out is not None:
        runs.write_json(config.out, result)
        print(f"written to {config.out}", file=sys.stderr)
    if config.png is not None:
        save(plots.errors(metrics.by_length(utterances, texts), speakers), config.png)
        print(f"picture: {config.png}", file=sys.stderr)
    return result


SEARCH = ("beam", "lexicon", "language", "language_weight", "word_bonus")


def how(config: EvaluateConfig, decoder: str) -> str:
    """The way of decoding, in a few words."""
    if not config.followed:
        return f"{decoder}, greedy"
    bound = [name for name in ("lexicon", "language") if getattr(config, name)]
    return f"{decoder}, beam {config.followed}" + (f", {' and '.join(bound)}" if bound else "")


def asked_for(config: EvaluateConfig, trained: "Mapping[str, Any]") -> DataConfig:
    """Which recordings to score, and how they are read: as in training, unless flags say so."""
    values = {f.name: trained[f.name] for f in fields(DataConfig)}
    if config.dataset is not None:
        values |= {"dataset": config.dataset, "data": None}
    if config.data is not None:
        values["data"] = config.data
    for name in ("path_column", "text_column", "speaker_column"):
        values[name] = getattr(config, name) or values[name]
    outside = config.outside or (config.data is None and values["outside"])
    return DataConfig(**(values | {"strict": config.strict, "outside": outside}))


if __name__ == "__main__":
    main(run, EvaluateConfig, prog="python -m apps.speech.evaluate")
