"""Lists for whom nothing is known: what most users play, where every score would be 0 and the order the catalogue's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.models.search.top_k import TopK, top_k

__all__ = ["popular_where_unknown"]


def popular_where_unknown(
    lists: TopK,
    known: npt.NDArray[np.bool_],
    popularity: npt.NDArray[np.float32],
    k: int,
    *,
    seen: sparse.csr_matrix | None,
    blocked: npt.NDArray[np.int32] | None,
    blocked_by_user: sparse.csr_matrix | None,
    allowed: npt.NDArray[np.int32] | None,
    allowed_by_user: sparse.csr_matrix | None,
    n_threads: int,
) -> TopK:
    """``lists``, but ranked by ``popularity`` (n_items,), float32 ≥ 0, for who is not ``known`` (n_lists,) or whose best score is 0.

    Their scores are 0, as ``predict`` has them. The other arguments are those of the search that found ``lists``.
    """
    old = np.diff(lists.indptr)
    unknown = ~known
    filled = np.flatnonzero(old)
    unknown[filled] |= lists.scores[lists.indptr[:-1][filled]] == 0
    if not unknown.any():
        return lists
    own: list[Any] = [None if rows is None else rows[unknown] for rows in (seen, blocked_by_user, allowed_by_user)]
    popular = top_k(
        np.ones((int(unknown.sum()), 1), np.float32),
        popularity[None, :],
        k,
        seen=own[0],
        blocked=blocked,
        blocked_by_user=own[1],
        allowed=allowed,
        allowed_by_user=own[2],
        n_threads=n_threads,
    )
    lengths = old.copy()
    lengths[unknown] = np.diff(popular.indptr)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    items = np.empty(indptr[-1], dtype=lists.item_indices.dtype)
    scores = np.zeros(indptr[-1], dtype=lists.scores.dtype)
    is_popular, was_unknown = np.repeat(unknown, lengths), np.repeat(unknown, old)
    items[is_popular] = popular.item_indices
    items[~is_popular] = lists.item_indices[~was_unknown]
    scores[~is_popular] = lists.scores[~was_unknown]
    return TopK(indptr, items, scores)
