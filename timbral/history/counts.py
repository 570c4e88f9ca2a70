"""How many plays there were, by month and by day, without reading whose they were."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import pyarrow.compute as pc

from timbral.history.table import HistoryTable

__all__ = ["PerDay", "rows_per_day", "rows_per_month"]

MAX_ROWS: Final = 2_000_000


class PerDay(NamedTuple):
    """Rows by day, ``2026-11-25``; ``is_whole`` is False where older files were left out for want of time."""

    days: dict[str, int]
    is_whole: bool


def rows_per_month(history: HistoryTable) -> dict[str, int]:
    """Rows of each month, as ``2026-11``, from the table's log alone."""
    months: Counter[str] = Counter()
    for file in history.files():
        months[file.month] += file.rows
    return dict(sorted(months.items()))


def rows_per_day(history: HistoryTable, n_days: int, max_rows: int = MAX_ROWS) -> PerDay:
    """Rows of each of the last ``n_days`` up to the newest play; newest files first, ``max_rows`` at most."""
    files = sorted(
        ((file.newest, file) for file in history.files() if file.newest is not None),
        key=lambda one: one[0],
        reverse=True,
    )
    if not files:
        return PerDay({}, True)
    last_day = files[0][0].astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first_day = last_day - timedelta(days=n_days - 1)
    days, n_read, is_whole = Counter[str](), 0, True
    for newest, file in files:
        if newest < first_day:
            break
        if n_read and n_read + file.rows > max_rows:
            is_whole = False
            break
        n_read += file.rows
        for counted in pc.value_counts(pc.floor_temporal(history.times_in(file), unit="day")).to_pylist():
            days[_day(counted["values"])] += counted["counts"]
    every = [_day(first_day + timedelta(days=place)) for place in range(n_days)]
    return PerDay({day: days[day] for day in every}, is_whole)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
