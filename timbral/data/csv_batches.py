"""Reading a csv file through Arrow, a few megabytes at a time."""

from __future__ import annotations

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

BLOCK_BYTES: Final = 4 * 2**20
"""Read at once; a row must fit in it."""

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
    return Table(
        found=found,
        options=options,
        format="csv",
        from_text=True,
        columns=[*form.names, *part.partitions],
        partitions=tuple(part.partitions),
        batches=_batches(part, form, options, found, every_column=every_column),
    )


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
