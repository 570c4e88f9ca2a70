"""Coordinate descent over one side of the factorisation, the other being fixed: half a sweep.

For each row u (a user; with the transposed matrix, an item), find w ≥ 0 that lowers

    Σ_{i observed} c_i (r_i − w·h_i)² + a_u Σ_{i not observed} s_i (μ − w·h_i)² + λ_u |w|² + 2 l1 Σ_f w_f

The sum over what was not observed is a_u (wᵀ G w − 2 w·p) with the Gram matrix G = Σ_i s_i h_i h_iᵀ and the pull p = μ Σ_i s_i h_i, less the
observed ones' part, and a constant that is no row's: nothing is ever users × items. (Bayer, He, Kanagal, Rendle: "A Generic Coordinate Descent Framework for Learning from Implicit Feedback", 2017; item
weights s: He, Zhang, Kan, Chua: "Fast Matrix Factorization for Online Recommendation with Implicit Feedback", 2016.)

Rows are independent of each other, so any number of threads gives the same bits.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import float32, float64, int32, int64

from timbral.models.kernel import kernel, matrix, vector

__all__ = ["BUFFER_FLOATS", "LANE", "MIN_BLOCK", "descend_classic", "descend_weighted"]

BUFFER_FLOATS = 1 << 16
"""Fixed factors of a row's entries that are gathered at a time, in floats: they stay in the core's cache."""

LANE = 32
"""A row's entries are padded with zeros to a multiple of this: vectorised loops then have no scalar rest."""

MIN_BLOCK = 16
"""Fewest factors that are gathered at a time, however long the row: one cache line of each entry."""

FEW = 16
"""Up to this many entries, keeping the whole gradient up to date costs less than keeping the residuals."""

FULL_PASS = 4
"""Of the passes over a row with many entries, every fourth looks at all factors, the others only at those in use."""

_inlined = numba.njit(nogil=True, fastmath=True, boundscheck=False)


@_inlined
def _row_of_few(  # type: ignore[no-untyped-def]
    u, begin, end, indices, c, r, mu, a, column_weight, lam, l1, fixed, gram, floor, n_passes, n_rounds, tol, w, gradient, own, slope,
    line, active, entry, square,
):  # fmt: skip
    """A row with few entries. Gives the row's loss and the passes used.

    A round finds the factors that are in use or want to be, writes the row's small dense problem in these alone, and descends in it.
    Arrays are indexed in place: a view of a row costs as much as the row's arithmetic.
    """
    n, k = end - begin, fixed.shape[1]
    used = 0
    n_active = 0
    for _ in range(n_rounds):
        for f in range(k):
            gradient[f] = lam * w[u, f] - a * floor[f]
        for f in range(k):
            aw = a * w[u, f]
            if aw != 0.0:
                for q in range(k):
                    gradient[q] += aw * gram[f, q]
        for i in range(n):
            j = indices[begin + i]
            y = float32(0.0)
            for f in range(k):
                y += w[u, f] * fixed[j, f]
            entry[0, i] = c[begin + i] - a * column_weight[j]
            pull = entry[0, i] * (y - mu) - c[begin + i] * (r[begin + i] - mu)
            for f in range(k):
                gradient[f] += pull * fixed[j, f]
        n_active = 0
        for f in range(k):
            # Without a branch: which factors are in use cannot be foretold.
            active[n_active] = f
            n_active += (w[u, f] > 0.0) | (gradient[f] + l1 < 0.0)
        if n_active * 3 > k * 2:
            n_active = k
            for p in range(k):
                active[p] = p
                own[p] = w[u, p]
                slope[p] = gradient[p] + l1
                for q in range(k):
                    square[p, q] = a * gram[p, q]
                square[p, p] += lam
            for i in range(n):
                j = indices[begin + i]
                for p in range(k):
                    x = entry[0, i] * fixed[j, p]
                    if x != 0.0:
                        for q in range(k):
                            square[p, q] += x * fixed[j, q]
        else:
            for p in range(n_active):
                f = active[p]
                own[p] = w[u, f]
                slope[p] = gradient[f] + l1
                for q in range(n_active):
                    square[p, q] = a * gram[f, active[q]]
                square[p, p] += lam
            for i in range(n):
                j = indices[begin + i]
                for p in range(n_active):
                    line[p] = fixed[j, active[p]]
                for p in range(n_active):
                    x = entry[0, i] * line[p]
                    if x != 0.0:
                        for q in range(n_active):
                            square[p, q] += x * line[q]
        first_moved, largest = float32(0.0), float32(0.0)
        for inner in range(n_passes):
            used += 1
            moved = float32(0.0)
            largest = float32(0.0)
            for p in range(n_active):
                d = square[p, p]
                old = own[p]
                if d <= 0.0 or (old == 0.0 and slope[p] >= 0.0):
                    continue
                new = max(old - slope[p] / d, float32(0.0))
                step = new - old
                largest = max(largest, new)
                if step == 0.0:
                    continue
                own[p] = new
                moved = max(moved, abs(step))
                for q in range(n_active):
                    slope[q] += step * square[p, q]
            if inner == 0:
                first_moved = moved
            if moved <= tol * largest:
                break
        for p in range(n_active):
            w[u, active[p]] = own[p]
        if first_moved <= tol * largest:
            break
    # w·gradient is the quadratic part of the loss, less half of its linear part; factors out of use have no part in it.
    loss = float64(0.0)
    for i in range(n):
        j = indices[begin + i]
        y = float32(0.0)
        for p in range(n_active):
            y += own[p] * fixed[j, active[p]]
        aim = float64(c[begin + i]) * float64(r[begin + i]) - mu * float64(a * column_weight[j])
        loss += (
            float64(c[begin + i]) * float64(r[begin + i]) ** 2
            - mu * mu * float64(a * column_weight[j])
            - aim * float64(y)
        )
    for p in range(n_active):
        loss += float64(own[p]) * float64(slope[p] + l1 - a * floor[active[p]])
    return loss, used


