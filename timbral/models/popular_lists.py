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
    """``lists`` with those whose best score is 0 ranked by ``popularity`` (n_items,), float32 ≥ 0; their scores stay 0, as ``predict``
    has them. The other arguments are those of the search that found ``lists``.
    """
    lengths = np.diff(lists.indptr)
    filled = np.flatnonzero(lengths)
    unknown = filled[lists.scores[lists.indptr[:-1][filled]] == 0]
    if not len(unknown):
        return lists
    own: list[Any] = [
        None if matrix is None else matrix[unknown] for matrix in (seen, blocked_by_user, allowed_by_user)
    ]
    popular = top_k(
        np.ones((len(unknown), 1), np.float32),
        popularity[None, :],
        k,
        seen=own[0],
        blocked=blocked,
        blocked_by_user=own[1],
        allowed=allowed,
        allowed_by_user=own[2],
        n_threads=n_threads,
    )
    # The same items are ruled out in both, so that the lists are equally long.
    is_unknown = np.zeros(len(lengths), dtype=bool)
    is_unknown[unknown] = True
    items = lists.item_indices.copy()
    items[np.repeat(is_unknown, lengths)] = popular.item_indices
    return TopK(lists.indptr, items, lists.scores)
