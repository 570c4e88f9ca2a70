"""Vectors for rows that the training did not have, the other side being fixed."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from timbral.models.engine.fixed import Fixed
from timbral.models.engine.half_sweep import half_sweep
from timbral.models.engine.weighting import Side
from timbral.models.kernels.threads import Threads

__all__ = ["fold_in"]

PASSES: Final = 50
"""Ten are usual. Many more would gather rounding errors, since a pass takes up the sums where the last one left
them."""

TOL: Final = 1e-4

CLASSIC_ROUNDS: Final = 60
CLASSIC_TOL: Final = 1e-6
"""Without regularisation, and with more factors than the data need, passes of single steps get on slowly: they are
repeated, each time from sums made anew."""

ONE_THREAD_ENTRIES: Final = 5_000
"""Up to so many entries, one thread is done before a second has started."""


def fold_in(
    side: Side,
    fixed: Fixed,
    *,
    l1: float,
    classic: bool,
    n_threads: int,
) -> npt.NDArray[np.float32]:
    """What a half-sweep over the rows of ``side`` converges to: float32 (n, k), zeros for a row without entries."""
    solved = np.zeros((side.rows.n_rows, fixed.factors.shape[1]), dtype=np.float32)
    with Threads(n_threads if len(side.rows.values) > ONE_THREAD_ENTRIES else 1) as threads:
        for _ in range(CLASSIC_ROUNDS if classic else 1):
            _, n_passes = half_sweep(
                side, fixed, solved, l1=l1, n_passes=PASSES, tol=CLASSIC_TOL if classic else TOL, classic=classic,
                threads=threads,
            )  # fmt: skip
            if n_passes <= side.rows.n_rows:
                break
    return solved
