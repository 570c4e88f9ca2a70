"""Reading the rows of a json file, an array of objects or an object a line, a few thousand at a time.

Arrow's own reader guesses types from the first rows (and takes some strings for dates); ids have to stay what they are,
so this one keeps to what json says.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, Final

from timbral.data.column_names import ColumnNames
from timbral.data.dataset_file import DatasetFile
from timbral.errors import DataError

__all__ = ["JsonRows", "json_rows", "shown"]

BLOCK_BYTES: Final = 2**20
MOST_ROW_CHARACTERS: Final = 4 * 2**20
ROWS_PER_BATCH: Final = 20_000

JsonRows = list[dict[str, Any]]
_decoder = json.JSONDecoder()
_SPACE = " \t\r\n"


def json_rows(file: DatasetFile, names: ColumnNames) -> tuple[ColumnNames, Iterator[JsonRows]]:
    """The columns found in the first object, and the rows in batches.

    Raises:
        DataError: at once where the first row is none; while reading for a bad row, which it names.
    """
    batches = _batched(file, _rows(file))
    first = next(batches, [])
    if not first:
        raise DataError("has no data rows", file.name)
    if len(first) == 1 and isinstance(first[0].get(names.user), dict | list):
        first = _rows_of_columns(file, first[0])
    # A writer may leave a key out where there is no value; the first rows together say which there are.
    header = list(dict.fromkeys(name for row in first for name in row))
    found = names.found_in(header, file.name)
    rest = (
        batches if found.value is not None or names.value is None else _without(names.value, file, len(first), batches)
    )
    return found, _again(first, rest)


def _rows_of_columns(file: DatasetFile, columns: dict[str, Any]) -> JsonRows:
    """Rows from one object of columns, as ``DataFrame.to_json`` writes by default; no larger than a row may be."""
    lists = {
        name: list(column.values()) if isinstance(column, dict) else column
        for name, column in columns.items()
        if isinstance(column, dict | list)
    }
    lengths = {name: len(column) for name, column in lists.items()}
    if len(set(lengths.values())) != 1 or len(lists) != len(columns):
        raise DataError(
            f"is one object of columns, which must all be lists or objects of one length, got {lengths}", file.name
        )
    rows = [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
    if not rows:
        raise DataError("has no data rows", file.name)
    return rows


def _without(name: str, file: DatasetFile, n_before: int, batches: Iterator[JsonRows]) -> Iterator[JsonRows]:
    """The batches, none of whose rows may have the column that no row before had."""
    for rows in batches:
        at = next((at for at, row in enumerate(rows) if name in row), None)
        if at is not None:
            raise DataError(f"column {name!r} is there from data row {n_before + at + 1} on, and not before", file.name)
        n_before += len(rows)
        yield rows


def _again(first: JsonRows, rest: Iterator[JsonRows]) -> Iterator[JsonRows]:
    yield first
    yield from rest


def _batched(file: DatasetFile, rows: Iterator[Any]) -> Iterator[JsonRows]:
    batch: JsonRows = []
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise DataError(f"data row {number}: {shown(row)} is not an object", file.name)
        batch.append(row)
        if len(batch) == ROWS_PER_BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _rows(file: DatasetFile) -> Iterator[Any]:
    with file.open_text() as stream:
        text = _Text(file, stream)
        start = text.peek()
        if start == "[":
            yield from _array(file, text)
        elif start == "{":
            yield from _lines(text)
        elif start:
            raise DataError(
                f"is neither a json array of objects nor an object a line: it starts with {start!r}", file.name
            )
        else:
            raise DataError("is empty", file.name)


def _array(file: DatasetFile, text: _Text) -> Iterator[Any]:
    text.skip(1)
    number = 0
    if text.peek() == "]":
        return
    while True:
        number += 1
        yield text.value(number)
        after = text.peek()
        if after == "]":
            text.skip(1)
            if text.peek():
                raise DataError(f"there is something behind the array's end, after data row {number}", file.name)
            return
        if after != ",":
            problem = "the file ends in the middle of the array" if not after else f"expected a comma, got {after!r}"
            raise DataError(f"after data row {number}: {problem}", file.name)
        text.skip(1)


def _lines(text: _Text) -> Iterator[Any]:
    number = 0
    while text.peek():
        number += 1
        yield text.value(number)


class _Text:
    """The characters of a stream, read ahead by a block at a time."""

    def __init__(self, file: DatasetFile, stream: Any) -> None:
        self._file = file
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._text = ""
        self._at = 0
        self._ended = False

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            text, at = self._text, self._at
            while at < len(text) and text[at] in _SPACE:
                at += 1
            self._at = at
            if at < len(text):
                return text[at]
            if not self._read():
                return ""

    def skip(self, n_characters: int) -> None:
        self._at += n_characters

    def value(self, number: int) -> Any:
        """The json value that is next: data row ``number``."""
        self.peek()
        while True:
            try:
                value, end = _decoder.raw_decode(self._text, self._at)
            except RecursionError:
                raise DataError(f"data row {number}: nested too deeply", self._file.name) from None
            except ValueError as error:
                if len(self._text) - self._at > MOST_ROW_CHARACTERS:
                    raise self._bad(number, error) from None
                if not self._read():
                    raise self._bad(number, error) from None
                continue
            self._at = end
            return value

    def _bad(self, number: int, error: ValueError) -> DataError:
        said = error.msg if isinstance(error, json.JSONDecodeError) else str(error).split(":")[0]
        at = error.pos if isinstance(error, json.JSONDecodeError) else 0
        if self._ended and (at >= len(self._text.rstrip()) or said.startswith("Unterminated")):
            return DataError(f"data row {number}: the file ends in the middle of it", self._file.name)
        return DataError(f"data row {number} is not valid json: {said}", self._file.name)

    def _read(self) -> bool:
        if self._ended:
            return False
        data = self._stream.read(BLOCK_BYTES)
        self._ended = not data
        try:
            more = self._decode(data, self._ended)
        except UnicodeDecodeError:
            raise DataError("is not valid UTF-8; save it as UTF-8", self._file.name) from None
        self._text = self._text[self._at :] + more
        self._at = 0
        return not self._ended


def shown(value: Any) -> str:
    """``value`` as json, short enough for an error message."""
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:59] + "…"
