"""A CSR matrix from entries that come in batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.data.read_options import Repeats
from timbral.errors import DataError

__all__ = ["Entries", "MatrixBuilder"]

GONE: npt.NDArray[Any] = np.empty(0, dtype=np.int32)


@dataclass
class Entries:
    """Entries of a matrix, in the order of their rows, any number of them in the same place.

    Whoever takes them over replaces each array by an empty one as soon as it is used: with ten million entries an array
    that is kept a step too long is what decides about the peak of memory.

    ``counts`` says how many rows an entry stands for already, where that is needed.
    """

    users: npt.NDArray[np.int32]
    items: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]
    times: npt.NDArray[np.int64] | None
    counts: npt.NDArray[np.int32] | None = None

    def without(self, dropped: npt.NDArray[np.bool_]) -> Entries:
        """The entries that are not ``dropped``."""
        kept = ~dropped
        times = None if self.times is None else self.times[kept]
        counts = None if self.counts is None else self.counts[kept]
        return Entries(self.users[kept], self.items[kept], self.values[kept], times, counts)


class MatrixBuilder:
    """Makes one entry of those in the same place: their sum, the last, the largest or their mean, at the latest time.

    The last is the one with the latest time, and where there are none or several of that time, the one that came last.
    """

    def __init__(self, repeats: Repeats = "sum") -> None:
        self._repeats: Repeats = repeats
        self._entries: list[Entries] = []
        self.n_entries = 0
        """Places that have an entry."""
        self.zeros: sparse.csr_matrix | None = None
        """Once the matrix is built: the places whose values came to 0, bool CSR of its shape; None where there is
        none."""
        self.rows_left: npt.NDArray[np.int32] | None = None
        self.columns_left: npt.NDArray[np.int32] | None = None

    def add(self, entries: Entries) -> None:
        """Take a large batch over; the work grows with what is there already."""
        joined = _joined([*self._entries, self._counted(entries)])
        shape = (int(joined.users.max(initial=-1)) + 1, int(joined.items.max(initial=-1)) + 1)
        indptr, merged = _merged(joined, shape, self._repeats)
        merged.users = np.repeat(np.arange(shape[0], dtype=np.int32), np.diff(indptr))
        self._entries = [merged]
        self.n_entries = len(merged.values)

    def scale_times(self, factor: int) -> None:
        """Multiply the times so far: their unit turned out to be another one."""
        for entries in self._entries:
            if entries.times is not None:
                entries.times = entries.times * factor

    def build(
        self, rest: Entries, row_of: npt.NDArray[np.int32], column_of: npt.NDArray[np.int32], shape: tuple[int, int]
    ) -> tuple[sparse.csr_matrix, npt.NDArray[np.int64] | None]:
        """The matrix of all that was added and ``rest``, with user ``u`` in row ``row_of[u]``; and its entries' times.

        A user or an item whose row or column is -1 is left out, and ``rows_left`` and ``columns_left`` then say which
        rows and columns have a place still. Zeros are no entries. The builder is empty afterwards.
        """
        joined = _joined([*self._entries, self._counted(rest)])
        self._entries = []
        joined.users = row_of[joined.users]
        joined.items = column_of[joined.items]
        dropped = (joined.users < 0) | (joined.items < 0)
        if dropped.any():
            joined = joined.without(dropped)
            self.rows_left, self.columns_left = np.unique(joined.users), np.unique(joined.items)
        del dropped
        indptr, merged = _merged(joined, shape, self._repeats)
        self.n_entries = len(merged.values)
        columns, values, times = merged.items, merged.values, merged.times
        if merged.counts is not None:
            values = (values / merged.counts).astype(np.float32)
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

    def _counted(self, entries: Entries) -> Entries:
        if self._repeats == "mean":
            entries.counts = np.ones(len(entries.values), dtype=np.int32)
        return entries


def _joined(parts: list[Entries]) -> Entries:
    if len(parts) == 1:
        return parts[0]
    joined = {}
    for name in ("users", "items", "values", "times", "counts"):
        arrays = [array for part in parts if (array := getattr(part, name)) is not None]
        joined[name] = np.concatenate(arrays) if arrays else None
        del arrays
        for part in parts:
            setattr(part, name, GONE)
    return Entries(**joined)  # type: ignore[arg-type]  # by the names of its fields


def _merged(entries: Entries, shape: tuple[int, int], repeats: Repeats) -> tuple[npt.NDArray[np.int32], Entries]:
    """indptr and entries (without their users) of a CSR with sorted indices and nothing twice; uses ``entries`` up."""
    times, counts = entries.times, entries.counts
    # Where there is more than values, or their order counts, places are sorted instead: one order serves all.
    by_value = times is None and counts is None and repeats in ("sum", "max")
    order = np.argsort(times, kind="stable") if repeats == "last" and times is not None else None
    carried: npt.NDArray[Any]
    if by_value:
        carried = entries.values
    else:
        carried = np.arange(len(entries.values), dtype=np.int32)
        if order is not None:
            ranks = np.empty_like(carried)
            ranks[order] = carried
            carried = ranks
    listed = sparse.coo_matrix((carried, (entries.users, entries.items)), shape=shape)
    listed.has_canonical_format = True  # scipy would sum here, in float32, and places too
    ordered = listed.tocsr()
    del listed
    entries.users = entries.items = GONE
    ordered.has_sorted_indices = False
    ordered.sort_indices()
    indptr, columns, carried = ordered.indptr, ordered.indices, ordered.data
    del ordered
    first = np.ones(len(columns), dtype=bool)
    np.not_equal(columns[1:], columns[:-1], out=first[1:])
    first[indptr[:-1][np.diff(indptr) > 0]] = True
    starts = None if first.all() else np.flatnonzero(first)
    if repeats == "last" and starts is not None:
        carried = np.maximum.reduceat(carried, starts)
    places = carried if order is None else order[carried]
    values: npt.NDArray[np.float32] = carried if by_value else entries.values[places]
    times = None if times is None else times[places]
    counts = None if counts is None else counts[places]
    del carried, places
    entries.values, entries.times, entries.counts = GONE, None, None

    if starts is not None:
        if repeats == "max":
            values = np.maximum.reduceat(values, starts)
        elif repeats != "last":
            with np.errstate(over="ignore"):
                values = np.add.reduceat(values, starts, dtype=np.float64).astype(np.float32)
            if not np.isfinite(values).all():
                raise DataError("the values of a user and an item add up to more than a float32 holds")
        if repeats != "last":
            times = None if times is None else np.maximum.reduceat(times, starts)
            counts = None if counts is None else np.add.reduceat(counts, starts)
        columns = columns[starts]
        indptr = _indptr_of(first, indptr)
    return indptr.astype(np.int32, copy=False), Entries(GONE, columns, values, times, counts)


def _indptr_of(kept: npt.NDArray[np.bool_], indptr: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """``indptr`` when only the ``kept`` entries stay."""
    before = np.zeros(len(kept) + 1, dtype=np.int32)
    np.cumsum(kept, out=before[1:])
    shortened: npt.NDArray[np.int32] = before[indptr]
    return shortened
