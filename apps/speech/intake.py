"""What recordings must be like to be learnt from; the others are named and left out."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from sklearn.model_selection import GroupShuffleSplit

from apps.speech import alphabet as alphabets
from apps.speech.alphabet import Alphabet, named, shown
from apps.speech.config import DataConfig
from apps.speech.grammar import Grammar
from apps.speech.utterances import Corpus, Utterance
from common.errors import UserError

QUIETEST = 33  # of 32768, or -60 dB: a recording that is never louder has no speech in it
SPLITS = ("train", "validation", "test")
ASIDE = 0.1  # of the recordings, or of their speakers, for validation, and as many for test


class Intake:
    """Gathers the reasons why recordings can't be used; refuses the first, if that is wanted."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.skipped: list[str] = []

    def leave_out(self, where: str, reason: str) -> None:
        """Notes a recording, which is not going to be used.

        Raises:
            UserError: under ``--strict``.
        """
        if self.strict:
            raise UserError(f"{where}: {reason} (--strict)")
        self.skipped.append(f"{where}: {reason}")

    def left_out(self) -> str:
        """How many were left out for which reasons, and the first of them."""
        if not self.skipped:
            return "there are none"
        return f"left out: {reasons(self.skipped)}; the first: {self.skipped[0]}"

    def kept(
        self, utterances: Iterable[Utterance], config: DataConfig, alphabet: Alphabet | None = None
    ) -> tuple[Utterance, ...]:
        """Those that can be used.

        Args:
            alphabet: None while it is not known yet.
        """
        good = []
        for utterance in utterances:
            reason = fault(utterance, config, alphabet)
            if reason:
                self.leave_out(utterance.name, reason)
            else:
                good.append(utterance)
        return tuple(good)


def reasons(skipped: Sequence[str]) -> str:
    """How many were left out for which kind of reason: '3 silent, 1 too long'."""
    kinds = {
        "silent": ": silent",
        "too long": ": too long",
        "too short": ": shorter than its",
        "without a transcript": ": no transcript",
        "outside the alphabet": " is outside the alphabet",
        "missing": ": no such file",
        "unreadable": ": can't be read",
    }
    counts = Counter(
        next((kind for kind, mark in kinds.items() if mark in line), "other") for line in skipped
    )
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.most_common())


def fault(utterance: Utterance, config: DataConfig, alphabet: Alphabet | None) -> str:
    """Why an utterance can't be used; empty if it can."""
    if not utterance.text:
        return "no transcript"
    loudest = int(np.abs(utterance.samples.astype(np.int32)).max(initial=0))
    if loudest < QUIETEST:
        level = f"{20 * np.log10(loudest / 32768):.0f} dB" if loudest else "nothing but zeros"
        return f"silent: {level}, expected a peak above -60 dB"
    if utterance.seconds > config.longest:
        return f"too long: {utterance.seconds:.1f} s, --longest allows {config.longest:g}"
    if alphabet is None:
        return ""
    stranger = alphabet.outside(utterance.text)
    if stranger:
        return f"{named(stranger)} in its transcript is outside the alphabet {shown(alphabet)}"
    ids = alphabet.encode(utterance.text)
    # CTC says a blank between two equal symbols: each takes a step of its own.
    needed = (len(ids) + int((ids[1:] == ids[:-1]).sum())) * config.pace
    if utterance.seconds < needed:
        return (
            f"shorter than its transcript can be: {utterance.seconds:.2f} s for {len(ids)} "
            f"symbols, --pace expects {needed:.2f} or more"
        )
    return ""


def worded(text: str, config: DataConfig) -> str:
    """A transcript in the form that ``--text`` asks for."""
    return alphabets.plain(text) if config.text == "plain" else alphabets.spaced(text)


def corpus(
    name: str,
    splits: Mapping[str, Sequence[Utterance]],
    config: DataConfig,
    intake: Intake,
    *,
    words: tuple[str, ...] = (),
    grammar: Grammar | None = None,
) -> Corpus:
    """Utterances that can be used, in the alphabet of those to learn from.

    Args:
        splits: the utterances of each; those that are not among them are set aside from the
            training split.

    Raises:
        UserError: if a split is left empty; and under ``--strict`` for the first that can't be
            used.
    """
    heard = completed({split: intake.kept(splits[split], config) for split in splits})
    alphabet = _alphabet(heard["train"], config, name, words)
    kept = {split: intake.kept(heard[split], config, alphabet) for split in SPLITS}
    for split in SPLITS:
        if not kept[split]:
            raise UserError(
                f"{name}: no recordings to use in the {split} split; {intake.left_out()}"
            )
    return Corpus(
        name,
        kept["train"],
        kept["validation"],
        kept["test"],
        alphabet=alphabet,
        words=words,
        grammar=grammar,
        skipped=tuple(intake.skipped),
    )


def _alphabet(
    train: Sequence[Utterance], config: DataConfig, name: str, words: tuple[str, ...]
) -> Alphabet:
    texts = [utterance.text for utterance in train]
    if config.alphabet is not None:
        given = alphabets.of_characters([config.alphabet])
        if not config.pieces:
            return given
        texts = [text for text in texts if not given.outside(text)]
    if not texts:
        raise UserError(f"{name}: no transcripts to make an alphabet from")
    if config.pieces:
        return alphabets.of_pieces(texts, config.pieces)
    if config.symbols == "words" or (words and config.symbols is None):
        return alphabets.of_words(words or texts)
    return alphabets.of_characters(texts)


def completed(splits: Mapping[str, Sequence[Utterance]]) -> dict[str, Sequence[Utterance]]:
    """With a validation and a test split from the training split, where there was none.

    Raises:
        UserError: as ``parted``.
    """
    if "validation" in splits and "test" in splits:
        return {"train": (), **splits}
    made = parted(splits.get("train", ()))
    if "test" in splits:
        made = {"train": made["train"] + made["test"], "validation": made["validation"]}
    elif "validation" in splits:
        made = {"train": made["train"] + made["validation"], "test": made["test"]}
    return {**splits, **made}


def parted(utterances: Sequence[Utterance]) -> dict[str, list[Utterance]]:
    """Splits of 80, 10 and 10 %: of speakers, if three or more are named for all; otherwise of
    recordings. A function of the utterances alone.

    Raises:
        UserError: for fewer than three recordings.
    """
    if len(utterances) < 3:
        raise UserError(
            f"{len(utterances)} recordings: expected three or more, to learn, choose and test on"
        )
    speakers = [utterance.speaker for utterance in utterances]
    alone = [str(number) for number in range(len(utterances))]
    units = speakers if all(speakers) and len(set(speakers)) >= 3 else alone
    count = len(set(units))
    aside = max(1, round(ASIDE * count))
    rest, test = _grouped(list(range(len(units))), units, aside)
    train, validation = _grouped(rest, units, aside)
    places = {"train": train, "validation": validation, "test": test}
    return {split: [utterances[place] for place in places[split]] for split in SPLITS}


def _grouped(places: list[int], units: Sequence[str], aside: int) -> tuple[list[int], list[int]]:
    chosen = [units[place] for place in places]
    splitter = GroupShuffleSplit(1, test_size=aside, random_state=0)
    kept, taken = next(splitter.split(places, groups=chosen))
    return [places[k] for k in sorted(kept)], [places[t] for t in sorted(taken)]
