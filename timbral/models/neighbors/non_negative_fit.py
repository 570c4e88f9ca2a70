"""For each item, the non-negative weights of others whose plays tell best that it is played.

What a fit costs is to find what an item's candidates share with each other: a pair stands in the row of one of the two,
or in both. Instead of looking through the rows of all candidates of one item after the other, for a block of items each
row that any of them asks for is laid out once, a place for each item of the catalogue, and all who ask read from it.
"""

from __future__ import annotations

import numpy as np
from numba import float32, int32, int64, types, uint16

from timbral.models.kernels.kernel import kernel, matrix, vector
from timbral.models.neighbors.short_floats import LEFT_OUT

__all__ = ["MAX_PASSES", "TOL", "fit_weights"]

MAX_PASSES = 40
TOL = 5e-2
"""Of the largest weight: what a pass must move one to be followed by another."""


@kernel(
    items=matrix(int32),  # (n_items, width): CoPlays'
    values=matrix(uint16),  # (n_items, width): its values
    lengths=vector(int64),  # (n_items,): its lengths
    diagonal=vector(float32),  # (n_items,): its diagonal
    ridges=vector(float32),  # (n_ridges,): what is added to the diagonal
    start=int64,  # first item
    stop=int64,  # the item behind the last
    grams=types.Array(uint16, 3, "C"),  # (stop - start or more, n_candidates, n_candidates): scratch
    weights=types.Array(float32, 3, "C"),  # (stop - start, n_candidates, n_ridges): out
    fastmath=True,
    boundscheck=False,
)
def fit_weights(items, values, lengths, diagonal, ridges, start, stop, grams, weights):  # type: ignore[no-untyped-def]  # numba types it
    """``weights[i - start, a, r]``: for each item i of ``start`` to ``stop`` and ridge, the weight of candidate
    ``items[i, a]``.

    argmin over b ≥ 0 of bᵀ(G_NN + ridge·I)b / 2 − bᵀG_Ni, N being the first n_candidates of row i of ``items``, by
    coordinate descent; the next ridge begins where the last one ended. All but ``ridges`` is CoPlays'. Of two
    candidates neither of whose rows has the other, G is taken to be 0.
    """
    n_items, n_candidates = len(diagonal), weights.shape[1]
    # Who asks for a row is a chain: the last one of each row, and for each the one before.
    last, before = np.full(n_items, -1, np.int32), np.empty((stop - start) * n_candidates, np.int32)
    for i in range(start, stop):
        for a in range(min(n_candidates, lengths[i])):
            number = (i - start) * n_candidates + a
            before[number] = last[items[i, a]]
            last[items[i, a]] = number
    shared = np.zeros(n_items, np.uint16)
    for i in range(start, stop):
        for a in range(min(n_candidates, lengths[i])):
            row = items[i, a]
            number = last[row]
            if number < 0:
                continue
            last[row] = -1
            for place in range(lengths[row]):
                shared[np.uint32(items[row, place])] = values[row, place]
            while number >= 0:
                asking = number // n_candidates
                candidates, line = items[start + asking], grams[asking, number % n_candidates]
                for b in range(min(n_candidates, lengths[start + asking])):
                    line[b] = shared[np.uint32(candidates[b])]
                number = before[number]
            for place in range(lengths[row]):
                shared[np.uint32(items[row, place])] = 0
    slope, w, inverse = (
        np.empty(n_candidates, np.float32), np.empty(n_candidates, np.float32), np.empty(n_candidates, np.float32)
    )  # fmt: skip
    gram = np.empty((n_candidates, n_candidates), np.float32)
    gram_bits, slope_bits = gram.view(np.uint32), slope.view(np.uint32)
    for i in range(start, stop):
        n, short = min(n_candidates, lengths[i]), grams[i - start]
        for a in range(n):
            for b in range(a):
                gram_bits[a, b] = gram_bits[b, a] = np.uint32(max(short[a, b], short[b, a])) << LEFT_OUT
            w[a] = 0.0
            slope_bits[a] = np.uint32(values[i, a]) << LEFT_OUT
            slope[a] = -slope[a]
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
                weights[i - start, a, r] = w[a]
            for a in range(n, n_candidates):
                weights[i - start, a, r] = 0.0
