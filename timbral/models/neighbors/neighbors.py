"""The neighbour part of a score: what each item that a user has played says for others.

score(u, i) = w_u·h_i + Σ_{j played by u} v_ji, all v ≥ 0. Factors tell tastes apart; which item goes with which, they
blur, and where the catalogue is large and plays are few, that is most of what there is to know. v is a sparse,
non-negative form of SLIM (Ning & Karypis, "SLIM: Sparse Linear Methods for Top-N Recommender Systems", 2011) and EASE
(Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", 2019).
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
from timbral.models.neighbors.short_floats import shortened
from timbral.models.neighbors.transposition import transposed

__all__ = ["Neighbors"]

GRAM_BYTES: Final = 32 * 2**20
"""Of each thread: what the candidates of a block of items share with each other. The more items a block has, the fewer
times a row is laid out for all of them, but what no cache holds takes longer."""

BLOCKS_PER_THREAD: Final = 4

RARITY: Final = 0.3
"""What is said for an item is divided by (1 + its users)^this, against the mean of all items. Of what neighbours say,
more is owed to popularity the more users an item has, and that the factors know already."""

LEAST_SHARE: Final = 0.01
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
        cls,
        users: SparseRows,
        n_neighbors: int,
        regularizations: Sequence[float],
        seed: int,
        threads: Threads,
        play_exponent: float = 0.0,
    ) -> list[Self]:
        """One for each of ``regularizations`` (λ, in units of the mean of G's diagonal), all of the same pairs: at most
        ``n_neighbors`` for each item that is spoken for. The same on any number of threads. ``play_exponent`` is that
        of ``CoPlays.of``.
        """
        n_items = users.n_columns
        fame = 1.0 + np.bincount(users.indices, minlength=n_items)
        share = ((fame / fame[fame > 1].mean() if len(users.indices) else fame) ** -RARITY).astype(np.float32)
        co_plays = CoPlays.of(users, n_neighbors, seed, threads, play_exponent)
        weights = _fit_weights(co_plays, n_neighbors, regularizations, share, threads)
        items = co_plays.items
        del co_plays  # with a large catalogue each of these takes hundreds of megabytes
        indptr, targets, kinds = transposed(items, weights)
        return [cls(indptr, targets, kind) for kind in kinds]

    def times(self, weight: float) -> Self:
        """All weights multiplied; the pairs without what is 0 then."""
        weights = self.weights * np.float32(weight)
        kept = weights > 0
        if kept.all():
            return replace(self, weights=weights)
        indptr = np.concatenate(([0], np.cumsum(kept)))[self.indptr]
        return replace(self, indptr=indptr, items=self.items[kept], weights=weights[kept])

    def weights_for(self, item: int, played: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
        """What each of ``played`` says for ``item``: float64 (len(played),), 0 where it says nothing."""
        found = np.zeros(len(played))
        for place, one in enumerate(played.tolist()):
            row = self.items[self.indptr[one] : self.indptr[one + 1]]
            where = int(np.searchsorted(row, item))
            if where < len(row) and row[where] == item:
                found[place] = self.weights[self.indptr[one] + where]
        return found

    def likeness(self, item: int, weight: float) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Items, ascending, and how much each of them and ``item`` say for each other, in (0, 1); ``weight`` is what
        ``times`` was given. The others say nothing."""
        row = slice(self.indptr[item], self.indptr[item + 1])
        places = np.flatnonzero(self.items == item)
        others = np.searchsorted(self.indptr, places, side="right") - 1
        items, where = np.unique(np.concatenate([self.items[row], others]), return_inverse=True)
        weights = np.concatenate([self.weights[row], self.weights[places]]).astype(np.float64)
        said = np.bincount(where, weights, len(items)) / (2.0 * weight)
        return items[said > 0].astype(np.int32), (said / (1.0 + said))[said > 0]

    def all_likenesses(self, weight: float) -> sparse.csr_matrix:
        """``likeness`` of every item: CSR of shape (n_items, n_items), without the zeros."""
        said = sparse.csr_matrix((self.weights, self.items, self.indptr), shape=(self.n_items, self.n_items))
        both = sparse.csr_matrix(said + said.T, dtype=np.float32)
        both.data /= np.float32(2.0 * weight) if both.nnz else 1.0
        both.data /= 1.0 + both.data
        return both


def _fit_weights(
    co_plays: CoPlays,
    n_neighbors: int,
    regularizations: Sequence[float],
    share: npt.NDArray[np.float32],
    threads: Threads,
) -> npt.NDArray[np.uint16]:
    """(n_items, n_candidates, n_regularizations), see short_floats: how strongly each of an item's candidates speaks
    for it, times ``share`` of the item; 0 throughout where no regularization leaves more than LEAST_SHARE."""
    played = co_plays.diagonal > 0
    mean = float(co_plays.diagonal[played].mean()) if played.any() else 1.0
    ridges = np.asarray([mean * value for value in regularizations], dtype=np.float32)
    n_items, width = co_plays.items.shape
    n_candidates = min(n_neighbors, width)
    weights = np.empty((n_items, n_candidates, len(ridges)), np.uint16)
    table = co_plays.items, co_plays.values, co_plays.lengths, co_plays.diagonal
    step = min(GRAM_BYTES // (2 * n_candidates**2), -(-n_items // (BLOCKS_PER_THREAD * threads.n_threads)))
    step = max(step, 1)
    idle: list[npt.NDArray[np.uint16]] = []

    def fit_block(start: int, stop: int) -> None:
        try:
            grams = idle.pop()
        except IndexError:
            grams = np.empty((step, n_candidates, n_candidates), np.uint16)
        block = np.empty((stop - start, n_candidates, len(ridges)), np.float32)
        fit_weights(*table, ridges, start, stop, grams, block)
        idle.append(grams)
        block *= share[start:stop, None, None]
        kept = (block > LEAST_SHARE * block.max(axis=1, keepdims=True, initial=0.0)).any(axis=2)
        block[~kept] = 0.0
        weights[start:stop] = shortened(block)

    threads.run(fit_block, [(start, min(start + step, n_items)) for start in range(0, n_items, step)])
    return weights
