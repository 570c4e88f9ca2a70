"""What each of many ranked lists is worth: the one place where recall, NDCG and the others are worked out.

Binary relevance; the definitions that papers use, see ``timbral.utils.evaluation.EvaluationMetrics``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.errors import ParameterError
from timbral.judging.ranking import Ranking

__all__ = ["ListMetrics", "hits_of", "judge_hits", "judge_lists"]

Floats = npt.NDArray[np.float64]


class ListMetrics(NamedTuple):
    """One value a list, each float64 (n_lists,), in [0, 1]."""

    recall: Floats
    ndcg: Floats
    precision: Floats
    map: Floats
    mrr: Floats
    hit_rate: Floats


def judge_lists(lists: Ranking, relevant: sparse.csr_matrix, k: int) -> ListMetrics:
    """Judge the first ``k`` of each list by the stored entries of its row of ``relevant`` (n_lists, n_items); no row is
    empty."""
    cut = lists.cut(k)
    return judge_hits(hits_of(cut, relevant), cut.indptr, np.diff(relevant.indptr), k)


def judge_hits(
    hits: npt.NDArray[np.bool_], indptr: npt.NDArray[np.integer[Any]], n_relevant: npt.NDArray[Any], k: int
) -> ListMetrics:
    """Judge lists of at most ``k`` places: ``hits[indptr[i]:indptr[i + 1]]`` says of list ``i``, best first, which are
    relevant of its ``n_relevant[i]`` ≥ 1 relevant items.
    """
    n_lists, lengths = len(indptr) - 1, np.diff(indptr)
    owner = np.repeat(np.arange(n_lists), lengths)
    rank = np.arange(len(hits)) - np.repeat(indptr[:-1], lengths) + 1
    ideal_length = np.minimum(n_relevant, k)
    ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(1, k + 1) + 1))])[ideal_length]
    n_hits = np.bincount(owner, weights=hits, minlength=n_lists)
    gain = np.bincount(owner, weights=hits / np.log2(rank + 1), minlength=n_lists)
    so_far = np.cumsum(hits)
    before_list = np.concatenate([[0], so_far])[indptr[:-1]]
    precision_here = (so_far - np.repeat(before_list, lengths)) / rank
    precisions = np.bincount(owner, weights=hits * precision_here, minlength=n_lists)
    reciprocal = np.zeros(n_lists)
    with_hit, first_hit = np.unique(owner[hits], return_index=True)
    reciprocal[with_hit] = 1 / rank[hits][first_hit]
    return ListMetrics(
        recall=n_hits / n_relevant,
        ndcg=gain / ideal,
        precision=n_hits / k,
        map=precisions / ideal_length,
        mrr=reciprocal,
        hit_rate=(n_hits > 0).astype(np.float64),
    )


def hits_of(lists: Ranking, relevant: sparse.csr_matrix) -> npt.NDArray[np.bool_]:
    """Of each recommended item: whether it is relevant, and was not recommended further up in the same list already.

    Some peers pad their lists with an id that is real.

    Raises:
        ParameterError: an item is not in [0, n_items).
    """
    items, n_items = lists.item_indices, relevant.shape[1]
    if len(items) and not (items.min() >= 0 and items.max() < n_items):
        raise ParameterError(f"Item IDs must be in range [0, {n_items})")
    owner = np.repeat(np.arange(len(lists), dtype=np.int64), np.diff(lists.indptr))
    stored = np.repeat(np.arange(len(lists), dtype=np.int64), np.diff(relevant.indptr)) * n_items + relevant.indices
    asked = owner * n_items + items
    at = np.flatnonzero(np.isin(asked, stored))
    _, first = np.unique(asked[at], return_index=True)
    hits = np.zeros(len(items), dtype=bool)
    hits[at[first]] = True
    return hits
