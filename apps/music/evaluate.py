"""Scores a finished run on pieces it has not seen, and its own pieces beside a corpus."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.music.config import EvaluateConfig, MusicConfig
from common.cli import main, start_tensorflow
from common.errors import UserError

FRESH = 8
"""Quarter notes on end that a piece may share with a training piece, and count as apart."""

if TYPE_CHECKING:
    from apps.music.pieces import Corpus, Piece
    from apps.music.settings import Settings


def run(config: EvaluateConfig) -> dict[str, Any]:
    """Prints the scores, and writes them to --out.

    Raises:
        UserError: for data that the run can't score, and for --compose where there are no training
            pieces.
    """
    from common import runs

    finished = runs.to_evaluate("music", config.run, config.dataset, config.data, config.out)
    start_tensorflow()

    from apps.music import baselines, metrics, style
    from apps.music.settings import Settings
    from common import export

    settings = Settings.read(finished)
    where, corpus, pieces = labelled(config, runs.settings(finished, MusicConfig), settings)
    check(corpus, pieces, settings, where)
    if config.compose and not corpus.train:
        raise UserError(f"--compose: {where} has no training pieces to lay composed ones beside")
    model = export.load(finished.export, "generate", "score")
    losses, guesses = ask(model, pieces, settings)
    result: dict[str, Any] = {
        "app": "music",
        "run": str(config.run),
        "dataset": where,
        "pieces": len(pieces),
        "frames": sum(map(len, pieces)),
        config.part: metrics.scores(losses, guesses, pieces),
    }
    print(f"{where}: {len(pieces):,} pieces, {result['frames']:,} frames")
    rows = {"network": result[config.part]}
    if corpus.train:
        result["baselines"] = baselines.scores(corpus.train, pieces, settings.articulated)
        rows |= result["baselines"]
        result["apart"] = apart(losses, style.longest_copies(pieces, corpus.train), corpus)
    print("\n".join(scored(rows, result.get("apart"))))
    if config.compose:
        composed = compose(model, config, pieces, settings)
        result["style"] = lay_beside(composed, corpus, pieces, config.out)
    if config.out is not None:
        runs.write_json(config.out, result)
        print(f"written to {config.out}", file=sys.stderr)
    return result


def scored(rows: dict[str, dict[str, float]], apart: dict[str, float] | None) -> list[str]:
    """Lines for a person: the likelihood of each."""
    lines = []
    for name, found in rows.items():
        low, high, accuracy = found["nll_low"], found["nll_high"], found["frame_accuracy"]
        lines.append(
            f"  {name:12s} {found['nll']:8.4f} nats a frame [{low:.3f}, {high:.3f}], "
            f"frame accuracy {accuracy:.4f}"
        )
    if apart is not None:
        lines.append(
            f"  Of the pieces {apart['pieces']} share at most {FRESH} quarter notes on end with "
            f"any training piece, in any key: {apart['nll']:.4f} nats a frame"
        )
    return lines


def lay_beside(
    composed: list["Piece"], corpus: "Corpus", pieces: "tuple[Piece, ...]", out: Path | None
) -> dict[str, Any]:
    """What composed pieces are made of beside the corpus; a picture of it beside `out`."""
    from apps.music import plots, style
    from common.plots import save

    told = corpus.articulated
    found = style.compare(composed, corpus.train, pieces, corpus.resolution, told)
    print("\n".join(describe(found)))
    if out is not None:
        sources = {"composed": composed, "test": pieces, "training": corpus.train}
        save(plots.distributions(style.tables(sources, told)), out.with_suffix(".png"))
    return found


def labelled(
    config: EvaluateConfig, trained: dict[str, Any], settings: "Settings"
) -> tuple[str, "Corpus", tuple["Piece", ...]]:
    """Where the pieces are from, the corpus, and those of it that are scored.

    Raises:
        UserError: for --part with a folder, and for data that can't be read.
    """
    from apps.music import corpora, data
    from apps.music.pieces import Corpus

    if config.data is not None and config.data.is_dir():
        if config.part != "test":
            raise UserError(f"--part {config.part}: {config.data} is a folder, scored whole")
        own = tuple(corpora.own(config.data, settings.resolution, strict=config.strict))
        grid = (settings.resolution, settings.articulated)
        return str(config.data), Corpus(str(config.data), (), (), own, *grid), own
    path = config.data
    resolution = settings.resolution if path else None
    if path is None and config.dataset is None and trained.get("data"):
        path, resolution = Path(str(trained["data"])), trained.get("resolution")
    dataset = config.dataset or str(trained["dataset"])
    corpus = data.load(dataset, path, resolution, strict=config.strict)
    pieces = corpus.test if config.part == "test" else corpus.validation
    return f"{corpus.name} ({config.part})", corpus, pieces


def apart(losses: list[Any], copies: list[int], corpus: "Corpus") -> dict[str, float]:
    """The score of the pieces that share little with training: ``pieces`` and their ``nll``."""
    import numpy as np

    fresh = [
        each
        for each, copied in zip(losses, copies, strict=True)
        if copied <= FRESH * corpus.resolution
    ]
    return {"pieces": len(fresh), "nll": float(np.concatenate(fresh).mean()) if fresh else np.nan}


def check(corpus: "Corpus", pieces: "tuple[Piece, ...]", settings: "Settings", where: str) -> None:
    """Raises UserError if the pieces stand on another grid than the run's, or hold what its
    network can't say."""
    from apps.music.shape import too_many

    if corpus.resolution != settings.resolution:
        raise UserError(
            f"{where}: {corpus.resolution} frames in a quarter note, expected "
            f"{settings.resolution} as in training"
        )
    if settings.articulated and not corpus.articulated:
        raise UserError(f"{where}: held keys are not told from struck ones, as the run expects")
    too_many(pieces, settings.head, settings.voices)


