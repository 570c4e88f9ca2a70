"""Whom nothing is known of gets what most users play, not the catalogue's first ids."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from timbral.models.nmf_model import NMFModel


@pytest.fixture(scope="module")
def plays() -> sparse.csr_matrix:
    """30 users × 12 items, the later items the more popular; users 3 and 7 have no entries."""
    rng = np.random.default_rng(0)
    dense = (rng.random((30, 12)) < np.linspace(0.1, 0.9, 12)) * rng.integers(1, 9, (30, 12))
    dense[[3, 7]] = 0
    dense[0, 11] = dense[1, 11] = 1
    return sparse.csr_matrix(dense.astype(np.float32))


@pytest.fixture(scope="module")
def model(plays: sparse.csr_matrix) -> NMFModel:
    return NMFModel(4, 0, 30, n_threads=1).fit(plays)


def by_popularity(plays: sparse.csr_matrix) -> list[int]:
    return np.argsort(-np.bincount(plays.indices, minlength=12), kind="stable").tolist()


def test_a_user_without_entries_gets_the_most_popular_items(plays: sparse.csr_matrix, model: NMFModel) -> None:
    items, scores = model.get_top_recommendations(3, top_k=5)

    assert items.tolist() == by_popularity(plays)[:5] != list(range(5))
    assert scores.tolist() == model.predict([3] * 5, items).tolist() == [0.0] * 5


def test_what_is_ruled_out_is_in_no_popular_list(plays: sparse.csr_matrix, model: NMFModel) -> None:
    best = by_popularity(plays)
    own = sparse.csr_matrix((np.ones(1, np.float32), ([1], [best[1]])), shape=(2, 12))

    found = model.recommend([0, 3], top_k=4, blocked=[best[0]], blocked_by_user=own)

    assert found.item_indices[found.indptr[1] :].tolist() == best[2:6]
    among = model.recommend([7], top_k=4, allowed=[best[9], best[3], best[5]])
    assert among.item_indices.tolist() == [best[3], best[5], best[9]]


def test_a_folded_in_user_without_plays_gets_them_too_and_others_their_own(
    plays: sparse.csr_matrix, model: NMFModel
) -> None:
    rows = sparse.vstack([plays[5], sparse.csr_matrix((1, 12), dtype=np.float32)]).tocsr()
    factors = model.fold_in(rows)

    found = model.recommend(user_factors=factors, top_k=3, seen=rows)
    alone = model.recommend(user_factors=factors[:1], top_k=3, seen=rows[:1])

    assert found.item_indices[3:].tolist() == by_popularity(plays)[:3]
    assert found.item_indices[:3].tolist() == alone.item_indices.tolist()
