"""How good recommendations are: the definitions that papers use, over the full ranking, never sampled negatives.

A list is judged by what it recommends (item ids, best first) and by what was held out (the relevant items).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.errors import DataError, ParameterError
from timbral.judging.list_metrics import judge_hits
from timbral.judging.matrix import MatrixLike, check_rows, read_matrix
from timbral.judging.metrics import RankingMetrics
from timbral.judging.ranking import Ranking

__all__ = ["EvaluationMetrics"]

USERS_PER_BLOCK = 8_192


class EvaluationMetrics:
    """Metrics of one list, of many lists, and of a model or any ranking against held-out data. It holds no state."""

    # One list ---------------------------------------------------------------------------------------------------------

    @staticmethod
    def precision_at_k(recommended: Sequence[Any], relevant: Collection[Any], k: int) -> float:
        """Hits among the first ``k``, divided by ``k``; a list shorter than ``k`` gets no allowance for it."""
        return _judge(recommended, relevant, k, "precision")

    @staticmethod
    def recall_at_k(recommended: Sequence[Any], relevant: Collection[Any], k: int) -> float:
        """Hits among the first ``k``, divided by the number of relevant items."""
        return _judge(recommended, relevant, k, "recall")

    @staticmethod
    def ndcg_at_k(recommended: Sequence[Any], relevant: Collection[Any], k: int) -> float:
        """Σ 1/log₂(rank + 1) over the hits, divided by the same sum of an ideal list: min(k, |relevant|) hits in front.

        Binary gains (Järvelin & Kekäläinen, "Cumulated gain-based evaluation of IR techniques", 2002).
        """
        return _judge(recommended, relevant, k, "ndcg")

    @staticmethod
    def average_precision_at_k(recommended: Sequence[Any], relevant: Collection[Any], k: int) -> float:
        """Mean of the precision at each hit's rank, over min(k, |relevant|)."""
        return _judge(recommended, relevant, k, "map")

    @staticmethod
    def reciprocal_rank(recommended: Sequence[Any], relevant: Collection[Any], k: int | None = None) -> float:
        """1 / rank of the first hit (among the first ``k`` where given); 0 without one."""
        return _judge(recommended, relevant, max(1, len(recommended)) if k is None else k, "mrr")

    @staticmethod
    def hit_at_k(recommended: Sequence[Any], relevant: Collection[Any], k: int) -> float:
        """1 where one of the first ``k`` is relevant, else 0."""
        return _judge(recommended, relevant, k, "hit_rate")

    # Many lists -------------------------------------------------------------------------------------------------------

    def map_at_k(self, recommended: Sequence[Sequence[Any]], relevant: Sequence[Collection[Any]], k: int) -> float:
        """Mean of ``average_precision_at_k`` over the lists."""
        return _mean(lambda one, held: self.average_precision_at_k(one, held, k), recommended, relevant)

    def mrr(
        self, recommended: Sequence[Sequence[Any]], relevant: Sequence[Collection[Any]], k: int | None = None
    ) -> float:
        """Mean of ``reciprocal_rank`` over the lists."""
        return _mean(lambda one, held: self.reciprocal_rank(one, held, k), recommended, relevant)

    def hit_rate_at_k(self, recommended: Sequence[Sequence[Any]], relevant: Sequence[Collection[Any]], k: int) -> float:
        """Share of the lists with a hit among the first ``k``."""
        return _mean(lambda one, held: self.hit_at_k(one, held, k), recommended, relevant)

    @staticmethod
    def coverage(recommended: Sequence[Sequence[Any]], n_items: int) -> float:
        """Share of the ``n_items`` of the catalogue that are in at least one list."""
        if n_items < 1:
            raise ParameterError(f"n_items must be 1 or more, got {n_items}")
        return len({item for one in recommended for item in one}) / n_items

    @staticmethod
    def novelty(
        recommended: Sequence[Sequence[Any]], item_popularity: Mapping[Any, float] | Sequence[float], n_users: int
    ) -> float:
        """Mean self-information of what is recommended, in bits: −log₂(users of the item / n_users).

        0 is an item that everybody knows. An item that nobody has counts as if one user had it.
        (Castells, Hurley & Vargas, "Novelty and Diversity in Recommender Systems", 2015.)

        Args:
            recommended: lists of items.
            item_popularity: number of users of an item, by the item.
            n_users: number of users, 1 or more.
        """
        if n_users < 1:
            raise ParameterError(f"n_users must be 1 or more, got {n_users}")
        bits = [-math.log2(max(1.0, item_popularity[item]) / n_users) for one in recommended for item in one]
        if not bits:
            raise ParameterError("recommended must have at least one item")
        return sum(bits) / len(bits)

    # Values -----------------------------------------------------------------------------------------------------------

    @staticmethod
    def rmse(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
        """Root of the mean squared error."""
        true, predicted = _pairs(y_true, y_pred)
        return float(np.sqrt(np.mean((true - predicted) ** 2)))

    @staticmethod
    def mae(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
        """Mean absolute error."""
        true, predicted = _pairs(y_true, y_pred)
        return float(np.mean(np.abs(true - predicted)))

    # A model or any ranking against held-out data ---------------------------------------------------------------------

    def evaluate(
        self,
        model: Any,
        held_out_csr: MatrixLike,
        train_csr: MatrixLike | None = None,
        k: int = 20,
        *,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, float]:
        """Rank everybody who has something held out, by ``model.recommend(users, top_k=k, exclude_seen=True)``.

        Args:
            model: fitted on what was not held out; its ``recommend`` answers with ``indptr`` and ``item_indices``.
            held_out_csr: shape (n_users, n_items), whatever ``NMFModel.fit`` takes; a user without entries is left out
                of the means.
            train_csr: what the model was fitted on; with it the answer has ``novelty@k`` and ``diversity@k``.
            k: length of the lists, 1 or more.
            on_progress: called with (users done, users in all) after each block of them.

        Returns:
            ``recall@k``, ``ndcg@k``, ``precision@k``, ``map@k``, ``mrr@k``, ``hit_rate@k``, ``coverage@k`` and, with
            ``train_csr``, ``novelty@k`` and ``diversity@k`` (see ``timbral.judging.diversity``); ``k`` stands for its
            number, as in ``recall@20``. ``n_users``: how many were ranked.

        Raises:
            ParameterError: ``k`` is below 1, or the model was fitted to another shape.
            DataError: nothing is held out, or a matrix is none of users × items, or of another shape.
        """
        _check_k(k)
        held_out, train = _matrices(held_out_csr, train_csr)
        _check_fits(model, held_out.shape)
        users = np.flatnonzero(np.diff(held_out.indptr))
        metrics = RankingMetrics(held_out, train, k)
        for start in range(0, len(users), USERS_PER_BLOCK):
            block = users[start : start + USERS_PER_BLOCK]
            top = model.recommend(block, top_k=k, exclude_seen=True)
            metrics.add(Ranking.of(top), block)
            if on_progress is not None:
                on_progress(start + len(block), len(users))
        return metrics.result()

    def evaluate_ranking(
        self,
        ranking: Any,
        held_out_csr: MatrixLike,
        k: int,
        *,
        train_csr: MatrixLike | None = None,
        user_ids: npt.ArrayLike | None = None,
    ) -> dict[str, float]:
        """``evaluate`` for lists that are there already: a peer's, or popularity's.

        Args:
            ranking: has ``indptr`` (n_lists + 1,) and ``item_indices``: list ``i``, best first, is
                ``item_indices[indptr[i]:indptr[i + 1]]``; or an int array of shape (n_lists, ≥ 1) where a negative item
                ends a list.
            held_out_csr: as for ``evaluate``.
            k: only the first ``k`` of each list count.
            train_csr: as for ``evaluate``.
            user_ids: matrix row of each list; if not given, there is a list for every row.
        """
        _check_k(k)
        metrics = self.judged(ranking, held_out_csr, k, train_csr=train_csr, user_ids=user_ids)
        return metrics.result()

    @staticmethod
    def judged(
        ranking: Any,
        held_out_csr: MatrixLike,
        k: int,
        *,
        train_csr: MatrixLike | None = None,
        user_ids: npt.ArrayLike | None = None,
    ) -> RankingMetrics:
        """As ``evaluate_ranking``, for who wants the standard errors too: ``result()`` and ``errors()``."""
        _check_k(k)
        held_out, train = _matrices(held_out_csr, train_csr)
        lists = Ranking.of(ranking)
        users = np.arange(held_out.shape[0]) if user_ids is None else check_rows(user_ids, held_out.shape[0])
        if len(users) != len(lists):
            whose = (
                "held_out_csr has a row each, or give user_ids"
                if user_ids is None
                else "user_ids must have one value per list"
            )
            raise ParameterError(f"{whose}: {len(lists)} lists, {len(users)} users")
        kept = np.diff(held_out.indptr)[users] > 0
        if not kept.any():
            raise DataError("none of the lists belongs to a user with something held out")
        metrics = RankingMetrics(held_out, train, k)
        metrics.add(lists if kept.all() else lists.chosen(kept), users[kept])
        return metrics


def _judge(recommended: Sequence[Any], relevant: Collection[Any], k: int, metric: str) -> float:
    _check_k(k)
    wanted = set(relevant)
    if not wanted:
        raise ParameterError("relevant must have at least one item; leave users without one out of the mean")
    seen: set[Any] = set()
    hits = []
    for item in recommended[:k]:
        hits.append(item in wanted and item not in seen)
        seen.add(item)
    judged = judge_hits(np.array(hits, dtype=bool), np.array([0, len(hits)]), np.array([len(wanted)]), k)
    return float(getattr(judged, metric)[0])


def _check_k(k: int) -> None:
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ParameterError(f"k must be a whole number, 1 or more, got {k!r}")


def _mean(
    metric: Callable[[Sequence[Any], Collection[Any]], float],
    recommended: Sequence[Sequence[Any]],
    relevant: Sequence[Collection[Any]],
) -> float:
    if len(recommended) != len(relevant):
        raise ParameterError(f"as many lists as sets of relevant items, got {len(recommended)} and {len(relevant)}")
    if not len(recommended):
        raise ParameterError("recommended must have at least one list")
    return sum(metric(one, held) for one, held in zip(recommended, relevant, strict=True)) / len(recommended)


def _pairs(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    true, predicted = np.asarray(y_true, dtype=np.float64), np.asarray(y_pred, dtype=np.float64)
    if true.shape != predicted.shape:
        raise ParameterError(f"y_true and y_pred must have the same shape, got {true.shape} and {predicted.shape}")
    if true.size == 0:
        raise ParameterError("y_true must have at least one value")
    return true, predicted


def _matrices(held_out: MatrixLike, train: MatrixLike | None) -> tuple[sparse.csr_matrix, sparse.csr_matrix | None]:
    """Both checked as ``NMFModel.fit`` checks what it is fitted to."""
    held = read_matrix(held_out, "held_out_csr")
    if not held.nnz:
        raise DataError("no user has anything held out")
    if train is None:
        return held, None
    trained = read_matrix(train, "train_csr")
    if trained.shape != held.shape:
        raise ParameterError(f"train_csr has shape {trained.shape}, held_out_csr {held.shape}; they must be equal")
    return held, trained


def _check_fits(model: Any, shape: tuple[int, int]) -> None:
    """A model of other data would be judged by rows and columns that mean something else to it."""
    own = getattr(model, "n_users", None), getattr(model, "n_items", None)
    if any(isinstance(size, int) and size != wanted for size, wanted in zip(own, shape, strict=True)):
        raise ParameterError(f"held_out_csr has shape {shape}, the model was fitted to {own}; they must be equal")