@_inlined
def _row_of_many(  # type: ignore[no-untyped-def]
    idx, c, r, mu, a, column_weight, lam, l1, fixed, gram, floor, n_passes, tol, w, slope, curvature, entry, want_loss
):  # fmt: skip
    """A row with many entries: each step of a factor updates the entries' residuals. Gives the row's loss and the passes used."""
    n, k = len(idx), len(w)
    padded = (n + LANE - 1) // LANE * LANE
    rest = entry[0, :padded]  # c − a·s: what the Gram term leaves of an entry's weight
    pull = entry[1, :padded]  # rest · ŷ − c·r: half the slope of the loss by ŷ
    lines = entry[2:].reshape(-1)
    for i in range(n):
        rest[i] = c[i] - a * column_weight[idx[i]]
        j = idx[i]
        y = float32(0.0)
        for f in range(k):
            y += w[f] * fixed[j, f]
        pull[i] = rest[i] * (y - mu) - c[i] * (r[i] - mu)
    for i in range(n, padded):
        rest[i] = 0.0
        pull[i] = 0.0
    for f in range(k):
        slope[f] = -a * floor[f]  # a·(G·w − p)
    for f in range(k):
        if w[f] != 0.0:
            aw = a * w[f]
            for q in range(k):
                slope[q] += aw * gram[f, q]
    width = min(k, max(MIN_BLOCK, len(lines) // padded))
    used = 0
    for turn in range(n_passes):
        used = turn + 1
        moved, largest = float32(0.0), float32(0.0)
        for f0 in range(0, k, width):
            f1 = min(k, f0 + width)
            if turn == 0 or width < k:
                for i in range(n):
                    j = idx[i]
                    for f in range(f0, f1):
                        lines[(f - f0) * padded + i] = fixed[j, f]
                for f in range(f0, f1):
                    for i in range(n, padded):
                        lines[(f - f0) * padded + i] = 0.0
            for f in range(f0, f1):
                line = lines[(f - f0) * padded : (f - f0 + 1) * padded]
                g = float32(0.0)
                if turn == 0:
                    d = float32(0.0)
                    for i in range(padded):
                        g += pull[i] * line[i]
                        d += rest[i] * line[i] * line[i]
                    curvature[f] = d + a * gram[f, f] + lam
                else:
                    if w[f] == 0.0 and turn % FULL_PASS != 0:
                        continue
                    for i in range(padded):
                        g += pull[i] * line[i]
                old = w[f]
                g += slope[f] + lam * old + l1
                if (old == 0.0 and g >= 0.0) or curvature[f] <= 0.0:
                    continue
                new = max(old - g / curvature[f], float32(0.0))
                step = new - old
                largest = max(largest, new)
                if step == 0.0:
                    continue
                w[f] = new
                moved = max(moved, abs(step))
                for i in range(padded):
                    pull[i] += step * rest[i] * line[i]
                step_a = step * a
                for q in range(k):
                    slope[q] += step_a * gram[f, q]
        if moved <= tol * largest and turn % FULL_PASS == 0:
            break
    loss = float64(0.0)
    if want_loss:
        for i in range(n):
            j = idx[i]
            y = float32(0.0)
            for f in range(k):
                y += w[f] * fixed[j, f]
            miss = float64(r[i] - y)
            loss += float64(c[i]) * miss * miss - float64(c[i] - rest[i]) * float64(y - mu) ** 2
        for f in range(k):
            loss += float64(w[f]) * float64(slope[f] - a * floor[f] + lam * w[f] + 2.0 * l1)
    return loss, used


@kernel(
    vector(int64), vector(int32), vector(float32), vector(float32), float32, vector(float32), vector(float32), vector(float32),
    float32, matrix(float32), matrix(float32), vector(float32), int64, int64, float32, int64, int64, int64, matrix(float32, writable=True),
    vector(float64, writable=True), vector(int64, writable=True), matrix(float32, writable=True), matrix(float32, writable=True),
    fastmath=True, boundscheck=False,
)  # fmt: skip
def descend_weighted(  # type: ignore[no-untyped-def]
    indptr, indices, confidence, target, mu, row_weight, column_weight, l2, l1,
    fixed, gram, floor, n_passes, n_rounds, tol, want_loss, start, stop, solved, loss, passes_done, scratch, entry,
):  # fmt: skip
    """``n_rounds`` times ``n_passes`` passes of coordinate descent over rows start..stop of ``solved``, from where they stand.

    ``scratch`` (5 + k, k) and ``entry`` (at least 2 + MIN_BLOCK rows, of as many columns as the longest row has entries, rounded up to
    LANE) are scratch. A row is done early when no factor moved by more than ``tol`` times the row's greatest factor. ``loss[u]`` gets
    the row's loss with the new factors, where ``want_loss``: without the fixed side's regularisation. ``passes_done[u]`` gets the
    passes used.
    """
    k = fixed.shape[1]
    slope, curvature, own, compact_slope, line, square = (
        scratch[0], scratch[1], scratch[2], scratch[3], scratch[4], scratch[5:],
    )  # fmt: skip
    active = np.empty(k + 1, dtype=np.int64)
    for u in range(start, stop):
        begin, end = indptr[u], indptr[u + 1]
        if end - begin <= FEW:
            loss[u], passes_done[u] = _row_of_few(
                u, begin, end, indices, confidence, target, mu, row_weight[u], column_weight, l2[u], l1, fixed, gram, floor,
                n_passes, n_rounds, tol, solved, slope, own, compact_slope, line, active, entry, square,
            )  # fmt: skip
        else:
            idx, c, r = indices[begin:end], confidence[begin:end], target[begin:end]
            loss[u], passes_done[u] = _row_of_many(
                idx, c, r, mu, row_weight[u], column_weight, l2[u], l1, fixed, gram, floor, n_passes * n_rounds, tol, solved[u],
                slope, curvature, entry, want_loss,
            )  # fmt: skip


@kernel(
    vector(int64), vector(int32), vector(float32), vector(float32), float32, matrix(float32), matrix(float32), int64, float32,
    int64, int64, matrix(float32, writable=True), vector(float64, writable=True), vector(int64, writable=True),
    vector(float32, writable=True), vector(float32, writable=True),
    fastmath=True, boundscheck=False,
)  # fmt: skip
def descend_classic(  # type: ignore[no-untyped-def]
    indptr, indices, target, l2, l1, fixed, gram, n_passes, tol, start, stop, solved, loss, passes_done, slope, product,
):  # fmt: skip
    """``descend_weighted`` for confidence 1 and all weights 1, where the observed entries only enter through X·H: no residuals."""
    k = fixed.shape[1]
    for u in range(start, stop):
        begin, end = indptr[u], indptr[u + 1]
        w = solved[u]
        lam = l2[u]
        for f in range(k):
            product[f] = 0.0
        squares = float64(0.0)
        for i in range(begin, end):
            j = indices[i]
            r = target[i]
            squares += float64(r) * float64(r)
            for f in range(k):
                product[f] += r * fixed[j, f]
        for f in range(k):
            slope[f] = l1 - product[f]
        for f in range(k):
            if w[f] != 0.0:
                x = w[f]
                for q in range(k):
                    slope[q] += x * gram[f, q]
                slope[f] += x * lam
        used = 0
        for turn in range(n_passes):
            used = turn + 1
            moved = float32(0.0)
            largest = float32(0.0)
            for f in range(k):
                d = gram[f, f] + lam
                if d <= 0.0:
                    continue
                old = w[f]
                new = max(old - slope[f] / d, float32(0.0))
                step = new - old
                if step != 0.0:
                    w[f] = new
                    moved = max(moved, abs(step))
                    for q in range(k):
                        slope[q] += step * gram[f, q]
                    slope[f] += step * lam
                largest = max(largest, new)
            if moved <= tol * largest:
                break
        passes_done[u] = used
        total = squares
        for f in range(k):
            total += float64(w[f]) * (float64(slope[f]) - float64(product[f]) + float64(l1))
        loss[u] = total
