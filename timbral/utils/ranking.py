"""Many ranked lists in two flat arrays, their metrics all at once, and the ranking by popularity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from timbral.errors import ParameterError

__all__ = ["Ranking", "popularity_ranking", "ranking_metrics"]

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


def ranking_metrics(ranking: Ranking, users: npt.NDArray[Any], held_out: Any, train: Any, k: int) -> dict[str, float]:
    """Means over the lists; every one of ``users`` (the matrix row of each list) has something in ``held_out``."""
    lists = ranking.cut(k)
    n_items = held_out.shape[1]
    lengths = np.diff(lists.indptr)
    owner = np.repeat(np.arange(len(lists)), lengths)
    rank = np.arange(len(lists.item_indices)) - np.repeat(lists.indptr[:-1], lengths) + 1
    hit = _is_held_out(users[owner], lists.item_indices, held_out)
    hit = _first_of_its_list(hit, owner, lists.item_indices, n_items)

    n_lists = len(lists)
    n_held = np.diff(held_out.indptr)[users]
    ideal_length = np.minimum(n_held, k)
    n_hits = np.bincount(owner, weights=hit, minlength=n_lists)
    gain = np.bincount(owner, weights=hit / np.log2(rank + 1), minlength=n_lists)
    ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(1, k + 1) + 1))])[ideal_length]

    hits_so_far = np.cumsum(hit)
    before_list = np.concatenate([[0], hits_so_far])[lists.indptr[:-1]]
    precision_here = (hits_so_far - np.repeat(before_list, lengths)) / rank
    precision_sum = np.bincount(owner, weights=hit * precision_here, minlength=n_lists)
    first_rank = np.zeros(n_lists)
    owners_with_hit, first_hit = np.unique(owner[hit], return_index=True)
    first_rank[owners_with_hit] = 1 / rank[hit][first_hit]

    metrics = {
        f"recall@{k}": float(np.mean(n_hits / n_held)),
        f"ndcg@{k}": float(np.mean(gain / ideal)),
        f"precision@{k}": float(np.mean(n_hits / k)),
        f"map@{k}": float(np.mean(precision_sum / ideal_length)),
        f"mrr@{k}": float(np.mean(first_rank)),
        f"hit_rate@{k}": float(np.mean(n_hits > 0)),
        f"coverage@{k}": len(np.unique(lists.item_indices)) / n_items,
    }
    if train is not None and len(lists.item_indices):
        popularity = np.maximum(np.bincount(train.indices, minlength=n_items), 1)
        metrics[f"novelty@{k}"] = float(np.mean(-np.log2(popularity[lists.item_indices] / train.shape[0])))
    metrics["n_users"] = n_lists
    return metrics


def _is_held_out(users: npt.NDArray[Any], items: npt.NDArray[Any], held_out: Any) -> npt.NDArray[np.bool_]:
    """For each (user, item): whether ``held_out`` stores it."""
    n_items = held_out.shape[1]
    if len(items) and not (items.min() >= 0 and items.max() < n_items):
        raise ParameterError(f"Item IDs must be in range [0, {n_items})")
    held_out = held_out if held_out.has_sorted_indices else held_out.sorted_indices()
    rows = np.repeat(np.arange(held_out.shape[0], dtype=np.int64), np.diff(held_out.indptr))
    stored = rows * n_items + held_out.indices
    asked = users.astype(np.int64) * n_items + items
    places = np.minimum(np.searchsorted(stored, asked), len(stored) - 1)
    found: npt.NDArray[np.bool_] = stored[places] == asked
    return found


def _first_of_its_list(
    hit: npt.NDArray[np.bool_], owner: npt.NDArray[Any], items: npt.NDArray[Any], n_items: int
) -> npt.NDArray[np.bool_]:
    """``hit`` where the item was not already hit further up in the same list: some peers pad with an id that is real."""
    at = np.flatnonzero(hit)
    _, first = np.unique(owner[at] * n_items + items[at], return_index=True)
    once = np.zeros_like(hit)
    once[at[first]] = True
    return once


def popularity_ranking(train: Any, k: int, user_ids: npt.NDArray[Any] | None = None) -> Ranking:
    """The ``k`` items with most listeners that each listener does not have: what a recommender has to beat.

    Args:
        train: CSR of shape (n_users, n_items). Its stored entries count, not their values: popular is what many play.
        k: length of the lists, 1 or more; shorter for a listener who has nearly everything.
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
        # As many listeners at a time as keep the block small: the longest list of seen items decides how deep to look.
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
