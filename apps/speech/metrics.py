"""Scores of texts against what was said: word and character errors, by jiwer, with intervals."""

from collections.abc import Sequence
from typing import Any

import jiwer
import numpy as np
from scipy import stats

from apps.speech.utterances import Utterance

SPEAKERS = 8
"""From so many speakers on, intervals are over speakers: the errors of one hang together."""
Scores = dict[str, float]


def scores(utterances: Sequence[Utterance], texts: Sequence[str], resamples: int = 2000) -> Scores:
    """Of all utterances taken together.

    Args:
        utterances: what was said.
        texts: what was written down.
        resamples: of the bootstrap behind each 95 % percentile interval; fixed seed.

    Returns:
        ``wer`` and ``cer``: substitutions, deletions and insertions of words (characters, spaces
        among them), divided by those that were said; ``string_accuracy``: the share of
        utterances without an error; each with ``_low`` and ``_high``. ``substitutions``,
        ``deletions`` and ``insertions``, shares of the words said.
    """
    said = [u.text for u in utterances]
    words, letters = counts(said, texts, "words"), counts(said, texts, "characters")
    right = np.array([a == b for a, b in zip(said, texts, strict=True)], float)
    groups = groups_of(utterances)
    total = max(1, words["said"].sum())
    kinds = ("substitutions", "deletions", "insertions")
    return {
        **ratio("wer", words["errors"], words["said"], groups, resamples),
        **ratio("cer", letters["errors"], letters["said"], groups, resamples),
        **ratio("string_accuracy", right, np.ones(len(right)), groups, resamples),
        **{kind: float(words[kind].sum() / total) for kind in kinds},
    }


def counts(said: Sequence[str], texts: Sequence[str], unit: str) -> dict[str, np.ndarray]:
    """Errors of each utterance by kind, all ``errors`` of it, and how many units were ``said``;
    ``[utterances]`` each."""
    if unit == "words":
        alignments: Any = jiwer.process_words(list(said), list(texts)).alignments
    else:
        alignments = jiwer.process_characters(list(said), list(texts)).alignments
    kinds = {"substitute": "substitutions", "delete": "deletions", "insert": "insertions"}
    found = {kind: np.zeros(len(said)) for kind in kinds.values()}
    length = np.zeros(len(said))
    for row, chunks in enumerate(alignments):
        for chunk in chunks:
            length[row] += chunk.ref_end_idx - chunk.ref_start_idx
            if chunk.type in kinds:
                size = chunk.ref_end_idx - chunk.ref_start_idx
                size = size or chunk.hyp_end_idx - chunk.hyp_start_idx
                found[kinds[chunk.type]][row] += size
    return {**found, "errors": np.sum(list(found.values()), axis=0), "said": length}


def groups_of(utterances: Sequence[Utterance]) -> np.ndarray:
    """What the bootstrap draws, ``[utterances]``: a number for each speaker, where there are enough
    of them, else for each utterance."""
    speakers = sorted({u.speaker for u in utterances})
    if len(speakers) < SPEAKERS:
        return np.arange(len(utterances))
    places = {name: number for number, name in enumerate(speakers)}
    return np.array([places[u.speaker] for u in utterances])


def ratio(
    name: str, errors: np.ndarray, said: np.ndarray, groups: np.ndarray, resamples: int
) -> Scores:
    """Errors divided by what was said, ``[utterances]`` both, and its 95 % bootstrap interval
    (Efron 1979) over groups."""
    above, below = (np.bincount(groups, x) for x in (errors, said))
    value = float(above.sum() / max(1, below.sum()))
    found = {name: value, f"{name}_low": value, f"{name}_high": value}
    if len(above) < 2 or not resamples:
        return found
    interval = stats.bootstrap(
        (above, below),
        lambda a, b, axis: a.sum(axis=axis) / np.maximum(1, b.sum(axis=axis)),
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=200,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return found | {f"{name}_low": float(interval.low), f"{name}_high": float(interval.high)}


def by_speaker(utterances: Sequence[Utterance], texts: Sequence[str]) -> dict[str, Scores]:
    """``wer``, ``words`` and ``utterances`` of each speaker, worst first."""
    found = counts([u.text for u in utterances], texts, "words")
    names = np.array([u.speaker or "?" for u in utterances])
    rows = {}
    for name in sorted(set(names)):
        own = names == name
        said = found["said"][own].sum()
        rows[str(name)] = {
            "wer": float(found["errors"][own].sum() / max(1, said)),
            "words": float(said),
            "utterances": float(own.sum()),
        }
    return dict(sorted(rows.items(), key=lambda row: -row[1]["wer"]))


def by_length(utterances: Sequence[Utterance], texts: Sequence[str]) -> dict[int, float]:
    """``wer`` of the utterances of each number of words."""
    found = counts([u.text for u in utterances], texts, "words")
    lengths = found["said"].astype(int)
    rows = {int(n): lengths == n for n in np.unique(lengths)}
    return {
        n: float(found["errors"][own].sum() / max(1, found["said"][own].sum()))
        for n, own in rows.items()
    }


def worst(
    utterances: Sequence[Utterance], texts: Sequence[str], count: int = 10
) -> list[dict[str, Any]]:
    """The utterances with most word errors: name, speaker, what was said and what was written."""
    errors = counts([u.text for u in utterances], texts, "words")["errors"]
    rows = [int(r) for r in np.argsort(-errors, kind="stable")[:count] if errors[r]]
    return [
        {
            "name": utterances[r].name,
            "speaker": utterances[r].speaker,
            "errors": int(errors[r]),
            "said": utterances[r].text,
            "written": texts[r],
        }
        for r in rows
    ]
