"""The neighbour part of a score: what each item that a user has played says for others.

score(u, i) = w_u·h_i + Σ_{j played by u} v_ji, all v ≥ 0. Factors tell tastes apart; which item goes with which, they blur, and where the catalogue is large
and plays are few, that is most of what there is to know. v is a sparse, non-negative form of SLIM (Ning & Karypis, "SLIM: Sparse Linear Methods for Top-N Recommender
Systems", 2011) and EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.models.engine.sparse_rows import SparseRows
from timbral.models.kernels.threads import Threads
from timbral.models.neighbors.co_plays import CoPlays
from timbral.models.neighbors.non_negative_fit import fit_weights

__all__ = ["Neighbors"]

BLOCK_ITEMS: Final = 256

LEAST_SHARE: Final = 0.0
"""Of an item's greatest weight: what is less than this is left out."""


@dataclass(frozen=True)
class Neighbors:
    """For each played item the items that it speaks for, ascending, and how strongly, always above 0.

    ``indptr`` is int64 of n_items + 1, ``items`` int32 and ``weights`` float32 of as many elements as there are pairs.
    """

    indptr: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]

    @property
    def n_items(self) -> int:
        return len(self.indptr) - 1

    @classmethod
    def none(cls, n_items: int) -> Self:
        """Of a model without neighbours."""
        return cls(np.zeros(n_items + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))

    @classmethod
    def fit(
        cls, users: SparseRows, n_neighbors: int, regularizations: Sequence[float], seed: int, threads: Threads
    ) -> list[Self]:
        """One for each of ``regularizations`` (λ, in units of the mean of G's diagonal), at most ``n_neighbors`` for each item that is spoken for.

        The same on any number of threads.
        """
        co_plays = CoPlays.of(users, n_neighbors, seed, threads)
        played = co_plays.diagonal > 0
        mean = float(co_plays.diagonal[played].mean()) if played.any() else 1.0
        ridges = np.asarray([mean * value for value in regularizations], dtype=np.float32)
        n_items, width = users.n_columns, min(n_neighbors, co_plays.items.shape[1])
        blocks = [(start, min(start + BLOCK_ITEMS, n_items)) for start in range(0, n_items, BLOCK_ITEMS)]
        found: dict[int, list[sparse.csr_matrix]] = {}

        def fit_block(start: int, stop: int) -> None:
            weights = np.empty((len(ridges), stop - start, width), np.float32)
            fit_weights(co_plays.items, co_plays.values, co_plays.diagonal, width, ridges, start, stop, weights)
            found[start] = [_compact(co_plays.items[start:stop, :width], block, n_items) for block in weights]

        threads.run(fit_block, blocks)
        del co_plays
        made = []
        for which in range(len(ridges)):
            by_target = sparse.vstack([found[start][which] for start, _ in blocks], format="csr")
            for start, _ in blocks:
                found[start][which] = None  # type: ignore[call-overload]  # a large one is not to lie there twice
            made.append(cls._by_played_item(by_target))
        return made

    @classmethod
    def _by_played_item(cls, by_target: sparse.csr_matrix) -> Self:
        turned = by_target.tocsc()
        return cls(turned.indptr.astype(np.int64), turned.indices.astype(np.int32, copy=False), turned.data)

    def times(self, weight: float) -> Self:
        """All weights multiplied."""
        if weight == 0.0:
            return self.none(self.n_items)
        return replace(self, weights=self.weights * np.float32(weight))


def _compact(
    items: npt.NDArray[np.int32], weights: npt.NDArray[np.float32], n_items: int
) -> sparse.csr_matrix:
    """Rows of targets, of what is not 0."""
    kept = weights > LEAST_SHARE * weights.max(axis=1, keepdims=True, initial=0.0)
    indptr = np.concatenate(([0], np.cumsum(kept.sum(axis=1))))
    return sparse.csr_matrix((weights[kept], items[kept], indptr), shape=(len(items), n_items))
