"""A CSR matrix from entries that come in batches, without ever holding a row of the file for longer than needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.errors import DataError

__all__ = ["Entries", "MatrixBuilder"]


@dataclass(frozen=True)
class Entries:
    """Entries of a matrix, in any order, any number of them in the same place."""

    users: npt.NDArray[np.int32]
    items: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]
    times: npt.NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.values)


class MatrixBuilder:
    """Adds entries up: values in the same place are summed, of their times the latest stays."""

    def __init__(self) -> None:
        self._entries: Entries | None = None

    @property
    def n_entries(self) -> int:
        """Places that have an entry."""
        return 0 if self._entries is None else len(self._entries)

    def add(self, entries: Entries) -> None:
        """Add a large batch; the work grows with what is there already."""
        every = _joined(self._entries, entries)
        self._entries = None
        self._entries = _summed(every)[0]

    def build(
        self, rest: Entries, row_of: npt.NDArray[np.int32], column_of: npt.NDArray[np.int32], shape: tuple[int, int]
    ) -> tuple[sparse.csr_matrix, npt.NDArray[np.int64] | None]:
        """The matrix of all that was added and ``rest``, with user ``u`` in row ``row_of[u]``; and its entries' times.

        Zeros are no entries.
        """
        every = _joined(self._entries, rest)
        self._entries = None
        entries = Entries(row_of[every.users], column_of[every.items], every.values, every.times)
        del every
        summed, indptr = _summed(entries, shape)
        del entries
        nonzero = summed.values != 0
        columns, values, times = summed.items, summed.values, summed.times
        if not nonzero.all():
            indptr = np.concatenate([[0], np.cumsum(nonzero)])[indptr].astype(np.int32)
            columns, values = columns[nonzero], values[nonzero]
            times = None if times is None else times[nonzero]
        matrix = sparse.csr_matrix((values, columns, indptr), shape=shape)
        matrix.has_sorted_indices = matrix.has_canonical_format = True
        return matrix, times


def _joined(first: Entries | None, second: Entries) -> Entries:
    if first is None:
        return second
    return Entries(
        np.concatenate([first.users, second.users]),
        np.concatenate([first.items, second.items]),
        np.concatenate([first.values, second.values]),
        None if first.times is None or second.times is None else np.concatenate([first.times, second.times]),
    )


def _summed(entries: Entries, shape: tuple[int, int] | None = None) -> tuple[Entries, npt.NDArray[Any]]:
    """``entries`` by user and item, none twice; and where each user's begin."""
    if shape is None:
        shape = (int(entries.users.max(initial=-1)) + 1, int(entries.items.max(initial=-1)) + 1)
    positions = np.arange(len(entries), dtype=np.int32)
    listed = sparse.coo_matrix((positions, (entries.users, entries.items)), shape=shape)
    listed.has_canonical_format = True  # scipy would add the positions up
    ordered = listed.tocsr()
    del listed, positions
    ordered.has_sorted_indices = False
    ordered.sort_indices()
    order, columns, indptr = ordered.data, ordered.indices, ordered.indptr
    del ordered
    values = entries.values[order]
    times = None if entries.times is None else entries.times[order]
    del order
    first = np.ones(len(columns), dtype=bool)
    np.not_equal(columns[1:], columns[:-1], out=first[1:])
    first[indptr[:-1][np.diff(indptr) > 0]] = True
    if not first.all():
        starts = np.flatnonzero(first)
        with np.errstate(over="ignore"):
            values = np.add.reduceat(values, starts, dtype=np.float64).astype(np.float32)
        if not np.isfinite(values).all():
            raise DataError("the values of a user and an item add up to more than a float32 holds")
        times = None if times is None else np.maximum.reduceat(times, starts)
        columns = columns[starts]
        indptr = np.concatenate([[0], np.cumsum(first)])[indptr]
    indptr = indptr.astype(np.int32)
    users = np.repeat(np.arange(shape[0], dtype=np.int32), np.diff(indptr))
    return Entries(users, columns, values, times), indptr
