"""``coordinate_descent`` for the classic objective: every cell weighs 1, and what was not observed aims at 0."""

from __future__ import annotations

from numba import float32, float64, int32, int64

from timbral.models.kernels.kernel import kernel, matrix, vector

__all__ = ["descend_classic"]


@kernel(
    indptr=vector(int64),  # (n_rows + 1,)
    indices=vector(int32),  # (n_entries,)
    target=vector(float32),  # (n_entries,)
    l2=vector(float32),  # (n_rows,): λ
    l1=float32,  # λ₁
    fixed=matrix(float32),  # (n_columns, k): the other side's factors
    gram=matrix(float32),  # (k, k): of ``fixed``
    n_passes=int64,  # most passes over a row
    tol=float32,  # see ``descend_weighted``
    start=int64,  # first row to solve
    stop=int64,  # the row behind the last
    solved=matrix(float32, writable=True),  # (n_rows, k): from where they stand
    loss=vector(float64, writable=True),  # (n_rows,): out
    passes_done=vector(int64, writable=True),  # (n_rows,): out
    slope=vector(float32, writable=True),  # (k,): scratch
    product=vector(float32, writable=True),  # (k,): scratch
    fastmath=True,
    boundscheck=False,
)
def descend_classic(  # type: ignore[no-untyped-def]  # numba types it
    indptr, indices, target, l2, l1, fixed, gram, n_passes, tol, start, stop, solved, loss, passes_done, slope, product,
):  # fmt: skip
    """``descend_weighted`` for confidence 1 and all weights 1, where the observed entries only enter through X·H: no
    residuals."""
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
