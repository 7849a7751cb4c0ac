r"""Word vectors from counts alone, as a start for the embedding.

Words that stand in like company get like vectors. With :math:`n_{wc}` how often word c stands
near word w, weighed by nearness,

.. math::
    M_{wc} = \max\Bigl(0, \log \frac{n_{wc}\, \sum_{c'} n_{c'}^{\alpha}}
    {n_w\, n_c^{\alpha}} \Bigr), \qquad M \approx U \Sigma V^\top, \qquad
    E = U \Sigma^{1/2},

the positive pointwise mutual information with smoothed contexts (:math:`\alpha = 3/4`) and
its truncated singular value decomposition: what word2vec makes implicitly (Levy & Goldberg
2014), made in seconds. The settings are those of Levy, Goldberg & Dagan (2015).
"""

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from apps.sentiment.model import UNKNOWN

MOST_WORDS = 20_000_000
"""Running words that are counted: IMDb's 6 million take 1 GB of memory."""


def pmi_vectors(
    texts: Sequence[np.ndarray], words: int, width: int, *, window: int = 8, seed: int = 0
) -> np.ndarray:
    """Word vectors of texts given as word numbers (of the training split, and no other).

    Args:
        texts: arrays of word numbers; of more than ``MOST_WORDS`` every so manieth text.
        words: how many there are, padding and unknown word included.
        width: of a vector. With fewer words than that the last columns are zero.
        window: how many words on each side count as near.

    Returns:
        ``[words, width]``, scaled to a deviation of 1 over all entries of words that occur;
        zero for those without company.
    """
    step = max(1, round(sum(map(len, texts)) / MOST_WORDS))
    counts = near_counts(texts[::step], words, window)
    total = np.asarray(counts.sum(axis=1)).ravel()
    context = total**0.75 / (total**0.75).sum()
    entries = counts.tocoo()
    information = np.log(entries.data / (total[entries.row] * context[entries.col]))
    positive = information > 0
    matrix = sparse.csr_matrix(
        (information[positive], (entries.row[positive], entries.col[positive])), counts.shape
    )
    vectors = np.zeros((words, width), np.float32)
    if matrix.nnz:
        rank = min(width, words)
        u, s, _ = randomized_svd(matrix, rank, n_iter=2, n_oversamples=16, random_state=seed)
        vectors[:, :rank] = u * np.sqrt(s)
        vectors /= vectors[total > 0].std()
    return vectors


def near_counts(texts: Sequence[np.ndarray], words: int, window: int) -> sparse.csr_matrix:
    """``[words, words]``: how often each stands within `window` of the other, a neighbour at
    distance d counting ``(window + 1 - d) / window``. Unknown words count as nothing."""
    gap = np.zeros(window, np.int32)  # so that no text is near the next
    row = np.concatenate([part for text in texts for part in (text, gap)])
    counts = sparse.csr_matrix((words, words), dtype=np.float64)
    for distance in range(1, window + 1):
        left, right = row[:-distance], row[distance:]
        known = (left > UNKNOWN) & (right > UNKNOWN)
        weight = np.full(known.sum(), (window + 1 - distance) / window)
        pairs = (weight, (left[known], right[known]))
        counts = counts + sparse.coo_matrix(pairs, counts.shape).tocsr()
    return (counts + counts.T).tocsr()
