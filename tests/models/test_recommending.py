"""Lists: best first, without what is seen or blocked."""

from __future__ import annotations

import numpy as np
import pytest
from play_matrices import N_ITEMS, N_USERS, plays
from scipy import sparse

from timbral.errors import (
    ParameterError,
)
from timbral.models.nmf_model import NMFModel


def test_lists_are_best_first_without_what_was_played(model: NMFModel, matrix: sparse.csr_matrix) -> None:
    items, scores = model.get_top_recommendations(3, 10)

    assert len(items) == len(scores) == 10
    assert not set(items.tolist()) & set(matrix[3].indices.tolist())
    np.testing.assert_array_equal(scores, model.predict([3] * 10, items))
    assert (np.diff(scores) <= 0).all()


def test_fewer_are_left_than_asked_for(model: NMFModel, matrix: sparse.csr_matrix) -> None:
    items, _ = model.get_top_recommendations(3, 1000)
    with_seen, _ = model.get_top_recommendations(3, 1000, exclude_seen=False)

    assert len(items) == N_ITEMS - matrix[3].nnz
    assert sorted(with_seen.tolist()) == list(range(N_ITEMS))


def test_who_has_played_everything_gets_nothing() -> None:
    items, scores = NMFModel(2).fit(np.ones((3, 4))).get_top_recommendations(1)

    assert (len(items), len(scores)) == (0, 0)


def test_many_users_get_what_each_alone_gets(model: NMFModel) -> None:
    everybody, some = model.recommend(top_k=7), model.recommend([9, 2], top_k=7)

    assert len(everybody) == N_USERS
    for place, user in enumerate([9, 2]):
        alone = model.get_top_recommendations(user, 7)
        for many in (everybody[user], some[place]):
            np.testing.assert_array_equal(many[0], alone[0])
            np.testing.assert_array_equal(many[1], alone[1])


def test_block_and_allow_lists_hold_for_all_and_for_each(model: NMFModel) -> None:
    best = model.recommend([1, 2], top_k=3)
    first, second = int(best[0][0][0]), int(best[1][0][0])
    own = sparse.csr_matrix(([1.0, 1.0], ([0, 1], [first, second])), shape=(2, N_ITEMS))

    blocked = model.recommend([1, 2], blocked=[first])
    blocked_each = model.recommend([1, 2], blocked_by_user=own)
    allowed = model.recommend([1, 2], allowed=[first, second], exclude_seen=False)
    allowed_each = model.recommend([1, 2], allowed_by_user=own)

    assert first not in blocked[0][0]
    assert first not in blocked[1][0]
    assert first not in blocked_each[0][0]
    assert second not in blocked_each[1][0]
    assert set(allowed[0][0].tolist()) == {first, second}
    assert allowed_each[0][0].tolist() == [first]


def test_folded_in_vectors_with_what_they_have_seen(model: NMFModel, matrix: sparse.csr_matrix) -> None:
    new = matrix[[5, 6]]

    with_seen = model.recommend(user_factors=model.fold_in(new), seen=new, top_k=N_ITEMS)
    without = model.recommend(user_factors=model.fold_in(new), seen=new, exclude_seen=False, top_k=N_ITEMS)

    assert not set(with_seen[0][0].tolist()) & set(new[0].indices.tolist())
    assert len(without[0][0]) == N_ITEMS


def test_masks_of_another_shape_are_refused(model: NMFModel) -> None:
    with pytest.raises(ParameterError, match=r"seen must be a sparse matrix of shape \(1, 40\), got \(50, 40\)"):
        model.recommend([1], seen=plays())
    with pytest.raises(ParameterError, match=r"user_factors must have shape \(n, 8\)"):
        model.recommend(user_factors=np.ones((2, 3)))
