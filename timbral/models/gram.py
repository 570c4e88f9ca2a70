"""The Gram matrix of a factor matrix, Σ_j weight_j · h_j h_jᵀ, and its sum Σ_j weight_j · h_j, to the bit the same on any number of threads.

Rows are summed in fixed blocks, and the blocks' sums are added in their order, so it does not matter who computed which. BLAS would
split the sum by its own number of threads.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import float32, float64, int64

from timbral.models.kernel import kernel, matrix, vector
from timbral.models.threads import Threads

__all__ = ["gram"]

MAX_BLOCKS = 64
BLOCK_ROWS = 512
MAX_SUMS_BYTES = 64 * 2**20

DENSE = 0.3
"""Share of non-zeros from which four rows at a time are faster than one that skips its zeros."""


@kernel(
    matrix(float32), vector(float32), int64, int64, int64, matrix(float32, writable=True), matrix(float64, writable=True),
    fastmath=True, boundscheck=False,
)  # fmt: skip
def _add_rows(factors, weights, start, stop, run, partial, total):  # type: ignore[no-untyped-def]
    """Add rows start..stop to ``total``; float32 within runs of ``run`` rows, float64 across them.

    The lower triangle of the first k rows gets the products, row k the sum.
    """
    k = factors.shape[1]
    first = start
    while first < stop:
        last = min(first + run, stop)
        partial[:] = 0.0
        filled = 0
        for j in range(first, last):
            for p in range(k):
                filled += factors[j, p] != 0.0
                partial[k, p] += weights[j] * factors[j, p]
        j = first
        if filled > DENSE * (last - first) * k:
            while j + 4 <= last:
                for p in range(k):
                    a0 = weights[j] * factors[j, p]
                    a1 = weights[j + 1] * factors[j + 1, p]
                    a2 = weights[j + 2] * factors[j + 2, p]
                    a3 = weights[j + 3] * factors[j + 3, p]
                    if a0 != 0.0 or a1 != 0.0 or a2 != 0.0 or a3 != 0.0:
                        for q in range(p + 1):
                            partial[p, q] += (
                                a0 * factors[j, q]
                                + a1 * factors[j + 1, q]
                                + a2 * factors[j + 2, q]
                                + a3 * factors[j + 3, q]
                            )
                j += 4
        while j < last:
            for p in range(k):
                a0 = weights[j] * factors[j, p]
                if a0 != 0.0:
                    for q in range(p + 1):
                        partial[p, q] += a0 * factors[j, q]
            j += 1
        for p in range(k):
            for q in range(p + 1):
                total[p, q] += partial[p, q]
            total[k, p] += partial[k, p]
        first = last


def gram(
    factors: npt.NDArray[np.float32], weights: npt.NDArray[np.float32], threads: Threads
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Σ_j weights[j] · factors[j] factors[j]ᵀ and Σ_j weights[j] · factors[j]: float64, (k, k) and (k,), for ``factors`` of shape (n, k)."""
    n, k = factors.shape
    n_blocks = max(1, min(MAX_BLOCKS, -(-n // BLOCK_ROWS), MAX_SUMS_BYTES // (8 * k * k)))
    edges = np.linspace(0, n, n_blocks + 1).astype(np.int64)
    sums = np.zeros((n_blocks, k + 1, k))

    def add(block: int, _: int) -> None:
        partial = np.empty((k + 1, k), dtype=np.float32)
        _add_rows(factors, weights, edges[block], edges[block + 1], BLOCK_ROWS, partial, sums[block])

    threads.run(add, ((block, block + 1) for block in range(n_blocks)))
    total = sums[0]
    for block in range(1, n_blocks):
        total += sums[block]
    lower = np.tril(total[:k])
    return lower + np.tril(lower, -1).T, total[k]
