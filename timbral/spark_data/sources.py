"""Sources: the pieces that a data set, or the history of plays, is read in, each by a task of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Protocol

from timbral.data.dataset_file import DatasetFile
from timbral.data.dataset_format import format_of
from timbral.data.dataset_parts import Part, dataset_parts
from timbral.data.parquet_batches import group_rows, parquet_table
from timbral.data.read_options import ReadOptions
from timbral.data.table import Table
from timbral.data.tables import opened_tables, with_partitions

__all__ = ["FileSource", "Source", "file_sources", "is_parquet", "row_spans"]

ROWS_PER_SOURCE: Final = 2_000_000
"""About so many rows are held by a task that reads, in whole row groups."""


class Source(Protocol):
    """A piece that can be sent to a task, and opened there."""

    @property
    def called(self) -> str:
        """What error messages call its file."""

    @property
    def first_row(self) -> int:
        """Data row of its file that it begins with, counted from 1."""

    def table(self) -> Table:
        """Its columns, and its rows in batches."""


@dataclass(frozen=True)
class FileSource:
    """Row groups ``start`` to ``stop`` of a parquet file."""

    part: Part
    options: ReadOptions
    start: int
    stop: int
    first_row: int

    @property
    def called(self) -> str:
        return self.part.file.name

    def table(self) -> Table:
        return with_partitions(
            parquet_table(self.part, self.options, row_groups=range(self.start, self.stop)), self.part
        )


def is_parquet(file: DatasetFile, options: ReadOptions) -> bool:
    """Whether ``file`` is parquet, or a folder of it; nothing within a zip is.

    Raises:
        DatasetNotFoundError, DataError: there is no such file, or nothing in the folder.
    """
    parts = dataset_parts(file, options.named_preset)
    if any(part.file.member is not None for part in parts):
        return False
    return (options.format or format_of(parts[0].file)) == "parquet"


def file_sources(file: DatasetFile, options: ReadOptions) -> tuple[Table, list[FileSource]]:
    """The table of the first part, of which no batch is read, and all sources of ``file``, in the order of its rows.

    Raises:
        ParameterError, DataError: as where it is read in one process.
    """
    by_name = {part.file.name: part for part in dataset_parts(file, options.named_preset)}
    sources: list[FileSource] = []
    first: Table | None = None
    for name, table in opened_tables(file, options):
        first = first or table
        part = by_name[name]
        for start, stop, first_row in row_spans(group_rows(part.file)):
            sources.append(FileSource(part, replace(table.options), start, stop, first_row))
    assert first is not None  # noqa: S101 - opened_tables gives one at least
    return first, sources


def row_spans(rows: list[int]) -> Iterator[tuple[int, int, int]]:
    """Row groups from and to, of about ROWS_PER_SOURCE rows, and the data row that they begin with; ``rows`` are those
    of each group."""
    start, first_row, held = 0, 1, 0
    for number, n_rows in enumerate(rows):
        if held and held + n_rows > ROWS_PER_SOURCE:
            yield start, number, first_row
            start, first_row, held = number, first_row + held, 0
        held += n_rows
    if held or not rows:
        yield start, len(rows), first_row
