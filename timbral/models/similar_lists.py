"""The most similar items of many items at once: ``timbral.models.similarity``'s scores, as products of matrices."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import float32, int32, int64
from scipy import sparse

from timbral.models.kernels.kernel import kernel, matrix
from timbral.models.similarity import doubt_of, mean_direction

__all__ = ["similar_lists"]

Matrix = npt.NDArray[np.float32]

ITEMS_PER_BLOCK: Final = 512
NOISE: Final = 1e-10


@kernel(
    scores=matrix(float32),
    first=int64,
    found=matrix(int32, writable=True),
    best=matrix(float32, writable=True),
)
def _keep_best(scores, first, found, best):  # type: ignore[no-untyped-def]  # numba types it
    """Of each row of ``scores``, the highest above 0, best first; row i is item ``first + i``, which is not like
    itself."""
    n_rows, n = scores.shape
    top_k = found.shape[1]
    for i in range(n_rows):
        filled = 0
        least = float32(0.0)
        for j in range(n):
            score = scores[i, j]
            # Not equal: of equal scores the lower index, which came first, stays first.
            if score > least and j != first + i:
                place = filled if filled < top_k else top_k - 1
                while place > 0 and best[i, place - 1] < score:
                    best[i, place] = best[i, place - 1]
                    found[i, place] = found[i, place - 1]
                    place -= 1
                best[i, place] = score
                found[i, place] = j
                if filled < top_k:
                    filled += 1
                if filled == top_k:
                    least = best[i, top_k - 1]


def similar_lists(
    vectors: Matrix, together: sparse.csr_matrix, items: npt.NDArray[np.int32], top_k: int
) -> tuple[npt.NDArray[np.int32], Matrix]:
    """Of ``items``, rows of ``vectors`` (n, k), those most like each of them: (indices (len(items), top_k), scores),
    best first.

    The scores are those of ``most_similar``, but for the last digits; -1 stands where there are no more. Takes
    len(items)² · k multiplications.

    Args:
        together: CSR (n, n), how much each two items say for each other as neighbours.
        items: ascending, so that the lower index is first where scores are equal.
    """
    units = _units(np.ascontiguousarray(vectors[items]), mean_direction(vectors))
    together = together[items][:, items]
    found = np.full((len(items), top_k), -1, dtype=np.int32)
    best = np.zeros((len(items), top_k), dtype=np.float32)
    for start in range(0, len(items), ITEMS_PER_BLOCK):
        block = slice(start, min(start + ITEMS_PER_BLOCK, len(items)))
        scores = units[block] @ units.T
        said = together[block].tocoo()
        of_neighbours = np.maximum(scores[said.row, said.col], 0.0)
        scores[said.row, said.col] = 1.0 - (1.0 - of_neighbours) * (1.0 - said.data)
        _keep_best(scores, start, found[block], best[block])
    return np.where(found < 0, -1, items[found]).astype(np.int32), best


def _units(vectors: Matrix, mean: Matrix) -> Matrix:
    """Each row's own part, divided by its length with the doubt; zeros where it has none."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    own = vectors / np.where(lengths > 0, lengths, 1.0)[:, None] - mean
    squares = np.einsum("ij,ij->i", own, own)
    own /= np.sqrt(squares + doubt_of(mean))[:, None]
    own[(lengths == 0) | (squares <= NOISE)] = 0
    return np.ascontiguousarray(own, dtype=np.float32)
