"""What a training run says: what it will do, how it went, and what to type next."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apps.speech.batches import pad
from apps.speech.config import SpeechConfig
from apps.speech.intake import reasons
from apps.speech.utterances import Corpus, Utterance, seconds
from common import export
from common.cli import command, say_next

CHECKED = 4  # utterances that the exported model is asked again in a clean process
SHOWN = {"wer": "WER", "cer": "CER", "string_accuracy": "all right"}


def begin(corpus: Corpus, perplexity: float) -> None:
    """Says what there is to learn from."""
    parts = (corpus.train, corpus.validation, corpus.test)
    counts = " / ".join(f"{len(part):,}" for part in parts)
    minutes = " / ".join(f"{seconds(part) / 60:.0f}" for part in parts)
    speakers = " / ".join(f"{len({u.speaker for u in part})}" for part in parts)
    print(
        f"{corpus.name}: {counts} utterances to train, validate and test; {minutes} minutes; "
        f"{speakers} speakers\n"
        f"  {len(corpus.alphabet)} symbols; perplexity of the validation texts for the language "
        f"model {perplexity:.1f}"
    )
    left_out(corpus.skipped)


def left_out(skipped: Sequence[str]) -> None:
    """Says which recordings can't be used, and why: some of them, and how many there are."""
    for line in skipped[:5]:
        print(f"  left out: {line}")
    if len(skipped) > 5:
        print(f"  ... {len(skipped):,} in all: {reasons(skipped)}")


def plan(config: SpeechConfig, epochs: int, steps: int, folder: Path) -> None:
    """Says what will be done."""
    ahead = config.delay * config.seconds_a_step
    how = f"causal, sees {ahead:.2f} s ahead" if config.causal else "bidirectional"
    print(
        f"{config.layers} {config.cell} layer(s) of {config.units}, {how}, decoder: "
        f"{config.decodes}; a step every {1000 * config.seconds_a_step:.0f} ms; at most {epochs} "
        f"epochs of {steps:,} batches\neverything goes to {folder}",
        flush=True,
    )


def check_export(
    path: Path, utterances: Sequence[Utterance], texts: Sequence[str], confidences: np.ndarray
) -> float:
    """Asks the exported model for some utterances side by side in a process that knows only
    TensorFlow; returns the largest difference from the `confidences` ``[n]`` of the Keras model.

    Raises:
        RuntimeError: for other texts, or confidences that differ by more than rounding.
    """
    waveform, lengths = pad([u.waveform for u in utterances])
    answer = export.answer_in_clean_process(
        path, "serving_default", {"waveform": waveform, "length": lengths}
    )
    found = [text.decode() for text in answer["text"]]
    difference = float(np.abs(answer["confidence"] - confidences).max())
    if found != list(texts) or not difference < 0.02:
        raise RuntimeError(
            f"{path}: the exported model says {found}, the trained one {list(texts)}; confidences "
            f"differ by {difference}"
        )
    return difference


def end(result: Mapping[str, Any], folder: Path) -> None:
    """Prints the scores beside the baselines' and the commands to type next."""
    print(f"\n{result['dataset']}, test part ({result['train_seconds']:.0f} s of training):")
    table({f"{result['cell']} network": result["test"], **result["searches"]})
    speakers(result["by_speaker"])
    wrong(result["worst"])
    if result["baselines"]:
        print("\n  utterances of one word:")
        table({f"{result['cell']} network": result["single_words"], **result["baselines"]})
        verdict(result["single_words"], result["baselines"])
    say_next(commands(result, folder), folder)


def commands(result: Mapping[str, Any], folder: Path) -> list[str]:
    """What to type next."""
    python, run = command("python"), shlex.quote(str(folder))
    lexicon = " --lexicon words" if result["closed"] else ""
    recorded = f"arecord -q -f S16_LE -r 16000 -c 1 -t raw | {python} -m apps.speech.predict"
    return [
        f"{python} -m apps.speech.predict --run {run} sound.wav{lexicon}",
        *([f"{recorded} --run {run} --live"] if result["causal"] else []),
        f"{python} -m apps.speech.evaluate --run {run}{lexicon}",
    ]


def table(rows: Mapping[str, Mapping[str, float]]) -> None:
    """A row a way of decoding, a column a score in per cent, with its interval."""
    print("  " + " " * 22 + "".join(f"{name:>26s}" for name in SHOWN.values()))
    for label, scores in rows.items():
        cells = [
            f"{100 * scores[n]:.2f} ({100 * scores[f'{n}_low']:.2f} to "
            f"{100 * scores[f'{n}_high']:.2f})"
            for n in SHOWN
        ]
        print(f"  {label:22s}" + "".join(f"{cell:>26s}" for cell in cells))


def verdict(own: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]]) -> None:
    """Says whether the network is worth its trouble."""
    name, best = min(baselines.items(), key=lambda item: item[1]["wer"])
    margin = own["wer"] - best["wer"]
    word = "better than" if margin < 0 else "NOT better than"
    print(f"  The network is {word} the best baseline, {name} ({margin:+.2%} WER).")


def speakers(rows: Mapping[str, Mapping[str, float]], count: int = 5) -> None:
    """A line for each of the voices with most errors."""
    if len(rows) > 1:
        print(f"  the hardest of {len(rows)} voices:")
        for name, row in list(rows.items())[:count]:
            print(f"    {name:30s}{row['wer']:8.2%} of {row['words']:.0f} words")


def wrong(rows: Sequence[Mapping[str, Any]]) -> None:
    """The worst utterances: what was said, and what was written down."""
    if rows:
        print("  the worst utterances:")
        for row in rows:
            print(f"    {row['name']} ({row['speaker']}): {row['said']!r} -> {row['written']!r}")
