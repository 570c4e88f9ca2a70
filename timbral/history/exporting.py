"""The history into one file, and what is in it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from timbral.errors import DataError, ParameterError
from timbral.history.table import HistoryTable

__all__ = ["Summary", "export_plays", "summary"]

COLUMNS: Final = ["user_id", "item_id", "plays", "at"]


class Summary(NamedTuple):
    """Rows, plays (added up), distinct users and items, and the rows of each day, as ``2026-11-25``."""

    rows: int
    plays: float
    users: int
    items: int
    per_day: dict[str, int]


def export_plays(
    history: HistoryTable,
    path: Path,
    data_format: str,
    on_rows: Callable[[int], None] = lambda n_rows: None,  # noqa: ARG005 - called with it
) -> int:
    """Write user_id, item_id, plays and at of every row to ``path``, whole or not at all; returns the number of rows.

    Ids are ints where all of them are, else text; in json each is what it is.

    Raises:
        ParameterError: ``path`` is a folder, or in none.
        DataError: the history is empty.
        HistoryError: the table cannot be read.
    """
    if path.is_dir() or not path.parent.is_dir():
        missing = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise ParameterError(f"Cannot write {path}: {missing}")
    version, n_rows = history.version(), 0
    if history.stats(version).rows == 0:
        raise DataError("the history is empty", history.uri)
    are_int = [
        all(all(batch.column(place).to_pylist()) for batch in history.batches(version, FLAGS)) for place in (0, 1)
    ]
    schema = pa.schema(
        [
            ("user_id", pa.int64() if are_int[0] else pa.string()),
            ("item_id", pa.int64() if are_int[1] else pa.string()),
            ("plays", pa.float64()),
            ("at", pa.timestamp("us", "UTC")),
        ]
    )
    part = path.with_name(f".{path.name}.part")
    try:
        with _Writer(part, data_format, schema) as writer:
            for batch in history.batches(version, [*COLUMNS, *FLAGS]):
                writer.write(batch)
                n_rows += len(batch)
                on_rows(n_rows)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return n_rows


def summary(history: HistoryTable) -> Summary:
    """What is in the history, read once through."""
    users: set[tuple[str, bool]] = set()
    items: set[tuple[str, bool]] = set()
    days: Counter[str] = Counter()
    n_rows, n_plays = 0, 0.0
    for batch in history.batches(None, ["user_id", "item_id", "plays", "at", *FLAGS]):
        n_rows += len(batch)
        n_plays += pc.sum(batch["plays"]).as_py() or 0.0
        for name, flag, found in (("user_id", "user_is_int", users), ("item_id", "item_is_int", items)):
            pairs = pa.table({"id": batch[name].dictionary_decode(), "is_int": batch[flag]}).group_by(["id", "is_int"])
            distinct = pairs.aggregate([])
            found.update(zip(distinct["id"].to_pylist(), distinct["is_int"].to_pylist(), strict=True))
        for day in pc.value_counts(pc.floor_temporal(batch["at"], unit="day")).to_pylist():
            days[f"{day['values']:%Y-%m-%d}"] += day["counts"]
    return Summary(n_rows, n_plays, len(users), len(items), dict(sorted(days.items())))


FLAGS: Final = ["user_is_int", "item_is_int"]


class _Writer:
    """One of the three formats."""

    def __init__(self, path: Path, data_format: str, schema: pa.Schema) -> None:
        self.schema = schema
        self._json: Any = None
        self._arrow: Any = None
        if data_format == "json":
            self._json = path.open("w", encoding="utf-8")
        elif data_format == "csv":
            self._arrow = csv.CSVWriter(os.fspath(path), schema)
        else:
            self._arrow = parquet.ParquetWriter(os.fspath(path), schema, compression="zstd")

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        (self._arrow or self._json).close()

    def write(self, batch: pa.RecordBatch) -> None:
        if self._arrow is not None:
            columns = [_ids(batch["user_id"]), _ids(batch["item_id"]), batch["plays"], batch["at"]]
            casted = [column.cast(field.type) for column, field in zip(columns, self.schema, strict=True)]
            self._arrow.write_batch(pa.RecordBatch.from_arrays(casted, schema=self.schema))
            return
        for row in batch.to_pylist():
            ids = {name: int(row[name]) if row[flag] else row[name] for name, flag in zip(COLUMNS, FLAGS, strict=False)}
            self._json.write(
                json.dumps({**ids, "plays": row["plays"], "at": row["at"].isoformat()}, ensure_ascii=False) + "\n"
            )


def _ids(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
