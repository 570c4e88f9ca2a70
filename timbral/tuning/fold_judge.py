"""FoldJudge: how well factors rank the held-out rows of one fold, beside neighbours of many weights."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from timbral.logic.split import Parts
from timbral.models.engine.sparse_rows import read_rows
from timbral.models.fitting.hidden_part import HiddenPart
from timbral.models.fitting.judgement import judge
from timbral.models.fitting.neighbor_sums import NeighborSums
from timbral.models.fitting.recency import recency, with_recency
from timbral.models.kernels.threads import Threads, resolve_n_threads
from timbral.models.neighbors.neighbors import Neighbors
from timbral.models.nmf_model import NMFModel
from timbral.tuning.neighbor_weights import NeighborWeights, Table
from timbral.tuning.quality import K

__all__ = ["FoldJudge"]

MOST_SAID: Final = 8_000_000
"""Items that neighbours speak for, of all judged users together: what a judge keeps in memory is 16 bytes each, and 24
where plays can count."""


class FoldJudge:
    """Ranks the held-out rows of one fold with factors that were fitted to the others.

    Args:
        max_users: most users that are ranked for; always the same ones.
    """

    def __init__(
        self, fold: Parts, weights: NeighborWeights, n_neighbors: int, max_users: int, seed: int, n_threads: int | None
    ) -> None:
        self.fold = fold
        self.weights = weights
        self._n_threads = resolve_n_threads(n_threads)
        known, hidden = read_rows(fold.train, "train"), read_rows(fold.held_out, "held_out")
        spoken = np.minimum(np.diff(known.indptr) * n_neighbors, known.n_columns)
        judged = _drawn(np.flatnonzero(np.diff(hidden.indptr)), spoken, max_users)
        self._part = HiddenPart(known, fold.times, hidden, judged)
        self._recency = None if fold.times is None else recency(known, fold.times)
        with Threads(self._n_threads) as threads:
            self._sums = [
                NeighborSums.of(
                    self._part, Neighbors.fit(known, n_neighbors, regularizations, seed, threads, exponent), threads
                )
                for exponent, regularizations in weights.kinds
            ]

    def table(self, model: NMFModel, recency_weight: float) -> Table:
        """The mean of recall and NDCG at ``K`` over the full ranking, by λ and γ: float64 (λ and e, γ)."""
        assert model.user_factors is not None  # noqa: S101 - for the type checker
        assert model.item_factors is not None  # noqa: S101 - for the type checker
        users, items = model.user_factors[self._part.judged], np.ascontiguousarray(model.item_factors.T)
        if self._recency is not None:
            users, items = with_recency(users, items, np.float32(recency_weight) * self._recency)
        users = np.ascontiguousarray(users)
        with Threads(self._n_threads) as threads:
            judged = [judge(users, items, self._part, sums, self.weights.weights, threads, K) for sums in self._sums]
        return np.concatenate([one.mean(axis=0) for one in judged])


def _drawn(users: npt.NDArray[np.int64], spoken: npt.NDArray[np.int64], max_users: int) -> npt.NDArray[np.int64]:
    """As many of ``users`` as may be, ascending; ``spoken`` are the items at most that neighbours speak for to each
    user."""
    order = np.random.default_rng(0).permutation(users)[:max_users]
    n_drawn = int(np.searchsorted(np.cumsum(spoken[order]), MOST_SAID, side="right"))
    return np.sort(order[: max(1, n_drawn)])
