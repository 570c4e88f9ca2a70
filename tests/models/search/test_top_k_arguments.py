from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from timbral.errors import ParameterError
from timbral.models.search import top_k as top_k_module
from timbral.models.search.item_index import ItemIndex
from timbral.models.search.top_k import top_k

FOUR = np.ones((4, 2), np.float32)
FIVE = np.ones((2, 5), np.float32)
BROKEN = sparse.csr_matrix((4, 5), dtype=np.float32)
BROKEN.indices, BROKEN.indptr = np.array([7], np.int32), np.array([0, 1, 1, 1, 1], np.int32)
BACKWARDS = sparse.csr_matrix((4, 5), dtype=np.float32)
BACKWARDS.indices, BACKWARDS.indptr = np.zeros(9, np.int32), np.array([0, 9, 2, 3, 4], np.int32)


@pytest.mark.parametrize(
    ("users", "items", "options", "text"),
    [
        (FOUR.astype(np.float64), FIVE, {}, "user_factors must be a float32 array with 2 dimensions"),
        (FOUR[0], FIVE, {}, "user_factors must be"),
        (FOUR, FIVE.tolist(), {}, "item_factors must be .*got list"),
        (FOUR, np.ones((3, 5), np.float32), {}, "item_factors must have 2 rows"),
        (FOUR, FIVE, {"k": 0}, "k must be at least 1"),
        (FOUR, FIVE, {"n_threads": -1}, "n_threads"),
        (FOUR, FIVE, {"seen": np.ones((4, 5))}, r"seen must be a sparse CSR matrix of shape \(4, 5\) \(got ndarray"),
        (FOUR, FIVE, {"seen": sparse.csr_matrix((5, 5))}, r"seen must be .*got csr of shape \(5, 5\)"),
        (FOUR, FIVE, {"blocked_by_user": sparse.csc_matrix((4, 5))}, "blocked_by_user must be .*got csc"),
        (FOUR, FIVE, {"allowed_by_user": BROKEN}, r"allowed_by_user: item indices must be in range \[0, 5\)"),
        (FOUR, FIVE, {"seen": BACKWARDS}, "seen is not a valid CSR matrix"),
        (FOUR, FIVE, {"blocked": [5]}, r"blocked: item indices must be in range \[0, 5\) \(got 5\.\.5\)"),
        (FOUR, FIVE, {"allowed": [-1]}, "allowed: item indices must be in range"),
        (FOUR, FIVE, {"allowed": [0.5]}, "allowed must be a list of item indices"),
        (FOUR, FIVE, {"index": ItemIndex.of(np.ones((2, 6), np.float32))}, "the index is of item_factors of shape"),
        (-FOUR, FIVE, {"index": ItemIndex.of(FIVE)}, "user_factors must be finite and not negative"),
        (FOUR * np.float32(np.nan), FIVE, {}, "user_factors must be finite"),
        (np.ones((100, 2), np.float32), -FIVE, {}, "item_factors must be finite and not negative"),
        (np.ones((100, 2), np.float32), FIVE * np.float32(np.inf), {}, "item_factors must be finite"),
    ],
)
def test_what_cannot_be_right_is_named(users: Any, items: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ParameterError, match=text):
        top_k(users, items, **({"k": 3} | options))


def test_few_users_are_served_without_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_k_module.ItemIndex, "of", lambda _: pytest.fail("an index costs more than it saves here"))

    assert len(top_k(FOUR, FIVE, 2)) == 4
