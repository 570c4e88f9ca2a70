"""Reading a json file into Arrow columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from timbral.data.column_names import ColumnNames
from timbral.data.dataset_file import DatasetFile
from timbral.data.json_rows import JsonRows, json_rows, shown
from timbral.errors import DataError

__all__ = ["JsonColumns", "json_batches"]


def json_batches(file: DatasetFile, names: ColumnNames) -> tuple[ColumnNames, Iterator[pa.RecordBatch]]:
    """``json_rows`` as Arrow columns."""
    found, batches = json_rows(file, names)
    columns = JsonColumns(file, found)
    return found, (columns.batch(rows) for rows in batches)


class JsonColumns:
    """Batches of rows as Arrow columns: ids int64 or string, values float64, times int64, float64 or string."""

    def __init__(self, file: DatasetFile, names: ColumnNames) -> None:
        self._file = file
        self._names = names
        self._first_row = 1
        self._id_kinds: dict[str, type] = {}

    def batch(self, rows: JsonRows) -> pa.RecordBatch:
        """The named columns of the next rows.

        Raises:
            DataError: a value is missing or of a kind that it may not be; names the row.
        """
        columns = {name: self._column(name, [row.get(name) for row in rows]) for name in self._names.listed()}
        self._first_row += len(rows)
        return pa.RecordBatch.from_pydict(columns)

    def _column(self, name: str, values: list[Any]) -> pa.Array:
        allowed: set[type]
        if name in (self._names.user, self._names.item):
            kind = self._id_kinds.setdefault(name, type(values[0]))
            allowed = {kind} if kind in (int, str) else {int, str}
            expected = "ids must be ints or strings, all of one kind"
        elif name == self._names.value:
            allowed, expected = {int, float}, "not a number"
        else:
            allowed = {str} if isinstance(values[0], str) else {int, float}
            expected = "not a time of the same kind as the first"
        kinds = set(map(type, values))
        if not kinds <= allowed:
            at = next(at for at, value in enumerate(values) if type(value) not in allowed)
            raise self._error(name, at, values[at], expected)
        data_type = pa.string() if str in kinds else pa.float64() if float in allowed & kinds else pa.int64()
        if name == self._names.value:
            data_type = pa.float64()
        try:
            return pa.array(values, data_type)
        except _UNSTORABLE:
            at = next(at for at, value in enumerate(values) if not _is_storable(value, data_type))
            problem = "half of a surrogate pair" if isinstance(values[at], str) else "does not fit 64 bits with a sign"
            raise self._error(name, at, values[at], problem) from None

    def _error(self, name: str, at: int, value: Any, problem: str) -> DataError:
        said = "the value is missing" if value is None else f"{shown(value)}: {problem}"
        return DataError(f"column {name!r}, data row {self._first_row + at}: {said}", self._file.name)


_UNSTORABLE = (OverflowError, UnicodeEncodeError, pa.ArrowInvalid)


def _is_storable(value: Any, data_type: Any) -> bool:
    try:
        pa.array([value], data_type)
    except _UNSTORABLE:
        return False
    return True
