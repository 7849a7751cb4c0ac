"""Scores a finished run frame by frame: on its own test subjects, or on the user's streams."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.gesture.config import EvaluateConfig, GestureConfig
from common.cli import main, start_tensorflow
from common.errors import UserError

if TYPE_CHECKING:
    from apps.gesture.streams import Corpus


def run(config: EvaluateConfig) -> dict[str, Any]:
    """Prints the scores, and writes them to --out."""
    from common import runs

    finished = runs.to_evaluate("gesture", config.run, config.dataset, config.data, config.out)
    start_tensorflow()

    from apps.gesture import metrics, report, streams
    from apps.gesture import schema as schemas
    from apps.gesture.predict import ask
    from apps.gesture.smoothing import labels_of
    from common import export

    schema, trained = schemas.read(finished), runs.settings(finished, GestureConfig)
    corpus = labelled(config, trained, schema)
    true = streams.fixed_streams(corpus)
    labels = labels_of(
        ask(export.load(finished.export, "serving_default"), true, progress=True), schema
    )
    scores = metrics.scores(true, labels, corpus.rate, schema["lookahead"])
    subjects = metrics.by_subject(true, labels, corpus.rate, schema["lookahead"])
    frames = sum(map(len, true))
    print(f"{corpus.name}: {len(true)} streams, {frames / corpus.rate / 60:.1f} minutes")
    report.table({f"{trained['cell']} network": scores})
    report.subjects(subjects)
    result = {
        "app": "gesture",
        "run": str(config.run),
        "dataset": corpus.name,
        "frames": frames,
        "test": scores,
        "by_subject": subjects,
        "confusion": metrics.confusion(true, labels, len(corpus.classes)).tolist(),
    }
    if config.out is not None:
        runs.write_json(config.out, result)
        print(f"written to {config.out}", file=sys.stderr)
    return result


def labelled(config: EvaluateConfig, trained: dict[str, Any], schema: dict[str, Any]) -> "Corpus":
    """The streams to score: of what the run learned from the test subjects, else all.

    Raises:
        UserError: if none of the run's test subjects is in the data.
    """
    from apps.gesture import data
    from apps.gesture import schema as schemas

    like = schemas.table(config, trained)
    own = trained["data"] if config.dataset is None else None
    path = config.data or (Path(own) if own else None)
    dataset = config.dataset or trained["dataset"]
    found = schemas.fitted(data.load(dataset, path, like), schema)
    if config.data is not None or (config.dataset not in (None, trained["dataset"])):
        return found
    tested = found.of(schema["subjects"]["test"])
    if not tested.streams:
        subjects = ", ".join(schema["subjects"]["test"])
        raise UserError(f"{found.name}: none of the run's test subjects ({subjects}) in it")
    return tested


if __name__ == "__main__":
    main(run, EvaluateConfig, prog="python -m apps.gesture.evaluate")
