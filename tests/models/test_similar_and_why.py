"""Items that are alike, and what speaks for an item."""

from __future__ import annotations

import numpy as np
import pytest
from play_matrices import N_ITEMS, blocks, plays
from scipy import sparse

from timbral.models.nmf_model import NMFModel


def test_items_of_a_group_are_alike() -> None:
    model = NMFModel(8).fit(blocks())

    items, scores = model.similar_items(13, 5)

    assert set((items // 10).tolist()) == {1}
    assert 13 not in items
    assert (scores > 0.75).all()
    assert (scores < 1).all()


def test_an_item_that_nobody_played_is_like_none() -> None:
    data = plays().toarray()
    data[:, 5] = 0

    items, scores = NMFModel(4).fit(data).similar_items(5)

    assert (len(items), len(scores)) == (0, 0)


def test_contributions_are_not_negative_and_add_up(model: NMFModel, matrix: sparse.csr_matrix) -> None:
    for user in range(10):
        item = int(model.get_top_recommendations(user, 1)[0][0])

        items, parts = model.explain(user, item, N_ITEMS)

        assert set(items.tolist()) <= set(matrix[user].indices.tolist())
        assert (parts > 0).all()
        assert (np.diff(parts) <= 0).all()
        assert parts.sum() == pytest.approx(model.predict([user], [item])[0], rel=1e-4)


def test_the_own_group_explains() -> None:
    model = NMFModel(8).fit(blocks() + 0.0)

    items, _ = model.explain(16, 11, 3)

    assert set((items // 10).tolist()) == {1}
