"""A users × items matrix, checked and in one form, whatever it came as.

What a model is fitted to and what it is judged by go through the same checks: a CSC matrix, one with the same entry
twice or a table of interactions must not give plausible wrong numbers.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.errors import DataError, ParameterError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Csr", "MatrixLike", "Sparse", "check_rows", "read_matrix"]


class _HasMatrix(Protocol):
    """As ``timbral.data.interactions.Interactions``, which this room does not know."""

    @property
    def matrix(self) -> sparse.csr_matrix: ...
    @property
    def item_ids(self) -> object: ...


class Sparse(Protocol):
    """A sparse matrix or array of scipy's, in any format."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def tocsr(self) -> Csr: ...


Csr: TypeAlias = "sparse.csr_matrix | sparse.csr_array"


MatrixLike: TypeAlias = "Sparse | pd.DataFrame | npt.ArrayLike | _HasMatrix"
"""What ``read_matrix`` makes CSR of."""

_A_USER: Final = re.compile(
    r"(user|listen(er)|customer|member|account|visitor|session|profile)s?(id|ids|name|hash|key|mbid|sha1|uuid)?"
)
_AN_ITEM: Final = re.compile(
    r"(item|track|song|artist|album|movie|film|book|product|podcast|episode|recording|release|video|game|anime|place|article)s?"
    r"(id|ids|name|key|mbid|uuid|uri|title)?|isbn|asin"
)


def read_matrix(
    data: MatrixLike, name: str, *, shape: tuple[int | None, int | None] = (None, None), dtype: type[Any] | None = None
) -> sparse.csr_matrix:
    """``data`` as CSR with sorted indices, nothing twice, no stored zeros and native byte order. It may share arrays
    with ``data``.

    Args:
        data: ndarray, DataFrame (its sparse columns stay sparse), scipy sparse of any format, or what
            ``DataLoader.load_csr`` gives.
        name: what the caller calls it, for the errors.
        shape: (rows, columns) that it must have; None for any number.
        dtype: of the values; as they are where None.

    Raises:
        DataError: a table of interactions, not 2-D, no rows or columns, not numbers, another shape, or a value that is
            negative, NaN or infinite; the text says which and where.
    """
    if hasattr(data, "matrix") and hasattr(data, "item_ids"):  # Interactions
        data = data.matrix
    if _is_dataframe(data):
        _refuse_interactions(list(data.columns), name)
        parts = _from_dataframe(data, name)
    elif sparse.issparse(data):
        parts = _from_sparse(data, name)
    else:
        _refuse_interactions(_column_names(data), name)
        parts = _from_array(data, name)
    if parts.shape[0] == 0 or parts.shape[1] == 0:
        raise DataError(f"{name} is empty: its shape is {parts.shape}")
    for found, wanted, what in zip(parts.shape, shape, ("rows", "columns"), strict=True):
        if wanted is not None and found != wanted:
            raise DataError(f"{name} must have {wanted} {what}, got shape {parts.shape}")
    rows = parts.tocsr()
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused below
        values = rows.data if dtype is None else rows.data.astype(dtype, copy=False)
    _check_values(rows.data, values, rows, name, data)
    made = sparse.csr_matrix((values, rows.indices, rows.indptr), shape=parts.shape, copy=False)
    if not made.has_canonical_format:
        made = made.copy()
        made.sum_duplicates()
    if not made.data.all():
        made = made.copy()
        made.eliminate_zeros()
    return made


def check_rows(user_ids: npt.ArrayLike, n_rows: int) -> npt.NDArray[np.int64]:
    """``user_ids`` as a vector of matrix rows.

    Raises:
        ParameterError: they are not ints in one list, or not in [0, n_rows).
    """
    rows = np.atleast_1d(np.asarray(user_ids))
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        raise ParameterError(f"user_ids must be ints (matrix rows) in one list, got {rows.dtype} {rows.shape}")
    if rows.size and not (rows.min() >= 0 and rows.max() < n_rows):
        raise ParameterError(f"User IDs must be in range [0, {n_rows})")
    return rows.astype(np.int64)


def _column_names(data: object) -> list[object]:
    """Of what numpy takes for an array and is a table: polars', Arrow's, and arrays with named fields."""
    if isinstance(data, np.ndarray):
        return list(data.dtype.names or ())
    names = (
        getattr(data, "column_names", None) or getattr(data, "columns", None) if hasattr(data, "__array__") else None
    )
    return list(names) if isinstance(names, list | tuple) else []


def _refuse_interactions(names: list[object], name: str) -> None:
    """A table with one interaction a row would be taken for a matrix of as many items as it has columns."""
    columns = [column for column in names if isinstance(column, str)]
    plain = {column: re.sub(r"[^a-z0-9]", "", column.lower()) for column in columns}
    users = [column for column in columns if _A_USER.fullmatch(plain[column])]
    items = [column for column in columns if _AN_ITEM.fullmatch(plain[column])]
    if users and items:
        raise DataError(
            f"{name} is a table of interactions (columns {columns[:8]}), not a matrix of users × items: give it "
            f"DataLoader().create_user_item_matrix(interactions_df, user_col={users[0]!r}, item_col={items[0]!r}), "
            "or what DataLoader().load_csr(filepath) gives"
        )


def _from_sparse(data: Any, name: str) -> sparse.csr_matrix:
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
    if data.dtype.kind in "biu" and data.dtype.itemsize < 8:
        data = data.astype(np.int64)  # entries in the same place are added up: in 8 bits they would wrap around
    matrix: sparse.csr_matrix = data.tocsr()
    if not matrix.dtype.isnative:
        matrix = matrix.astype(matrix.dtype.newbyteorder("="))
    return matrix


def _from_array(data: object, name: str) -> sparse.csr_matrix:
    try:
        array = data.filled(0) if isinstance(data, np.ma.MaskedArray) else np.asarray(data)  # masked: not observed
    except ValueError as error:
        raise DataError(f"{name} must be an ndarray, a DataFrame or a scipy sparse matrix: {error}") from error
    if array.ndim == 0:
        raise DataError(f"{name} must be an ndarray, a DataFrame or a scipy sparse matrix, got {type(data).__name__}")
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


def _from_dataframe(data: pd.DataFrame, name: str) -> sparse.csr_matrix | sparse.csc_matrix:
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


def _check_values(
    raw: npt.NDArray[Any], values: npt.NDArray[Any], rows: sparse.csr_matrix, name: str, data: MatrixLike
) -> None:
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


def _is_dataframe(data: object) -> TypeGuard[pd.DataFrame]:
    # pandas is not imported for this: a worker that recommends does without it, and without its 40 MB.
    pandas: Any = sys.modules.get("pandas")
    return pandas is not None and isinstance(data, pandas.DataFrame)
