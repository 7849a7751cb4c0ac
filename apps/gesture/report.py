"""What a training run says: what it will do, how it went, and what to type next."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apps.gesture.batches import padded
from apps.gesture.config import GestureConfig
from apps.gesture.streams import Corpus, Stream
from common import export
from common.cli import command, say_next

CHECKED = 1500  # frames of a stream that the exported model is asked again in a clean process
SHOWN = {
    "frame_accuracy": "accuracy",
    "macro_f1": "macro F1",
    "segmental_f1_10": "F1@10",
    "segmental_f1_25": "F1@25",
    "segmental_f1_50": "F1@50",
    "edit_score": "edit",
    "latency": "latency s",
    "missed": "missed",
}


def begin(corpus: Corpus, parts: Mapping[str, Corpus]) -> None:
    """Says what there is to learn from."""
    counts = " / ".join(
        f"{sum(map(len, part.streams)) / part.rate / 60:.1f}" for part in parts.values()
    )
    print(
        f"{corpus.name}: {counts} minutes at {corpus.rate:g} Hz to train, validate and test; "
        f"{len(corpus.channels)} channels; classes: {', '.join(corpus.classes)}"
    )
    for part, found in parts.items():
        names = found.subjects
        some = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        print(f"  {part}: subjects {some}")


def plan(config: GestureConfig, epochs: int, steps: int, rate: float, folder: Path) -> None:
    """Says what will be done."""
    if config.causal:
        how = f"causal, looks {config.waits} frames ({config.waits / rate:.2f} s) ahead"
    else:
        how = "bidirectional"
    several = "one network" if config.members == 1 else f"{config.members} networks"
    again = f"; then {several} for as many as were best, with the validation subjects too"
    print(
        f"{several}, {config.layers} {config.cell} layer(s) of {config.units}, {how}; a step "
        f"every {config.frames_a_step} frames; at most {epochs} epochs of {steps:,} "
        f"batches{again if config.refit else ''}\n"
        f"everything goes to {folder}",
        flush=True,
    )


def check_export(path: Path, stream: Stream, expected: np.ndarray) -> float:
    """Asks the exported model for the beginning of one stream, beside a shorter one, in a
    process that knows only TensorFlow; returns the largest difference from the `expected`
    probabilities ``[frames, classes]`` of those frames, which the Keras model gave.

    Raises:
        RuntimeError: if they differ by more than rounding.
    """
    short = Stream("", "", stream.values[: len(expected) // 2], stream.labels[: len(expected) // 2])
    frames, mask = padded([Stream("", "", stream.values[: len(expected)], stream.labels), short])
    answer = export.answer_in_clean_process(
        path, "serving_default", {"frames": frames, "mask": mask}
    )
    found = answer["probabilities"][0]
    difference = float(np.abs(found - expected).max())
    if not np.isfinite(found).all() or difference > 1e-3:
        raise RuntimeError(f"{path}: the exported model differs by {difference} from the trained")
    return difference


def end(result: dict[str, Any], folder: Path) -> None:
    """Prints the scores beside the baselines' and the commands to type next."""
    print(
        f"\n{result['dataset']}, fold {result['fold']}, test subjects "
        f"{', '.join(result['by_subject'])} ({result['train_seconds']:.0f} s of training):"
    )
    network = f"{result['cell']} network"
    rows = {network: result["test"], **result["baselines"]}
    table(rows)
    subjects(result["by_subject"])
    verdict(result["test"], result["baselines"])
    say_next(commands(result, folder), folder)


def commands(result: Mapping[str, Any], folder: Path) -> list[str]:
    """What to type next."""
    python, run = command("python"), shlex.quote(str(folder))
    asked = f"{python} -m apps.gesture.predict --run {run}"
    return [
        f"{asked} --data stream.csv --out labels.csv",
        *([f"{asked} --live < stream.csv"] if result["causal"] else []),
        f"{python} -m apps.gesture.evaluate --run {run}",
    ]


def table(rows: Mapping[str, Mapping[str, float]]) -> None:
    """A row a model, a column a score; a spread below where there is one."""
    print("  " + " " * 16 + "".join(f"{name:>12s}" for name in SHOWN.values()))
    for label, scores in rows.items():
        print(f"  {label:16s}" + "".join(f"{scores[name]:12.4f}" for name in SHOWN))
        if "frame_accuracy_std" in scores:
            spread = "".join(f"{'± ' + format(scores[f'{n}_std'], '.4f'):>12s}" for n in SHOWN)
            print(" " * 18 + spread)


def subjects(scores: Mapping[str, Mapping[str, float]]) -> None:
    """A line a subject."""
    for subject, own in scores.items():
        print(f"  subject {subject:8s}{own['frame_accuracy']:10.4f} accuracy")


def verdict(test: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]]) -> None:
    """Says whether the network is worth its trouble."""
    name, best = max(baselines.items(), key=lambda item: item[1]["frame_accuracy"])
    margin = test["frame_accuracy"] - best["frame_accuracy"]
    word = "better than" if margin > 0 else "NOT better than"
    print(f"The network is {word} the best baseline, {name} ({margin:+.4f} frame accuracy).")


def all_folds(
    results: Sequence[Mapping[str, Any]], result: Mapping[str, Any], folder: Path
) -> None:
    """Prints the means over folds, with their spread, and where the folds are."""
    print(f"\n{result['dataset']}, {len(results)} folds, mean and standard deviation over them:")
    table({f"{result['cell']} network": result["test"], **result["baselines"]})
    subjects(result["by_subject"])
    verdict(result["test"], result["baselines"])
    print(
        f"\n{result['train_seconds']:.0f} s of training; each fold is a run: "
        f"{folder / 'fold_0'} ...\nTo look at: {folder / 'report.html'}"
    )
