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
    ctc: np.ndarray  # [time + 1, 2]: log n, log b before the first step and after each
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
    beam = [_Partial((), 0.0, _before_any(ctc), Place(), 0.0, 0.0)]
    states: Any = None
    texts: list[Hypothesis] = []
    for _ in range(limit + 1):
        last = np.array([text.ids[-1] if text.ids else 0 for text in beam], np.int32)
        log_p, states = step(last, states)
        texts += _ended(beam, log_p, scorer, ctc, weight)
        grown = [
            (row, longer)
            for row, text in enumerate(beam)
            for longer in _grown(text, log_p[row], width, scorer, ctc, weight)
        ]
        grown = sorted(grown, key=lambda pair: -pair[1].score)[:width]
        if scorer.bonus <= 0:  # then a score only falls, and what is below the best stays there
            best = max((text.score for text in texts), default=NEVER)
            grown = [pair for pair in grown if pair[1].score > best]
        if not grown:
            break
        rows = [row for row, _ in grown]
        states = {name: values[rows] for name, values in states.items()}
        beam = [text for _, text in grown]
    return sorted(texts, key=lambda text: -text.score)


def _before_any(ctc: np.ndarray | None) -> np.ndarray:
    if ctc is None:
        return np.zeros([1, 2])
    blanks = np.concatenate([[0.0], np.cumsum(ctc[:, 0])])
    return np.stack([np.full(len(blanks), NEVER), blanks], axis=1)


def _ended(
    beam: Sequence[_Partial],
    log_p: np.ndarray,
    scorer: Scorer,
    ctc: np.ndarray | None,
    weight: float,
) -> list[Hypothesis]:
    texts = []
    for row, text in enumerate(beam):
        end = scorer.end(text.place)
        if end is None:
            continue
        total = (1 - weight) * (text.attention + float(log_p[row, -1]))
        if ctc is not None:
            total += weight * float(np.logaddexp(*text.ctc[-1]))
        if total > NEVER:
            texts.append(Hypothesis(text.ids, total, total + text.added + end))
    return texts


def _grown(
    text: _Partial,
    log_p: np.ndarray,
    width: int,
    scorer: Scorer,
    ctc: np.ndarray | None,
    weight: float,
) -> list[_Partial]:
    order = np.argsort(-log_p[1:-1])[: 2 * width] + 1  # without start and end
    steps = [(int(c), scorer.follow(text.place, int(c))) for c in order]
    allowed = [(c, step) for c, step in steps if step is not None]
    if not allowed:
        return []
    symbols = np.array([c for c, _ in allowed])
    psi, tables = np.zeros(len(symbols)), [text.ctc] * len(symbols)
    if ctc is not None:
        psi, tables = extended(text.ctc, text.ids[-1] if text.ids else 0, symbols, ctc)
    found = []
    for (c, (place, added)), log_psi, table in zip(allowed, psi, tables, strict=True):
        attention = text.attention + float(log_p[c])
        total = (1 - weight) * attention + (weight * float(log_psi) if weight else 0.0)
        added = text.added + added
        found.append(_Partial((*text.ids, c), attention, table, place, added, total + added))
    return found


def extended(
    before: np.ndarray, last: int, symbols: np.ndarray, ctc: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    r"""A text with each of some symbols after it, by CTC.

    Args:
        before: :math:`\log n, \log b` of the text, ``[time + 1, 2]``.
        last: its last symbol; 0 if it has none.
        symbols: ``[k]``.
        ctc: log-probabilities ``[time, symbols + 1]``.

    Returns:
        :math:`\log \psi` ``[k]``, and the table of each longer text.
    """
    time = len(ctc)
    either = np.logaddexp(before[:-1, 0], before[:-1, 1])
    phi = np.where(symbols == last, before[:-1, 1:2], either[:, np.newaxis])
    tables = np.full([time + 1, 2, len(symbols)], NEVER)
    for j in range(time):
        said = np.logaddexp(tables[j, 0], phi[j]) + ctc[j, symbols]
        tables[j + 1, 0] = said
        tables[j + 1, 1] = np.logaddexp(tables[j, 0], tables[j, 1]) + ctc[j, 0]
    psi = np.logaddexp.reduce(phi + ctc[:, symbols], axis=0)
    return psi, list(np.moveaxis(tables, 2, 0))
