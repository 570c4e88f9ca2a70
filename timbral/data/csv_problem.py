"""What is wrong with a csv file that Arrow refused: the row, the column and the value, for the error message."""

from __future__ import annotations

from collections.abc import Iterator

from timbral.data.csv_form import CsvForm
from timbral.data.csv_records import BEHIND, JOINS, NEVER_CLOSED, SPACED, Record, next_record
from timbral.data.csv_stream import cleaned_chunks, one_byte_separator
from timbral.data.dataset_file import DatasetFile
from timbral.data.places import Place
from timbral.data.read_options import ReadOptions
from timbral.data.value_column import not_a_number
from timbral.errors import DataError

__all__ = ["csv_problem"]

PLAIN_QUOTES = "if quotes are plain characters in this file, say quoted=False (--no-quoted)"
HINTS = {
    NEVER_CLOSED: PLAIN_QUOTES,
    BEHIND: PLAIN_QUOTES,
    SPACED: f"write none between a separator and a quote; {PLAIN_QUOTES}",
    JOINS: f"{PLAIN_QUOTES}; if the lines are one text, quoted=True",
}


def csv_problem(
    file: DatasetFile, form: CsvForm, options: ReadOptions, value: str | None, arrow_says: str
) -> DataError:
    """Read ``file`` again, row by row, up to the first thing that is wrong. Slow, and only done when reading failed.

    Data rows are counted from 1; neither the header nor an empty line counts.
    """
    if "straddl" in arrow_says:
        arrow_says = "a row is too long (a quote that is never closed?)"
    value_at = form.names.index(value) if value in form.names else None
    row_number = 0
    try:
        for record in _records(file, form, options):
            if record.problem is None and record.fields == [b""]:
                continue
            row_number += 1
            problem = _problem(form, options, record, value_at, Place(file.name, row_number))
            if problem is not None:
                return problem
    except DataError as error:
        return error
    if row_number == 0:
        return DataError("has a header and no data rows", file.name)
    return DataError(f"cannot be read as csv: {arrow_says.splitlines()[0]}", file.name)


def _problem(
    form: CsvForm, options: ReadOptions, record: Record, value_at: int | None, place: Place
) -> DataError | None:
    row, name = place.first_row, place.filepath
    if record.problem is not None:
        return DataError(f"data row {row} {record.problem}; {HINTS[record.problem]}", name)
    if len(record.fields) != len(form.header):
        hint = ""
        if form.quoted is False and any(field[:1] == b'"' for field in record.fields):
            hint = "; if fields are in quotes, say quoted=True (--quoted)"
        return DataError(
            f"data row {row} has {len(record.fields)} columns, the header has {len(form.header)}{hint}", name
        )
    for column, field in zip(form.names, record.fields, strict=True):
        try:
            field.decode()
        except UnicodeDecodeError:
            text = 'not valid UTF-8; save the file as UTF-8, or say its encoding: encoding="latin-1" (--encoding)'
            return place.error(column, 0, text)
    if value_at is None:
        return None
    text = record.fields[value_at].decode()
    if _is_number(text.strip(), options.decimal):
        return None
    return not_a_number(text, form.names[value_at], 0, place)


def _records(file: DatasetFile, form: CsvForm, options: ReadOptions) -> Iterator[Record]:
    separator, trusted = one_byte_separator(form), bool(options.quoted)
    with file.open_text() as stream:
        chunks = cleaned_chunks(file, stream, form, options, check_quotes=False)
        data, at = next(chunks, b""), 0
        while True:
            following = next(chunks, None)
            is_end = following is None
            while at < len(data):
                record = next_record(
                    data, at, separator, len(form.header), quoted=form.quoted, trusted=trusted, is_end=is_end
                )
                if record is None:
                    break
                at = record.end
                yield record
                if record.problem is not None:
                    return
            if following is None:
                return
            data, at = data[at:] + following, 0


def _is_number(text: str, decimal: str) -> bool:
    if not text.isascii() or "_" in text or (decimal != "." and "." in text):
        return False
    try:
        float(text.replace(decimal, "."))
    except ValueError:
        return False
    return True
