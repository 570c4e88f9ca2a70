"""Items that are alike: the cosine of their vectors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["most_similar"]


def most_similar(
    vectors: npt.NDArray[np.float32], which: int, top_k: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """The rows of ``vectors`` (n, k) most like row ``which``: (indices, cosines in (0, 1]), best first, without itself.

    Rows that share no factor with it are left out; so fewer than ``top_k`` may come back. The lower index is first where cosines are equal.
    """
    lengths = np.sqrt(np.einsum("if,if->i", vectors, vectors))
    scores = vectors @ vectors[which]
    np.divide(scores, lengths * lengths[which], out=scores, where=scores > 0)
    scores[which] = 0
    candidates = np.flatnonzero(scores > 0)
    if len(candidates) > top_k:
        # Equal cosines stay in, so that the lower index can win.
        least = np.partition(scores[candidates], len(candidates) - top_k)[len(candidates) - top_k]
        candidates = candidates[scores[candidates] >= least]
    order = candidates[np.lexsort((candidates, -scores[candidates]))][:top_k]
    return order.astype(np.int32), np.minimum(scores[order], np.float32(1))
