"""What a model is fitted to: checked, and in one form, whatever it came as."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SparseRows", "read_rows", "read_times"]


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


def read_rows(data: Any, name: str, n_columns: int | None = None) -> SparseRows:
    """Check ``data`` (ndarray, DataFrame or scipy sparse, rows × columns) and copy it; explicit zeros go, duplicates add up.

    Raises:
        DataError: not 2-D, no rows or columns, not numbers, another number of columns than ``n_columns``, or a value that is negative,
            NaN or infinite; the text says which and where.
    """
    if _is_dataframe(data):
        parts = _from_dataframe(data, name)
    elif sparse.issparse(data):
        parts = _from_sparse(data, name)
    else:
        parts = _from_array(data, name)
    shape = parts.shape
    if shape[0] == 0 or shape[1] == 0:
        raise DataError(f"{name} is empty: its shape is {shape}")
    if n_columns is not None and shape[1] != n_columns:
        raise DataError(f"{name} must have {n_columns} columns, got shape {shape}")
    rows = parts.tocsr()
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused below
        values = rows.data.astype(np.float32)
    _check_values(rows.data, values, rows, name, data)
    rows = sparse.csr_matrix((values, rows.indices.copy(), rows.indptr.copy()), shape=shape)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    return SparseRows(
        rows.indptr.astype(np.int64, copy=False), rows.indices.astype(np.int32, copy=False), rows.data, int(shape[1])
    )


def read_times(times: npt.ArrayLike, matrix: Any) -> npt.NDArray[np.int64]:
    """``times`` of the entries of ``matrix``, without those of explicit zeros: int64, in the order of ``read_rows``' values.

    Raises:
        DataError: they are not one int for each stored entry of a CSR matrix whose rows are sorted and have no entry twice.
    """
    if not sparse.issparse(matrix) or matrix.format != "csr" or not matrix.has_canonical_format:  # type: ignore[attr-defined]
        raise DataError(
            "times need a CSR matrix with sorted indices, no entry twice: they are in the order of its data"
        )
    given = np.asarray(times)
    if given.dtype.kind not in "iu" or given.shape != matrix.data.shape:  # type: ignore[attr-defined]
        raise DataError(
            f"times must be {len(matrix.data)} ints, one for each entry, got {given.dtype} of shape {given.shape}"  # type: ignore[attr-defined]
        )
    return given.astype(np.int64)[matrix.data != 0]  # type: ignore[attr-defined]


def _from_sparse(data: Any, name: str) -> Any:
    if data.ndim != 2:
        raise DataError(f"{name} must be 2-D, got {data.ndim} dimension(s)")
    if data.format in ("csr", "csc", "bsr"):
        try:
            # A kernel reads memory where the indices say, so they are not taken on trust.
            data.check_format(full_check=True)
        except ValueError as error:
            raise DataError(f"{name} is not a valid sparse matrix: {error}") from error
    _check_dtype(data.dtype, name)
    if data.format == "coo" and any(
        len(axis) and not 0 <= int(axis.min()) <= int(axis.max()) < size
        for axis, size in zip((data.row, data.col), data.shape, strict=True)
    ):
        raise DataError(f"{name} is not a valid sparse matrix: an index is outside of its shape {data.shape}")
    matrix = data.tocsr()
    if not matrix.dtype.isnative:
        matrix = matrix.astype(matrix.dtype.newbyteorder("="))
    return matrix


def _from_array(data: Any, name: str) -> Any:
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise DataError(f"{name} must be an ndarray, a DataFrame or a scipy sparse matrix: {error}") from error
    if array.ndim != 2:
        raise DataError(f"{name} must be 2-D, got shape {array.shape}")
    if array.dtype == object:
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"{name} must hold numbers: {error}") from error
    _check_dtype(array.dtype, name)
    if array.size == 0:
        return sparse.csr_matrix(array.shape, dtype=np.float32)
    filled = array != 0  # NaN too
    indptr = np.concatenate(([0], np.cumsum(filled.sum(axis=1))))
    columns = np.nonzero(filled)[1]
    values = array[filled]
    return sparse.csr_matrix((values.astype(values.dtype.newbyteorder("=")), columns, indptr), shape=array.shape)


def _from_dataframe(data: pd.DataFrame, name: str) -> Any:
    """Column by column: sparse columns give their stored entries, dense ones their non-zeros."""
    n_rows, n_columns = data.shape
    rows, values, counts = [], [], np.zeros(n_columns + 1, dtype=np.int64)
    for position in range(n_columns):
        column = data.iloc[:, position].array
        if hasattr(column, "sp_index") and column.fill_value == 0:
            where = column.sp_index.indices
            stored = np.asarray(column.sp_values)
        else:
            dense = np.asarray(column)
            if dense.dtype == object:
                try:
                    dense = dense.astype(np.float64)
                except (TypeError, ValueError) as error:
                    raise DataError(
                        f"{name} must hold numbers, column {data.columns[position]!r} does not: {error}"
                    ) from error
            where = np.flatnonzero(dense != 0)
            stored = dense[where]
        _check_dtype(stored.dtype, f"{name}, column {data.columns[position]!r},")
        rows.append(where.astype(np.int32, copy=False))
        values.append(stored)
        counts[position + 1] = len(where)
    if not rows:
        return sparse.csr_matrix(np.zeros((n_rows, n_columns), dtype=np.float32))
    together = np.concatenate(values)
    return sparse.csc_matrix(
        (together.astype(together.dtype.newbyteorder("=")), np.concatenate(rows), np.cumsum(counts)), shape=data.shape
    )


def _check_dtype(dtype: np.dtype[Any], name: str) -> None:
    if dtype.kind not in "biuf":
        raise DataError(f"{name} must hold real numbers, got dtype {dtype}")


def _check_values(raw: Any, values: npt.NDArray[np.float32], rows: Any, name: str, data: Any) -> None:
    for wrong, what in (
        (np.isnan(values), "a NaN"),
        (np.isinf(values), "an infinite value"),
        (values < 0, "a negative value"),
    ):
        if wrong.any():
            entry = int(np.argmax(wrong))
            row = int(np.searchsorted(rows.indptr, entry, side="right")) - 1
            column = int(rows.indices[entry])
            if what == "an infinite value" and np.isfinite(raw[entry]):
                what = "a value too large for 32-bit floats"
            labels = f" (user {data.index[row]!r}, item {data.columns[column]!r})" if _is_dataframe(data) else ""
            raise DataError(
                f"{name} has {what} ({raw[entry]}) at row {row}, column {column}{labels}; values must be ≥ 0 and finite"
            )


def _is_dataframe(data: Any) -> bool:
    # pandas is not imported for this: a worker that recommends does without it, and without its 40 MB.
    pandas: Any = sys.modules.get("pandas")
    return pandas is not None and isinstance(data, pandas.DataFrame)
