"""Who played what how often: a CSR matrix, the ids of its rows and columns, and the times of its entries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.data.data_report import DataReport
from timbral.data.id_index import IdIndex
from timbral.errors import DataError, ParameterError

__all__ = ["Interactions"]


@dataclass(frozen=True)
class Interactions:
    """A data set as ``DataLoader.load_csr`` reads it.

    Attributes:
        matrix: float32 CSR of shape (n_users, n_items), sorted indices, no entry twice, no stored zeros.
        user_ids: original ids of the rows, ascending.
        item_ids: original ids of the columns, ascending.
        times: int64 (nnz,), when each entry of ``matrix.data`` was last added to (unit: see TimeColumn); None without
            times.
        n_rows: how many rows the file has.
        read: which columns were read and how, how many rows were left out or repeated; None where it came from no file.
        zeros: bool CSR of the matrix's shape, what was rated (or played) 0: no entries, but nothing to recommend; None
            where there is none.
    """

    matrix: sparse.csr_matrix
    user_ids: IdIndex
    item_ids: IdIndex
    times: npt.NDArray[np.int64] | None
    n_rows: int
    read: DataReport | None = None
    zeros: sparse.csr_matrix | None = None

    def report(self) -> dict[str, Any]:
        """What was found in the data set, JSON-ready: rows, columns, kinds of ids, density, long tail; empty without a
        file."""
        if self.read is None:
            return {}
        found = self.read.with_shape(self.matrix, self.user_ids, self.item_ids)
        return {**found, "entries_of_zero": 0 if self.zeros is None else self.zeros.nnz}

    def with_play_thresholds(self, min_plays: float | None, max_plays: float | None) -> Interactions:
        """Without the entries below ``min_plays``, and no entry above ``max_plays``; None sets no threshold.

        Plays of the same user and item are one entry, added up before. Users and items that keep no entry are gone.

        Raises:
            ParameterError: a threshold is negative or NaN, or ``min_plays`` exceeds ``max_plays``.
            DataError: no entry is left.
        """
        for name, threshold in (("min_plays", min_plays), ("max_plays", max_plays)):
            if threshold is not None and not threshold >= 0:
                raise ParameterError(f"{name} must be 0 or more, got {threshold}")
        if min_plays is not None and max_plays is not None and min_plays > max_plays:
            raise ParameterError(f"min_plays must not exceed max_plays, got {min_plays} and {max_plays}")
        made = self if min_plays is None else self._without_rare(min_plays)
        if max_plays is None:
            return made
        capped = made.matrix.copy()
        np.minimum(capped.data, np.float32(max_plays), out=capped.data)
        return replace(made, matrix=capped)

    def _without_rare(self, min_plays: float) -> Interactions:
        kept = self.matrix.data >= min_plays
        if kept.all():
            return self
        if not kept.any():
            raise DataError(
                f"no user played an item {min_plays:g} times or more; the most is {self.matrix.data.max():g}"
            )
        return self._only(kept)

    def without_users(self, codes: npt.NDArray[np.int32]) -> Interactions:
        """Without the users of these rows, and without the items that nobody else plays.

        Raises:
            DataError: no entry is left.
        """
        if not len(codes):
            return self
        stays = np.ones(self.matrix.shape[0], dtype=bool)
        stays[codes] = False
        kept = np.repeat(stays, np.diff(self.matrix.indptr))
        if not kept.any():
            raise DataError("nobody is left: all of its users were forgotten")
        return self._only(kept)

    def _only(self, kept: npt.NDArray[np.bool_]) -> Interactions:
        """The entries ``kept``, and the users and items that have one."""
        rows = np.repeat(np.arange(self.matrix.shape[0], dtype=np.int32), np.diff(self.matrix.indptr))[kept]
        columns = self.matrix.indices[kept]
        users, items = np.unique(rows), np.unique(columns)
        new_column = np.zeros(self.matrix.shape[1], dtype=np.int32)
        new_column[items] = np.arange(len(items), dtype=np.int32)
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows)[users])]).astype(np.int32)
        shape = (len(users), len(items))
        matrix = sparse.csr_matrix((self.matrix.data[kept], new_column[columns], indptr), shape=shape)
        matrix.has_sorted_indices = True
        times = None if self.times is None else self.times[kept]
        user_ids, item_ids = self.user_ids.taken(users), self.item_ids.taken(items)
        zeros = None if self.zeros is None else self.zeros[users][:, items]
        return replace(self, matrix=matrix, user_ids=user_ids, item_ids=item_ids, times=times, zeros=zeros)
