"""Reading a csv file through Arrow, a few megabytes at a time."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import pyarrow as pa
from pyarrow import csv as arrow_csv

from timbral.data.column_names import FoundColumns, found_columns
from timbral.data.csv_form import CsvForm, csv_form
from timbral.data.csv_problem import csv_problem
from timbral.data.csv_stream import CsvStream, MisplacedQuoteError, cleaned_chunks, one_byte_separator
from timbral.data.dataset_parts import Part
from timbral.data.read_options import ReadOptions
from timbral.data.table import Table

__all__ = ["csv_table"]

logger = logging.getLogger(__name__)

BLOCK_BYTES: Final = 4 * 2**20
"""Read at once; a row must fit in it."""

POINT_OF_THOUSANDS: Final = re.compile(r"\d{1,3}(\.\d{3})?")
"""All values are such in a file in which points mark thousands and no number has seven digits."""

IDS: Final = pa.dictionary(pa.int32(), pa.string())


def csv_table(part: Part, options: ReadOptions, *, every_column: bool = False) -> Table:
    """The columns found, and the rows: ids as dictionaries of strings, values as float64, all else as strings.

    With ``every_column``, and where texts may stand for missing values, the values are strings too.

    UTF-8 or another encoding, with or without byte-order mark, any line end, quoted fields (a line end in quotes too)
    where the separator is no tab, compressed or not.

    Raises:
        DataError: at once for a bad header; while reading for a bad row, which it names.
    """
    form = csv_form(part.file, options)
    if form.preset is not None:
        options = options.like(form.preset)
    options = replace(options, separator=form.separator)
    found = found_columns(options, [*form.header, *part.partitions], part.file.name)
    if found.value is not None and found.value.text in form.names:
        _warn_of_thousands(part.file.name, found.value.text, form, options)
    return Table(
        found=found,
        options=options,
        format="csv",
        from_text=True,
        columns=[*form.names, *part.partitions],
        partitions=tuple(part.partitions),
        batches=_batches(part, form, options, found, every_column=every_column),
    )


def _warn_of_thousands(file: str, column: str, form: CsvForm, options: ReadOptions) -> None:
    """Where semicolons separate, a decimal comma is usual, and a point between thousands: 1.234 plays are not 1234 to
    Arrow."""
    if form.separator != ";" or options.decimal != ".":
        return
    cells = form.cells(column)
    marked = [cell for cell in cells if "." in cell]
    if 0 < len(marked) < len(cells) and all(POINT_OF_THOUSANDS.fullmatch(cell) for cell in cells):
        logger.warning(
            "%s: %s of the column %r is read as a decimal. If its point marks thousands, write it without one: %s",
            file, marked[0], column, marked[0].replace(".", ""),
        )  # fmt: skip


def _batches(
    part: Part, form: CsvForm, options: ReadOptions, found: FoundColumns, *, every_column: bool
) -> Iterator[pa.RecordBatch]:
    file = part.file
    columns = form.names if every_column else [name for name in found.columns if name in form.names]
    types = dict.fromkeys(columns, pa.string())
    types |= {s.columns[0]: IDS for s in (found.user, found.item) if s.is_one_column and s.columns[0] in types}
    value = None if found.value is None else found.value.text
    if value in types and not every_column and options.on_missing != "drop":
        types[value] = pa.float64()
    if not columns:  # all that is wanted is in the folders' names
        columns = form.names[:1]
        types = {columns[0]: pa.string()}
    separator = one_byte_separator(form)
    with file.open_text() as stream:
        try:
            reader = arrow_csv.open_csv(
                pa.PythonFile(CsvStream(cleaned_chunks(file, stream, form, options)), "r"),
                read_options=arrow_csv.ReadOptions(block_size=BLOCK_BYTES, column_names=form.names),
                parse_options=arrow_csv.ParseOptions(
                    delimiter=separator.decode(),
                    quote_char='"' if form.quoted else False,
                    newlines_in_values=form.quoted,
                ),
                convert_options=arrow_csv.ConvertOptions(
                    column_types=types,
                    include_columns=columns,
                    null_values=[""],
                    strings_can_be_null=True,
                    decimal_point=options.decimal,
                ),
            )
            yield from reader
        except (pa.ArrowException, OSError, MisplacedQuoteError) as error:
            raise csv_problem(file, form, options, value if value in types else None, str(error)) from None
