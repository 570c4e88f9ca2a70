"""The metrics of many ranked lists, a block of lists at a time."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from timbral.errors import ParameterError
from timbral.judging.ranking import Ranking

__all__ = ["RankingMetrics"]

LISTS_PER_BLOCK: Final = 16_384


class RankingMetrics:
    """Adds lists up and divides at the end; what it keeps is one number a metric and one bit an item.

    Args:
        held_out: CSR of shape (n_users, n_items); its stored entries are the relevant items.
        train: CSR of the same shape or None; its stored entries make an item's popularity, for novelty.
        k: how many of each list count.
    """

    def __init__(self, held_out: Any, train: Any, k: int) -> None:
        self._held_out = held_out if held_out.has_sorted_indices else held_out.sorted_indices()
        self._k = k
        self._sums = dict.fromkeys(("recall", "ndcg", "precision", "map", "mrr", "hit_rate"), 0.0)
        self._n_lists = 0
        self._recommended = np.zeros(held_out.shape[1], dtype=bool)
        self._bits_of: npt.NDArray[np.float64] | None = None
        self._bits, self._n_items = 0.0, 0
        if train is not None:
            users = np.maximum(np.bincount(train.indices, minlength=held_out.shape[1]), 1)
            self._bits_of = -np.log2(users / train.shape[0])
        discounts = 1 / np.log2(np.arange(1, k + 1) + 1)
        self._ideal = np.concatenate([[0.0], np.cumsum(discounts)])

    def add(self, lists: Ranking, users: npt.NDArray[Any]) -> None:
        """Count lists; ``users`` is the matrix row of each, and each of them has something held out.

        Raises:
            ParameterError: an item is not in [0, n_items).
        """
        for start in range(0, len(lists), LISTS_PER_BLOCK):
            stop = min(start + LISTS_PER_BLOCK, len(lists))
            self._add_block(lists.part(start, stop).cut(self._k), users[start:stop])

    def result(self) -> dict[str, float]:
        """Means over all lists, by ``recall@k`` and so on; see ``EvaluationMetrics.evaluate``."""
        metrics = {f"{name}@{self._k}": total / self._n_lists for name, total in self._sums.items()}
        metrics[f"coverage@{self._k}"] = float(self._recommended.mean())
        if self._bits_of is not None and self._n_items:
            metrics[f"novelty@{self._k}"] = self._bits / self._n_items
        metrics["n_users"] = self._n_lists
        return metrics

    def _add_block(self, lists: Ranking, users: npt.NDArray[Any]) -> None:
        items, k, n_lists = lists.item_indices, self._k, len(lists)
        if len(items) and not (items.min() >= 0 and items.max() < len(self._recommended)):
            raise ParameterError(f"Item IDs must be in range [0, {len(self._recommended)})")
        lengths = np.diff(lists.indptr)
        owner = np.repeat(np.arange(n_lists), lengths)
        rank = np.arange(len(items)) - np.repeat(lists.indptr[:-1], lengths) + 1
        hit = self._hits(users, owner, items)

        n_held = np.diff(self._held_out.indptr)[users]
        ideal_length = np.minimum(n_held, k)
        n_hits = np.bincount(owner, weights=hit, minlength=n_lists)
        gain = np.bincount(owner, weights=hit / np.log2(rank + 1), minlength=n_lists)
        hits_so_far = np.cumsum(hit)
        before_list = np.concatenate([[0], hits_so_far])[lists.indptr[:-1]]
        precision_here = (hits_so_far - np.repeat(before_list, lengths)) / rank
        precisions = np.bincount(owner, weights=hit * precision_here, minlength=n_lists)
        _, first_hit = np.unique(owner[hit], return_index=True)

        self._sums["recall"] += float((n_hits / n_held).sum())
        self._sums["ndcg"] += float((gain / self._ideal[ideal_length]).sum())
        self._sums["precision"] += float((n_hits / k).sum())
        self._sums["map"] += float((precisions / ideal_length).sum())
        self._sums["mrr"] += float((1 / rank[hit][first_hit]).sum())
        self._sums["hit_rate"] += int((n_hits > 0).sum())
        self._n_lists += n_lists
        self._recommended[items] = True
        if self._bits_of is not None:
            self._bits += float(self._bits_of[items].sum())
            self._n_items += len(items)

    def _hits(
        self, users: npt.NDArray[Any], owner: npt.NDArray[np.int64], items: npt.NDArray[Any]
    ) -> npt.NDArray[np.bool_]:
        """Whether each recommended item is held out, and was not recommended further up in the same list already.

        Some peers pad their lists with an id that is real.
        """
        n_items = len(self._recommended)
        starts, n_held = self._held_out.indptr[users], np.diff(self._held_out.indptr)[users]
        within = np.arange(int(n_held.sum())) - np.repeat(np.cumsum(n_held) - n_held, n_held)
        relevant = self._held_out.indices[np.repeat(starts, n_held) + within]
        stored = np.repeat(np.arange(len(users), dtype=np.int64), n_held) * n_items + relevant
        asked = owner * n_items + items
        places = np.minimum(np.searchsorted(stored, asked), len(stored) - 1)
        at = np.flatnonzero(stored[places] == asked)
        _, first = np.unique(asked[at], return_index=True)
        hits = np.zeros(len(items), dtype=bool)
        hits[at[first]] = True
        return hits
