"""Listening data as pandas holds it: the table of a file, and the users × items matrix of a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from timbral.data.column_names import ColumnNames
from timbral.data.csv_batches import csv_batches
from timbral.data.csv_problem import csv_problem
from timbral.data.dataset_file import DatasetFile
from timbral.data.id_column import IdColumn
from timbral.data.json_batches import JsonColumns
from timbral.data.json_rows import json_rows
from timbral.data.parquet_batches import parquet_batches
from timbral.data.value_column import checked_values
from timbral.errors import DataError, MissingColumnsError

__all__ = ["matrix_frame", "read_frame"]

FRAME: Final = "interactions_df"
PANDAS_INDEX: Final = "__index_level_"


def read_frame(
    file: DatasetFile, data_format: str, names: ColumnNames, *, separator: str, strip_audio_suffix: bool
) -> pd.DataFrame:
    """Every row and column of ``file``; see ``DataLoader.load_user_interactions``."""
    try:
        found, batches = _batches(file, data_format, names, separator)
    except MissingColumnsError as error:
        raise MissingColumnsError(error.args[0]) from None
    from_text = data_format == "csv"
    users = IdColumn(found.user, file.name, from_text=from_text)
    items = IdColumn(found.item, file.name, from_text=from_text, strip_audio_suffix=strip_audio_suffix)
    parts: list[pd.DataFrame | pa.RecordBatch] = []
    n_rows = 0
    for batch, part in batches:
        users.add(batch[found.user], n_rows + 1)
        items.add(batch[found.item], n_rows + 1)
        if found.value is not None and not from_text:
            checked_values(batch[found.value], n_rows + 1, found.value, file.name)
        parts.append(part)
        n_rows += len(batch)
    if not n_rows:
        raise DataError("has a header and no data rows", file.name)
    frame = _frame_of_csv(file, found, separator, parts) if from_text else _frame(parts)
    for column in (users, items):
        labels, codes = _labels(column)
        frame[column.column] = labels.take(codes)
    if found.value is None and names.value is not None:
        frame[names.value] = 1.0
    return frame


def matrix_frame(frame: pd.DataFrame, names: ColumnNames) -> tuple[pd.DataFrame, list[Any], list[Any]]:
    """The users × items matrix of a table of interactions, and its labels; see ``DataLoader.create_user_item_matrix``."""
    if not isinstance(frame, pd.DataFrame):
        raise DataError(f"{FRAME} must be a pandas DataFrame, got {type(frame).__name__}")
    try:
        found = names.found_in(list(frame.columns), FRAME)
    except MissingColumnsError as error:
        raise MissingColumnsError(error.args[0]) from None
    if not len(frame):
        raise DataError("has no rows", FRAME)
    indexes, codes = [], []
    for name in (found.user, found.item):
        column = IdColumn(name, FRAME)
        column.add(_arrow_ids(frame[name]), 1)
        index, column_codes = _labels(column)
        indexes.append(index)
        codes.append(column_codes)
    if found.value is None:
        values = np.ones(len(frame))
    else:
        values = checked_values(_arrow(frame[found.value], "not a number"), 1, found.value, FRAME)
    shape = (len(indexes[0]), len(indexes[1]))
    matrix = sparse.coo_matrix((values, (codes[0], codes[1])), shape=shape).tocsc()
    matrix.eliminate_zeros()
    made: pd.DataFrame = pd.DataFrame.sparse.from_spmatrix(  # type: ignore[attr-defined]
        matrix, index=indexes[0], columns=indexes[1]
    )
    made.index.name, made.columns.name = found.user, found.item
    return made, indexes[0].tolist(), indexes[1].tolist()


def _batches(
    file: DatasetFile, data_format: str, names: ColumnNames, separator: str
) -> tuple[ColumnNames, Iterator[tuple[pa.RecordBatch, Any]]]:
    """Batches for the checks, each beside its part of the frame."""
    if data_format == "json":
        found, batches = json_rows(file, names)
        columns = JsonColumns(file, found)
        return found, ((columns.batch(rows), pd.DataFrame(rows)) for rows in batches)
    if data_format == "csv":
        found, tables = csv_batches(file, names, separator, every_column=True)
    else:
        found, tables = parquet_batches(file, names, every_column=True)
    return found, ((batch, batch) for batch in tables)


def _frame(parts: list[Any]) -> pd.DataFrame:
    if isinstance(parts[0], pd.DataFrame):
        joined: pd.DataFrame = pd.concat(parts, ignore_index=True)
        return joined
    table = pa.Table.from_batches(parts)
    kept = [name for name in table.column_names if not name.startswith(PANDAS_INDEX)]
    frame: pd.DataFrame = table.select(kept).to_pandas(ignore_metadata=True)
    return frame


def _frame_of_csv(file: DatasetFile, names: ColumnNames, separator: str, parts: list[Any]) -> pd.DataFrame:
    table = pa.Table.from_batches(parts)
    columns: dict[str, Any] = {}
    for name in table.column_names:
        column = table[name]
        columns[name] = column if name in (names.user, names.item) else _narrowed(column)
    if names.value is not None:
        values = columns[names.value].combine_chunks()
        if pa.types.is_string(values.type) or pa.types.is_boolean(values.type):
            raise csv_problem(file, names, separator, f"column {names.value!r} is not all numbers")
        checked_values(values, 1, names.value, file.name)
    frame: pd.DataFrame = pa.table(columns).to_pandas()
    return frame


def _narrowed(column: Any) -> Any:
    """A csv column as ints, floats or bools, where all of it is; a text otherwise."""
    if column.null_count == len(column):
        return column.cast(pa.float64())
    trimmed = pc.utf8_trim_whitespace(column)
    for data_type in (pa.int64(), pa.float64(), pa.bool_()):
        try:
            return trimmed.cast(data_type)
        except pa.ArrowInvalid:
            continue
    return column


def _labels(column: IdColumn) -> tuple[pd.Index, np.ndarray]:
    """The ids in ascending order, and the place among them of each row."""
    codes = column.take_codes()
    ids, final = column.index()
    return pd.Index(ids.ids(range(len(ids)))), final[codes]


def _arrow_ids(series: Any) -> pa.Array:
    return _arrow(series, "ids must be ints or strings, all of one kind")


def _arrow(series: Any, expected: str) -> pa.Array:
    try:
        array = pa.Array.from_pandas(series)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        kind = type(series.iloc[0])
        at = next((at for at, value in enumerate(series) if type(value) is not kind or not _fits(value)), 0)
        text = f"column {series.name!r}, data row {at + 1}: {series.iloc[at]!r}: {expected}"
        raise DataError(text, FRAME) from None
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _fits(value: Any) -> bool:
    try:
        pa.array([value])
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        return False
    return True
