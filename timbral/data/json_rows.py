"""Reading the rows of a json file, an array of objects or an object a line, a few thousand at a time.

Arrow's own reader guesses types from the first rows (and takes some strings for dates); ids have to stay what they are,
so this one keeps to what json says.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, Final

from timbral.data.dataset_file import DatasetFile
from timbral.errors import DataError

__all__ = ["JsonRows", "json_rows", "shown"]

BLOCK_BYTES: Final = 2**20
MOST_ROW_CHARACTERS: Final = 4 * 2**20
ROWS_PER_BATCH: Final = 20_000

JsonRows = list[dict[str, Any]]
_decoder = json.JSONDecoder()
_SPACE = " \t\r\n"


def json_rows(file: DatasetFile, user_col: str) -> tuple[JsonRows, Iterator[JsonRows]]:
    """The first rows, and the rest of them in batches.

    Raises:
        DataError: at once where the first row is none; while reading for a bad row, which it names.
    """
    batches = _batched(file, _rows(file))
    first = next(batches, [])
    if not first:
        raise DataError("has no data rows", file.name)
    if len(first) == 1 and (isinstance(first[0].get(user_col), dict | list) or _is_of_columns(first[0])):
        first = _rows_of_columns(file, first[0])
    return first, batches


def _is_of_columns(columns: dict[str, Any]) -> bool:
    """Whether one object is as ``DataFrame.to_json`` writes a table: column → row's label → value."""
    return len(columns) > 1 and all(isinstance(column, dict) and "0" in column for column in columns.values())


def _rows_of_columns(file: DatasetFile, columns: dict[str, Any]) -> JsonRows:
    """Rows from one object of columns, lists or objects by the rows' labels; no larger than a row may be."""
    lengths = {name: len(column) for name, column in columns.items() if isinstance(column, dict | list)}
    if len(set(lengths.values())) != 1 or len(lengths) != len(columns):
        raise DataError(
            f"is one object of columns, which must all be lists or objects of one length, got {lengths}", file.name
        )
    if len({type(column) for column in columns.values()}) > 1:
        raise DataError("is one object of columns, which must all be lists or all be objects", file.name)
    labels: Any = next(iter(columns.values()))
    if isinstance(labels, list):
        labels = range(len(labels))
    for name, column in columns.items():
        strange = next((label for label in column if label not in labels), None) if isinstance(column, dict) else None
        if strange is not None:
            raise DataError(f"column {name!r} has a row {strange!r} that the first column has not", file.name)
    rows = [{name: column[label] for name, column in columns.items()} for label in labels]
    if not rows:
        raise DataError("has no data rows", file.name)
    return rows


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
