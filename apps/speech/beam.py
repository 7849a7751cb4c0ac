r"""Beam searches for the text that is likeliest by all its alignments, in NumPy.

**Prefix search** for CTC (Graves 2012; with words scored as in Hannun et al. 2014). For each prefix
g of a text, the probabilities that the first j steps say g and end with a blank,
:math:`b_j(g)`, or with g's last symbol, :math:`n_j(g)`:

.. math::
    b_j(g) &= p_j(\text{blank}) (b_{j-1}(g) + n_{j-1}(g)) \\
    n_j(g c) &= p_j(c) (n_{j-1}(g c) + b_{j-1}(g) + [c \ne \mathrm{last}(g)]\, n_{j-1}(g)) .

After each step the prefixes of the largest :math:`b + n` (times what the scorer gives) are kept.

**Label search** for the attention decoder, alone or with CTC (Watanabe et al. 2017). Texts grow by
a symbol at a time; :math:`\lambda \log \psi + (1 - \lambda) \log p_a` decides, with :math:`\psi(g)`
the probability by CTC of all texts that begin with g:

.. math::
    \phi_j(g, c) &= b_{j-1}(g) + [c \ne \mathrm{last}(g)]\, n_{j-1}(g) \\
    n_j(gc) &= p_j(c) (n_{j-1}(gc) + \phi_j(g, c)) \qquad
    b_j(gc) = p_j(\text{blank}) (b_{j-1}(gc) + n_{j-1}(gc)) \\
    \psi(gc) &= \sum_j \phi_j(g, c)\, p_j(c), \qquad p_c(g) = b_T(g) + n_T(g) .
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from apps.speech.scoring import Place, Scorer

FEW = 12.0  # nats below a step's likeliest symbol: what is less likely is not tried
NEVER = -np.inf


@dataclass(frozen=True)
class Hypothesis:
    """A text that was found."""

    ids: tuple[int, ...]
    log_p: float
    """By the network: of the alignments that the beam kept, or of the joint search; nats."""
    score: float
    """With what the scorer added."""


class _Prefix(NamedTuple):
    blank: float
    last: float
    place: Place
    added: float

    @property
    def log_p(self) -> float:
        return float(np.logaddexp(self.blank, self.last))


def prefix_search(log_p: np.ndarray, width: int, scorer: Scorer) -> list[Hypothesis]:
    """Texts by CTC, best first; none if the scorer rules all of them out.

    Args:
        log_p: ``[time, symbols + 1]``, the blank first.
        width: prefixes followed side by side. Beside them the best one that may end is kept.
    """
    beam: dict[tuple[int, ...], _Prefix] = {(): _Prefix(0.0, NEVER, Place(), 0.0)}
    for row in log_p:
        tried = [int(c) for c in np.flatnonzero(row > row.max() - FEW) if c]
        found: dict[tuple[int, ...], _Prefix] = {}
        for ids, prefix in beam.items():
            total = prefix.log_p
            stays = float(prefix.last + row[ids[-1]]) if ids else NEVER
            _add(found, ids, _Prefix(float(total + row[0]), stays, prefix.place, prefix.added))
            for c in tried:
                step = scorer.follow(prefix.place, c)
                if step is None:
                    continue
                before = prefix.blank if ids and ids[-1] == c else total
                place, added = step[0], prefix.added + step[1]
                _add(found, (*ids, c), _Prefix(NEVER, float(before + row[c]), place, added))
        beam = _pruned(found, width, scorer)
    texts = []
    for ids, prefix in beam.items():
        end = scorer.end(prefix.place)
        if end is not None and prefix.log_p > NEVER:
            texts.append(Hypothesis(ids, prefix.log_p, prefix.log_p + prefix.added + end))
    return sorted(texts, key=lambda text: -text.score)


def _add(found: dict[tuple[int, ...], _Prefix], ids: tuple[int, ...], more: _Prefix) -> None:
    if ids in found:
        before = found[ids]
        blank = float(np.logaddexp(before.blank, more.blank))
        more = more._replace(blank=blank, last=float(np.logaddexp(before.last, more.last)))
    found[ids] = more


def _pruned(
    found: dict[tuple[int, ...], _Prefix], width: int, scorer: Scorer
) -> dict[tuple[int, ...], _Prefix]:
    order = sorted(found, key=lambda ids: -(found[ids].log_p + found[ids].added))
    kept = order[:width]
    if not any(scorer.may_end(found[ids].place) for ids in kept):
        kept += [ids for ids in order[width:] if scorer.may_end(found[ids].place)][:1]
    return {ids: found[ids] for ids in kept}


Step = Callable[[np.ndarray, Any], tuple[np.ndarray, Any]]
"""(last symbol of each text ``[n]``, the decoder's states of them) -> (log-probabilities of the
next symbol ``[n, symbols + 2]``, the states after). States are dictionaries of arrays, a row a
text; None before the first symbol, of one text."""


class _Partial(NamedTuple):
    ids: tuple[int, ...]
    attention: float
    place: Place
    added: float
    score: float


def label_search(
    step: Step, width: int, scorer: Scorer, *, ctc: np.ndarray | None, weight: float, limit: int
) -> list[Hypothesis]:
    """Texts by the attention decoder, or by both, best first; none if all are ruled out.

    Args:
        ctc: log-probabilities ``[time, symbols + 1]``; None for the attention decoder alone.
        weight: :math:`\\lambda`, the share of CTC.
        limit: symbols in a text at most.
    """
    weight = 0.0 if ctc is None else weight
    ctc = np.zeros([0, 1]) if ctc is None else ctc
    beam, tables = [_Partial((), 0.0, Place(), 0.0, 0.0)], before_any(ctc)
    states: Any = None
    texts: list[Hypothesis] = []
    for _ in range(limit + 1):
        last = np.array([text.ids[-1] if text.ids else 0 for text in beam], np.int32)
        log_p, states = step(last, states)
        texts += _ended(beam, tables, log_p[:, -1], scorer, weight)
        steps = [_steps(text, log_p[row], width, scorer) for row, text in enumerate(beam)]
        psi, longer = extended(tables, last, side_by_side(steps), ctc)
        grown = [
            (row, place, text)
            for row, before in enumerate(beam)
            for place, text in enumerate(_grown(before, steps[row], log_p[row], psi[row], weight))
        ]
        grown = sorted(grown, key=lambda one: -one[2].score)[:width]
        if scorer.bonus <= 0:  # then a score only falls, and what is below the best stays there
            best = max((text.score for text in texts), default=NEVER)
            grown = [one for one in grown if one[2].score > best]
        if not grown:
            break
        rows, places = [one[0] for one in grown], [one[1] for one in grown]
        beam, tables = [one[2] for one in grown], longer[rows, places]
        states = {name: values[rows] for name, values in states.items()}
    return sorted(texts, key=lambda text: -text.score)


def _ended(
    beam: Sequence[_Partial], tables: np.ndarray, log_end: np.ndarray, scorer: Scorer, weight: float
) -> list[Hypothesis]:
    texts = []
    for text, table, end in zip(beam, tables, log_end, strict=True):
        added = scorer.end(text.place)
        total = (1 - weight) * (text.attention + float(end))
        if weight:
            total += weight * float(np.logaddexp(*table[-1]))
        if added is not None and total > NEVER:
            texts.append(Hypothesis(text.ids, total, total + text.added + added))
    return texts


Steps = list[tuple[int, tuple[Place, float]]]
"""Symbols that a text can go on with, and what the scorer says to each."""


def _steps(text: _Partial, log_p: np.ndarray, width: int, scorer: Scorer) -> Steps:
    """The likeliest of those that are not ruled out."""
    found: Steps = []
    for symbol in np.argsort(-log_p[1:-1]) + 1:  # neither start nor end
        step = scorer.follow(text.place, int(symbol))
        if step is not None:
            found.append((int(symbol), step))
        if len(found) == width:
            break
    return found


def side_by_side(steps: Sequence[Steps]) -> np.ndarray:
    """Their symbols, ``[texts, k]``, with 0 (which nobody reads) where a text has fewer."""
    symbols = np.zeros([len(steps), max(map(len, steps))], int)
    for row, found in zip(symbols, steps, strict=True):
        row[: len(found)] = [symbol for symbol, _ in found]
    return symbols


def _grown(
    text: _Partial, steps: Steps, log_p: np.ndarray, psi: np.ndarray, weight: float
) -> list[_Partial]:
    found = []
    for (symbol, (place, more)), log_psi in zip(steps, psi, strict=False):
        attention = text.attention + float(log_p[symbol])
        total = (1 - weight) * attention + (weight * float(log_psi) if weight else 0.0)
        added = text.added + more
        found.append(_Partial((*text.ids, symbol), attention, place, added, total + added))
    return found


def before_any(ctc: np.ndarray) -> np.ndarray:
    r""":math:`\log n, \log b` of the empty text, before the first step and after each,
    ``[1, time + 1, 2]``."""
    blanks = np.concatenate([[0.0], np.cumsum(ctc[:, 0])])
    return np.stack([np.full(len(blanks), NEVER), blanks], axis=1)[np.newaxis]


def extended(
    before: np.ndarray, last: np.ndarray, symbols: np.ndarray, ctc: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    r"""Texts with each of some symbols after them, by CTC.

    Args:
        before: :math:`\log n, \log b` of each text, ``[texts, time + 1, 2]``.
        last: its last symbol, ``[texts]``; 0 if it has none.
        symbols: ``[texts, k]``.
        ctc: log-probabilities ``[time, symbols + 1]``.

    Returns:
        :math:`\log \psi` ``[texts, k]``, and the longer texts' :math:`\log n, \log b`,
        ``[texts, k, time + 1, 2]``.
    """
    either = np.logaddexp(before[..., 0], before[..., 1])[:, np.newaxis, :-1]
    same = (symbols == last[:, np.newaxis])[..., np.newaxis]
    phi = np.where(same, before[:, np.newaxis, :-1, 1], either)
    said = np.moveaxis(ctc[:, symbols], 0, -1) if len(ctc) else np.zeros([*symbols.shape, 0])
    tables = np.full([*symbols.shape, len(ctc) + 1, 2], NEVER)
    for j in range(len(ctc)):
        n, b = tables[..., j, 0], tables[..., j, 1]
        tables[..., j + 1, 0] = np.logaddexp(n, phi[..., j]) + said[..., j]
        tables[..., j + 1, 1] = np.logaddexp(n, b) + ctc[j, 0]
    return np.logaddexp.reduce(phi + said, axis=-1, initial=NEVER), tables
