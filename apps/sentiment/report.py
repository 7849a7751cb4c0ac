"""What a training run says: what it will do, how it went, and what to type next."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np

from apps.sentiment.config import SentimentConfig
from apps.sentiment.texts import Splits
from common import export, files
from common.cli import command, say_next
from common.errors import UserError

MOST_BYTES = 2**26  # of a vocabulary: millions of words
OTHER = {"imdb": "rotten_tomatoes", "rotten_tomatoes": "imdb"}
"""Whose classes are the same."""
CHECKED = 32  # texts that the exported model is asked again in a clean process


def begin(splits: Splits) -> None:
    """Says what there is to learn from."""
    parts = (splits.train, splits.validation, splits.test)
    counts = " / ".join(f"{len(part):,}" for part in parts)
    classes = ", ".join(splits.classes)
    print(f"{splits.name}: {counts} texts to train, validate and test; classes: {classes}")


def plan(config: SentimentConfig, epochs: int, steps: int, folder: Path) -> None:
    """Says what will be done."""
    networks = f"{config.members} networks, each of " if config.members > 1 else ""
    if config.pretrain_epochs and config.init_from is None:
        print(f"first {config.pretrain_epochs} epochs as a language model; then")
    print(
        f"{networks}{config.layers} {config.direction} {config.cell} layer(s) of {config.units}; "
        f"at most {epochs} epochs of {steps:,} batches\neverything goes to {folder}",
        flush=True,
    )


def vocabulary_of(run: Path) -> list[str]:
    """The vocabulary of another run, padding and unknown word first.

    Raises:
        UserError: if that run has none.
    """
    path = run / "vocabulary.txt"
    if not path.exists():
        raise UserError(f"--init-from {run}: no vocabulary.txt in it, not a run's folder")
    files.check(path, MOST_BYTES)
    try:
        words = path.read_text(encoding="utf-8").split("\n")[:-1]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--init-from {run}: vocabulary.txt can't be read: {error}") from None
    if words[:2] != ["", "[UNK]"]:
        raise UserError(
            f"{path}: expected a run's vocabulary: an empty line, [UNK], and a word a line"
        )
    return words


def check_export(path: Path, texts: list[str], probabilities: np.ndarray) -> float:
    """Asks the exported model in a process that knows only TensorFlow; returns the largest
    difference from the probabilities ``[texts, classes]`` that the Keras model gave.

    Raises:
        RuntimeError: if they differ by more than rounding, or an empty text gets no answer.
    """
    asked = [*texts[:CHECKED], ""]
    answer = export.answer_in_clean_process(path, "serving_default", {"text": np.array(asked)})
    found = answer["probabilities"]
    difference = float(np.abs(found[:-1] - probabilities[: len(asked) - 1]).max())
    if not np.isfinite(found).all() or difference > 1e-3:
        raise RuntimeError(f"{path}: the exported model differs by {difference} from the trained")
    return difference


def end(result: dict[str, Any], folder: Path) -> None:
    """Prints the scores beside the baselines' and the commands to type next."""
    print(f"\n{result['dataset']}, test part ({result['train_seconds']:.0f} s of training):")
    rows = {f"{result['cell']} network": result["test"], **result["baselines"]}
    names = [n for n in result["test"] if not n.endswith(("_low", "_high"))]
    print("  " + " " * 16 + "".join(f"{name:>26s}" for name in names))
    for label, scores in rows.items():
        cells = [interval(scores, name) for name in names]
        print(f"  {label:16s}" + "".join(f"{cell:>26s}" for cell in cells))
    name, best = max(result["baselines"].items(), key=lambda item: item[1]["accuracy"])
    margin = result["test"]["accuracy"] - best["accuracy"]
    verdict = "better than" if margin > 0 else "NOT better than"
    print(f"The network is {verdict} the best baseline, {name} ({margin:+.4f} accuracy).")
    say_next(commands(folder, result["dataset"]), folder)


def commands(folder: Path, dataset: str) -> list[str]:
    """What to type next, after a training on `dataset`."""
    other = f" --dataset {OTHER[dataset]}" if dataset in OTHER else ""
    python, run = command("python"), shlex.quote(str(folder))
    return [
        f'{python} -m apps.sentiment.predict --run {run} "A film to fall asleep in."',
        f'{python} -m apps.sentiment.predict --run {run} --explain "Not bad at all."',
        f"{python} -m apps.sentiment.evaluate --run {run}{other}",
    ]


def interval(scores: dict[str, float], name: str) -> str:
    """A score with its interval, if it has them."""
    if name not in scores:
        return "-"
    if f"{name}_low" not in scores:
        return f"{scores[name]:.4f}"
    return f"{scores[name]:.4f} [{scores[f'{name}_low']:.3f}, {scores[f'{name}_high']:.3f}]"
