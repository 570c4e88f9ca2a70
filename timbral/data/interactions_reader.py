"""A data set → Interactions, streamed: no DataFrame, and never the whole file in memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from timbral.data.checked_columns import CheckedColumns, n_odd_rows
from timbral.data.data_report import DataReport
from timbral.data.dataset_file import DatasetFile
from timbral.data.id_column import IdColumn
from timbral.data.interactions import Interactions
from timbral.data.matrix_builder import Entries, MatrixBuilder
from timbral.data.places import Place
from timbral.data.read_options import ReadOptions
from timbral.data.table import Table
from timbral.data.tables import opened_tables
from timbral.data.time_column import MICROSECONDS
from timbral.errors import DataError

__all__ = ["collect_interactions", "read_interactions"]

logger = logging.getLogger(__name__)

MOST_PENDING_ROWS: Final = 4_000_000
"""Rows are added up when so many are waiting, and as many as there are entries: memory follows the entries, not the
rows."""


def read_interactions(
    file: DatasetFile, options: ReadOptions, *, on_rows: Callable[[int], None] | None = None
) -> Interactions:
    """Read ``file``; see ``DataLoader.load_csr``."""
    return collect_interactions(opened_tables(file, options), file.name, on_rows=on_rows)


def collect_interactions(
    tables: Iterable[tuple[str, Table]], name: str, *, on_rows: Callable[[int], None] | None = None
) -> Interactions:
    """Make one matrix of the rows of tables, each beside what error messages call it; ``name`` is all of them
    together."""
    reading: _Reading | None = None
    for called, table in tables:
        if reading is None:
            reading = _Reading(table)
        first_row = 1
        for batch in table.batches:
            reading.add(batch, Place(called, first_row))
            first_row += len(batch)
            if on_rows is not None:
                on_rows(reading.n_rows)
    if reading is None:
        raise DataError("has no data rows", name)
    return reading.finished(name)


class _Reading:
    """Rows as they come, and what is made of them."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._columns = CheckedColumns(table)
        self._builder = MatrixBuilder(table.options.repeats)
        self._waiting = _Waiting(self._columns.users, self._columns.items, with_times=self._columns.times is not None)

    @property
    def n_rows(self) -> int:
        return self._columns.n_rows

    def add(self, batch: pa.RecordBatch, place: Place) -> None:
        rows = self._columns.add(batch, place)
        if rows is None:
            return
        if rows.now_in_seconds:
            self._waiting.scale_times(MICROSECONDS)
            self._builder.scale_times(MICROSECONDS)
        self._waiting.add(rows.values, rows.times)
        if len(self._waiting) >= max(MOST_PENDING_ROWS, self._builder.n_entries):
            self._builder.add(self._waiting.take())

    def finished(self, name: str) -> Interactions:
        """The matrix of all rows.

        Raises:
            DataError: there are none, none is left, or every value is 0.
        """
        if not self.n_rows:
            raise DataError("has a header and no data rows", name)
        columns = self._columns
        if columns.n_dropped == self.n_rows:
            raise DataError(f"has no row with all it needs; all {self.n_rows} would be left out", name)
        rest = self._waiting.take()
        user_ids, row_of = columns.users.index()
        item_ids, column_of = columns.items.index()
        dropped = columns.n_dropped + n_odd_rows(
            columns.n_odd, drops_users=columns.users.drops_odd, drops_items=columns.items.drops_odd
        )
        if not len(user_ids) or not len(item_ids) or dropped == self.n_rows:
            raise DataError(f"has no row with all it needs; all {self.n_rows} would be left out", name)
        try:
            matrix, times = self._builder.build(rest, row_of, column_of, (len(user_ids), len(item_ids)))
        except DataError as error:
            raise DataError(str(error), name) from None
        if not matrix.nnz:
            value = self._table.found.value
            said = "" if value is None else f"column {value.text!r}: "
            raise DataError(f"{said}every value is 0; there is nothing to learn from", name)
        zeros = self._builder.zeros
        rows_left, columns_left = self._builder.rows_left, self._builder.columns_left
        if rows_left is not None and columns_left is not None:
            # Whoever was in rows only that are left out is none of the users.
            matrix = matrix[rows_left][:, columns_left]
            zeros = None if zeros is None else zeros[rows_left][:, columns_left]
            user_ids, item_ids = user_ids.taken(rows_left), item_ids.taken(columns_left)
        report = DataReport.of(self._table, self.n_rows, dropped, self.n_rows - dropped - self._builder.n_entries)
        logger.info(
            "%s: %d rows, %d left out, %d users × %d items, %d entries, values from %s",
            name, self.n_rows, dropped, *matrix.shape, matrix.nnz, report.value_col or "1 a row",
        )  # fmt: skip
        return Interactions(matrix, user_ids, item_ids, times, self.n_rows, report, zeros)


class _Waiting:
    """Rows that were read and not yet added up."""

    def __init__(self, users: IdColumn, items: IdColumn, *, with_times: bool) -> None:
        self._users = users
        self._items = items
        self._values: list[npt.NDArray[np.float32]] = []
        self._times: list[npt.NDArray[np.int64]] | None = [] if with_times else None
        self._n_rows = 0

    def __len__(self) -> int:
        return self._n_rows

    def add(self, values: npt.NDArray[np.float32], times: npt.NDArray[np.int64] | None) -> None:
        self._values.append(values)
        if self._times is not None and times is not None:
            self._times.append(times)
        self._n_rows += len(values)

    def scale_times(self, factor: int) -> None:
        if self._times is not None:
            self._times = [times * factor for times in self._times]

    def take(self) -> Entries:
        values = np.concatenate(self._values) if self._values else np.empty(0, dtype=np.float32)
        self._values = []
        times = None
        if self._times is not None:
            times = np.concatenate(self._times) if self._times else np.empty(0, dtype=np.int64)
            self._times = []
        self._n_rows = 0
        return Entries(self._users.take_codes(), self._items.take_codes(), values, times)
