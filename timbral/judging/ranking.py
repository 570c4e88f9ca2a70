"""Many ranked lists in two flat arrays, and the ranking by popularity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from timbral.errors import ParameterError

__all__ = ["Ranking", "popularity_ranking"]

POSITIONS_PER_BLOCK = 4_000_000


@dataclass(frozen=True)
class Ranking:
    """List ``i``, best first, is ``item_indices[indptr[i]:indptr[i + 1]]``."""

    indptr: npt.NDArray[np.integer[Any]]
    item_indices: npt.NDArray[np.integer[Any]]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @classmethod
    def of(cls, lists: Any) -> Ranking:
        """From anything with ``indptr`` and ``item_indices``, or from an int array (n_lists, ≥ 1), -1 where a list ends."""
        if hasattr(lists, "indptr") and hasattr(lists, "item_indices"):
            return cls(np.asarray(lists.indptr), np.asarray(lists.item_indices))
        table = np.asarray(lists)
        if table.ndim != 2 or table.dtype.kind not in "iu":
            raise ParameterError(
                f"a ranking must be an int array of shape (n_lists, k), got {table.dtype} {table.shape}"
            )
        given = table >= 0
        return cls(np.concatenate([[0], np.cumsum(given.sum(axis=1))]), table[given])

    @classmethod
    def joined(cls, blocks: list[Ranking]) -> Ranking:
        """One after the other."""
        lengths = np.concatenate([np.diff(block.indptr) for block in blocks])
        items = np.concatenate([block.item_indices for block in blocks])
        return cls(np.concatenate([[0], np.cumsum(lengths)]), items)

    def part(self, start: int, stop: int) -> Ranking:
        """Lists ``start`` to ``stop``."""
        indptr = self.indptr[start : stop + 1]
        return Ranking(indptr - indptr[0], self.item_indices[indptr[0] : indptr[-1]])

    def chosen(self, which: npt.NDArray[np.bool_]) -> Ranking:
        """The lists where ``which`` (n_lists,) is true."""
        lengths = np.diff(self.indptr)
        kept = self.item_indices[np.repeat(which, lengths)]
        return Ranking(np.concatenate([[0], np.cumsum(lengths[which])]), kept)

    def cut(self, k: int) -> Ranking:
        """The first ``k`` of each list."""
        lengths = np.diff(self.indptr)
        rank = np.arange(len(self.item_indices)) - np.repeat(self.indptr[:-1], lengths)
        return Ranking(np.concatenate([[0], np.cumsum(np.minimum(lengths, k))]), self.item_indices[rank < k])


def popularity_ranking(train: Any, k: int, user_ids: npt.NDArray[Any] | None = None) -> Ranking:
    """The ``k`` items with most users that each user does not have: what a recommender has to beat.

    Args:
        train: CSR of shape (n_users, n_items). Its stored entries count, not their values: popular is what many play.
        k: length of the lists, 1 or more; shorter for a user who has nearly everything.
        user_ids: matrix rows, one list each; all of them where not given.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ParameterError(f"k must be a whole number, 1 or more, got {k!r}")
    n_items = train.shape[1]
    users = np.arange(train.shape[0]) if user_ids is None else np.asarray(user_ids)
    best_first = np.argsort(-np.bincount(train.indices, minlength=n_items), kind="stable")
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
