"""Which items are played by the same users: for each item the items most like it, and how much they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from numba import float32, int32, int64

from timbral.models.engine.sparse_rows import SparseRows
from timbral.models.kernels.heap import offer, sort_best_first
from timbral.models.kernels.kernel import kernel, matrix, vector
from timbral.models.kernels.threads import Threads, spans

__all__ = ["CoPlays"]

USER_EXPONENT: Final = 0.5
"""p: a user of n items says of any two of them n^-p that they go together."""

MOST_OF_A_USER: Final = 1_000
"""Items of one user that are looked at: what a user costs grows with the square of them."""

ROW: Final = 500
"""Items kept for each item, and no fewer than its candidates; fewer where the catalogue is so large that
``TABLE_BYTES`` hold no more."""

TABLE_BYTES: Final = 800 * 2**20

SPANS_PER_THREAD: Final = 32


@dataclass(frozen=True)
class CoPlays:
    """G = Σ_u n_u^-p x_u x_uᵀ, of which each row's largest entries by G_ij / √(G_ii G_jj) are kept, the largest first.

    ``items`` (n_items, width) int32, −1 where a row has no more; ``values`` (n_items, width) float32: G_ij;
    ``diagonal`` (n_items,)
    float32: G_ii.
    """

    items: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]
    diagonal: npt.NDArray[np.float32]

    @classmethod
    def of(cls, users: SparseRows, n_candidates: int, seed: int, threads: Threads) -> Self:
        """Of ``users``' rows (users × items); how often somebody played an item does not count. The same on any number
        of threads."""
        rows = _without_the_longest(users, seed)
        columns = rows.transposed()
        weights = np.maximum(np.diff(rows.indptr), 1) ** np.float32(-USER_EXPONENT)
        diagonal = np.zeros(rows.n_columns, dtype=np.float64)
        filled = np.diff(columns.indptr) > 0
        if filled.any():
            diagonal[filled] = np.add.reduceat(weights[columns.indices], columns.indptr[:-1][filled], dtype=np.float64)
        n_items = rows.n_columns
        width = min(n_items, max(n_candidates, min(ROW, TABLE_BYTES // (8 * n_items))))
        items = np.full((n_items, width), -1, dtype=np.int32)
        values = np.zeros((n_items, width), dtype=np.float32)
        roots = np.sqrt(np.maximum(diagonal, 1e-30)).astype(np.float32)
        parts = spans(columns.indptr, 1.0, SPANS_PER_THREAD * threads.n_threads)
        threads.run(
            lambda start, stop: _co_plays(
                rows.indptr, rows.indices, weights.astype(np.float32), columns.indptr, columns.indices, roots,
                start, stop, items, values
            ),
            parts,
        )  # fmt: skip
        return cls(items, values, diagonal.astype(np.float32))


def _without_the_longest(rows: SparseRows, seed: int) -> SparseRows:
    """Of a user with more than ``MOST_OF_A_USER`` entries, as many of them, at random."""
    counts = np.diff(rows.indptr)
    if counts.max(initial=0) <= MOST_OF_A_USER:
        return rows
    rng = np.random.default_rng(seed)
    kept = np.ones(len(rows.indices), dtype=bool)
    for user in np.flatnonzero(counts > MOST_OF_A_USER).tolist():
        dropped = rng.permutation(counts[user])[MOST_OF_A_USER:]
        kept[rows.indptr[user] + dropped] = False
    return rows.only(kept)


@kernel(
    vector(int64), vector(int32), vector(float32), vector(int64), vector(int32), vector(float32), int64, int64,
    matrix(int32, writable=True), matrix(float32, writable=True), boundscheck=False,
)  # fmt: skip
def _co_plays(  # type: ignore[no-untyped-def]
    user_indptr, user_items, user_weight, item_indptr, item_users, roots, start, stop, items, values
):  # fmt: skip
    """Rows ``start`` to ``stop`` of ``items`` and ``values``; ``roots`` are √G_ii."""
    n_items, width = len(roots), items.shape[1]
    total = np.zeros(n_items, np.float32)
    touched = np.empty(n_items, np.int32)
    for item in range(start, stop):
        n_touched = 0
        for place in range(item_indptr[item], item_indptr[item + 1]):
            user = item_users[place]
            weight = user_weight[user]
            for entry in range(user_indptr[user], user_indptr[user + 1]):
                other = user_items[entry]
                if total[other] == 0:
                    touched[n_touched] = other
                    n_touched += 1
                total[other] += weight
        best_items, best, size = items[item], values[item], 0
        for place in range(n_touched):
            other = touched[place]
            if other != item:
                likeness = total[other] / roots[other]
                if size < width or likeness >= best[0]:
                    size = offer(best, best_items, size, likeness, other)
        sort_best_first(best, best_items, size)
        for place in range(size):
            best[place] = total[best_items[place]]
        for place in range(n_touched):
            total[touched[place]] = 0
