"""What a training run says: what it will do, how it went, and what to type next."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from apps.music.config import MusicConfig
from apps.music.pieces import Corpus, Piece
from apps.music.settings import Settings, asked
from common import export
from common.cli import command, say_next

DECIDED = {
    "joint": "frames key by key",
    "voices": "frames voice by voice",
    "events": "notes by pitch and duration",
    "independent": "keys independent of each other",
}


def begin(corpus: Corpus) -> None:
    """Says what there is to learn from."""
    parts = (corpus.train, corpus.validation, corpus.test)
    pieces = " / ".join(f"{len(part):,}" for part in parts)
    frames = " / ".join(f"{sum(map(len, part)):,}" for part in parts)
    held = "held keys told from struck ones" if corpus.articulated else "which keys sound"
    print(
        f"{corpus.name}: {pieces} pieces to train, validate and test; {frames} frames, "
        f"{corpus.resolution} a quarter note; {held}"
    )


def plan(config: MusicConfig, head: str, epochs: int, steps: int, folder: Path) -> None:
    """Says what will be done."""
    networks = f"{config.members} networks, each of " if config.members > 1 else ""
    moved = f"moved by up to {config.transpose} semitones" if config.transpose else "not moved"
    print(
        f"{networks}{config.layers} {config.cell} layer(s) of {config.units}; {DECIDED[head]}; "
        f"training pieces {moved}; at most {epochs} epochs of {steps:,} batches\n"
        f"everything goes to {folder}",
        flush=True,
    )


def check_export(path: Path, piece: Piece, settings: Settings, expected: np.ndarray) -> float:
    """Asks the exported model in a process that knows only TensorFlow; returns the largest
    difference from the `expected` losses ``[time]``, in nats a frame.

    Raises:
        RuntimeError: if they differ by more than rounding.
    """
    found = export.answer_in_clean_process(path, "score", asked(piece, settings))["nll"][0]
    difference = float(np.abs(found - expected).max())
    if not np.isfinite(found).all() or difference > 1e-3 * max(1.0, float(expected.max())):
        raise RuntimeError(f"{path}: the exported model differs by {difference} from the trained")
    return difference


def end(result: dict[str, Any], folder: Path) -> None:
    """Prints the scores beside the baselines' and the commands to type next."""
    print(f"\n{result['dataset']}, test part ({result['train_seconds']:.0f} s of training):")
    rows = {f"{result['cell']}, {result['head']}": result["test"], **result["baselines"]}
    print(f"  {'':24s}{'nats a frame':>26s}{'frame accuracy':>16s}")
    for label, scores in rows.items():
        shown = f"{scores['nll']:.4f} [{scores['nll_low']:.3f}, {scores['nll_high']:.3f}]"
        print(f"  {label:24s}{shown:>26s}{scores['frame_accuracy']:16.4f}")
    name, best = min(result["baselines"].items(), key=lambda item: item[1]["nll"])
    gain = best["nll"] - result["test"]["nll"]
    verdict = "better than" if gain > 0 else "NOT better than"
    print(f"The network is {verdict} the best baseline, {name} ({gain:+.4f} nats a frame).")
    say_next(commands(result, folder), folder)


def commands(result: Mapping[str, Any], folder: Path) -> list[str]:
    """What to type next."""
    python, run = command("python"), shlex.quote(str(folder))
    start = "C4 E4 G4" if result["head"] == "events" else "C4+E4+G4"
    return [
        f'{python} -m apps.music.predict --run {run} --start "{start}" --bars 16',
        f"{python} -m apps.music.predict --run {run} --primer tune.mid --out more.mid",
        f"{python} -m apps.music.evaluate --run {run} --data folder_of_midi",
    ]
