"""What is wrong with a csv file that Arrow refused: the row, the column and the value, for the error message."""

from __future__ import annotations

import csv
import io
from typing import Any

from timbral.data.column_names import ColumnNames
from timbral.data.dataset_file import DatasetFile
from timbral.errors import DataError

__all__ = ["csv_problem"]

LONGEST_SHOWN = 60


def csv_problem(file: DatasetFile, names: ColumnNames, separator: str, arrow_says: str) -> DataError:
    """Read ``file`` again, row by row, up to the first thing that is wrong. Slow, and only done when reading failed.

    Data rows are counted from 1; neither the header nor an empty line counts.
    """
    if "straddl" in arrow_says:
        arrow_says = "a row is too long (a quote that is never closed?)"
    with file.open_text() as stream:
        text = io.TextIOWrapper(io.BufferedReader(_Raw(stream), 2**20), "utf-8-sig", "surrogateescape", newline="")
        rows = (row for row in csv.reader(text, delimiter=separator) if row)
        row_number = -1
        try:
            header = next(rows)
            value_at = header.index(names.value) if names.value is not None else None
            row_number = 0
            for row_number, row in enumerate(rows, 1):
                problem = _problem(header, row, value_at, row_number)
                if problem is not None:
                    return DataError(problem, file.name)
        except csv.Error as error:
            return DataError(f"data row {row_number + 1}: {error}", file.name)
        except (DataError, StopIteration):
            pass
    if row_number == 0:
        return DataError("has a header and no data rows", file.name)
    return DataError(f"cannot be read as csv: {arrow_says.splitlines()[0]}", file.name)


def _problem(header: list[str], row: list[str], value_at: int | None, row_number: int) -> str | None:
    if len(row) != len(header):
        return f"data row {row_number} has {len(row)} columns, the header has {len(header)}"
    for column, field in zip(header, row, strict=True):
        if not field.isascii() and any("\udc80" <= character <= "\udcff" for character in field):
            return f"column {column!r}, data row {row_number}: not valid UTF-8; save the file as UTF-8"
    if value_at is None or _is_number(row[value_at]):
        return None
    text = row[value_at]
    shown = text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"
    problem = f"{shown!r} is not a number" if text else "a value is missing"
    return f"column {header[value_at]!r}, data row {row_number}: {problem}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


class _Raw(io.RawIOBase):
    """A stream that has only ``read``, as io's readers want it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
