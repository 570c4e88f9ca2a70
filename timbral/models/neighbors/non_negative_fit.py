"""For each item, the non-negative weights of others whose plays tell best that it is played."""

from __future__ import annotations

import numpy as np
from numba import float32, int32, int64, types, uint64

from timbral.models.kernels.bits import lowest_bit
from timbral.models.kernels.kernel import kernel, matrix, vector
from timbral.models.neighbors.pairs_once import WORD

__all__ = ["MAX_PASSES", "TOL", "fit_weights"]

MAX_PASSES = 40
TOL = 5e-2
"""Of the largest weight: what a pass must move one to be followed by another."""


@kernel(
    items=matrix(int32),  # (n_items, width): PairsOnce's
    lengths=vector(int64),  # (n_items,): its lengths
    diagonal=vector(float32),  # (n_items,): its diagonal
    owned=matrix(uint64),  # (n_items, width / 64): which places hold pairs
    pair_indptr=vector(int64),  # (n_items + 1,): where a row's values begin
    pair_values=vector(float32),  # (n_pairs,): G of a pair
    ridges=vector(float32),  # (n_ridges,): what is added to the diagonal
    start=int64,  # first item
    stop=int64,  # the item behind the last
    weights=types.Array(float32, 3, "C"),  # (n_items, n_candidates, n_ridges): out
    fastmath=True,
    boundscheck=False,
)
def fit_weights(  # type: ignore[no-untyped-def]  # numba types it
    items, lengths, diagonal, owned, pair_indptr, pair_values, ridges, start, stop, weights
):  # fmt: skip
    """``weights[i, a, r]``: for each item i of ``start`` to ``stop`` and ridge, the weight of candidate ``items[i,
    a]``.

    argmin over b ≥ 0 of bᵀ(G_NN + ridge·I)b / 2 − bᵀG_Ni, N being the first n_candidates of row i of ``items``, by
    coordinate descent; the next ridge begins where the last one ended. All but ``ridges`` is PairsOnce's. Of two
    candidates that are no pair there, G is taken to be 0.
    """
    n_items, n_candidates = len(diagonal), weights.shape[1]
    # Two lines and columns more: what is looked at and is no candidate goes to the first, which is cheaper than to ask;
    # what is i itself goes to the second.
    nobody, oneself = n_candidates, n_candidates + 1
    place_of = np.full(n_items, nobody, np.int32)
    gram = np.empty((n_candidates + 2, n_candidates + 2), np.float32)
    slope, w, inverse = (
        np.empty(n_candidates, np.float32), np.empty(n_candidates, np.float32), np.empty(n_candidates, np.float32)
    )  # fmt: skip
    for i in range(start, stop):
        n = min(n_candidates, lengths[i])
        for a in range(n):
            place_of[items[i, a]] = a
        place_of[i] = oneself
        gram[:n] = 0.0
        gram[oneself] = 0.0
        for place in range(n + 1):
            row, a = (items[i, place], place) if place < n else (i, oneself)
            pair = pair_indptr[row]
            for word in range(owned.shape[1]):
                bits = owned[row, word]
                while bits != 0:
                    b = place_of[items[row, word * WORD + lowest_bit(bits)]]
                    gram[a, b] = pair_values[pair]
                    gram[b, a] = pair_values[pair]
                    pair += 1
                    bits &= bits - uint64(1)
        place_of[i] = nobody
        for a in range(n):
            place_of[items[i, a]] = nobody
            w[a] = 0.0
            slope[a] = -gram[oneself, a]
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
                weights[i, a, r] = w[a]
            for a in range(n, n_candidates):
                weights[i, a, r] = 0.0
