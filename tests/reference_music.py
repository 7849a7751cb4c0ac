"""Densities of frames and notes again: in plain NumPy, decision by decision."""

from itertools import pairwise, product

import numpy as np

from tests.reference import Array, relu, sigmoid


def relative(scores: Array, keys: list[int], key: int, sign: int = 1) -> float:
    r""":math:`\sum_v s_{v, \pm(k - m_v) + r}`, over the voices that have a key (not -1) within r
    semitones of it; ``scores`` are ``[voices, 2r + 1]``."""
    reach = scores.shape[1] // 2
    total = 0.0
    for row, other in zip(scores, keys, strict=True):
        if other >= 0 and abs(key - other) <= reach:
            total += row[sign * (key - other) + reach]
    return total


def degree(scores: Array, told: int, key: int) -> float:
    """The score of the key's semitones above the tonic, in the told mode; ``scores`` are
    ``[24]``, key 0 is A0; told 1 is C major, 13 C minor, 0 nothing."""
    if not told:
        return 0.0
    tonic, mode = (told - 1) % 12, (told - 1) // 12
    return scores[12 * mode + (key + 21 - tonic) % 12]


def joint_frame(
    frame: Array, before: Array, c: Array, lines: list[int], told: int, weights: dict[str, Array]
) -> float:
    r"""NADE over the keys, from the highest down (Larochelle & Murray 2011), with
    :math:`\ell_r = V_r a' + V'_r c + \sum_v R_v(a')_{r - m_v} + D(a')_{r - \tau}`; -log p.

    Args:
        frame: ``[88]``: 0 silent, 1 struck, 2 held.
        before: the frame before.
        c: context, ``[width]``.
        lines: :math:`m_v`.
        told: the key of the piece.
    """
    w, total = weights, 0.0
    chosen = np.zeros(w["notes"].shape[0])
    for key in range(87, -1, -1):
        a = relu(c @ w["context"] + w["context_b"] + chosen @ w["notes"])
        a = a + relu(a @ w["deeper"] + w["deeper_b"])
        logit = (a @ w["sounds"] + w["sounds_b"] + c @ w["direct"])[key]
        logit += relative((a @ w["interval"] + w["interval_b"]).reshape(len(lines), -1), lines, key)
        logit += degree(a @ w["degree"] + w["degree_b"], told, key)
        p = sigmoid(logit)
        total -= np.log(p if frame[key] else 1 - p)
        if frame[key]:
            if "struck" in w and before[key]:
                struck = (a @ w["struck"] + w["struck_b"] + c @ w["direct_struck"])[key]
                total -= np.log(sigmoid(struck if frame[key] == 1 else -struck))
            chosen[key] = 1
            if frame[key] == 2 and len(chosen) > 88:
                chosen[88 + key] = 1
    return float(total)


def read_voices(frame: Array, before: list[int]) -> list[int]:
    """The key of each voice, the highest first: of all ways in which the voices can share the keys
    that sound, none idle and no two crossing, the one that moves least; -1 in silence."""
    keys = [int(key) for key in np.flatnonzero(frame)[::-1]]
    if not keys:
        return [-1] * len(before)
    ways = [
        way
        for way in product(keys, repeat=len(before))
        if set(way) == set(keys) and all(a >= b for a, b in pairwise(way))
    ]

    def moved(way: tuple[int, ...]) -> int:
        return sum(abs(k - m) for k, m in zip(way, before, strict=True) if m >= 0)

    return list(min(ways, key=moved))


def voices_frame(
    frame: Array, before: Array, c: Array, lines: list[int], told: int, weights: dict[str, Array]
) -> float:
    r"""Voice by voice: :math:`p(k_v) \propto e^{\ell_{v,k}}, k \le k_{v-1}` with
    :math:`\ell_{v,k} = V_k a' + V'_{v,k} c + \sum_u R_u(a')_{k - m_u}
    + \sum_{j<v} H_j(a')_{k - k_j} + D(a')_{k - \tau}`, where a' knows of the voices above their
    keys, their moves, and from which interval these were; -log p. As ``joint_frame``."""
    w, total = weights, 0.0
    chosen = read_voices(frame, lines)
    count, silence = len(lines), 88
    above = np.zeros(w["context"].shape[1])
    moved: list[int] = []
    for v, key in enumerate(chosen):
        pairs = [
            w["pairs"][(m - lines[v]) % 12 * 28 + move if min(m, lines[v]) >= 0 else 12 * 28]
            for m, move in zip(lines, moved, strict=False)
        ]
        a = relu(c @ w["context"] + w["context_b"] + above + sum(pairs) + w["voice"][v])
        a = a + relu(a @ w["deeper"] + w["deeper_b"])
        logits = a @ w["sounds"] + w["sounds_b"]
        logits = logits + (c @ w["direct"] + w["direct_b"]).reshape(count, 89)[v]
        moves = (a @ w["interval"] + w["interval_b"]).reshape(count, -1)
        chords = (a @ w["harmony"] + w["harmony_b"]).reshape(count, -1)
        degrees = a @ w["degree"] + w["degree_b"]
        for k in range(88):
            logits[k] += relative(moves, lines, k) + degree(degrees, told, k)
            logits[k] += relative(chords[:v], chosen[:v], k)
        allowed = np.arange(89) <= (silence if v == 0 else chosen[v - 1])
        p = np.where(allowed, np.exp(logits), 0)
        total -= np.log(p[key if key >= 0 else silence] / p.sum())
        if key < 0:
            break
        held = frame[key] == 2
        if "struck" in w and before[key] and key not in chosen[:v]:
            struck = (a @ w["struck"] + w["struck_b"])[88 if key == lines[v] else key]
            total -= np.log(sigmoid(-struck if held else struck))
        move = 27 if held else 13
        if not held and lines[v] >= 0:
            move = int(np.clip(key - lines[v], -13, 13)) + 13
        moved.append(move)
        above = above + w["notes"][v * 89 + key + 1] + w["moves"][v * 28 + move]
    return float(total)


def next_note(
    pitch: int, length: int, c: Array, lines: list[int], told: int, weights: dict[str, Array]
) -> float:
    r"""A pitch (88: a rest) with
    :math:`\ell^k = V a + \sum_v R_v(a)_{k - m_v} + D(a)_{k - \tau}` and, given it, how many frames
    it lasts with :math:`\ell^d = V' \mathrm{relu}(a + N_k + M_{k - m_1})`; -log p of both.

    Args:
        c: context, ``[width]``.
        lines: :math:`m_1, m_2`, the pitches before; -1 for none.
        told: the key of the piece.
    """
    w = weights
    a = relu(c @ w["context"] + w["context_b"])
    logits = a @ w["sounds"] + w["sounds_b"]
    moves = (a @ w["interval"] + w["interval_b"]).reshape(len(lines), -1)
    for k in range(88):
        logits[k] += relative(moves, lines, k)
        logits[k] += degree(a @ w["degree"] + w["degree_b"], told, k)
    move = 25 if lines[0] < 0 else int(np.clip(pitch - lines[0], -12, 12)) + 12
    move = 26 if pitch == 88 else move
    lasts = relu(a + w["notes"][pitch] + w["moves"][move]) @ w["lasts"] + w["lasts_b"]
    return float(
        np.log(np.exp(logits).sum())
        - logits[pitch]
        + np.log(np.exp(lasts).sum())
        - lasts[length - 1]
    )
