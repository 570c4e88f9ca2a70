"""What is popular: the items that most users have. Entries count, not their values."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.errors import ParameterError
from timbral.judging.matrix import MatrixLike, check_rows, read_matrix
from timbral.judging.ranking import Ranking

__all__ = ["by_popularity", "popularity_ranking", "users_per_item"]

POSITIONS_PER_BLOCK = 4_000_000


def users_per_item(matrix: sparse.csr_matrix) -> npt.NDArray[np.int64]:
    """How many users have each item, int64 (n_items,), of a CSR of shape (n_users, n_items) without zeros and
    duplicates."""
    return np.bincount(matrix.indices, minlength=matrix.shape[1]).astype(np.int64)


def by_popularity(users_per_item: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """All items, the most popular first; of equals the one with the lower index."""
    return np.argsort(-users_per_item.astype(np.int64), kind="stable")


def popularity_ranking(train: MatrixLike, k: int, user_ids: npt.NDArray[Any] | None = None) -> Ranking:
    """The ``k`` items with most users that each user does not have: what a recommender has to beat.

    Args:
        train: shape (n_users, n_items), as for ``NMFModel.fit``. Its entries count, not their values: popular is what
            many play.
        k: length of the lists, 1 or more; shorter for a user who has nearly everything.
        user_ids: matrix rows, one list each; all of them if not given.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ParameterError(f"k must be a whole number, 1 or more, got {k!r}")
    train = read_matrix(train, "train")
    n_items = train.shape[1]
    users = np.arange(train.shape[0]) if user_ids is None else check_rows(user_ids, train.shape[0])
    best_first = by_popularity(users_per_item(train))
    place_of = np.empty(n_items, dtype=np.int64)
    place_of[best_first] = np.arange(n_items)
    row_lengths = np.diff(train.indptr)
    tables = []
    start = 0
    while start < len(users):
        # As many users at a time as keep the block small: the longest list of seen items decides how deep to look.
        n_block = max(1, POSITIONS_PER_BLOCK // (k + int(row_lengths.max(initial=0)) + 1))
        block = users[start : start + n_block]
        depth = min(n_items, k + int(row_lengths[block].max(initial=0)))
        unseen = np.ones((len(block), depth), dtype=bool)
        lengths = row_lengths[block]
        starts = np.repeat(train.indptr[block], lengths)
        within = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        places = place_of[train.indices[starts + within]]
        owners = np.repeat(np.arange(len(block)), lengths)
        unseen[owners[places < depth], places[places < depth]] = False
        unseen &= np.cumsum(unseen, axis=1) <= k
        indptr = np.concatenate([[0], np.cumsum(unseen.sum(axis=1))])
        tables.append(Ranking(indptr, best_first[np.nonzero(unseen)[1]]))
        start += n_block
    return Ranking.joined(tables) if tables else Ranking(np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int64))
