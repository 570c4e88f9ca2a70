"""CheckedColumns: a data set's four columns, checked a batch at a time, ids as codes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from timbral.data.complete_rows import complete_rows
from timbral.data.id_column import IdColumn
from timbral.data.places import Place
from timbral.data.table import Table
from timbral.data.time_column import TimeColumn
from timbral.data.value_column import checked_values

__all__ = ["CheckedColumns", "CheckedRows", "id_columns", "n_odd_rows"]


class CheckedRows(NamedTuple):
    """Values float32 and times int64 of the rows of a batch that have all they need. ``now_in_seconds``: the times
    before them turned out to be seconds, and are to be multiplied by MICROSECONDS."""

    values: npt.NDArray[np.float32]
    times: npt.NDArray[np.int64] | None
    now_in_seconds: bool


class CheckedColumns:
    """Reads the columns of ``table`` and of others like it; ids stay in ``users`` and ``items`` until their codes are
    taken.

    Attributes:
        n_rows: rows that were looked at.
        n_dropped: of these, left out for something missing.
        n_odd: rows with an odd user, an odd item, both: left out if the other ids turn out to be ints.
    """

    def __init__(self, table: Table) -> None:
        found, options = table.found, table.options
        self._found = found
        self._options = options
        self._drop = options.on_missing == "drop"
        self._believed = table.ids_are_believed
        self.users, self.items = id_columns(table)
        self.times = None if found.time is None else TimeColumn(found.time.text, options.time_format)
        self.n_rows = self.n_dropped = 0
        self.n_odd = [0, 0, 0]

    def add(self, batch: pa.RecordBatch, place: Place) -> CheckedRows | None:
        """Check a batch; None where no row of it is left.

        Raises:
            DataError: names the column, the row and what is wrong.
        """
        rows = complete_rows(batch, self._found, place, drop=self._drop, believed=self._believed)
        self.n_rows += len(batch)
        self.n_dropped += rows.n_dropped
        if not len(rows):
            return None
        place = rows.place
        odd_users, odd_items = self.users.add(rows.user, place), self.items.add(rows.item, place)
        for at, odd in enumerate((odd_users, odd_items, _both(odd_users, odd_items))):
            self.n_odd[at] += 0 if odd is None else int(odd.sum())
        values = (
            np.ones(len(rows), dtype=np.float32)
            if self._found.value is None
            else checked_values(rows.value, self._found.value.text, place, self._options.decimal).astype(np.float32)
        )
        times, turned = None, False
        if self.times is not None:
            was_in_seconds = self.times.in_seconds
            times = self.times.times(rows.time, place)
            turned = self.times.in_seconds and not was_in_seconds
        return CheckedRows(values, times, turned)


def id_columns(table: Table) -> tuple[IdColumn, IdColumn]:
    """Users' and items', as ``table`` has them."""
    found, options = table.found, table.options
    names = found.user.text, found.item.text
    users, items = (
        IdColumn(
            name,
            from_text=table.from_text or name in table.partitions,
            drop_odd=options.on_missing == "drop",
            believed=table.ids_are_believed,
            strip_audio_suffix=options.strip_audio_suffix and name == names[1],
        )
        for name in names
    )
    return users, items


def n_odd_rows(n_odd: list[int], *, drops_users: bool, drops_items: bool) -> int:
    """Of ``CheckedColumns.n_odd``, how many rows are left out."""
    users, items, both = n_odd
    return users + items - both if drops_users and drops_items else users * drops_users + items * drops_items


def _both(one: npt.NDArray[np.bool_] | None, other: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.bool_] | None:
    return None if one is None or other is None else one & other
