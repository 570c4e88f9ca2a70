"""A file of plays into the history: read twice, once to check every row, once to write them in one commit."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from timbral.data.column_words import time_column
from timbral.data.complete_rows import CompleteRows, complete_rows
from timbral.data.dataset_file import DatasetFile
from timbral.data.dataset_parts import dataset_parts
from timbral.data.id_column import IdColumn
from timbral.data.places import Place
from timbral.data.read_options import ReadOptions
from timbral.data.table import Table
from timbral.data.tables import opened_tables
from timbral.data.time_column import MICROSECONDS, TimeColumn
from timbral.data.value_column import checked_values
from timbral.errors import DataError
from timbral.history.play_rows import MOMENT, SCHEMA, with_month
from timbral.history.table import HistoryTable
from timbral.messages import MOST_AHEAD

__all__ = ["Imported", "import_plays"]

DIGEST_BLOCK: Final = 2**20
UNITS_US: Final = ((10**11, 1_000_000, 1), (10**14, 1_000, 1), (10**17, 1, 1), (2**63, 1, 1_000))
"""Whole numbers below the first are seconds, below the second milliseconds, below the third microseconds, each up to
the year 5138, and above them nanoseconds, as pandas has them; beside it, what makes them microseconds: a factor and a
divisor."""

OnRows = Callable[[str, int], None]
Mask = npt.NDArray[np.bool_]


EARLIEST_DATE, LATEST_DATE = 19_700_101, 21_001_231
"""Whole numbers between these are days, written as 20240131; as seconds they would all lie in 1970."""
GUESSED_FROM_US: Final = round(datetime(1990, 1, 1, tzinfo=UTC).timestamp() * 1_000_000)
"""A column that was only guessed to be the times holds something else where it has earlier ones."""
INCOMPLETE: Final = "an id, a value or a time is missing"
NO_ID: Final = "something stands where an id should be (NULL, N/A, the header again)"
NO_PLAYS: Final = "0 plays"


@dataclass(frozen=True)
class Imported:
    """Attributes:
    rows: rows written now: 0 where the same file was imported before.
    digest: of the content and of how it was read.
    was_there: whether the same file was imported before.
    n_read: rows that the file has; 0 where it was there.
    left_out: how many of them were not written, by why.
    told: how it was read, for a person.
    unread: columns that were not read.
    """

    rows: int
    digest: str
    was_there: bool
    n_read: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


class _Checked(NamedTuple):
    rows: int
    users_are_int: bool
    items_are_int: bool
    us_per_unit: int
    units_per_us: int


def import_plays(
    history: HistoryTable,
    file: DatasetFile,
    options: ReadOptions,
    *,
    played_now: bool = False,
    on_rows: OnRows = lambda what, n_rows: None,  # noqa: ARG005 - called with both
) -> Imported:
    """Write all rows of ``file``, in one commit; the same content, read in the same way, is written once.

    Rows without plays (0) are left out; rows of a file without times are played now.

    Args:
        options: how the file is read, as for a training. A column of times that was not named is told by its name.
        played_now: read no times, whatever columns there are.
        on_rows: called with "checked" or "written" and the number of rows so far.

    Raises:
        DataError: a row cannot be used; names it. Nothing was written.
        HistoryError: the table cannot be written.
    """
    _, table = next(opened_tables(file, options))
    guessed = None
    if options.time_col is None and table.found.time is None and not played_now:
        guessed = _guessed_time(table, file)
        options = replace(options, time_col=guessed)
        if guessed is not None:
            _, table = next(opened_tables(file, options))
    told = table.told() + ([] if table.found.time else ["played now"])
    unread = [column for column in table.columns if column not in table.found.columns]
    digest = _digest(file, options)
    source = f"timbral.import.{digest}"
    if history.has(source):
        return Imported(0, digest, True, told=told, unread=unread)
    checked = _check(file, options, guessed, on_rows)
    left_out: Counter[str] = Counter()
    written = [0]
    rows = _rows(file, options, checked, written, left_out, on_rows)
    is_new = history.append(pa.RecordBatchReader.from_batches(SCHEMA, rows), source, 1)
    if not is_new:  # another import of the same file was first
        return Imported(0, digest, True, told=told, unread=unread)
    return Imported(written[0], digest, False, checked.rows, dict(+left_out), told, unread)


def _guessed_time(table: Table, file: DatasetFile) -> str | None:
    try:
        return time_column(table.columns, table.found.columns)
    except DataError as error:
        raise DataError(error.args[0], file.name) from None


def _digest(file: DatasetFile, options: ReadOptions) -> str:
    digest = hashlib.sha256(repr(options).encode())
    for part in dataset_parts(file, options.named_preset):
        digest.update(repr(part.partitions).encode())
        with part.file.open() as opened:
            while block := opened.read(DIGEST_BLOCK):
                digest.update(block)
    return digest.hexdigest()[:40]


class _Reading:
    """The rows of a file that can be used, in batches, with what has been told of their columns so far."""

    def __init__(self, file: DatasetFile, options: ReadOptions) -> None:
        self._file = file
        self._options = options
        self.table: Table | None = None
        self.users: IdColumn | None = None
        self.items: IdColumn | None = None
        self.times: TimeColumn | None = None
        self.n_rows = 0
        self.n_incomplete = 0

    def batches(self) -> Iterator[tuple[CompleteRows, Mask | None, Mask | None]]:
        """Rows, and which of their users and items are odd if the others turn out to be ints."""
        for called, table in opened_tables(self._file, self._options):
            drop = table.options.on_missing == "drop"
            if self.table is None or self.users is None or self.items is None:
                self.table = table
                user, item, time_source = table.found.user.text, table.found.item.text, table.found.time
                self.users = IdColumn(user, from_text=table.from_text or user in table.partitions, drop_odd=drop)
                self.items = IdColumn(item, from_text=table.from_text or item in table.partitions, drop_odd=drop)
                if time_source is not None:
                    self.times = TimeColumn(time_source.text, table.options.time_format)
            first_row = 1
            for batch in table.batches:
                rows = complete_rows(batch, table.found, Place(called, first_row), drop=drop)
                first_row += len(batch)
                self.n_rows += len(batch)
                self.n_incomplete += rows.n_dropped
                if not len(rows):
                    continue
                odd = self.users.add(rows.user, rows.place), self.items.add(rows.item, rows.place)
                self.users.take_codes()
                self.items.take_codes()
                yield rows, *odd

    def plays(self, rows: CompleteRows) -> npt.NDArray[np.float64]:
        table = self.table
        if table is None or table.found.value is None:
            return np.ones(len(rows))
        return checked_values(rows.value, table.found.value.text, rows.place, table.options.decimal)


def _check(file: DatasetFile, options: ReadOptions, guessed_time: str | None, on_rows: OnRows) -> _Checked:
    reading = _Reading(file, options)
    earliest, latest = 2**62, -(2**62)
    n_used = 0
    for rows, _, _ in reading.batches():
        reading.plays(rows)
        n_used += len(rows)
        if reading.times is not None:
            were_seconds = reading.times.in_seconds
            moments = reading.times.times(rows.time, rows.place)
            if reading.times.in_seconds and not were_seconds and latest > -(2**62):
                earliest, latest = earliest * MICROSECONDS, latest * MICROSECONDS
            earliest, latest = min(earliest, int(moments.min())), max(latest, int(moments.max()))
        on_rows("checked", reading.n_rows)
    if not reading.n_rows:
        raise DataError("has a header and no data rows", file.name)
    if not n_used or reading.users is None or reading.items is None:
        raise DataError(f"has no row with all it needs; all {reading.n_rows} would be left out", file.name)
    us_per_unit, units_per_us = 1, 1
    if reading.times is not None:
        column = reading.times.column
        if reading.times.is_whole_numbers:
            us_per_unit, units_per_us = next((up, down) for bound, up, down in UNITS_US if latest < bound)
            if earliest >= EARLIEST_DATE and latest <= LATEST_DATE:
                raise DataError(
                    f"column {column!r}: its times, {earliest} to {latest}, are dates and no moments: write them as "
                    f'2024-01-31, or say, for a csv file, time_format="%Y%m%d" (--time-format %Y%m%d)',
                    file.name,
                )
        earliest_us, latest_us = (moment * us_per_unit // units_per_us for moment in (earliest, latest))
        if guessed_time is not None and earliest_us < GUESSED_FROM_US:
            raise DataError(
                f"column {column!r} would be the times by its name, and has one before 1990: say time_col={column!r} "
                f"(--time-col {column}) if it is, or played_now (--played-now) to read no times",
                file.name,
            )
        _check_moments(earliest_us, latest_us, column, file.name)
        if reading.times.in_seconds:
            us_per_unit, units_per_us = MICROSECONDS, 1
    users, items = reading.users.index()[0], reading.items.index()[0]
    if not len(users) or not len(items):
        raise DataError(f"has no row with all it needs; all {reading.n_rows} would be left out", file.name)
    return _Checked(reading.n_rows, users.is_int, items.is_int, us_per_unit, units_per_us)


def _check_moments(earliest_us: int, latest_us: int, column: str, name: str) -> None:
    ahead_us = time.time_ns() // 1_000 + round(MOST_AHEAD.total_seconds() * 1_000_000)
    for is_so, problem in ((earliest_us < 0, "before 1970"), (latest_us > ahead_us, "in the future")):
        if is_so:
            raise DataError(
                f"column {column!r}: a time is {problem}; times must be moments when something was played", name
            )


def _rows(
    file: DatasetFile,
    options: ReadOptions,
    checked: _Checked,
    written: list[int],
    left_out: Counter[str],
    on_rows: OnRows,
) -> Iterator[pa.RecordBatch]:
    reading = _Reading(file, options)
    now_us = time.time_ns() // 1_000
    for rows, odd_users, odd_items in reading.batches():
        n = len(rows)
        at_us = np.full(n, now_us)
        if reading.times is not None:
            at_us = reading.times.times(rows.time, rows.place)
            if reading.times.is_whole_numbers and not reading.times.in_seconds:
                at_us = at_us * checked.us_per_unit // checked.units_per_us
        plays = reading.plays(rows)
        columns: dict[str, Any] = {
            "user_id": _as_text(rows.user),
            "item_id": _as_text(rows.item),
            "plays": pa.array(plays, pa.float64()),
            "at": pa.array(at_us, pa.int64()).cast(MOMENT),
            "recorded_at": pa.array(np.full(n, now_us), pa.int64()).cast(MOMENT),
            "user_is_int": pa.array(np.full(n, checked.users_are_int)),
            "item_is_int": pa.array(np.full(n, checked.items_are_int)),
        }
        table = with_month(columns)
        kept = np.ones(n, dtype=bool)
        for odd, are_int in ((odd_users, checked.users_are_int), (odd_items, checked.items_are_int)):
            if odd is not None and are_int:
                kept &= ~odd
        left_out[NO_ID] += n - int(kept.sum())
        left_out[NO_PLAYS] += int((kept & (plays <= 0)).sum())
        kept &= plays > 0
        if not kept.all():
            table = table.filter(pa.array(kept))
        written[0] += table.num_rows
        on_rows("written", reading.n_rows)
        yield from table.to_batches()
    left_out[INCOMPLETE] += reading.n_incomplete


def _as_text(ids: pa.Array) -> pa.Array:
    plain = ids.dictionary_decode() if pa.types.is_dictionary(ids.type) else ids
    return pc.cast(plain, pa.string())
