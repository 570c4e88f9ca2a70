"""Items that are alike: the cosine of what their vectors have of their own.

Where what was not observed aims above 0, all item vectors share what gives everybody that score, so that the plain
cosine of any two is near 1. An item's own part is its unit vector less the mean of all items' unit vectors. An item
with few users hardly leaves the mean, and in which direction is chance; so the cosine is that of vectors which have,
besides, a part unlike any other item's, ``DOUBT`` times as long as an own part is in the root mean square.

Which item goes with which, factors blur; so the doubt that they leave is lessened by what the two say for each other as
neighbours: of a cosine c and a likeness p, both below 1, the score is 1 − (1 − c)(1 − p).
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import float32, float64

from timbral.models.kernels.kernel import kernel, matrix, vector
from timbral.models.search import similarity_kernels as kernels
from timbral.models.search.scratch import scratch

__all__ = ["doubt_of", "mean_direction", "most_similar"]

Vector = npt.NDArray[np.float32]
Together = tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]
Blocks = tuple[npt.NDArray[Any], ...]

DOUBT: Final = 0.5


@kernel(matrix(float32), vector(float64, writable=True), fastmath=True)
def _add_units(vectors, total):  # type: ignore[no-untyped-def]  # numba types it
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


def mean_direction(vectors: Vector) -> Vector:
    """The mean (k,) of the unit vectors of the rows of ``vectors`` (n, k); rows of zeros count for nothing."""
    total = np.zeros(vectors.shape[1])
    filled = _add_units(vectors, total)
    return np.asarray(total / max(filled, 1), dtype=np.float32)


def doubt_of(mean: Vector) -> float:
    """Square of the part that each item has for itself; ``mean`` as ``mean_direction`` gives it."""
    # Of unit vectors, the mean square of the distance from their mean is 1 - |mean|².
    # Summed one by one: a product of vectors may differ in its last bit by where they lie in memory.
    square = math.fsum(value * value for value in mean.tolist())
    return DOUBT**2 * max(1.0 - square, kernels.NOISE)


def most_similar(
    vectors: Vector, mean: Vector, together: Together, which: int, top_k: int, index: Blocks | None = None
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """The rows of ``vectors`` (n, k) most like row ``which``: (indices, scores in (0, 1)), best first, without itself.

    1 would be the same direction, surely; two items of one direction, whose own parts are as long as usual, have 1 / (1
    + DOUBT²) = 0.8. a is as much like b as b is like a. Rows that are no more like it than the mean of all is, are left
    out; so fewer than ``top_k`` may come back. The lower index is first where scores are equal. A score is the float32
    nearest to what float64 gives, in the order of the components; with an ``index`` the list is the same.

    Args:
        mean: (k,), ``mean_direction(vectors)``.
        together: rows, int32, and how much each of them and row ``which`` say for each other as neighbours, float64 in
            [0, 1); the others say nothing.
        index: ``blocks`` of the ``SimilarityIndex`` of ``vectors``.
    """
    likely, likeness = together
    size = min(top_k, len(vectors))
    found, scores = np.empty(size, np.int32), np.empty(size, np.float32)
    with scratch(len(vectors), [likely, np.array([which])]) as held:
        question = vectors, mean, doubt_of(mean), which, likely, likeness, held.marks
        if index is None:
            length = kernels.alike_all(*question, found, scores)
        else:
            length = kernels.alike_indexed(*question, *index, found, scores)
    return found[:length], scores[:length]
