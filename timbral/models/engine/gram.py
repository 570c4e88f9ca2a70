"""The Gram matrix of a factor matrix, Σ_j weight_j · h_j h_jᵀ, and its sum Σ_j weight_j · h_j, to the bit the same on
any number of threads and hosts: see ``fixed_blocks``."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import float32, float64, int64

from timbral.models.engine.fixed_blocks import AddRows, sum_of_rows
from timbral.models.kernels.kernel import kernel, matrix, vector
from timbral.models.kernels.threads import Threads

__all__ = ["add_products", "gram", "gram_of"]

RUN = 512
"""Rows that are summed in float32 before they are added in float64."""


@kernel(
    factors=matrix(float32),
    weights=vector(float32),
    start=int64,
    stop=int64,
    run=int64,
    partial=matrix(float32, writable=True),
    total=matrix(float64, writable=True),
    fastmath=True,
    boundscheck=False,
)
def _add_rows(factors, weights, start, stop, run, partial, total):  # type: ignore[no-untyped-def]  # numba types it
    """Add rows start..stop to ``total``; float32 within runs of ``run`` rows, float64 across them.

    The lower triangle of the first k rows gets the products, row k the sum.
    """
    k = factors.shape[1]
    for first in range(start, stop, run):
        last = min(first + run, stop)
        partial[:] = 0.0
        j = first
        while j + 4 <= last:
            w0, w1, w2, w3 = weights[j], weights[j + 1], weights[j + 2], weights[j + 3]
            # Four rows and two columns at a time: a value that is read serves twice, and a sum is written a quarter as
            # often.
            for p in range(0, k - 1, 2):
                a0, a1, a2, a3 = (
                    w0 * factors[j, p],
                    w1 * factors[j + 1, p],
                    w2 * factors[j + 2, p],
                    w3 * factors[j + 3, p],
                )
                q = p + 1
                b0, b1, b2, b3 = (
                    w0 * factors[j, q],
                    w1 * factors[j + 1, q],
                    w2 * factors[j + 2, q],
                    w3 * factors[j + 3, q],
                )
                for q in range(p + 2):
                    x0, x1, x2, x3 = factors[j, q], factors[j + 1, q], factors[j + 2, q], factors[j + 3, q]
                    partial[p, q] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
                    partial[p + 1, q] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
            if k % 2:
                for row in range(j, j + 4):
                    weighted = weights[row] * factors[row, k - 1]
                    for q in range(k):
                        partial[k - 1, q] += weighted * factors[row, q]
            for q in range(k):
                partial[k, q] += (
                    w0 * factors[j, q] + w1 * factors[j + 1, q] + w2 * factors[j + 2, q] + w3 * factors[j + 3, q]
                )
            j += 4
        for row in range(j, last):
            for p in range(k):
                weighted = weights[row] * factors[row, p]
                for q in range(p + 1):
                    partial[p, q] += weighted * factors[row, q]
                partial[k, p] += weighted
        for p in range(k):
            for q in range(p + 1):
                total[p, q] += partial[p, q]
            total[k, p] += partial[k, p]


def add_products(factors: npt.NDArray[np.float32], weights: npt.NDArray[np.float32]) -> AddRows:
    """Adds the products (lower triangle, k × k) and, as row k, the weighted sum of rows: (k + 1, k)."""
    k = factors.shape[1]

    def add(start: int, stop: int, out: npt.NDArray[np.float64]) -> None:
        _add_rows(factors, weights, start, stop, RUN, np.empty((k + 1, k), dtype=np.float32), out)

    return add


def gram_of(products: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The whole Gram matrix (k, k) and the sum (k,), of what ``add_products`` has summed over all rows."""
    lower = np.tril(products[:-1])
    return lower + np.tril(lower, -1).T, products[-1]


def gram(
    factors: npt.NDArray[np.float32], weights: npt.NDArray[np.float32], threads: Threads
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Σ_j weights[j] · factors[j] factors[j]ᵀ and Σ_j weights[j] · factors[j]: float64, (k, k) and (k,), for
    ``factors`` of shape (n, k)."""
    n, k = factors.shape
    return gram_of(sum_of_rows(n, (k + 1, k), add_products(factors, weights), threads))
