"""For each item, the non-negative weights of others whose plays tell best that it is played."""

from __future__ import annotations

import numpy as np
from numba import float32, int32, int64, types

from timbral.models.kernels.kernel import kernel, matrix, vector

__all__ = ["MAX_PASSES", "TOL", "fit_weights"]

MAX_PASSES = 40
TOL = 1e-2
"""Of the largest weight: what a pass must move one to be followed by another."""


@kernel(
    items=matrix(int32),  # (n_items, width): CoPlays' items
    values=matrix(float32),  # (n_items, width): its values
    lengths=vector(int64),  # (n_items,): its lengths
    diagonal=vector(float32),  # (n_items,): its diagonal
    pair_indptr=vector(int64),  # (n_items + 1,): PairsOnce's
    pair_items=vector(int32),  # (n_pairs,): the other item of a pair
    pair_values=vector(float32),  # (n_pairs,): G of a pair
    n_candidates=int64,  # N, the first of each row
    ridges=vector(float32),  # (n_ridges,): what is added to the diagonal
    start=int64,  # first item
    stop=int64,  # the item behind the last
    weights=types.Array(float32, 3, "C"),  # (n_ridges, stop - start, n_candidates): out
    fastmath=True,
    boundscheck=False,
)
def fit_weights(  # type: ignore[no-untyped-def]  # numba types it
    items, values, lengths, diagonal, pair_indptr, pair_items, pair_values, n_candidates, ridges, start, stop, weights
):  # fmt: skip
    """``weights[r, i - start, a]`` (n_ridges, stop - start, n_candidates): for each item i and ridge, the weight of
    candidate ``items[i, a]``.

    argmin over b ≥ 0 of bᵀ(G_NN + ridge·I)b / 2 − bᵀG_Ni, N being the first ``n_candidates`` of row i of ``items``, by
    coordinate descent; the next ridge begins where the last one ended. ``items``, ``values``, ``lengths``
    and ``diagonal`` are CoPlays', the pairs PairsOnce's. Of two candidates that are no pair there, G is taken to be 0.
    """
    n_items = len(diagonal)
    place_of = np.full(n_items, n_candidates, np.int32)
    # One line and one column more: what is looked at and is no candidate goes there, which is cheaper than to ask.
    gram = np.empty((n_candidates + 1, n_candidates + 1), np.float32)
    slope, w, inverse = (
        np.empty(n_candidates, np.float32), np.empty(n_candidates, np.float32), np.empty(n_candidates, np.float32)
    )  # fmt: skip
    for i in range(start, stop):
        n = min(n_candidates, lengths[i])
        for a in range(n):
            place_of[items[i, a]] = a
        gram[:n] = 0.0
        for a in range(n):
            row = items[i, a]
            for pair in range(pair_indptr[row], pair_indptr[row + 1]):
                b = place_of[pair_items[pair]]
                gram[a, b] = pair_values[pair]
                gram[b, a] = pair_values[pair]
        for a in range(n):
            place_of[items[i, a]] = n_candidates
            w[a] = 0.0
            slope[a] = -values[i, a]
        for r in range(len(ridges)):
            for a in range(n):
                # What the ridge before had added to the slope goes, and this one's comes.
                slope[a] += w[a] * (ridges[r] - (ridges[r - 1] if r > 0 else float32(0.0)))
                gram[a, a] = diagonal[items[i, a]] + ridges[r]
                inverse[a] = float32(1.0) / gram[a, a]
            for _ in range(MAX_PASSES):
                moved, largest = float32(0.0), float32(0.0)
                for a in range(n):
                    old = w[a]
                    if old == 0.0 and slope[a] >= 0.0:
                        continue
                    new = max(old - slope[a] * inverse[a], float32(0.0))
                    step = new - old
                    w[a] = new
                    for b in range(n):
                        slope[b] += step * gram[a, b]
                    moved, largest = max(moved, abs(step)), max(largest, new)
                if moved <= TOL * largest:
                    break
            for a in range(n):
                weights[r, i - start, a] = w[a]
            for a in range(n, n_candidates):
                weights[r, i - start, a] = 0.0
