"""Half a sweep: every row of one side is improved while the other side is fixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from timbral.models.engine.classic_descent import descend_classic
from timbral.models.engine.coordinate_descent import BUFFER_FLOATS, LANE, MIN_BLOCK, descend_weighted
from timbral.models.engine.fixed import Fixed
from timbral.models.engine.side_by_side import LANES, lane_lines
from timbral.models.engine.weighting import Side
from timbral.models.kernels.threads import Threads, spans
from timbral.models.kernels.vector_sum import aligned_zeros

__all__ = ["half_sweep"]

SPANS_PER_THREAD: Final = 16

Vector = npt.NDArray[np.float32]


@dataclass
class _Scratch:
    """What a thread works in: made once for all of its spans, since new memory costs more than the work on a short
    span."""

    rows: Vector
    entry: Vector
    lanes: Vector

    @classmethod
    def of(cls, k: int, entry_rows: int, longest: int) -> Self:
        return cls(*(aligned_zeros(shape) for shape in ((3, k), (entry_rows, longest), (lane_lines(k), LANES))))


def half_sweep(
    side: Side,
    fixed: Fixed,
    solved: Vector,
    *,
    l1: float,
    n_passes: int,
    tol: float,
    classic: bool,
    threads: Threads,
) -> tuple[npt.NDArray[np.float64], int]:
    """Improve ``solved`` (rows of ``side``) in place, ``fixed`` being fixed; returns the loss of each row, without
    ``fixed``'s regularisation, and the passes that all rows took."""
    rows = side.rows
    k = fixed.factors.shape[1]
    loss = np.empty(rows.n_rows)
    passes = np.empty(rows.n_rows, dtype=np.int64)
    longest = -(-max(1, int(np.diff(rows.indptr).max(initial=0))) // LANE) * LANE
    entry_rows = 3 + max(MIN_BLOCK, -(-BUFFER_FLOATS // longest))

    idle: list[_Scratch] = []

    def descend(start: int, stop: int) -> None:
        try:
            own = idle.pop()
        except IndexError:
            own = _Scratch.of(k, entry_rows, longest)
        if classic:
            descend_classic(
                rows.indptr, rows.indices, side.target, side.l2, l1, fixed.factors, fixed.gram, n_passes, tol, start,
                stop, solved,
                loss, passes, own.rows[0], own.rows[1],
            )  # fmt: skip
        else:
            descend_weighted(
                rows.indptr, rows.indices, side.confidence, side.target, side.unobserved_target, side.weight,
                fixed.weight, side.l2,
                l1, fixed.factors, fixed.gram, fixed.pull, n_passes, tol, start, stop, solved, loss, passes, own.rows,
                own.entry,
                own.lanes,
            )  # fmt: skip
        idle.append(own)

    threads.run(descend, spans(rows.indptr, k, SPANS_PER_THREAD * threads.n_threads))
    return loss, int(passes.sum())
