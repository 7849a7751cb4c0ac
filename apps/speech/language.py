r"""An n-gram model of words, learnt from text or read from an ARPA file.

With :math:`c(g)` how often the n-gram g occurs and :math:`t(h)` how many different words follow the
history h (Witten & Bell 1991, interpolated as in Chen & Goodman 1999):

.. math:: p(w \mid h) = \frac{c(h w) + t(h)\, p(w \mid h')}{c(h) + t(h)},

where :math:`h'` is h without its first word; below one word stands the uniform distribution over
the V words, the end of a sentence and the unknown word. What is written to an ARPA file are
:math:`p(w \mid h)` of the n-grams seen, and for the others
:math:`p(w \mid h) = b(h)\, p(w \mid h')` with the back-off weight
:math:`b(h) = t(h) / (c(h) + t(h))`. (The packages that read ARPA files have had no release since
2018, and none of them writes one.)
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common import files
from common.errors import UserError

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
IMPOSSIBLE = -99.0  # the decimal logarithm with which ARPA files say "never"
MOST_BYTES = 2**29
"""Of an ARPA file: each n-gram takes some eight times as much memory."""
LONGEST_GRAM = 20
Gram = tuple[str, ...]


@dataclass(frozen=True)
class NGrams:
    """A back-off model.

    Args:
        order: words in the longest n-gram.
        log_p: n-gram -> natural logarithm of the probability of its last word after the others.
        backoff: history -> natural logarithm of its back-off weight; 0 where there is none.
    """

    order: int
    log_p: dict[Gram, float]
    backoff: dict[Gram, float] = field(default_factory=dict)

    def after(self, history: Gram, word: str) -> float:
        r""":math:`\log p(w \mid h)`, nats."""
        if (word,) not in self.log_p:
            word = UNKNOWN
        kept = history[max(0, len(history) - self.order + 1) :]
        total = 0.0
        while (*kept, word) not in self.log_p:
            if not kept:
                return -math.inf  # an unknown word, of a model that knows of none
            total += self.backoff.get(kept, 0.0)
            kept = kept[1:]
        return total + self.log_p[(*kept, word)]

    def follow(self, history: Gram, word: str) -> Gram:
        """What is to be remembered of a history and the word after it."""
        longer = (*history, word)
        return longer[max(0, len(longer) - self.order + 1) :]

    def of_text(self, text: str) -> float:
        """Log-probability of a sentence with its end, nats."""
        history: Gram = (BEGIN,)
        total = 0.0
        for word in [*text.split(), END]:
            total += self.after(history, word)
            history = self.follow(history, word)
        return total

    def perplexity(self, texts: Iterable[str]) -> float:
        """How many words are as good as equally likely at each place, ends included."""
        texts = list(texts)
        words = sum(len(text.split()) + 1 for text in texts)
        return math.exp(-sum(map(self.of_text, texts)) / max(1, words))


def learn(texts: Iterable[str], order: int) -> NGrams:
    """The Witten-Bell model of sentences."""
    counts: list[Counter[Gram]] = [Counter() for _ in range(order)]
    for text in texts:
        words = (BEGIN, *text.split(), END)
        for end in range(1, len(words)):
            for size in range(1, min(order, end + 1) + 1):
                counts[size - 1][words[end + 1 - size : end + 1]] += 1
    vocabulary = sorted({gram[0] for gram in counts[0]} | {END, UNKNOWN})
    log_p: dict[Gram, float] = {}
    backoff: dict[Gram, float] = {}
    below: dict[Gram, float] = {(): math.log(1 / len(vocabulary))}
    for size, found in enumerate(counts, 1):
        total: Counter[Gram] = Counter()
        kinds: Counter[Gram] = Counter()
        for gram, count in found.items():
            total[gram[:-1]] += count
            kinds[gram[:-1]] += 1
        grams = {(word,) for word in vocabulary} if size == 1 else set(found)
        for gram in sorted(grams):
            history = gram[:-1]
            lower = below[()] if size == 1 else log_p[gram[1:]]
            n, t = total[history], kinds[history]
            p = (found[gram] + t * math.exp(lower)) / (n + t) if n else math.exp(lower)
            log_p[gram] = math.log(p)
        backoff |= {h: math.log(kinds[h] / (total[h] + kinds[h])) for h in total if h}
    log_p[(BEGIN,)] = IMPOSSIBLE * math.log(10)
    return NGrams(order, log_p, backoff)


def to_arpa(model: NGrams) -> str:
    """The model as the text of an ARPA file: decimal logarithms, seven digits."""
    by_size: dict[int, list[Gram]] = defaultdict(list)
    for gram in model.log_p:
        by_size[len(gram)].append(gram)
    lines = ["\\data\\", *(f"ngram {size}={len(by_size[size])}" for size in sorted(by_size))]
    for size in sorted(by_size):
        lines += ["", f"\\{size}-grams:"]
        for gram in sorted(by_size[size]):
            cells = [f"{model.log_p[gram] / math.log(10):.7g}", " ".join(gram)]
            if gram in model.backoff:
                cells.append(f"{model.backoff[gram] / math.log(10):.7g}")
            lines.append("\t".join(cells))
    return "\n".join([*lines, "", "\\end\\", ""])


def from_arpa(path: Path) -> NGrams:
    """A model out of an ARPA file.

    Raises:
        UserError: naming the line, for whatever is no such file.
    """
    files.check(path, MOST_BYTES)
    log_p: dict[Gram, float] = {}
    backoff: dict[Gram, float] = {}
    size = 0
    for number, line in files.lines(path):
        text = line.strip()
        if text == "\\end\\":
            break
        if text.startswith("\\") and text.endswith("-grams:"):
            size = _size(text, f"{path}: line {number}")
        elif size and text:
            gram, found, weight = _row(text.split(), size, f"{path}: line {number}")
            log_p[gram] = found
            if weight is not None:
                backoff[gram] = weight
    if not log_p:
        raise UserError(f"{path}: no n-grams in it, expected an ARPA file")
    return NGrams(max(map(len, log_p)), log_p, backoff)


def _size(heading: str, where: str) -> int:
    size = heading[1:].removesuffix("-grams:")
    if size not in map(str, range(1, LONGEST_GRAM + 1)):
        raise UserError(
            f"{where}: {heading[:60]!r}, expected \\1-grams: to \\{LONGEST_GRAM}-grams:"
        )
    return int(size)


def _row(cells: Sequence[str], size: int, where: str) -> tuple[Gram, float, float | None]:
    wanted = f"expected a logarithm, {size} word(s) and perhaps a back-off weight"
    if len(cells) not in (size + 1, size + 2):
        raise UserError(f"{where}: {len(cells)} cells, {wanted}")
    try:
        numbers = [float(cell) * math.log(10) for cell in (cells[0], *cells[size + 1 :])]
    except ValueError:
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise UserError(f"{where}: {' '.join(cells)[:60]!r}, {wanted}")
    return tuple(cells[1 : size + 1]), numbers[0], numbers[1] if len(numbers) > 1 else None
