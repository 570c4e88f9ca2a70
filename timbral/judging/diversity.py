"""Intra-list diversity: how little the items of a list have in common."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy import sparse

from timbral.judging.ranking import Ranking

__all__ = ["intra_list_diversity"]

MAX_WORK: Final = 30_000_000
"""Entries that are looked at; of more lists than that allows, the first are judged."""


def intra_list_diversity(lists: Ranking, train: sparse.csr_matrix) -> float | None:
    """Mean over the lists of 1 − the mean cosine of two of their items, an item being the users who have it.

    In [0, 1]: 0 where the same users have all of a list, 1 where nobody has two of its items. None where no list has
    two items. (Smyth & McClave, "Similarity vs. Diversity", 2001; Castells, Hurley & Vargas, "Novelty and Diversity in
    Recommender Systems", 2015.)

    Args:
        lists: items in [0, n_items), none twice in a list.
        train: CSR of shape (n_users, n_items).
    """
    lists = lists.chosen(np.diff(lists.indptr) > 1)
    users = np.bincount(train.indices, minlength=train.shape[1])
    work = np.cumsum(users[lists.item_indices])[lists.indptr[1:] - 1] if len(lists) else np.empty(0)
    lists = lists.part(0, max(1, int(np.searchsorted(work, MAX_WORK)))) if len(lists) else lists
    if not len(lists):
        return None
    lengths = np.diff(lists.indptr)
    scale = 1 / np.sqrt(np.maximum(users, 1))
    items = sparse.csr_matrix(
        (scale[lists.item_indices], lists.item_indices, lists.indptr), shape=(len(lists), train.shape[1])
    )
    ones = sparse.csr_matrix((np.ones(train.nnz), train.indices, train.indptr), shape=train.shape)
    together = (items @ ones.T.tocsr()).power(2).sum(axis=1)
    alone = np.add.reduceat((users[lists.item_indices] > 0).astype(np.float64), lists.indptr[:-1])
    cosines = (np.asarray(together).ravel() - alone) / (lengths * (lengths - 1))
    return float(1 - cosines.mean())
