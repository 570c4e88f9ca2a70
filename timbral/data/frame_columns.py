"""Columns of a file as pandas holds them, altered in nothing: what is written back is what was there."""

from __future__ import annotations

from typing import Any, Final

import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from timbral.data.id_types import is_text

__all__ = ["column_of_json", "column_of_parquet", "column_of_text", "numbers_of"]

NULLABLE: Final = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}
"""For ints beside gaps, which would become floats, and lose their last digits."""
EXACT: Final = 2**53


def column_of_parquet(column: pa.ChunkedArray) -> pd.Series:
    """A typed column."""
    nullable = NULLABLE.get(column.type) if column.null_count else None
    made: pd.Series = column.to_pandas(types_mapper=None if nullable is None else lambda _: nullable)
    return made


def column_of_text(column: pa.ChunkedArray) -> pd.Series:
    """A csv column as ints, floats or bools, where all of it is just that text when written back; as text otherwise."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(pa.string())
    if column.null_count == len(column):
        return column_of_parquet(column.cast(pa.float64()))
    distinct = column.unique().drop_null()
    for data_type in (pa.int64(), pa.float64(), pa.bool_()):
        try:
            values = distinct.cast(data_type)
        except pa.ArrowInvalid:
            continue
        if [str(value) for value in values.to_pylist()] == distinct.to_pylist():
            return column_of_parquet(column.cast(data_type))
    return column_of_parquet(column)


def column_of_json(values: list[Any]) -> pd.Series | pd.api.extensions.ExtensionArray:
    """A column of json values, None where there is none."""
    kinds = {type(value) for value in values}
    has_gaps = type(None) in kinds
    kinds.discard(type(None))
    ints = [value for value in values if type(value) is int] if int in kinds else []
    if ints and (kinds == {int, float} or has_gaps) and kinds <= {int, float}:
        if kinds == {int} and all(-(2**63) <= value < 2**63 for value in ints):
            return pd.array(values, dtype="Int64")
        if any(abs(value) > EXACT for value in ints):
            return pd.Series(values, dtype=object)
    return pd.Series(values)


def numbers_of(parts: list[pa.Array], decimal: str) -> npt.NDArray[Any]:
    """Plays or ratings that were checked, as ints where all of them are."""
    column = pa.chunked_array(
        [part.dictionary_decode() if pa.types.is_dictionary(part.type) else part for part in parts]
    )
    if is_text(column.type):
        trimmed = pc.utf8_trim_whitespace(column)
        trimmed = trimmed if decimal == "." else pc.replace_substring(trimmed, decimal, ".")
        try:
            column = trimmed.cast(pa.int64())
        except pa.ArrowInvalid:
            column = trimmed.cast(pa.float64())
    elif pa.types.is_decimal(column.type):
        column = pc.cast(column, pa.float64(), safe=False)
    numbers: npt.NDArray[Any] = column.to_numpy()
    return numbers
