"""The history's files: what the log says of them, and whether one has all its columns."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from pyarrow import parquet

__all__ = ["FilePart", "HistoryFile", "HistoryStats", "check_columns"]


class HistoryStats(NamedTuple):
    """What the log says of the table: ``oldest`` and ``newest`` are the times of plays, None in an empty table."""

    version: int
    watermark: str
    rows: int
    files: int
    bytes: int
    oldest: datetime | None
    newest: datetime | None


class HistoryFile(NamedTuple):
    """One file: ``oldest`` and ``newest`` are the times of its plays, None where the log does not say."""

    path: str
    month: str
    rows: int
    bytes: int
    oldest: datetime | None
    newest: datetime | None


class FilePart(NamedTuple):
    """Row groups ``start`` to ``stop`` of a file."""

    path: str
    start: int
    stop: int


def check_columns(file: parquet.ParquetFile, wanted: Iterable[str]) -> None:
    """Refuse a file without a column of these, which a reader of more than one would not miss.

    Raises:
        OSError: it has one not.
    """
    missing = sorted(set(wanted) - set(file.schema_arrow.names))
    if missing:
        raise OSError(f"it is damaged: it has no column {', '.join(missing)}")
