"""The metrics of many ranked lists, a block of lists at a time."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.judging.diversity import intra_list_diversity
from timbral.judging.list_metrics import ListMetrics, judge_lists
from timbral.judging.popularity import users_per_item
from timbral.judging.ranking import Ranking

__all__ = ["RankingMetrics"]

LISTS_PER_BLOCK: Final = 16_384
MAX_DIVERSITY_LISTS: Final = 1_000
"""Lists that the diversity is taken over; of more, so many are drawn."""


class RankingMetrics:
    """Adds lists up and divides at the end; what it keeps is two numbers a metric, one bit an item and some of the
    lists.

    Args:
        held_out: CSR of shape (n_users, n_items); its stored entries are the relevant items.
        train: CSR of the same shape or None; its stored entries make an item's popularity, for novelty and diversity.
        k: how many of each list count.
    """

    def __init__(self, held_out: sparse.csr_matrix, train: sparse.csr_matrix | None, k: int) -> None:
        self._held_out = held_out
        self._train = train
        self._k = k
        self._sums = dict.fromkeys(ListMetrics._fields, 0.0)
        self._squares = dict.fromkeys(ListMetrics._fields, 0.0)
        self._n_lists = 0
        self._recommended = np.zeros(held_out.shape[1], dtype=bool)
        self._bits_of: npt.NDArray[np.float64] | None = None
        self._bits, self._n_items = 0.0, 0
        self._drawn: list[Ranking] = []
        self._rng = np.random.default_rng(0)
        if train is not None:
            self._bits_of = -np.log2(np.maximum(users_per_item(train), 1) / train.shape[0])
            self._share_drawn = MAX_DIVERSITY_LISTS / max(1, int(np.count_nonzero(np.diff(held_out.indptr))))

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
        if self._train is not None and self._drawn:
            diversity = intra_list_diversity(Ranking.joined(self._drawn), self._train)
            if diversity is not None:
                metrics[f"diversity@{self._k}"] = diversity
        metrics["n_users"] = self._n_lists
        return metrics

    def errors(self) -> dict[str, float]:
        """Standard error of each mean over the lists, by the same names; 0 for a single list."""
        n = self._n_lists
        found = {}
        for name, total in self._sums.items():
            variance = max(0.0, self._squares[name] - total * total / n) / max(1, n - 1)
            found[f"{name}@{self._k}"] = float(np.sqrt(variance / n))
        return found

    def _add_block(self, lists: Ranking, users: npt.NDArray[Any]) -> None:
        judged = judge_lists(lists, self._held_out[users], self._k)
        for name, values in judged._asdict().items():
            self._sums[name] += float(values.sum())
            self._squares[name] += float(np.square(values).sum())
        self._n_lists += len(lists)
        items = lists.item_indices
        self._recommended[items] = True
        if self._bits_of is not None:
            self._bits += float(self._bits_of[items].sum())
            self._n_items += len(items)
            self._drawn.append(lists.chosen(self._rng.random(len(lists)) < self._share_drawn))
