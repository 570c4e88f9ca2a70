"""A data set's file → Interactions, streamed: no DataFrame, and never the whole file in memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import pyarrow as pa

from timbral.data.column_names import ColumnNames
from timbral.data.csv_batches import csv_batches
from timbral.data.dataset_file import DatasetFile
from timbral.data.id_column import IdColumn
from timbral.data.interactions import Interactions
from timbral.data.json_batches import json_batches
from timbral.data.matrix_builder import Entries, MatrixBuilder
from timbral.data.parquet_batches import parquet_batches
from timbral.data.time_column import TimeColumn
from timbral.data.value_column import checked_values
from timbral.errors import DataError

__all__ = ["batches_of", "collect_interactions", "read_interactions"]

logger = logging.getLogger(__name__)

MOST_PENDING_ROWS: Final = 4_000_000
"""Rows are added up when so many are waiting, and as many as there are entries: memory follows the entries, not the rows."""


def read_interactions(
    file: DatasetFile,
    data_format: str,
    names: ColumnNames,
    *,
    separator: str = ",",
    strip_audio_suffix: bool = False,
    on_rows: Callable[[int], None] | None = None,
) -> Interactions:
    """Read ``file``; see ``DataLoader.load_csr``."""
    found, batches = batches_of(file, data_format, names, separator)
    from_text = data_format == "csv"
    return collect_interactions(
        batches, found, file.name, from_text=from_text, strip_audio_suffix=strip_audio_suffix, on_rows=on_rows
    )


def collect_interactions(
    batches: Iterator[pa.RecordBatch],
    found: ColumnNames,
    name: str,
    *,
    from_text: bool = False,
    strip_audio_suffix: bool = False,
    on_rows: Callable[[int], None] | None = None,
) -> Interactions:
    """Add up rows that come in batches; ``name`` is where they are from, for error messages."""
    users = IdColumn(found.user, name, from_text=from_text)
    items = IdColumn(found.item, name, from_text=from_text, strip_audio_suffix=strip_audio_suffix)
    times = None if found.time is None else TimeColumn(found.time, name)
    builder = MatrixBuilder()
    waiting = _Waiting(users, items, with_times=times is not None)
    n_rows = 0
    for batch in batches:
        first_row = n_rows + 1
        users.add(batch[found.user], first_row)
        items.add(batch[found.item], first_row)
        values = (
            np.ones(len(batch), dtype=np.float32)
            if found.value is None
            else checked_values(batch[found.value], first_row, found.value, name).astype(np.float32)
        )
        waiting.add(values, None if times is None else times.times(batch[found.time], first_row))
        n_rows += len(batch)
        if len(waiting) >= max(MOST_PENDING_ROWS, builder.n_entries):
            builder.add(waiting.take())
        if on_rows is not None:
            on_rows(n_rows)
    if not n_rows:
        raise DataError("has a header and no data rows", name)
    rest = waiting.take()
    user_ids, row_of = users.index()
    item_ids, column_of = items.index()
    try:
        matrix, entry_times = builder.build(rest, row_of, column_of, (len(user_ids), len(item_ids)))
    except DataError as error:
        raise DataError(str(error), name) from None
    logger.info("%s: %d rows, %d users × %d items, %d entries", name, n_rows, *matrix.shape, matrix.nnz)
    return Interactions(matrix, user_ids, item_ids, entry_times, n_rows, zeros=builder.zeros)


def batches_of(
    file: DatasetFile, data_format: str, names: ColumnNames, separator: str
) -> tuple[ColumnNames, Iterator[pa.RecordBatch]]:
    """The columns that were found, and the rows in batches."""
    if data_format == "csv":
        return csv_batches(file, names, separator)
    return parquet_batches(file, names) if data_format == "parquet" else json_batches(file, names)


class _Waiting:
    """Rows that were read and not yet added up."""

    def __init__(self, users: IdColumn, items: IdColumn, *, with_times: bool) -> None:
        self._users = users
        self._items = items
        self._values: list[np.ndarray[tuple[int], np.dtype[np.float32]]] = []
        self._times: list[np.ndarray[tuple[int], np.dtype[np.int64]]] | None = [] if with_times else None
        self._n_rows = 0

    def __len__(self) -> int:
        return self._n_rows

    def add(self, values: np.ndarray, times: np.ndarray | None) -> None:
        self._values.append(values)
        if self._times is not None and times is not None:
            self._times.append(times)
        self._n_rows += len(values)

    def take(self) -> Entries:
        values = np.concatenate(self._values) if self._values else np.empty(0, dtype=np.float32)
        self._values = []
        times = None
        if self._times is not None:
            times = np.concatenate(self._times) if self._times else np.empty(0, dtype=np.int64)
            self._times = []
        self._n_rows = 0
        return Entries(self._users.take_codes(), self._items.take_codes(), values, times)
