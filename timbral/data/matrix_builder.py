"""A CSR matrix from entries that come in batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.errors import DataError

__all__ = ["Entries", "MatrixBuilder"]

GONE: Any = np.empty(0, dtype=np.int32)


@dataclass
class Entries:
    """Entries of a matrix, in any order, any number of them in the same place.

    Whoever takes them over replaces each array by an empty one as soon as it is used: with ten million entries an array
    that is kept a step too long is what decides about the peak of memory.
    """

    users: npt.NDArray[np.int32]
    items: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]
    times: npt.NDArray[np.int64] | None


class MatrixBuilder:
    """Adds entries up: values in the same place are summed, of their times the latest stays."""

    def __init__(self) -> None:
        self._entries: list[Entries] = []
        self.n_entries = 0
        """Places that have an entry."""
        self.zeros: sparse.csr_matrix | None = None
        """Once the matrix is built: the places whose values came to 0, bool CSR of its shape; None where there is none."""

    def add(self, entries: Entries) -> None:
        """Take a large batch over; the work grows with what is there already."""
        joined = _joined([*self._entries, entries])
        shape = (int(joined.users.max(initial=-1)) + 1, int(joined.items.max(initial=-1)) + 1)
        indptr, columns, values, times = _summed(joined, shape)
        rows = np.repeat(np.arange(shape[0], dtype=np.int32), np.diff(indptr))
        self._entries = [Entries(rows, columns, values, times)]
        self.n_entries = len(values)

    def build(
        self, rest: Entries, row_of: npt.NDArray[np.int32], column_of: npt.NDArray[np.int32], shape: tuple[int, int]
    ) -> tuple[sparse.csr_matrix, npt.NDArray[np.int64] | None]:
        """The matrix of all that was added and ``rest``, with user ``u`` in row ``row_of[u]``; and its entries' times.

        Zeros are no entries. The builder is empty afterwards.
        """
        joined = _joined([*self._entries, rest])
        self._entries = []
        joined.users = row_of[joined.users]
        joined.items = column_of[joined.items]
        indptr, columns, values, times = _summed(joined, shape)
        nonzero = values != 0
        if not nonzero.all():
            parts = np.ones(int((~nonzero).sum()), dtype=bool), columns[~nonzero], _indptr_of(~nonzero, indptr)
            self.zeros = sparse.csr_matrix(parts, shape=shape)
            indptr = _indptr_of(nonzero, indptr)
            columns, values = columns[nonzero], values[nonzero]
            times = None if times is None else times[nonzero]
        matrix = sparse.csr_matrix((values, columns, indptr), shape=shape)
        matrix.has_sorted_indices = matrix.has_canonical_format = True
        return matrix, times


def _joined(parts: list[Entries]) -> Entries:
    if len(parts) == 1:
        return parts[0]
    users = np.concatenate([part.users for part in parts])
    for part in parts:
        part.users = GONE
    items = np.concatenate([part.items for part in parts])
    for part in parts:
        part.items = GONE
    values = np.concatenate([part.values for part in parts])
    for part in parts:
        part.values = GONE
    all_times = [part.times for part in parts if part.times is not None]
    for part in parts:
        part.times = None
    return Entries(users, items, values, np.concatenate(all_times) if all_times else None)


def _summed(
    entries: Entries, shape: tuple[int, int]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.float32], npt.NDArray[np.int64] | None]:
    """indptr, columns, values and times of a CSR with sorted indices and nothing twice; uses ``entries`` up."""
    times = entries.times
    # Where there are times, positions are sorted instead of the values: the order serves both.
    carried: Any = entries.values if times is None else np.arange(len(entries.values), dtype=np.int32)
    listed = sparse.coo_matrix((carried, (entries.users, entries.items)), shape=shape)
    listed.has_canonical_format = True  # scipy would sum here, in float32, and positions too
    ordered = listed.tocsr()
    del listed
    entries.users = entries.items = GONE
    ordered.has_sorted_indices = False
    ordered.sort_indices()
    indptr, columns, carried = ordered.indptr, ordered.indices, ordered.data
    del ordered
    values: npt.NDArray[np.float32] = carried if times is None else entries.values[carried]
    times = None if times is None else times[carried]
    carried = None
    entries.values, entries.times = GONE, None

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
        indptr = _indptr_of(first, indptr)
    return indptr.astype(np.int32, copy=False), columns, values, times


def _indptr_of(kept: npt.NDArray[np.bool_], indptr: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """``indptr`` when only the ``kept`` entries stay."""
    before = np.zeros(len(kept) + 1, dtype=np.int32)
    np.cumsum(kept, out=before[1:])
    shortened: npt.NDArray[np.int32] = before[indptr]
    return shortened
