"""The ten best items for everybody, seen items left out: against ``implicit.recommend`` and against brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from scipy import sparse
from threadpoolctl import threadpool_limits

from benchmarks import datasets, peers
from benchmarks.command import main
from benchmarks.measure import seconds
from benchmarks.results import Options, Result, Row
from timbral.config.cores import available_cores
from timbral.models.nmf_model import NMFModel
from timbral.models.search.item_index import ItemIndex
from timbral.models.search.top_k import TopK, top_k

CHECKED_USERS = 500


def run(options: Options) -> Result:
    peers.warm_up()
    small = 10 if options.quick else 1
    plays = datasets.listening(30_000 // small, 40_000 // small, 800_000 // small, seed=7).csr()
    model = NMFModel(64, max_iter=20).fit(plays)
    rng = np.random.default_rng(0)
    dense = [rng.random((n, 64), dtype=np.float32) for n in plays.shape]
    result = Result("top_k_speed")
    cases = {
        "trained factors": (model.user_factors, model.item_factors, (1, 3)),
        "the worst case: dense uniform factors": (dense[0], dense[1].T, (1, 3)),
    }
    for name, (users, items, (must, aim)) in cases.items():
        mine, found = seconds(lambda users=users, items=items: top_k(users, items, 10, seen=plays), 3)
        with threadpool_limits(1, "blas"):
            peer = AlternatingLeastSquares(64, num_threads=available_cores())
            peer.user_factors, peer.item_factors = users, np.ascontiguousarray(items.T)
            theirs, _ = seconds(lambda peer=peer: peer.recommend(np.arange(plays.shape[0]), plays, N=10), 2)
        _check(found, users, items, plays)
        index = ItemIndex.of(items)
        one = {
            kept: seconds(
                lambda u=users, i=items, x=index, k=kept: top_k(u[:1], i, 10, seen=plays[0], index=x if k else None),
                100,
            )[0]
            for kept in (False, True)
        }
        zeros = f"{np.mean(users == 0):.0%} of the user factors and {np.mean(items == 0):.0%} of the item factors are 0"
        note = f"{zeros}; {CHECKED_USERS} lists identical to brute force; one user {one[False] * 1e3:.2f} ms, with index {one[True] * 1e3:.2f} ms"
        what = f"top-10 for {plays.shape[0]:,} users × {plays.shape[1]:,} items, k=64, {name}"
        result.rows.append(Row(what, theirs / mine, "×", must, aim, f"{mine:.2f} s", f"implicit {theirs:.2f} s", note))
        result.numbers[name] = {
            "ours_s": mine,
            "implicit_s": theirs,
            "one_user_s": one[False],
            "one_user_index_s": one[True],
        }
    result.rows.append(_whole_score(plays))
    return result


def _whole_score(plays: sparse.csr_matrix) -> Row:
    """Factors and neighbours, against a peer that has the factors alone. The weight is given: made-up plays may have
    none chosen."""
    model = NMFModel(64, max_iter=20, regularization=0.5, neighbor_weight=0.5, neighbor_regularization=1.0).fit(plays)
    users = np.arange(plays.shape[0])
    mine, _ = seconds(lambda: model.recommend(users, top_k=10), 3)
    with threadpool_limits(1, "blas"):
        peer = AlternatingLeastSquares(64, num_threads=available_cores())
        peer.user_factors, peer.item_factors = model.user_factors, np.ascontiguousarray(model.item_factors.T)
        theirs, _ = seconds(lambda: peer.recommend(users, plays, N=10), 2)
    what = f"top-10 for {plays.shape[0]:,} users × {plays.shape[1]:,} items, k=64, the whole score with neighbours"
    note = "implicit ranks by the factors alone; identity with brute force is a property test"
    return Row(what, theirs / mine, "×", 1, 3, f"{mine:.2f} s", f"implicit {theirs:.2f} s", note)


def _check(found: TopK, users: Any, items: Any, seen: sparse.csr_matrix) -> None:
    """Raises AssertionError unless the first lists are those of the definition, bit for bit."""
    n_users = min(CHECKED_USERS, len(users))
    totals = np.zeros((n_users, items.shape[1]))
    for component in range(len(items)):
        totals += users[:n_users, component, None].astype(np.float64) * items[component].astype(np.float64)
    scores = totals.astype(np.float32)
    scores[seen[:n_users].nonzero()] = -1
    for row in range(n_users):
        best = np.argsort(-scores[row], kind="stable")[:10]
        np.testing.assert_array_equal(found[row][0], best)
        np.testing.assert_array_equal(found[row][1], scores[row, best])


if __name__ == "__main__":
    main(run)
