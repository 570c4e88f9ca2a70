"""The score that lists are ranked by: factors, neighbours and recency together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from timbral.judging.matrix import Csr
from timbral.models.neighbors.neighbors import Neighbors
from timbral.models.search.item_index import ItemIndex
from timbral.models.search.top_k import TopK, scores_of, top_k

__all__ = ["Scoring"]

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Scoring:
    """score(u, i) = w_u·h_i + Σ_{j played by u} v_ji + r_i. ``items`` (n_items, k), ``neighbors`` v, ``recency`` r
    (n_items,), all ≥ 0.

    A user whose vector is 0 and who has played nothing has no list: every order of the items would be as good.
    """

    items: Vector
    neighbors: Neighbors
    recency: Vector

    def index(self) -> ItemIndex:
        """The items' index, for who asks often and keeps it."""
        return ItemIndex.of(self.items.T, self.boost)

    def of_pairs(
        self, factors: Vector, plays: Csr | None, users: npt.NDArray[np.int64], items: npt.NDArray[np.int64]
    ) -> Vector:
        """Scores of ``users[n]``, rows of ``factors`` and ``plays``, with ``items[n]``: float32, to the bit as in a
        list."""
        parts: dict[str, Any] = {"recency": self.boost, "neighbors": self.neighbors, "plays": plays}
        scores = scores_of(factors, self.items.T, users, items, **parts)
        if self.boost is not None:
            scores[~self.knows(factors, plays)[users]] = 0.0
        return scores

    def best(self, factors: Vector, plays: Csr | None, k: int, **options: Any) -> TopK:
        """Lists of the users whose vectors are ``factors`` (n, k) and who have played ``plays``, CSR (n, n_items) or
        None: nothing that neighbours could tell by; ``options`` are those of ``top_k``.
        """
        parts: dict[str, Any] = {"recency": self.boost, "neighbors": self.neighbors, "plays": plays}
        found = top_k(factors, self.items.T, k, **parts, **options)
        empty = ~self.knows(factors, plays)
        return found.without(empty) if empty.any() else found

    def knows(self, factors: Vector, plays: Csr | None) -> npt.NDArray[np.bool_]:
        """Whether there is anything to rank by, for each user."""
        known: npt.NDArray[np.bool_] = np.asarray(factors.any(axis=1))
        return known if plays is None else known | (np.diff(plays.indptr) > 0)

    @cached_property
    def boost(self) -> Vector | None:
        """The recency, None where it is 0 for all items."""
        return self.recency if self.recency.any() else None
