"""Coordinate descent over one side of the factorisation, the other being fixed: half a sweep.

For each row u (a user; with the transposed matrix, an item), find w ≥ 0 that lowers

    Σ_{i observed} c_i (r_i − w·h_i)² + a_u Σ_{i not observed} s_i (w·h_i)² + λ_u |w|² + 2 μ Σ_f w_f

The sum over what was not observed is a_u wᵀ G w with the Gram matrix G = Σ_i s_i h_i h_iᵀ, less the observed ones' part: nothing is ever
users × items. (Bayer, He, Kanagal, Rendle: "A Generic Coordinate Descent Framework for Learning from Implicit Feedback", 2017; item
weights s: He, Zhang, Kan, Chua: "Fast Matrix Factorization for Online Recommendation with Implicit Feedback", 2016.)

Rows are independent of each other, so any number of threads gives the same bits.
"""

from __future__ import annotations

from numba import float32, float64, int32, int64

from timbral.models.kernel import kernel, matrix, vector

__all__ = ["BUFFER_FLOATS", "descend_classic", "descend_weighted"]

BUFFER_FLOATS = 1 << 16
"""Fixed factors of a row's entries that are gathered at a time, in floats: they stay in the core's cache."""

MIN_BLOCK = 16


@kernel(
    vector(int64), vector(int32), vector(float32), vector(float32), vector(float32), vector(float32), vector(float32), float32,
    matrix(float32), matrix(float32), int64, float32, int64, int64, matrix(float32, writable=True), vector(float64, writable=True),
    vector(int64, writable=True), vector(float32, writable=True), vector(float32, writable=True), matrix(float32, writable=True),
    fastmath=True, boundscheck=False,
)  # fmt: skip
def descend_weighted(  # type: ignore[no-untyped-def]
    indptr, indices, confidence, target, row_weight, column_weight, l2, l1,
    fixed, gram, n_passes, tol, start, stop, solved, loss,
    passes_done, slope, curvature, entry,
):  # fmt: skip
    """``n_passes`` passes of coordinate descent over rows start..stop of ``solved``, from where they stand.

    ``slope``, ``curvature`` (k each) and ``entry`` (at least 3 rows, of at least as many entries as the longest row has) are scratch.
    Stops a row early when no factor moved by more than ``tol`` times the row's greatest factor. ``loss[u]`` gets the row's loss with
    the new factors: without the fixed side's regularisation. ``passes_done[u]`` gets the passes used.
    """
    k = fixed.shape[1]
    for u in range(start, stop):
        begin, end = indptr[u], indptr[u + 1]
        n = end - begin
        w = solved[u]
        a = row_weight[u]
        lam = l2[u]
        rest = entry[0, :n]  # c − a·s: what the Gram term leaves of an entry's weight
        pull = entry[1, :n]  # rest · ŷ − c·r: half the slope of the loss by ŷ
        idx = indices[begin:end]
        for i in range(n):
            rest[i] = confidence[begin + i] - a * column_weight[idx[i]]
            h = fixed[idx[i]]
            y = float32(0.0)
            for f in range(k):
                y += w[f] * h[f]
            pull[i] = rest[i] * y - confidence[begin + i] * target[begin + i]
        for f in range(k):
            slope[f] = 0.0
            curvature[f] = -1.0
        for f in range(k):
            if w[f] != 0.0:
                aw = a * w[f]
                g_row = gram[f]
                for q in range(k):
                    slope[q] += aw * g_row[q]
        width = k if n == 0 else min(k, max(16, (entry.shape[0] - 2) * entry.shape[1] // n))
        lines = entry[2:].reshape(-1)
        used = 0
        for turn in range(n_passes):
            used = turn + 1
            moved = float32(0.0)
            largest = float32(0.0)
            for f0 in range(0, k, width):
                f1 = min(k, f0 + width)
                if turn == 0 or width < k:
                    for i in range(n):
                        h = fixed[idx[i]]
                        for f in range(f0, f1):
                            lines[(f - f0) * n + i] = h[f]
                for f in range(f0, f1):
                    line = lines[(f - f0) * n : (f - f0 + 1) * n]
                    g = float32(0.0)
                    if curvature[f] < 0.0:
                        d = float32(0.0)
                        for i in range(n):
                            g += pull[i] * line[i]
                            d += rest[i] * line[i] * line[i]
                        curvature[f] = max(d + a * gram[f, f] + lam, float32(0.0))
                    else:
                        for i in range(n):
                            g += pull[i] * line[i]
                    d = curvature[f]
                    if d <= 0.0:
                        continue
                    old = w[f]
                    new = max(old - (g + slope[f] + lam * old + l1) / d, float32(0.0))
                    step = new - old
                    if step != 0.0:
                        w[f] = new
                        moved = max(moved, abs(step))
                        for i in range(n):
                            pull[i] += step * rest[i] * line[i]
                        step_a = step * a
                        g_row = gram[f]
                        for q in range(k):
                            slope[q] += step_a * g_row[q]
                    largest = max(largest, new)
            if moved <= tol * largest:
                break
        passes_done[u] = used
        total = float64(0.0)
        for i in range(n):
            h = fixed[idx[i]]
            y = float32(0.0)
            for f in range(k):
                y += w[f] * h[f]
            miss = float64(target[begin + i] - y)
            total += confidence[begin + i] * miss * miss - a * column_weight[idx[i]] * float64(y) * float64(y)
        for f in range(k):
            # slope is a·G·w, kept up to date by every step
            total += float64(w[f]) * float64(slope[f] + lam * w[f] + 2.0 * l1)
        loss[u] = total


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
            h = fixed[indices[i]]
            r = target[i]
            squares += float64(r) * float64(r)
            for f in range(k):
                product[f] += r * h[f]
        for f in range(k):
            slope[f] = l1 - product[f]
        for f in range(k):
            if w[f] != 0.0:
                x = w[f]
                g_row = gram[f]
                for q in range(k):
                    slope[q] += x * g_row[q]
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
                    g_row = gram[f]
                    for q in range(k):
                        slope[q] += step * g_row[q]
                    slope[f] += step * lam
                largest = max(largest, new)
            if moved <= tol * largest:
                break
        passes_done[u] = used
        total = squares
        for f in range(k):
            total += float64(w[f]) * (float64(slope[f]) - float64(product[f]) + float64(l1))
        loss[u] = total