def ask(
    model: Any, pieces: "tuple[Piece, ...]", settings: "Settings"
) -> tuple[list[Any], list[Any]]:
    """Nats of each frame of each piece, and the likeliest frames."""
    import tensorflow as tf
    from tqdm import tqdm

    from apps.music.settings import asked

    losses, guesses = [], []
    for piece in tqdm(pieces, desc="score", unit="piece", disable=None):
        given = {name: tf.constant(value) for name, value in asked(piece, settings).items()}
        said = model.signatures["score"](**given)
        losses.append(said["nll"].numpy()[0])
        guesses.append(said["likeliest"].numpy()[0])
    return losses, guesses


def compose(
    model: Any, config: EvaluateConfig, like: "tuple[Piece, ...]", settings: "Settings"
) -> list["Piece"]:
    """As many pieces as asked for, from nothing, each as long as one of `like`, in its metre and
    in a key as frequent as it is in training."""
    import numpy as np
    import tensorflow as tf
    from tqdm import tqdm

    from apps.music import keys
    from apps.music.pieces import KEYS, Piece
    from apps.music.settings import draw

    composed = []
    shape = (config.temperature, 0, config.top_p)
    for number in tqdm(range(config.compose), desc="compose", unit="piece", disable=None):
        model_of = like[number % len(like)]
        told = (model_of.bar, model_of.offset) if settings.metres else (0, 0)
        roll = model.signatures["generate"](
            start=tf.zeros([1, 0, KEYS], tf.int32),
            steps=tf.constant(len(model_of), tf.int32),
            **draw(*shape, number, *told, keys.drawn(settings.keys, number)),
        )["roll"]
        frames = roll.numpy()[0].astype(np.uint8)
        composed.append(Piece(f"composed {number + 1}", frames, *told))
    return composed


def describe(found: dict[str, Any]) -> list[str]:
    """Lines for a person: composed pieces beside the test pieces and the training pieces."""
    lines = [f"  {'':26s}{'composed':>10s}{'test':>10s}{'training':>10s}"]
    for name, value in found["composed"].items():
        words = name.replace("_", " ")
        of_training = found["train"].get(name)
        last = "" if of_training is None else f"{of_training:10.4f}"
        lines.append(f"  {words:26s}{value:10.4f}{found['test'][name]:10.4f}{last}")
    return [*lines, "  distances are from the training pieces'"]


if __name__ == "__main__":
    main(run, EvaluateConfig, prog="python -m apps.music.evaluate")
