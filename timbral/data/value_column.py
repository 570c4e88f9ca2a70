"""A column of plays or ratings, checked."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from timbral.errors import DataError

__all__ = ["checked_values"]

LARGEST = float(np.finfo(np.float32).max)


def checked_values(array: pa.Array, first_row: int, column: str, filepath: str) -> npt.NDArray[np.float64]:
    """``array`` as float64: finite, 0 or more, and within float32.

    Raises:
        DataError: names the column and the first row (``first_row`` is the data row of the first value) that is not so.
    """
    kind = array.type
    if pa.types.is_dictionary(kind):
        return checked_values(array.dictionary_decode(), first_row, column, filepath)
    if pa.types.is_null(kind):
        raise _error(column, first_row, "a value is missing", filepath)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise _error(column, first_row, f"{array[0].as_py()!r} ({kind}) is not a number", filepath)
    if array.null_count:
        row = first_row + pc.index(array.is_null(), True).as_py()
        raise _error(column, row, "a value is missing", filepath)
    values: npt.NDArray[np.float64] = pc.cast(array, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    good = (values >= 0) & (values <= LARGEST)
    if not good.all():
        at = int(np.argmin(good))
        raise _error(column, first_row + at, _problem(float(values[at])), filepath)
    return values


def _problem(value: float) -> str:
    if np.isnan(value):
        return "NaN is not a number of plays or a rating; leave the row out"
    shown = f"{value:g}"
    if value < 0:
        return f"{shown} is negative; plays and ratings must be 0 or more"
    if np.isinf(value):
        return "infinity is not a number of plays or a rating"
    return f"{shown} is too large; values must be at most {LARGEST:.3g}"


def _error(column: str, row: int, problem: str, filepath: str) -> DataError:
    return DataError(f"column {column!r}, data row {row}: {problem}", filepath)
