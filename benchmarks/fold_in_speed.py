"""The vector of one user with 100 plays, k=100, the items being fixed."""

from __future__ import annotations

import time

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from scipy import sparse
from threadpoolctl import threadpool_limits

from benchmarks import datasets, peers
from benchmarks.command import main
from benchmarks.peers import Als
from benchmarks.results import Options, Result, Row
from timbral.models.nmf_model import NMFModel


def run(options: Options) -> Result:
    peers.warm_up()
    small = 10 if options.quick else 1
    plays = datasets.listening(10_000 // small, 20_000 // small, 400_000 // small, seed=8).csr()
    model = NMFModel(100, max_iter=15).fit(plays)
    als = Als(100, iterations=3).fit(plays)
    rng = np.random.default_rng(0)
    mine, theirs = [], []
    for _ in range(20 if options.quick else 200):
        played = rng.choice(plays.shape[1], 100, replace=False, p=np.diff(plays.tocsc().indptr) / plays.nnz)
        user = sparse.csr_matrix(
            (rng.integers(1, 50, 100).astype(np.float32), (np.zeros(100, int), played)), (1, plays.shape[1])
        )
        start = time.perf_counter()
        model.fold_in(user)
        mine.append(time.perf_counter() - start)
        theirs.append(_recalculate(als, user))
    median, peer = float(np.median(mine)) * 1e3, float(np.median(theirs)) * 1e3
    note = f"median of {len(mine)} users; the 95th percentile {np.percentile(mine, 95) * 1e3:.2f} ms"
    row = Row(
        "fold_in, one user, 100 plays, k=100", median, "ms", 2, 0.5, f"{median:.2f} ms",
        f"implicit recalculate_user {peer:.2f} ms", note, less_is_better=True,
    )  # fmt: skip
    return Result("fold_in_speed", [row], {"ours_ms": sorted(t * 1e3 for t in mine), "implicit_median_ms": peer})


def _recalculate(als: AlternatingLeastSquares, user: sparse.csr_matrix) -> float:
    with threadpool_limits(1, "blas"):
        start = time.perf_counter()
        als.recalculate_user(0, user)
        return time.perf_counter() - start


if __name__ == "__main__":
    main(run)
