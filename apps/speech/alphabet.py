"""Text as ids and back: characters, whole words, or word pieces learnt from the training text."""

import base64
import functools
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import UserError

BLANK = 0
"""The id with which CTC says nothing."""
_MARK = "\u2581"  # what sentencepiece writes for a space


@dataclass(frozen=True)
class Alphabet:
    """Ids 1 to ``len(symbols)`` stand for the symbols; 0 is the CTC blank.

    A text is its symbols strung together, without the spaces at its ends: of characters the
    space is one of them; a word, or a word piece that begins one, has its space in front.
    """

    symbols: tuple[str, ...]
    merges: str = ""
    """The word piece model, base64; empty for characters and for words."""
    words: bool = False
    """Whether each symbol is a word."""

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, text: str) -> np.ndarray:
        """``[m]`` int32.

        Raises:
            UserError: naming the first character, or word, that is not in the alphabet.
        """
        stranger = self.outside(text)
        if stranger:
            raise UserError(
                f"{text[:60]!r}: {named(stranger)} is not in the alphabet {shown(self)}"
            )
        try:
            return np.array([self._ids[unit] for unit in self._units(text)], np.int32)
        except KeyError as unit:
            raise UserError(f"{text[:60]!r}: {unit} is none of the alphabet's symbols") from None

    def _units(self, text: str) -> list[str]:
        if self.words:
            return [f" {word}" for word in text.split()]
        if self.merges:
            return [u.replace(_MARK, " ") for u in self._pieces.encode(text, out_type=str)]
        return list(text)

    def outside(self, text: str) -> str:
        """The first character, or word, of `text` that can't be written; empty if all can."""
        if self.words:
            return next((word for word in text.split() if f" {word}" not in self._ids), "")
        return next((character for character in text if character not in self._known), "")

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; blanks and ids above the symbols are passed over."""
        return "".join(self.symbols[i - 1] for i in ids if 1 <= i <= len(self)).strip()

    def to_json(self) -> dict[str, Any]:
        """What ``from_json`` makes the same alphabet of."""
        return {"symbols": list(self.symbols), "merges": self.merges, "words": self.words}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Alphabet":
        """The alphabet that ``to_json`` wrote."""
        return cls(tuple(value["symbols"]), value["merges"], value.get("words", False))

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: number for number, symbol in enumerate(self.symbols, 1)}

    @functools.cached_property
    def _known(self) -> frozenset[str]:
        return frozenset("".join(self.symbols))

    @functools.cached_property
    def _pieces(self) -> Any:
        import sentencepiece

        try:
            return sentencepiece.SentencePieceProcessor(model_proto=base64.b64decode(self.merges))
        except (ValueError, RuntimeError) as error:
            said = " ".join(str(error).split())[:200]
            raise UserError(f"the alphabet's word pieces can't be read: {said}") from None


def of_characters(texts: Iterable[str]) -> Alphabet:
    """The characters that occur, in the order of their code points."""
    return Alphabet(tuple(sorted(set("".join(texts)))))


def of_words(texts: Iterable[str]) -> Alphabet:
    """The words that occur, in alphabetical order: for a task of few words, each said often."""
    return Alphabet(tuple(f" {word}" for word in sorted(set(" ".join(texts).split()))), words=True)


def of_pieces(texts: Sequence[str], count: int) -> Alphabet:
    """Byte-pair word pieces (Sennrich et al. 2016, arXiv:1508.07909), `count` in all; every
    character is one of them.

    Raises:
        UserError: where the text has more characters, or too few words for so many.
    """
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sorted(texts)),
            model_writer=model,
            model_type="bpe",
            vocab_size=count + 1,  # sentencepiece counts what stands for the unknown
            character_coverage=1.0,
            normalization_rule_name="identity",
            num_threads=1,
            minloglevel=2,
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
        )
    except RuntimeError as error:
        raise UserError(f"--pieces {count}: {_limit(str(error), texts)}") from None
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    symbols = [pieces.id_to_piece(i).replace(_MARK, " ") for i in range(1, len(pieces))]
    return Alphabet(tuple(symbols), base64.b64encode(model.getvalue()).decode())


def _limit(message: str, texts: Sequence[str]) -> str:
    most = re.search(r"<= (\d+)", message)
    if most:
        return f"the training text has words for {int(most[1]) - 1} at most"
    least = len(set("".join(texts)) | {" "})
    return f"expected more than the {least} characters of the training text"


def plain(text: str) -> str:
    """Lower case, without punctuation but apostrophes inside words, one space between words."""
    text = unicodedata.normalize("NFC", text).lower().replace("\u2019", "'")
    kept = "".join(c if c == "'" or unicodedata.category(c)[0] in "LNM" else " " for c in text)
    return " ".join(word.strip("'") for word in kept.split() if word.strip("'"))


def spaced(text: str) -> str:
    """As it stands, but for white space: one space between words."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def named(stranger: str) -> str:
    """A word as a message shows it; a character with its Unicode name."""
    if len(stranger) > 1:
        return repr(stranger)
    return f"{stranger!r} ({unicodedata.name(stranger, 'unnamed').lower()})"


def shown(alphabet: Alphabet) -> str:
    """The alphabet's characters, or how many words it has, as a message shows them."""
    if alphabet.words:
        return f"of {len(alphabet):,} words"
    return repr("".join(sorted(set("".join(alphabet.symbols)))))
