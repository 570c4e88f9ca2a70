"""A part of a data set that was opened: its columns, and its rows in batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from timbral.data.column_names import FoundColumns
from timbral.data.read_options import ReadOptions

__all__ = ["Table"]

CALLED: Final = {"\t": "a tab", " ": "a space"}


@dataclass(frozen=True)
class Table:
    """Attributes:
    found: where users, items, values and times are read from.
    options: how it is read, with what the file told.
    format: "csv", "parquet" or "json"; "history" for the plays that were recorded.
    from_text: it has no types: ids are ints where all of them are plain ints.
    columns: every column's name, in order.
    batches: the rows; at least the columns of ``found`` that are not among the part's partitions.
    partitions: names of the columns that the folders say.
    rows: for json, where every column was asked for: each batch's rows as objects, beside it.
    """

    found: FoundColumns
    options: ReadOptions
    format: str
    from_text: bool
    columns: list[str]
    batches: Iterator[pa.RecordBatch]
    partitions: tuple[str, ...] = ()
    rows: list[list[dict[str, Any]]] | None = None

    @property
    def ids_are_believed(self) -> bool:
        """Whether a text is an id whatever it says."""
        return self.format == "history"

    def told(self) -> list[str]:
        """How it is read, for a person: the preset, which column is what, an unusual separator."""
        user, item, value, time = self.found.texts()
        told = [self.options.preset] if self.options.preset else []
        told += [f"user {user!r}", f"item {item!r}", f"value {value!r}" if value else "1 a row"]
        told += [f"time {time!r}"] if time else []
        separator = self.options.separator if self.format == "csv" else None
        if separator not in (None, ","):
            told.append(f"separator {CALLED.get(separator, repr(separator))}")
        return told
