"""Reading a csv file through Arrow, a few megabytes at a time."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa
from pyarrow import csv as arrow_csv

from timbral.data.column_names import ColumnNames
from timbral.data.csv_problem import csv_problem
from timbral.data.dataset_file import DatasetFile
from timbral.errors import DataError, ParameterError

__all__ = ["csv_batches"]

BLOCK_BYTES: Final = 4 * 2**20
"""Read at once; a row must fit in it."""
MOST_HEADER_BYTES: Final = 2**20

IDS: Final = pa.dictionary(pa.int32(), pa.string())


def csv_batches(
    file: DatasetFile, names: ColumnNames, separator: str = ",", *, every_column: bool = False
) -> tuple[ColumnNames, Iterator[pa.RecordBatch]]:
    """The columns found, and the rows: ids as dictionaries of strings, values as float64, all else as strings.

    With ``every_column`` the values are strings too, for whoever wants to know how they were written.

    UTF-8 with or without byte-order mark, any line end, quoted fields (a line end in quotes too), compressed or not.

    Raises:
        DataError: at once for a bad header; while reading for a bad row, which it names.
    """
    if len(separator) != 1 or separator in '"\r\n' or not separator.isascii():
        raise ParameterError(
            f"separator must be one ASCII character, neither a quote nor a line end, got {separator!r}"
        )
    header = _header(file, separator)
    found = names.found_in(header, file.name)
    return found, _batches(file, found, separator, header if every_column else None)


def _batches(
    file: DatasetFile, names: ColumnNames, separator: str, every_column: list[str] | None
) -> Iterator[pa.RecordBatch]:
    columns = every_column or names.listed()
    types = dict.fromkeys(columns, pa.string()) | {names.user: IDS, names.item: IDS}
    if names.value is not None and not every_column:
        types[names.value] = pa.float64()
    with file.open_text() as stream:
        try:
            reader = arrow_csv.open_csv(
                pa.PythonFile(stream, "r"),
                read_options=arrow_csv.ReadOptions(block_size=BLOCK_BYTES),
                parse_options=arrow_csv.ParseOptions(delimiter=separator, newlines_in_values=True),
                convert_options=arrow_csv.ConvertOptions(
                    column_types=types, include_columns=columns, null_values=[""], strings_can_be_null=True
                ),
            )
            yield from reader
        except (pa.ArrowException, OSError) as error:
            raise csv_problem(file, names, separator, str(error)) from None


def _header(file: DatasetFile, separator: str) -> list[str]:
    with file.open_text() as stream:
        head = _head(stream)
    is_cut = len(head) == MOST_HEADER_BYTES
    if head.startswith(b"PAR1"):
        raise DataError("is a parquet file, not csv", file.name)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError("is UTF-16; save it as UTF-8", file.name)
    head = head.removeprefix(codecs.BOM_UTF8)
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        # What comes behind the header is checked when it is read; here it may be a character that the cut went through.
        if not _has_line_end(head[: error.start]):
            raise DataError("its header is not valid UTF-8; save it as UTF-8", file.name) from None
        text = head[: error.start].decode()
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        row = next((row for row in rows if row), None)
    except csv.Error as error:
        raise DataError(f"its header cannot be read: {error}", file.name) from None
    if row is None:
        raise DataError("is empty", file.name)
    if is_cut and not _has_line_end(head):
        raise DataError(f"its header has no end in the first {MOST_HEADER_BYTES} bytes", file.name)
    return row


def _head(stream: Any) -> bytes:
    """The first MOST_HEADER_BYTES, or all where there are fewer."""
    parts: list[bytes] = []
    n_missing = MOST_HEADER_BYTES
    while n_missing and (part := stream.read(n_missing)):
        parts.append(part)
        n_missing -= len(part)
    return b"".join(parts)


def _has_line_end(text: bytes) -> bool:
    return b"\n" in text.lstrip() or b"\r" in text.lstrip()
