"""Labels streams with an exported model: whole ones, or one that arrives row by row."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from apps.gesture.config import GestureConfig, PredictConfig
from common.cli import main, start_tensorflow
from common.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from apps.gesture.streams import Corpus, Stream

BATCH = 16  # streams side by side


def run(config: PredictConfig) -> None:
    """Labels --data into --out and --png; or stdin, change by change.

    Raises:
        UserError: for flags that can't be used together or with this run, and for data that it
            can't label.
    """
    from common import runs

    finished = runs.finished("gesture", config.run)
    check(config)

    from apps.gesture import schema as schemas

    schema, trained = schemas.read(finished), runs.settings(finished, GestureConfig)
    like = schemas.table(config, trained)
    if config.live and not schema["causal"]:
        raise UserError(f"--live: {config.run} is bidirectional, expected a run with --causal")
    start_tensorflow()  # only now: the errors above come without the wait

    from apps.gesture import live, plots, tables
    from apps.gesture.smoothing import labels_of
    from common import export
    from common.plots import save

    if config.live:
        live.follow(export.load(finished.export, "start", "step", "finish"), schema, like)
        return
    assert config.data is not None
    corpus = schemas.fitted(tables.read(config.data, like, labelled=False), schema)
    probabilities = ask(
        export.load(finished.export, "serving_default"), corpus.streams, progress=True
    )
    labels = labels_of(probabilities, schema)
    if config.out is not None:
        table = written(corpus, probabilities, labels)
        runs.write_whole(config.out, lambda neighbour: table.to_csv(neighbour, index=False))
        print(f"{len(table):,} rows written to {config.out}")
    if config.png is not None:
        rows = {"network": labels[0]}
        first = corpus.streams[0]
        save(plots.bands(first, rows, corpus.classes, corpus.channels, corpus.rate), config.png)
        print(f"picture: {config.png}")


def check(config: PredictConfig) -> None:
    """Raises UserError for flags that can't be used together, or name nothing."""
    if config.live == (config.data is not None):
        found = "both" if config.live else "neither"
        raise UserError(f"expected --data FILE or --live, found {found}")
    places = {"--out": config.out, "--png": config.png}
    given = {flag: path for flag, path in places.items() if path is not None}
    if config.live and given:
        raise UserError(f"{', '.join(given)}: --live prints what it finds, and writes nothing")
    if not config.live and not given:
        raise UserError("nothing to do: expected --out labels.csv, --png picture.png or both")
    for flag, path in given.items():
        if not path.absolute().parent.is_dir():
            raise UserError(f"{flag} {path}: no such folder")
    if config.png is not None and config.png.suffix.lower() != ".png":
        raise UserError(f"--png {config.png}: expected a name that ends with .png")


def ask(model: Any, streams: "Sequence[Stream]", *, progress: bool = False) -> "list[np.ndarray]":
    """What an exported model says of each stream: probabilities ``[time, classes]``."""
    import tensorflow as tf
    from tqdm import tqdm

    from apps.gesture.batches import padded

    found: list[np.ndarray] = []
    starts = range(0, len(streams), BATCH)
    for start in tqdm(starts, desc="label", unit="batch", disable=None if progress else True):
        part = streams[start : start + BATCH]
        frames, mask = padded(part)
        answer = model.signatures["serving_default"](
            frames=tf.constant(frames), mask=tf.constant(mask)
        )
        said = answer["probabilities"].numpy()
        found += [row[: len(stream)] for row, stream in zip(said, part, strict=True)]
    return found


def written(
    corpus: "Corpus", probabilities: "Sequence[np.ndarray]", labels: "Sequence[np.ndarray]"
) -> "pd.DataFrame":
    """A row for each frame, of ``[time, classes]`` and ``[time]`` for each stream; time in seconds,
    as the file has it (of timestamps, and where there is none, from the stream's first frame)."""
    import numpy as np
    import pandas as pd

    names = np.array(corpus.classes)
    tables = []
    for stream, said, own in zip(corpus.streams, probabilities, labels, strict=True):
        frames = np.arange(len(stream))
        columns = {
            "stream": stream.name,
            "time": np.round(stream.begin + frames / corpus.rate, 6),
            "label": names[own],
            "confidence": said[frames, own],
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


if __name__ == "__main__":
    main(run, PredictConfig, prog="python -m apps.gesture.predict")
