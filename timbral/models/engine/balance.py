"""The length of each factor, which users and items share as the regularisation has it cheapest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import float32, float64, int64

from timbral.models.engine.fixed_blocks import AddRows, sum_of_rows
from timbral.models.kernels.kernel import kernel, matrix, vector
from timbral.models.kernels.threads import Threads

__all__ = ["add_squares", "balance", "squares"]

Vector = npt.NDArray[np.float32]


@kernel(
    l2=vector(float32),
    factors=matrix(float32),
    start=int64,
    stop=int64,
    total=matrix(float64, writable=True),
    fastmath=True,
    boundscheck=False,
)
def _add_squares(l2, factors, start, stop, total):  # type: ignore[no-untyped-def]  # numba types it
    for row in range(start, stop):
        for f in range(factors.shape[1]):
            total[0, f] += l2[row] * factors[row, f] * factors[row, f]
            total[1, f] += factors[row, f]


def add_squares(l2: Vector, factors: Vector) -> AddRows:
    """Adds l2[u] · factors[u]² and factors[u] over rows u: (2, k)."""
    return lambda start, stop, out: _add_squares(l2, factors, start, stop, out)


def squares(l2: Vector, factors: Vector, threads: Threads) -> npt.NDArray[np.float64]:
    """Σ_u l2[u] · factors[u]² and Σ_u factors[u]: float64 (2, k), for ``factors`` (n, k)."""
    return sum_of_rows(len(factors), (2, factors.shape[1]), add_squares(l2, factors), threads)


def balance(
    user_squares: npt.NDArray[np.float64], item_squares: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], float]:
    """What to multiply each user factor by, and divide each item factor by, and how much that lowers the
    regularisation.

    No score changes. Of t²·A + B/t² the least is 2·√(A·B), at t⁴ = B/A. Alternating steps get there, but slowly: each
    can only fit one side to the length that the other one has.
    """
    used = (user_squares > 0.0) & (item_squares > 0.0)
    scale = np.ones(len(used))
    scale[used] = (item_squares[used] / user_squares[used]) ** 0.25
    gain = user_squares[used] + item_squares[used] - 2.0 * np.sqrt(user_squares[used] * item_squares[used])
    return scale, float(gain.sum())
