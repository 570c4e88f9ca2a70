"""Listening data as pandas holds it: the table of a data set, every column in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from timbral.data.complete_rows import CompleteRows, complete_rows
from timbral.data.dataset_file import DatasetFile
from timbral.data.frame_columns import column_of_json, column_of_parquet, column_of_text, numbers_of
from timbral.data.id_column import IdColumn
from timbral.data.places import Place
from timbral.data.read_options import ReadOptions
from timbral.data.table import Table
from timbral.data.tables import opened_tables
from timbral.data.value_column import checked_values
from timbral.errors import DataError, MissingColumnsError

__all__ = ["read_frame"]


def read_frame(file: DatasetFile, options: ReadOptions) -> pd.DataFrame:
    """Every row and column of ``file``; see ``DataLoader.load_user_interactions``."""
    reading: _Reading | None = None
    try:
        for called, table in opened_tables(file, options, every_column=True):
            reading = reading or _Reading(table, options)
            reading.add(table, called)
    except MissingColumnsError as error:
        raise MissingColumnsError(error.args[0]) from None
    assert reading is not None  # noqa: S101 - opened_tables gives one or raises
    return reading.frame(file.name)


class _Reading:
    """Rows as they come, and the frame that is made of them."""

    def __init__(self, table: Table, asked: ReadOptions) -> None:
        found, options = table.found, table.options
        self._table = table
        self._asked = asked
        self._drop = options.on_missing == "drop"
        names = found.user.text, found.item.text
        self._ids = [
            IdColumn(
                name,
                from_text=table.from_text or name in table.partitions,
                drop_odd=self._drop,
                strip_audio_suffix=options.strip_audio_suffix and at == 1,
            )
            for at, name in enumerate(names)
        ]
        self._labels = [
            asked_col or (source.text if source.is_one_column else default)
            for asked_col, source, default in (
                (asked.user_col, found.user, "user_id"),
                (asked.item_col, found.item, "item_id"),
            )
        ]
        self._columns: list[str] = []
        self._batches: list[pa.RecordBatch] = []
        self._rows: list[dict[str, Any]] = []
        self._values: list[pa.Array] = []
        self._n_rows = 0

    def add(self, table: Table, filepath: str) -> None:
        self._columns = list(dict.fromkeys([*self._columns, *table.columns]))
        first_row = 1
        for batch in table.batches:
            rows = complete_rows(batch, table.found, Place(filepath, first_row), drop=self._drop)
            first_row += len(batch)
            self._n_rows += len(batch)
            kept = None if rows.place.kept is None else pa.array(rows.place.kept)
            if table.rows is None:
                self._batches.append(batch if kept is None else batch.take(kept))
            else:
                objects = table.rows.pop()
                said = {name: batch[name] for name in table.partitions}
                for at in range(len(objects)) if rows.place.kept is None else rows.place.kept.tolist():
                    self._rows.append(objects[at] | {name: array[at].as_py() for name, array in said.items()})
            self._check(rows, table)

    def _check(self, rows: CompleteRows, table: Table) -> None:
        if not len(rows):
            return
        self._ids[0].add(rows.user, rows.place)
        self._ids[1].add(rows.item, rows.place)
        value = table.found.value
        if value is not None:
            checked_values(rows.value, value.text, rows.place, table.options.decimal)
            self._values.append(rows.value)

    def frame(self, name: str) -> pd.DataFrame:
        """All rows as a frame.

        Raises:
            DataError: there are none, or every value is 0.
        """
        if not self._n_rows:
            raise DataError("has a header and no data rows", name)
        if not self._length():
            raise DataError(f"has no row with all it needs; all {self._n_rows} would be left out", name)
        columns = self._other_columns()
        kept = np.ones(self._length(), dtype=bool)
        for label, column in zip(self._labels, self._ids, strict=True):
            codes = column.take_codes()
            ids, final = column.index()
            columns[label] = pd.Index(ids.ids(range(len(ids)))).take(np.maximum(final[codes], 0))
            kept &= final[codes] >= 0
        if not kept.any():
            raise DataError(f"has no row with all it needs; all {self._n_rows} would be left out", name)
        value, asked = self._table.found.value, self._asked.value_col
        if value is not None:
            numbers = numbers_of(self._values, self._table.options.decimal)
            if not np.asarray(numbers, dtype=np.float64)[kept].any():
                raise DataError(f"column {value.text!r}: every value is 0; there is nothing to learn from", name)
            for label in {value.text: None, asked or value.text: None}:
                columns[label] = numbers
        elif asked is not None:
            columns[asked] = np.ones(len(kept))
        frame = pd.DataFrame(columns, copy=False)
        return frame if kept.all() else frame[kept].reset_index(drop=True)

    def _length(self) -> int:
        return len(self._rows) or sum(map(len, self._batches))

    def _other_columns(self) -> dict[str, Any]:
        """Every column as it is there; those of the ids and the values are replaced."""
        if self._table.format == "json":
            return {name: column_of_json([row.get(name) for row in self._rows]) for name in self._columns}
        table = pa.concat_tables([pa.Table.from_batches([batch]) for batch in self._batches], promote_options="default")
        made = column_of_text if self._table.format == "csv" else column_of_parquet
        columns: dict[str, Any] = {}
        for name in self._columns:
            column = table[name]
            if name in self._labels:
                columns[name] = None  # its place
            elif self._table.format == "csv" and column.null_count == len(column) and name.startswith("Unnamed: "):
                continue  # a spreadsheet's trailing commas
            else:
                columns[name] = made(column)
        return columns
