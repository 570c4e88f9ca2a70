"""A data set's parts opened one after the other, all read in the way of the first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa

from timbral.data.csv_batches import csv_table
from timbral.data.dataset_file import DatasetFile
from timbral.data.dataset_format import checked_format, format_of
from timbral.data.dataset_parts import Part, dataset_parts, is_folder
from timbral.data.json_batches import json_table
from timbral.data.parquet_batches import parquet_table
from timbral.data.read_options import ReadOptions
from timbral.data.table import Table
from timbral.errors import DataError, MissingColumnsError

__all__ = ["opened_tables", "with_partitions"]

MOST_SHOWN = 5
READERS = {"csv": csv_table, "parquet": parquet_table, "json": json_table}


def opened_tables(
    file: DatasetFile, options: ReadOptions, *, every_column: bool = False
) -> Iterator[tuple[str, Table]]:
    """Each part's name and table, the columns that its folders say among its batches.

    Raises:
        ParameterError: an option is wrong.
        DataError: nothing is in the folder; a part's columns are not those of the first; as the readers.
    """
    checked_format(options.format)
    options.checked()
    parts = dataset_parts(file, options.named_preset)
    first: tuple[str, Table] | None = None
    for part in parts:
        if len(parts) > 1 and _is_empty(part):
            continue
        data_format = _format(part, options)
        try:
            table = READERS[data_format](part, options, every_column=every_column)
        except MissingColumnsError as error:
            if len(parts) == 1:
                raise
            raise MissingColumnsError(*error.args[:3], _one_of_many(parts, file), *error.args[3:]) from None
        if first is None:
            first = part.file.name, table
            # What the first part told is believed of the others.
            options = replace(table.options, format=data_format)
        elif table.found.texts() != first[1].found.texts():
            told, before = (
                {k: v for k, v in zip(("user", "item", "value", "time"), one.found.texts(), strict=True) if v}
                for one in (table, first[1])
            )
            raise DataError(f"its columns, {told}, are not those of {first[0]}, {before}", part.file.name)
        yield (
            part.file.name,
            with_partitions(table, part),
        )
    if first is None:
        raise DataError("has only empty files", file.name)


def _one_of_many(parts: list[Part], file: DatasetFile) -> str:
    """For whoever named the folder of a data set that has a table of items, of tags, … beside the ratings."""
    names = ", ".join(part.file.name.removeprefix(f"{file.name.rstrip('/')}/") for part in parts[:MOST_SHOWN])
    return f"its {len(parts)} files, {names}, are read as one table: if only one of them is meant, name that one" + (
        "" if is_folder(file) else ", unpacked"
    )


def _format(part: Part, options: ReadOptions) -> str:
    preset = options.named_preset
    if preset is not None:
        return preset.format
    return options.format or format_of(part.file, is_text=not options.is_utf8)


def _is_empty(part: Part) -> bool:
    with part.file.open_text() as stream:
        return not stream.read(1)


def with_partitions(table: Table, part: Part) -> Table:
    """``table`` with the columns that the folders of ``part`` say."""
    return replace(table, batches=_with_partitions(table.batches, part)) if part.partitions else table


def _with_partitions(batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for name, value in part.partitions.items():
            if name not in batch.schema.names:
                batch = batch.append_column(name, pa.repeat(pa.scalar(value, pa.string()), len(batch)))
        yield batch
