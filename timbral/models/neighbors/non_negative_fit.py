"""For each item, the non-negative weights of others whose plays tell best that it is played."""

from __future__ import annotations

import numpy as np
from numba import float32, int32, int64, types

from timbral.models.kernels.kernel import kernel, matrix, vector

__all__ = ["MAX_PASSES", "TOL", "fit_weights"]

MAX_PASSES = 40
TOL = 1e-3
"""Of the largest weight: what a pass must move one to be followed by another."""


@kernel(
    matrix(int32), matrix(float32), vector(float32), int64, vector(float32), int64, int64,
    types.Array(float32, 3, "C"), fastmath=True, boundscheck=False,
)  # fmt: skip
def fit_weights(items, values, diagonal, n_candidates, ridges, start, stop, weights):  # type: ignore[no-untyped-def]
    """``weights[r, i - start, a]`` (n_ridges, stop - start, n_candidates): for each item i and ridge, the weight of
    candidate ``items[i, a]``.

    argmin over b ≥ 0 of bᵀ(G_NN + ridge·I)b / 2 − bᵀG_Ni, N being the first ``n_candidates`` of row i of ``items``, by
    coordinate descent; the next
    ridge begins where the last one ended. ``items``, ``values`` and ``diagonal`` are CoPlays'. Of two candidates that
    neither has in its
    row, G is taken to be 0.
    """
    width = items.shape[1]
    place_of = np.full(len(diagonal), -1, np.int32)
    gram = np.empty((n_candidates, n_candidates), np.float32)
    slope = np.empty(n_candidates, np.float32)
    w = np.empty(n_candidates, np.float32)
    for i in range(start, stop):
        n = 0
        while n < n_candidates and items[i, n] >= 0:
            place_of[items[i, n]] = n
            n += 1
        for a in range(n):
            for b in range(n):
                gram[a, b] = 0.0
        for a in range(n):
            row = items[i, a]
            for place in range(width):
                other = items[row, place]
                if other < 0:
                    break
                b = place_of[other]
                if b >= 0:
                    gram[a, b] = values[row, place]
                    gram[b, a] = values[row, place]
        for a in range(n):
            place_of[items[i, a]] = -1
            w[a] = 0.0
            slope[a] = -values[i, a]
        for r in range(len(ridges)):
            for a in range(n):
                row = items[i, a]
                # What the ridge before had added to the slope goes, and this one's comes.
                slope[a] += w[a] * (ridges[r] - (ridges[r - 1] if r > 0 else float32(0.0)))
                gram[a, a] = diagonal[row] + ridges[r]
            for _ in range(MAX_PASSES):
                moved, largest = float32(0.0), float32(0.0)
                for a in range(n):
                    new = max(w[a] - slope[a] / gram[a, a], float32(0.0))
                    step = new - w[a]
                    if step != 0.0:
                        w[a] = new
                        for b in range(n):
                            slope[b] += step * gram[a, b]
                        moved = max(moved, abs(step))
                    largest = max(largest, new)
                if moved <= TOL * largest:
                    break
            for a in range(n):
                weights[r, i - start, a] = w[a]
            for a in range(n, n_candidates):
                weights[r, i - start, a] = 0.0
