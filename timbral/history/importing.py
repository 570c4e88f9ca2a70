"""A file of plays into the history: read twice, once to check every row, once to write them in one commit."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from timbral.data.column_names import ColumnNames
from timbral.data.dataset_file import DatasetFile
from timbral.data.id_column import IdColumn
from timbral.data.interactions_reader import batches_of
from timbral.data.time_column import TimeColumn
from timbral.data.value_column import checked_values
from timbral.errors import DataError
from timbral.history.play_rows import MOMENT, SCHEMA, with_month
from timbral.history.table import HistoryTable
from timbral.messages import MOST_AHEAD

__all__ = ["Imported", "import_plays"]

DIGEST_BLOCK: Final = 2**20
UNITS_US: Final = ((10**11, 1_000_000), (10**14, 1_000), (10**17, 1))
"""Whole numbers below the first are seconds, below the second milliseconds, below the third microseconds: each up to the year 5138."""

OnRows = Callable[[str, int], None]


class Imported(NamedTuple):
    """``rows`` written now: 0 where the same file was imported before."""

    rows: int
    digest: str
    was_there: bool


class _Checked(NamedTuple):
    rows: int
    users_are_int: bool
    items_are_int: bool
    us_per_unit: int


def import_plays(
    history: HistoryTable,
    file: DatasetFile,
    data_format: str,
    names: ColumnNames,
    *,
    separator: str = ",",
    on_rows: OnRows = lambda what, n_rows: None,  # noqa: ARG005
) -> Imported:
    """Write all rows of ``file``, in one commit; the same content, read in the same way, is written once.

    Rows without plays (0) are left out; rows of a file without times are played now.

    Args:
        names: columns; ``value`` may be missing (1 a row), ``time`` may be None.
        on_rows: called with "checked" or "written" and the number of rows so far.

    Raises:
        DataError: a row cannot be used; names it. Nothing was written.
        HistoryError: the table cannot be written.
    """
    digest = _digest(file, data_format, names, separator)
    source = f"timbral.import.{digest}"
    if history.has(source):
        return Imported(0, digest, True)
    checked = _check(file, data_format, names, separator, on_rows)
    written = [0]
    rows = _rows(file, data_format, names, separator, checked, written, on_rows)
    is_new = history.append(pa.RecordBatchReader.from_batches(SCHEMA, rows), source, 1)
    return Imported(written[0] if is_new else 0, digest, not is_new)


def _digest(file: DatasetFile, data_format: str, names: ColumnNames, separator: str) -> str:
    digest = hashlib.sha256(json.dumps([data_format, separator, *map(str, names.listed())]).encode())
    with file.open() as opened:
        while block := opened.read(DIGEST_BLOCK):
            digest.update(block)
    return digest.hexdigest()[:40]


def _check(file: DatasetFile, data_format: str, names: ColumnNames, separator: str, on_rows: OnRows) -> _Checked:
    found, batches = batches_of(file, data_format, names, separator)
    from_text = data_format == "csv"
    users = IdColumn(found.user, file.name, from_text=from_text)
    items = IdColumn(found.item, file.name, from_text=from_text)
    times = None if found.time is None else TimeColumn(found.time, file.name)
    n_rows, earliest, latest = 0, 2**62, 0
    for batch in batches:
        users.add(batch[found.user], n_rows + 1)
        items.add(batch[found.item], n_rows + 1)
        users.take_codes()
        items.take_codes()
        if found.value is not None:
            checked_values(batch[found.value], n_rows + 1, found.value, file.name)
        if times is not None and len(batch):
            moments = times.times(batch[found.time], n_rows + 1)
            earliest, latest = min(earliest, int(moments.min())), max(latest, int(moments.max()))
        n_rows += len(batch)
        on_rows("checked", n_rows)
    if not n_rows:
        raise DataError("has a header and no data rows", file.name)
    us_per_unit = 1
    if times is not None:
        us_per_unit = _us_per_unit(latest) if times.is_whole_numbers else 1
        _check_moments(earliest * us_per_unit, latest * us_per_unit, str(found.time), file.name)
    return _Checked(n_rows, users.index()[0].is_int, items.index()[0].is_int, us_per_unit)


def _us_per_unit(latest: int) -> int:
    return next((unit for bound, unit in UNITS_US if latest < bound), 1)


def _check_moments(earliest_us: int, latest_us: int, column: str, name: str) -> None:
    ahead_us = time.time_ns() // 1_000 + round(MOST_AHEAD.total_seconds() * 1_000_000)
    for moment, problem in ((earliest_us, "before 1970"), (latest_us, "in the future")):
        if not 0 <= moment <= ahead_us:
            raise DataError(
                f"column {column!r}: a time is {problem}; times must be moments when something was played", name
            )


def _rows(
    file: DatasetFile,
    data_format: str,
    names: ColumnNames,
    separator: str,
    checked: _Checked,
    written: list[int],
    on_rows: OnRows,
) -> Iterator[pa.RecordBatch]:
    found, batches = batches_of(file, data_format, names, separator)
    times = None if found.time is None else TimeColumn(found.time, file.name)
    now_us = time.time_ns() // 1_000
    n_rows = 0
    for batch in batches:
        n = len(batch)
        at_us = np.full(n, now_us)
        if times is not None and n:
            at_us = times.times(batch[found.time], n_rows + 1) * checked.us_per_unit
        plays = (
            np.ones(n)
            if found.value is None
            else checked_values(batch[found.value], n_rows + 1, found.value, file.name)
        )
        columns: dict[str, Any] = {
            "user_id": _as_text(batch[found.user]),
            "item_id": _as_text(batch[found.item]),
            "plays": pa.array(plays, pa.float64()),
            "at": pa.array(at_us, pa.int64()).cast(MOMENT),
            "recorded_at": pa.array(np.full(n, now_us), pa.int64()).cast(MOMENT),
            "user_is_int": pa.array(np.full(n, checked.users_are_int)),
            "item_is_int": pa.array(np.full(n, checked.items_are_int)),
        }
        table = with_month(columns)
        if (plays == 0).any():
            table = table.filter(pa.array(plays > 0))
        n_rows += n
        written[0] += table.num_rows
        on_rows("written", n_rows)
        yield from table.to_batches()


def _as_text(ids: pa.Array) -> pa.Array:
    plain = ids.dictionary_decode() if pa.types.is_dictionary(ids.type) else ids
    return pc.cast(plain, pa.string())
