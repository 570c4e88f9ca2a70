"""Items that are alike: the cosine of what their vectors have of their own.

Where what was not observed aims above 0, all item vectors share what gives everybody that score, so that the plain
cosine of any two is near 1. An item's own part is its unit vector less the mean of all items' unit vectors. An item
with few users hardly leaves the mean, and in which direction is chance; so the cosine is that of vectors which have,
besides, a part unlike any other item's, ``DOUBT`` times as long as an own part is in the root mean square.

Which item goes with which, factors blur; so the doubt that they leave is lessened by what the two say for each other as
neighbours: of a cosine c and a
likeness p, both below 1, the score is 1 − (1 − c)(1 − p).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import float32, float64

from timbral.models.kernels.kernel import kernel, matrix, vector

__all__ = ["doubt_of", "mean_direction", "most_similar"]

Vector = npt.NDArray[np.float32]

DOUBT: Final = 0.5

NOISE: Final = 1e-10
"""Square of the length up to which an own part is what float32 rounds away."""


@kernel(matrix(float32), vector(float64, writable=True), fastmath=True)
def _add_units(vectors, total):  # type: ignore[no-untyped-def]
    """Add the unit vectors of all rows to ``total``; returns how many rows are not 0."""
    n, k = vectors.shape
    filled = 0
    for i in range(n):
        square = float32(0.0)
        for f in range(k):
            square += vectors[i, f] * vectors[i, f]
        if square > 0:
            filled += 1
            scale = 1 / np.sqrt(square)
            for f in range(k):
                total[f] += scale * vectors[i, f]
    return filled


@kernel(matrix(float32), vector(float32), vector(float32), float32, vector(float32, writable=True), fastmath=True)
def _compare(vectors, mean, own, doubt, scores):  # type: ignore[no-untyped-def]
    """The score of each row with ``own``, an own part divided by its length with the doubt; ``doubt`` is squared."""
    n, k = vectors.shape
    for i in range(n):
        square = float32(0.0)
        for f in range(k):
            square += vectors[i, f] * vectors[i, f]
        scores[i] = 0.0
        if square > 0:
            scale = 1 / np.sqrt(square)
            length, product = float32(0.0), float32(0.0)
            for f in range(k):
                x = scale * vectors[i, f] - mean[f]
                length += x * x
                product += x * own[f]
            if length > NOISE:
                scores[i] = product / np.sqrt(length + doubt)


def mean_direction(vectors: Vector) -> Vector:
    """The mean (k,) of the unit vectors of the rows of ``vectors`` (n, k); rows of zeros count for nothing."""
    total = np.zeros(vectors.shape[1])
    filled = _add_units(vectors, total)
    return np.asarray(total / max(filled, 1), dtype=np.float32)


def doubt_of(mean: Vector) -> float:
    """Square of the part that each item has for itself; ``mean`` as ``mean_direction`` gives it."""
    # Of unit vectors, the mean square of the distance from their mean is 1 - |mean|².
    return DOUBT**2 * max(1.0 - float(mean @ mean), NOISE)


def most_similar(
    vectors: Vector, mean: Vector, together: Vector, which: int, top_k: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """The rows of ``vectors`` (n, k) most like row ``which``: (indices, scores in (0, 1)), best first, without itself.

    1 would be the same direction, surely; two items of one direction, whose own parts are as long as usual, have 1 / (1
    + DOUBT²) = 0.8. a is as much like b as b is like a. Rows that are no more like it than the mean of all is, are left
    out; so fewer than ``top_k`` may come back. The lower index is first where scores are equal.

    Args:
        mean: (k,), ``mean_direction(vectors)``.
        together: (n,), in [0, 1): how much each row and row ``which`` say for each other as neighbours.
    """
    scores = np.zeros(len(vectors), dtype=np.float32)
    query = vectors[which].astype(np.float64)
    own = query / np.linalg.norm(query) - mean if query.any() else np.zeros(len(mean))
    square = float(own @ own)
    if square > NOISE:
        doubt = doubt_of(mean)
        own /= np.sqrt(square + doubt)
        _compare(vectors, mean, own.astype(np.float32), doubt, scores)
    # A product of what is left by each, so that without neighbours the cosine stays what it is.
    scores = np.maximum(scores, 0) + together * (1 - np.maximum(scores, 0))
    scores[which] = 0
    candidates = np.flatnonzero(scores > 0)
    if len(candidates) > top_k:
        # Equal scores stay in, so that the lower index can win.
        least = np.partition(scores[candidates], len(candidates) - top_k)[len(candidates) - top_k]
        candidates = candidates[scores[candidates] >= least]
    order = candidates[np.lexsort((candidates, -scores[candidates]))][:top_k]
    return order.astype(np.int32), scores[order]
