"""Lists for whom nothing is known: what most users play, where every score would be 0 and the order the catalogue's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from timbral.judging.matrix import Csr
from timbral.models.search.top_k import TopK, top_k

__all__ = ["popular_where_unknown"]


def popular_where_unknown(
    lists: TopK,
    unknown: npt.NDArray[np.int64],
    popularity: npt.NDArray[np.float32],
    k: int,
    *,
    seen: Csr | None,
    blocked: npt.NDArray[Any] | None,
    blocked_by_user: Csr | None,
    allowed: npt.NDArray[Any] | None,
    allowed_by_user: Csr | None,
    n_threads: int,
) -> TopK:
    """``lists`` with those of the users ``unknown`` (places, ascending), which are empty, ranked by ``popularity``
    (n_items,), float32 ≥ 0.

    Their scores are 0, as ``predict`` has them. The other arguments are those of the search that found ``lists``.
    """
    if not len(unknown):
        return lists
    own = [None if matrix is None else matrix[unknown] for matrix in (seen, blocked_by_user, allowed_by_user)]
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
    lengths = np.diff(lists.indptr)
    lengths[unknown] = np.diff(popular.indptr)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(lists.indptr.dtype)
    is_popular = np.repeat(np.isin(np.arange(len(lengths)), unknown), lengths)
    items = np.empty(int(indptr[-1]), dtype=lists.item_indices.dtype)
    scores = np.zeros(int(indptr[-1]), dtype=lists.scores.dtype)
    items[is_popular], items[~is_popular] = popular.item_indices, lists.item_indices
    scores[~is_popular] = lists.scores
    return TopK(indptr, items, scores)
