"""Many ranked lists in two flat arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from timbral.errors import ParameterError

__all__ = ["Ranking"]


@dataclass(frozen=True)
class Ranking:
    """List ``i``, best first, is ``item_indices[indptr[i]:indptr[i + 1]]``."""

    indptr: npt.NDArray[np.integer[Any]]
    item_indices: npt.NDArray[np.integer[Any]]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @classmethod
    def of(cls, lists: Any) -> Ranking:
        """From anything with ``indptr`` and ``item_indices``, or from an int array (n_lists, ≥ 1), -1 where a list
        ends."""
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
