"""The length of each factor, which users and items share as the regularisation has it cheapest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import float32, float64

from timbral.models.kernels.kernel import kernel, matrix, vector

__all__ = ["balance", "squares"]

Vector = npt.NDArray[np.float32]


@kernel(vector(float32), matrix(float32), vector(float64, writable=True), fastmath=True, boundscheck=False)
def _add_squares(l2, factors, total):  # type: ignore[no-untyped-def]
    for row in range(factors.shape[0]):
        for f in range(factors.shape[1]):
            total[f] += l2[row] * factors[row, f] * factors[row, f]


def squares(l2: Vector, factors: Vector) -> npt.NDArray[np.float64]:
    """Σ_u l2[u] · factors[u]²: float64 (k,), for ``factors`` (n, k)."""
    total = np.zeros(factors.shape[1])
    _add_squares(l2, factors, total)
    return total


def balance(
    user_squares: npt.NDArray[np.float64], item_squares: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], float]:
    """What to multiply each user factor by, and divide each item factor by, and how much that lowers the
    regularisation.

    No score changes. Of t²·A + B/t² the least is 2·√(A·B), at t⁴ = B/A. Alternating steps get there, but slowly: each
    can only fit one
    side to the length that the other one has.
    """
    used = (user_squares > 0.0) & (item_squares > 0.0)
    scale = np.ones(len(used))
    scale[used] = (item_squares[used] / user_squares[used]) ** 0.25
    gain = user_squares[used] + item_squares[used] - 2.0 * np.sqrt(user_squares[used] * item_squares[used])
    return scale, float(gain.sum())
