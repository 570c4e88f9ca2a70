"""Going further the way that the last sweep went: fewer sweeps to the same loss.

After a half-sweep the factors go on by ``step`` times what it changed, cut off at 0. A sweep that ends with a higher
loss than the last good one is given up, and the next one starts from there without a step; so the loss never rises.
(Ang, Gillis: "Accelerating Nonnegative Matrix Factorization Algorithms Using Extrapolation", 2019.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import float32, int64

from timbral.models.kernels.kernel import kernel, matrix
from timbral.models.kernels.threads import Threads

__all__ = ["StepSize", "extrapolate"]

GROWTH = 1.05
LIMIT_GROWTH = 1.01
SHRINKAGE = 1.5
ROWS = 4096


@kernel(
    before=matrix(float32),
    after=matrix(float32),
    out=matrix(float32, writable=True),
    step=float32,
    start=int64,
    stop=int64,
    fastmath=True,
    boundscheck=False,
)
def _extrapolate_rows(before, after, out, step, start, stop):  # type: ignore[no-untyped-def]  # numba types it
    for row in range(start, stop):
        for f in range(before.shape[1]):
            out[row, f] = max(after[row, f] + step * (after[row, f] - before[row, f]), float32(0.0))


def extrapolate(
    before: npt.NDArray[np.float32],
    after: npt.NDArray[np.float32],
    out: npt.NDArray[np.float32],
    step: float,
    threads: Threads,
) -> None:
    """``out`` gets ``after`` moved on by ``step`` times its way from ``before``, no value below 0; ``out`` may be
    ``after``."""
    if step > 0.0:
        parts = [(start, min(start + ROWS, len(after))) for start in range(0, len(after), ROWS)]
        threads.run(lambda start, stop: _extrapolate_rows(before, after, out, step, start, stop), parts)
    elif out is not after:
        np.copyto(out, after)


@dataclass
class StepSize:
    """The step of the next sweep: it grows while the loss falls, and shrinks when a sweep had to be given up."""

    step: float = 0.5
    limit: float = 1.0
    last: float = 0.5

    def grow(self) -> None:
        """After a sweep that lowered the loss."""
        self.last = self.step
        self.limit = min(1.0, self.limit * LIMIT_GROWTH)
        self.step = min(self.limit, self.step * GROWTH)

    def shrink(self) -> None:
        """After one that did not."""
        self.limit = self.last
        self.step /= SHRINKAGE
