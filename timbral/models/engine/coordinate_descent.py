"""Coordinate descent over one side of the factorisation, the other being fixed: half a sweep.

For each row u (a user; with the transposed matrix, an item), find w ≥ 0 that lowers

    Σ_{i observed} c_i (r_i − w·h_i)² + a_u Σ_{i not observed} s_i (μ − w·h_i)² + λ_u |w|² + 2 l1 Σ_f w_f

The sum over what was not observed is a_u (wᵀ G w − 2 w·p) with the Gram matrix G = Σ_i s_i h_i h_iᵀ and the pull p = μ
Σ_i s_i h_i, less the observed ones' part, and a constant: nothing is ever users × items. (Bayer, He, Kanagal, Rendle:
"A Generic Coordinate Descent Framework for Learning from Implicit Feedback", 2017; item weights s: He, Zhang, Kan,
Chua: "Fast Matrix Factorization for Online Recommendation with Implicit Feedback", 2016.)

A step changes one factor and, with it, the length of the whole row: the best (t, e) for w ← t·w + e·(factor f) is two
equations with two unknowns, all of whose numbers are at hand. In a model whose every score is near μ the factors are
nearly parallel, seen through A; what one adds the others have to give up, and steps of a single factor would be tiny.

Rows are independent of each other, so any number of threads gives the same bits.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import float32, float64, int32, int64

from timbral.models.engine.side_by_side import descend_side_by_side
from timbral.models.kernels.kernel import kernel, matrix, vector
from timbral.models.kernels.lanes import FLAT, LANES, LEAST_SCALE, ROUNDING, gather

__all__ = ["BUFFER_FLOATS", "LANE", "MIN_BLOCK", "descend_weighted"]

BUFFER_FLOATS = 1 << 16
"""Fixed factors of a row's entries that are gathered at a time, in floats: they stay in the core's cache."""

LANE = 32
"""A row's entries are padded to a multiple of this, and of LANES, with what weighs nothing: vectorised loops then have
no scalar rest."""

MIN_BLOCK = 16
"""Fewest factors that are gathered at a time, however long the row: one cache line of each entry."""

_inlined = numba.njit(nogil=True, fastmath=True, boundscheck=False)


@numba.njit(inline="always")
def _best_step(old, p, b, d, square, pull):  # type: ignore[no-untyped-def]  # numba types it
    """(t, e) such that w ← t·w + e·(factor f) has the least loss wᵀAw − 2·b·w with w ≥ 0, where w's factor f is
    ``old``.

    ``p`` is (A w)_f, ``b`` b_f, ``d`` A_ff > 0, ``square`` wᵀAw and ``pull`` b·w. ``lanes.best_steps`` is the same.
    """
    # Both at once; else what is least with w_f = 0; else the factor alone.
    divisor = square * d - p * p
    of_t, of_e = pull * d - b * p, square * b - p * pull
    fits = (divisor > FLAT * square * d) & (of_t > LEAST_SCALE * divisor)
    inside = of_t * old + of_e >= 0.0
    rest, rest_pull = square - old * (2.0 * p - old * d), pull - old * b
    ends = fits & (rest > FLAT * square) & (rest_pull > LEAST_SCALE * rest)
    both, edge = fits & inside, ends & (not inside)
    divisor = divisor if both else (rest if edge else d)
    of_t = of_t if both else (rest_pull if edge else d)
    of_e = of_e if both else (-rest_pull * old if edge else max(b - p, -old * d))
    return of_t / divisor, of_e / divisor


@_inlined
def _start_row(k, a, lam, l1, gram, all_pull, w, slope):  # type: ignore[no-untyped-def]  # numba types it
    """``slope`` gets a·G·w + λ·w; gives w·slope and (a·p − l1)·w."""
    for f in range(k):
        slope[f] = lam * w[f]
    for f in range(0, k - 3, 4):
        w0, w1, w2, w3 = a * w[f], a * w[f + 1], a * w[f + 2], a * w[f + 3]
        if w0 != 0.0 or w1 != 0.0 or w2 != 0.0 or w3 != 0.0:
            for q in range(k):
                slope[q] += w0 * gram[f, q] + w1 * gram[f + 1, q] + w2 * gram[f + 2, q] + w3 * gram[f + 3, q]
    for f in range(k - k % 4, k):
        if w[f] != 0.0:
            aw = a * w[f]
            for q in range(k):
                slope[q] += aw * gram[f, q]
    square, pull = float32(0.0), float32(0.0)
    for f in range(k):
        square += w[f] * slope[f]
        pull += w[f] * (a * all_pull[f] - l1)
    return float64(square), float64(pull)


@_inlined
def _row_of_many(  # type: ignore[no-untyped-def]  # numba types it
    idx, c, r, mu, a, column_weight, lam, l1, fixed, gram, all_pull, n_passes, tol, w, slope, curvature, linear, entry
):  # fmt: skip
    """A row with many entries, which are gathered. Gives the row's loss and the passes used.

    Args:
        idx, c, r: (n,), the row's own part of ``indices``, ``confidence`` and ``target``.
        a, lam: its row_weight and l2.
        w: (k,), its factors, from where they stand.
        slope, curvature, linear: (k,), scratch.
        mu, column_weight, l1, fixed, gram, all_pull, n_passes, tol, entry: as for ``descend_weighted``.
    """
    n, k = len(idx), len(w)
    padded = (n + LANE - 1) // LANE * LANE
    rest = entry[0, :padded]  # c − a·s: what the Gram term leaves of an entry's weight
    aim = entry[1, :padded]  # c·r − a·s·μ
    y = entry[2, :padded]  # rest · ŷ
    lines = entry[3:].reshape(-1)
    wide = lines.reshape(-1, LANES)
    ids = np.empty(padded, np.int64)
    square, pull = _start_row(k, a, lam, l1, gram, all_pull, w, slope)
    constant = float64(0.0)
    for i in range(n):
        j = idx[i]
        ids[i] = j
        weight = a * column_weight[j]
        rest[i] = c[i] - weight
        aim[i] = c[i] * r[i] - weight * mu
        constant += c[i] * r[i] * r[i] - weight * mu * mu
        dot = float32(0.0)
        for f in range(k):
            dot += w[f] * fixed[j, f]
        y[i] = rest[i] * dot
        square += float64(y[i] * dot)
        pull += float64(aim[i] * dot)
    for i in range(n, padded):
        ids[i] = idx[0]
        rest[i] = 0.0
        aim[i] = 0.0
        y[i] = 0.0
    # w, slope and y are what they are divided by ``scale``.
    scale = pull / square if square > 0.0 and pull > 0.0 else 1.0
    square, pull = scale * scale * square, scale * pull
    width = min(k, max(MIN_BLOCK, len(lines) // padded))
    used = 0
    for turn in range(n_passes):
        used = turn + 1
        moved, largest = 0.0, 0.0
        for f0 in range(0, k, width):
            f1 = min(k, f0 + width)
            if turn == 0 or width < k:
                for number in range(padded // LANES):
                    gather(wide, number, padded // LANES, fixed, k, f0, f1, ids, number)
            for f in range(f0, f1):
                line = lines[(f - f0) * padded : (f - f0 + 1) * padded]
                p = float32(0.0)
                if turn == 0:
                    b, d = float32(0.0), float32(0.0)
                    for i in range(padded):
                        p += y[i] * line[i]
                        b += aim[i] * line[i]
                        d += rest[i] * line[i] * line[i]
                    linear[f] = b + a * all_pull[f] - l1
                    curvature[f] = d + a * gram[f, f] + lam
                else:
                    for i in range(padded):
                        p += y[i] * line[i]
                b, d = linear[f], curvature[f]
                p64 = scale * float64(slope[f] + p)
                old = scale * float64(w[f])
                if (old == 0.0 and p64 >= b) or d <= 0.0:
                    continue
                t, e = _best_step(old, p64, float64(b), float64(d), square, pull)
                square = t * t * square + e * (2.0 * t * p64 + e * d)
                pull = t * pull + e * b
                scale *= t
                new = t * old + e
                if new <= ROUNDING * old:
                    new = 0.0
                largest = max(largest, new)
                moved = max(moved, abs(e), abs(t - 1.0) * largest)
                w[f] = new / scale
                step = float32(e / scale)
                if step == 0.0:
                    continue
                for i in range(padded):
                    y[i] += step * rest[i] * line[i]
                slope[f] += step * lam
                step_a = step * a
                for q in range(k):
                    slope[q] += step_a * gram[f, q]
        if moved <= tol * largest:
            break
    for f in range(k):
        w[f] *= scale
    return square - 2.0 * pull + constant, used


@kernel(
    indptr=vector(int64),  # (n_rows + 1,): row u has the entries indptr[u] to indptr[u + 1]
    indices=vector(int32),  # (n_entries,): the column of an entry
    confidence=vector(float32),  # (n_entries,): c, what an entry weighs
    target=vector(float32),  # (n_entries,): r, what an entry aims at
    mu=float32,  # μ, what all others aim at
    row_weight=vector(float32),  # (n_rows,): a
    column_weight=vector(float32),  # (n_columns,): s
    l2=vector(float32),  # (n_rows,): λ
    l1=float32,  # λ₁
    fixed=matrix(float32),  # (n_columns, k): h, the other side's factors
    gram=matrix(float32),  # (k, k): G
    all_pull=vector(float32),  # (k,): p
    n_passes=int64,  # most passes over a row
    tol=float32,  # a row is done when no factor moved by more, as a share of the row's greatest
    start=int64,  # first row to solve
    stop=int64,  # the row behind the last
    solved=matrix(float32, writable=True),  # (n_rows, k): w, from where they stand
    loss=vector(float64, writable=True),  # (n_rows,): of each row, out
    passes_done=vector(int64, writable=True),  # (n_rows,): of each row, out
    scratch=matrix(float32, writable=True),  # (3, k)
    entry=matrix(float32, writable=True),  # (3 + MIN_BLOCK or more, the longest row up to a multiple of LANE)
    lanes=matrix(float32, writable=True),  # (lane_lines(k), LANES)
    fastmath=True,
    boundscheck=False,
)
def descend_weighted(  # type: ignore[no-untyped-def]  # numba types it
    indptr, indices, confidence, target, mu, row_weight, column_weight, l2, l1, fixed, gram, all_pull, n_passes, tol,
    start, stop, solved, loss, passes_done, scratch, entry, lanes,
):  # fmt: skip
    """At most ``n_passes`` passes of coordinate descent over rows start..stop of ``solved``, from where they stand.

    ``loss[u]`` gets the row's loss with the new factors, less a_u μ² Σ_i s_i, and without the fixed side's
    regularisation; ``passes_done[u]`` gets the passes used. ``scratch``, ``entry`` and ``lanes`` are scratch.
    """
    slope, curvature, linear = scratch[0], scratch[1], scratch[2]
    order, n_few = descend_side_by_side(
        indptr, indices, confidence, target, mu, row_weight, column_weight, l2, l1, fixed, gram, all_pull, n_passes,
        tol, start, stop, solved, loss, passes_done, lanes,
    )  # fmt: skip
    for u in order[n_few:]:
        begin, end = indptr[u], indptr[u + 1]
        loss[u], passes_done[u] = _row_of_many(
            indices[begin:end], confidence[begin:end], target[begin:end], mu, row_weight[u], column_weight, l2[u], l1,
            fixed, gram, all_pull, n_passes, tol, solved[u], slope, curvature, linear, entry,
        )  # fmt: skip
