"""What a model is fitted to: checked, and in one form, whatever it came as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.judging.matrix import read_matrix

__all__ = ["SparseRows", "read_rows"]


@dataclass(frozen=True)
class SparseRows:
    """Sparse rows: row u's columns are ``indices[indptr[u]:indptr[u + 1]]``, ascending, each once; the values are positive.

    ``indptr`` is int64 of n_rows + 1, ``indices`` int32 and ``values`` float32, both of the number of interactions.
    """

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]
    n_columns: int

    @property
    def n_rows(self) -> int:
        return len(self.indptr) - 1

    def as_csr(self) -> sparse.csr_matrix:
        """As scipy's, its values and, below 2³¹ entries, its indices shared."""
        index: Any = (
            np.int32 if len(self.values) < 2**31 else np.int64
        )  # scipy would copy them, to have both of one dtype
        parts = self.values, self.indices.astype(index, copy=False), self.indptr.astype(index, copy=False)
        return sparse.csr_matrix(parts, shape=(self.n_rows, self.n_columns), copy=False)

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


def read_rows(data: Any, name: str, n_columns: int | None = None) -> SparseRows:
    """``data`` (rows × columns), checked as ``read_matrix`` does it, as a copy; explicit zeros go, duplicates add up.

    Raises:
        DataError: see ``read_matrix``; also another number of columns than ``n_columns``.
    """
    rows = read_matrix(data, name, shape=(None, n_columns), dtype=np.float32)
    return SparseRows(rows.indptr.astype(np.int64), rows.indices.astype(np.int32), rows.data.copy(), int(rows.shape[1]))
