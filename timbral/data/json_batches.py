"""Reading a json file into Arrow columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from timbral.data.column_names import FoundColumns, found_columns
from timbral.data.column_words import is_value
from timbral.data.dataset_parts import Part
from timbral.data.json_rows import JsonRows, json_rows, shown
from timbral.data.places import Place
from timbral.data.presets import preset_of_keys
from timbral.data.read_options import ReadOptions
from timbral.data.table import Table
from timbral.errors import DataError, MissingColumnsError

__all__ = ["json_table"]


def json_table(part: Part, options: ReadOptions, *, every_column: bool = False) -> Table:
    """``json_rows`` as Arrow columns; a field of a field by its dotted path.

    Raises:
        DataError: at once where the first row is none; while reading for a bad row, which it names.
    """
    file = part.file
    first, rest = json_rows(file, options.user_col or "user_id")
    # A writer may leave a key out where there is no value; the first rows together say which there are.
    header = list(dict.fromkeys(name for row in first for name in row))
    preset = options.named_preset
    wanted = (options.user_col or "user_id", options.item_col or "item_id")
    if preset is None and options.may_be_a_preset and not set(wanted) <= set(header):
        preset = preset_of_keys(set(header))
    if preset is not None:
        options = options.like(preset)

    def is_there(path: str) -> bool:
        return path in part.partitions or any(_has(row, path) for row in first)

    try:
        found = found_columns(options, [*header, *part.partitions], file.name, is_there)
    except MissingColumnsError as error:
        path = _list_of_objects(first[0])
        if path is None or len(error.args) < 3:
            raise
        reason = f"{path!r} is a list of objects: write each of them as an object of its own"
        raise MissingColumnsError(*error.args[:3], reason) from None
    if found.value is None and options.value_col is not None:
        rest = _without_values(header, file.name, len(first), rest)
    columns = _JsonColumns(file.name, found, part)
    kept: list[JsonRows] | None = [] if every_column else None
    return Table(
        found=found,
        options=options,
        format="json",
        from_text=False,
        columns=[*header, *part.partitions],
        partitions=tuple(part.partitions),
        batches=columns.batches(first, rest, kept),
        rows=kept,
    )


def _without_values(header: list[str], filepath: str, n_before: int, batches: Iterator[JsonRows]) -> Iterator[JsonRows]:
    """The batches, none of whose rows may have a column of plays or ratings, which no row before had."""
    known = set(header)
    for rows in batches:
        for at, row in enumerate(rows):
            if row.keys() <= known:
                continue
            for name in row.keys() - known:
                if is_value(name):
                    text = f"column {name!r} is there from data row {n_before + at + 1} on, and not before"
                    raise DataError(text, filepath)
            known |= row.keys()
        n_before += len(rows)
        yield rows


def _has(row: dict[str, Any], path: str) -> bool:
    if path in row:
        return True
    head, dot, rest = path.partition(".")
    return bool(dot) and isinstance(row.get(head), dict) and _has(row[head], rest)


def _list_of_objects(row: dict[str, Any], n_levels: int = 2) -> str | None:
    """The path of a list of objects within ``row``, where rows may be."""
    for name, value in row.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return name
        within = _list_of_objects(value, n_levels - 1) if isinstance(value, dict) and n_levels > 1 else None
        if within is not None:
            return f"{name}.{within}"
    return None


def _value(row: Any, path: str) -> Any:
    if not isinstance(row, dict):
        return None
    if path in row:
        return row[path]
    head, dot, rest = path.partition(".")
    return _value(row.get(head), rest) if dot else None


class _JsonColumns:
    """Batches of rows as Arrow columns: ids int64 or string, values float64 or string, times int64, float64 or
    string."""

    def __init__(self, filepath: str, found: FoundColumns, part: Part) -> None:
        self._filepath = filepath
        self._found = found
        self._names = [name for name in found.columns if name not in part.partitions]
        self._first_row = 1
        self._kinds: dict[str, type] = {}

    def batches(
        self, first: JsonRows, rest: Iterator[JsonRows], kept: list[JsonRows] | None
    ) -> Iterator[pa.RecordBatch]:
        """The named columns of the rows; these are ``kept`` beside where there is a list for them.

        Raises:
            DataError: a value is of a kind that it may not be; names the row.
        """
        rows = first
        while rows:
            columns = {name: self._column(name, [_value(row, name) for row in rows]) for name in self._names}
            if kept is not None:
                kept.append(rows)
            yield pa.RecordBatch.from_pydict(columns or {"": pa.nulls(len(rows))})
            self._first_row += len(rows)
            rows = next(rest, [])

    def _column(self, name: str, values: list[Any]) -> pa.Array:
        found = self._found
        is_id = name in found.user.columns or name in found.item.columns
        is_value = found.value is not None and name in found.value.columns
        there = [value for value in values if value is not None]
        if is_id:
            allowed, expected = {int, str}, "ids must be ints or strings, all of one kind"
            if there and type(there[0]) in allowed:
                allowed = {self._kinds.setdefault(name, type(there[0]))}
        elif is_value:
            allowed, expected = {int, float, str}, "not a number"
        else:
            allowed, expected = {int, float, str}, "not a time of the same kind as the first"
        kinds = set(map(type, there))
        if not kinds <= allowed:
            at = next(at for at, value in enumerate(values) if value is not None and type(value) not in allowed)
            raise self._error(name, at, values[at], expected)
        if str in kinds and len(kinds) > 1:
            if not is_value:
                at = next(
                    at for at, value in enumerate(values) if value is not None and type(value) is not type(there[0])
                )
                raise self._error(name, at, values[at], expected)
            values = [value if value is None or isinstance(value, str) else repr(value) for value in values]
        data_type = pa.float64() if is_value or float in kinds else pa.int64()
        data_type = pa.string() if str in kinds else data_type
        try:
            return pa.array(values, data_type)
        except _UNSTORABLE:
            at = next(at for at, value in enumerate(values) if not _is_storable(value, data_type))
            problem = "half of a surrogate pair" if isinstance(values[at], str) else "does not fit 64 bits with a sign"
            raise self._error(name, at, values[at], problem) from None

    def _error(self, name: str, at: int, value: Any, problem: str) -> DataError:
        return Place(self._filepath, self._first_row).error(name, at, f"{shown(value)}: {problem}")


_UNSTORABLE = (OverflowError, UnicodeEncodeError, pa.ArrowInvalid)


def _is_storable(value: Any, data_type: pa.DataType) -> bool:
    try:
        pa.array([value], data_type)
    except _UNSTORABLE:
        return False
    return True
