"""What a model is fitted to: checked, and in one form, whatever it came as."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.errors import DataError
from timbral.judging.matrix import MatrixLike, read_matrix
from timbral.models.engine.fixed_blocks import block_rows

__all__ = ["SparseRows", "read_rows", "read_times"]


@dataclass(frozen=True)
class SparseRows:
    """Sparse rows: row u's columns are ``indices[indptr[u]:indptr[u + 1]]``, ascending, each once; the values are
    positive.

    ``indptr`` is int64 of n_rows + 1, ``indices`` int32 and ``values`` float32, both of the number of interactions.
    """

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]
    n_columns: int

    @classmethod
    def added_up(
        cls,
        lengths: Sequence[int],
        columns: npt.NDArray[np.int32],
        values: npt.NDArray[np.float32],
        n_columns: int,
    ) -> Self:
        """Rows of so many entries each, one after the other, whose columns are in any order and may come twice.

        scipy does the same, in four times as long where they are few: a play's new list waits for it.
        """
        row_of = np.repeat(np.arange(len(lengths)), lengths)
        places = row_of * n_columns + columns
        order = np.argsort(places, kind="stable")
        places = places[order]
        is_first = np.ones(len(places), bool)
        np.not_equal(places[1:], places[:-1], out=is_first[1:])
        firsts = np.flatnonzero(is_first)
        indptr = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(np.bincount(row_of[order[firsts]], minlength=len(lengths)), out=indptr[1:])
        added = np.add.reduceat(values[order], firsts) if len(firsts) else values
        return cls(indptr, columns[order[firsts]], added, n_columns)

    @property
    def n_rows(self) -> int:
        return len(self.indptr) - 1

    def as_csr(self) -> sparse.csr_matrix:
        """As scipy's, its values and, below 2³¹ entries, its indices shared."""
        # scipy would copy them, to have both of one dtype.
        index: type[np.signedinteger] = np.int32 if len(self.values) < 2**31 else np.int64
        parts = self.values, self.indices.astype(index, copy=False), self.indptr.astype(index, copy=False)
        return sparse.csr_matrix(parts, shape=(self.n_rows, self.n_columns), copy=False)

    def part(self, start: int, stop: int) -> SparseRows:
        """Rows start..stop alone, their arrays shared."""
        indptr = self.indptr[start : stop + 1]
        entries = slice(indptr[0], indptr[-1])
        return SparseRows(indptr - indptr[0], self.indices[entries], self.values[entries], self.n_columns)

    def blocks(self) -> Iterator[SparseRows]:
        """All rows in parts, whose edges follow from their number alone: what is summed up by them has the same bits
        however the rows are held."""
        step = block_rows(self.n_rows)
        return (self.part(start, min(start + step, self.n_rows)) for start in range(0, self.n_rows, step))

    def only(self, chosen: npt.NDArray[np.bool_]) -> SparseRows:
        """The same rows with no entries but those ``chosen``, a mark for each."""
        before = np.concatenate(([0], np.cumsum(chosen)))
        return SparseRows(before[self.indptr], self.indices[chosen], self.values[chosen], self.n_columns)

    def of_rows(self, chosen: npt.NDArray[np.bool_]) -> SparseRows:
        """The rows ``chosen`` alone, a mark for each."""
        counts = np.diff(self.indptr)
        if chosen.all():
            return self
        entries = np.repeat(chosen, counts)
        indptr = np.concatenate(([0], np.cumsum(counts[chosen])))
        return SparseRows(indptr, self.indices[entries], self.values[entries], self.n_columns)

    def transposed(self) -> SparseRows:
        """The same with rows and columns swapped."""
        columns = sparse.csr_matrix(
            (self.values, self.indices, self.indptr), shape=(self.n_rows, self.n_columns)
        ).tocsc()
        return SparseRows(
            columns.indptr.astype(np.int64, copy=False),
            columns.indices.astype(np.int32, copy=False),
            columns.data,
            self.n_rows,
        )


def read_rows(data: MatrixLike | SparseRows, name: str, n_columns: int | None = None) -> SparseRows:
    """``data`` (rows × columns), checked as ``read_matrix`` does it, as a copy; explicit zeros go, duplicates add up.
    What was read before is given back as it is.

    Raises:
        DataError: see ``read_matrix``; also another number of columns than ``n_columns``.
    """
    if isinstance(data, SparseRows):
        if n_columns is not None and data.n_columns != n_columns:
            raise DataError(f"{name} must have {n_columns} columns, got {data.n_columns}")
        return data
    rows = read_matrix(data, name, shape=(None, n_columns), dtype=np.float32)
    return SparseRows(rows.indptr.astype(np.int64), rows.indices.astype(np.int32), rows.data.copy(), int(rows.shape[1]))


def read_times(times: npt.ArrayLike, matrix: MatrixLike) -> npt.NDArray[np.int64]:
    """``times`` of the entries of ``matrix``, without those of explicit zeros: int64, in the order of ``read_rows``'
    values.

    Raises:
        DataError: they are not one int for each stored entry of a CSR matrix whose rows are sorted and have no entry
            twice.
    """
    if not isinstance(matrix, sparse.csr_matrix | sparse.csr_array) or not matrix.has_canonical_format:
        raise DataError(
            "times need a CSR matrix with sorted indices, no entry twice: they are in the order of its data"
        )
    given = np.asarray(times)
    if given.dtype.kind not in "iu" or given.shape != matrix.data.shape:
        raise DataError(
            f"times must be {len(matrix.data)} ints, one for each entry, got {given.dtype} of shape {given.shape}"
        )
    kept: npt.NDArray[np.int64] = given.astype(np.int64)[matrix.data != 0]
    return kept
