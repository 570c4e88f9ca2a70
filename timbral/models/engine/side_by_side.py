"""Rows with few entries, sixteen at a time: each is one lane of the vector instructions.

What costs is not the arithmetic of a row's step but to wait for it: each step needs the one before. Sixteen rows wait
together.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import float32, float64

from timbral.models.kernels.lanes import (
    LANES,
    TOGETHER,
    Own,
    State,
    add_product,
    add_products,
    best_steps,
    entry_sums,
    gather,
    move_entries,
    start_slopes,
)

__all__ = ["LANES", "MOST_FEW", "descend_side_by_side", "few_entries", "lane_lines"]

MOST_FEW = 64
"""Up to this many entries, rows are solved side by side."""

LANES_FLOATS = 1 << 18
"""And no more than that the fixed factors of sixteen rows' entries are as many floats: they stay in the core's
cache."""

WEIGHT, L2, SUMS, STEP, WEIGHTED_STEP = (
    int(name) for name in (Own.WEIGHT, Own.L2, Own.SUMS, Own.STEP, Own.WEIGHTED_STEP)
)
SCALE, SQUARE, PULL, MOVED, LARGEST, LEFT, CONSTANT = (int(name) for name in State)


def few_entries(k: int) -> int:
    """Up to how many entries rows of ``k`` factors are solved side by side."""
    return max(1, min(MOST_FEW, LANES_FLOATS // (k * LANES)))


def lane_lines(k: int) -> int:
    """Lines of LANES floats that ``descend_weighted`` needs as scratch."""
    return (3 + few_entries(k)) * k + 3 * few_entries(k) + len(Own)


@numba.njit(nogil=True, fastmath=True, boundscheck=False)
def _dot(left, u, right, j):  # type: ignore[no-untyped-def]  # numba types it
    dot = float32(0.0)
    for f in range(left.shape[1]):
        dot += left[u, f] * right[j, f]
    return dot


@numba.njit(nogil=True, fastmath={"contract", "nsz"}, boundscheck=False)
def _rows_of_few(  # type: ignore[no-untyped-def]  # numba types it
    rows, n_rows, n, indptr, indices, c, r, mu, row_weight, column_weight, l2, l1, fixed, gram, all_pull, n_passes, tol,
    solved, loss, passes_done, w, slope, lines, entries, ids, lane32, lane64,
):  # fmt: skip
    """Up to LANES rows of at most ``n`` entries, ``rows[:n_rows]``.

    No sum is reordered, so what a row gets does not depend on how many entries the others have.

    Args:
        rows: (LANES,), int64; behind the first n_rows it is filled up with the first.
        c, r: ``confidence`` and ``target``.
        indptr, indices, mu, row_weight, column_weight, l2, l1, fixed, gram, all_pull, n_passes, tol, solved, loss,
            passes_done: as for ``descend_weighted``.
        w, slope: (k, LANES), scratch: the rows' factors and their slopes, a lane each.
        lines: ((n + 1) · k or more, LANES), scratch: the fixed factors of each lane's entries.
        entries: (3 · n or more, LANES), scratch: of each entry rest · ŷ, aim and rest, as in ``_row_of_many``.
        ids: (n or more, LANES), int64, scratch: the entries' columns.
        lane32, lane64: (len(Own), LANES) float32 and (len(State), LANES) float64, scratch: what a lane has of its own.
    """
    k = fixed.shape[1]
    stride = n | 1  # lines a power of 2 apart would push each other out of the cache
    for lane in range(LANES):
        filled = lane < n_rows
        if not filled:
            rows[lane] = rows[0]
        u = rows[lane]
        lane32[WEIGHT, lane] = row_weight[u]
        lane32[L2, lane] = l2[u]
        lane64[LEFT, lane] = 1.0 if filled else 0.0
        square, pull, constant = 0.0, 0.0, 0.0
        for i in range(n):
            place = indptr[u] + i
            if place < indptr[u + 1]:
                j = indices[place]
                ids[i, lane] = j
                dot = _dot(solved, u, fixed, j)
                weight = row_weight[u] * column_weight[j]
                rest, aim = c[place] - weight, c[place] * r[place] - weight * mu
                entries[3 * i, lane] = rest * dot
                entries[3 * i + 1, lane] = aim
                entries[3 * i + 2, lane] = rest
                square += float64(rest * dot * dot)
                pull += float64(aim * dot)
                constant += float64(c[place] * r[place] * r[place] - weight * mu * mu)
            else:
                ids[i, lane] = 0
                for number in range(3):
                    entries[3 * i + number, lane] = 0.0
        lane64[SQUARE, lane] = square
        lane64[PULL, lane] = pull
        lane64[CONSTANT, lane] = constant
    gather(w, 0, 1, solved, k, 0, k, rows, 0)
    for i in range(n):
        gather(lines, i, stride, fixed, k, 0, k, ids, i)
    slope[:] = 0.0
    for f in range(0, k - TOGETHER + 1, TOGETHER):
        add_products(slope, gram, f, k, w, f)
    for f in range(k - k % TOGETHER, k):
        add_product(slope, gram, f, k, w, f)
    start_slopes(slope, w, all_pull, l1, lane32, WEIGHT, SUMS)
    for lane in range(LANES):
        square = lane64[SQUARE, lane] + float64(lane32[SUMS, lane])
        pull = lane64[PULL, lane] + float64(lane32[SUMS + 1, lane])
        scale = pull / square if square > 0.0 and pull > 0.0 else 1.0
        lane64[SCALE, lane] = scale
        lane64[SQUARE, lane], lane64[PULL, lane] = scale * scale * square, scale * pull
    for turn in range(n_passes):
        for lane in range(LANES):
            lane64[MOVED, lane] = 0.0
            lane64[LARGEST, lane] = 0.0
        for f in range(k):
            entry_sums(entries, n, lines, f * stride, 1, lane32, SUMS)
            best_steps(f, all_pull[f], l1, gram[f, f], w, slope, lane32, lane64)
            move_entries(entries, n, lines, f * stride, 1, lane32, STEP)
            add_product(slope, gram, f, k, lane32, WEIGHTED_STEP)
        left = 0
        for lane in range(n_rows):
            if lane64[LEFT, lane] > 0.0:
                passes_done[rows[lane]] = turn + 1
                if lane64[MOVED, lane] <= tol * lane64[LARGEST, lane]:
                    lane64[LEFT, lane] = 0.0
                else:
                    left += 1
        if left == 0:
            break
    for lane in range(n_rows):
        u = rows[lane]
        loss[u] = lane64[SQUARE, lane] - 2.0 * lane64[PULL, lane] + lane64[CONSTANT, lane]
        for f in range(k):
            solved[u, f] = w[f, lane] * lane64[SCALE, lane]


@numba.njit(nogil=True, boundscheck=False)
def descend_side_by_side(  # type: ignore[no-untyped-def]  # numba types it
    indptr, indices, confidence, target, mu, row_weight, column_weight, l2, l1, fixed, gram, all_pull, n_passes, tol,
    start, stop, solved, loss, passes_done, lanes,
):  # fmt: skip
    """``descend_weighted`` of the rows with few entries; the arguments are its own. Gives the rows by their number of
    entries, and how many of them were few."""
    k = fixed.shape[1]
    few = (len(lanes) - 3 * k - WEIGHTED_STEP - 1) // (k + 3)
    w, slopes, lines = lanes[:k], lanes[k : 2 * k], lanes[2 * k : (3 + few) * k]
    entries, lane32 = lanes[(3 + few) * k : (3 + few) * k + 3 * few], lanes[(3 + few) * k + 3 * few :]
    lane64 = np.empty((CONSTANT + 1, LANES), dtype=np.float64)
    rows = np.empty(LANES, dtype=np.int64)
    ids = np.empty((few, LANES), dtype=np.int64)
    # By their number of entries, so that rows side by side have about as many.
    place = np.zeros(few + 2, dtype=np.int64)
    for u in range(start, stop):
        place[min(indptr[u + 1] - indptr[u], few + 1)] += 1
    for n in range(few + 1):
        place[n + 1] += place[n]
    order = np.empty(stop - start, dtype=np.int64)
    for u in range(stop - 1, start - 1, -1):
        n = min(indptr[u + 1] - indptr[u], few + 1)
        place[n] -= 1
        order[place[n]] = u
    n_few = place[few + 1]
    for first in range(0, n_few, LANES):
        n_rows = min(LANES, n_few - first)
        rows[:n_rows] = order[first : first + n_rows]
        longest = rows[n_rows - 1]
        _rows_of_few(
            rows, n_rows, indptr[longest + 1] - indptr[longest], indptr, indices, confidence, target, mu, row_weight,
            column_weight, l2, l1, fixed, gram, all_pull, n_passes, tol, solved, loss, passes_done, w, slopes, lines,
            entries, ids, lane32, lane64,
        )  # fmt: skip
    return order, n_few
