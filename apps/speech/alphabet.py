"""Text as ids and back: characters, or word pieces learnt from the training text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

BLANK = 0
"""The id with which CTC says nothing."""


@dataclass(frozen=True)
class Alphabet:
    """Ids 1 to ``len(symbols)`` stand for the symbols; 0 is the CTC blank.

    A text is its symbols strung together, without the spaces at its ends: of characters the
    space is one of them; a word piece that begins a word has its space in front.
    """

    symbols: tuple[str, ...]
    merges: str = ""
    """The word piece model, base64; empty for characters."""

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, text: str) -> np.ndarray:
        """``[m]`` int32.

        Raises:
            UserError: naming the first character that is not in the alphabet.
        """
        raise NotImplementedError

    def outside(self, text: str) -> str:
        """The first character of `text` that can't be written; empty if all can."""
        raise NotImplementedError

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; blanks and ids above the symbols are passed over."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        raise NotImplementedError

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Alphabet":
        raise NotImplementedError


def of_characters(texts: Iterable[str]) -> Alphabet:
    """The characters that occur, in the order of their code points."""
    raise NotImplementedError


def of_pieces(texts: Sequence[str], count: int) -> Alphabet:
    """Byte-pair word pieces (Sennrich et al. 2016, arXiv:1508.07909), `count` in all.

    Raises:
        UserError: where the text is too small for so many.
    """
    raise NotImplementedError
