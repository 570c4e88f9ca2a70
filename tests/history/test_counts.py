"""Plays by month and by day, counted without reading whose they were."""

from __future__ import annotations

from pathlib import Path

from timbral.history.counts import rows_per_day, rows_per_month
from timbral.history.play_rows import RecordedPlay, as_rows
from timbral.history.table import STREAM, HistoryTable

NOON_US = 1_764_072_000_000_000  # 2025-11-25 12:00 UTC
DAY_US = 86_400_000_000


def write(history: HistoryTable, number: int, days_ago: list[int]) -> None:
    plays = [RecordedPlay(user, 1, 1.0, NOON_US - days * DAY_US, NOON_US) for user, days in enumerate(days_ago)]
    assert history.append(as_rows(plays), STREAM, number, after=number - 1)


def test_an_empty_history_has_no_days(tmp_path: Path) -> None:
    history = HistoryTable(tmp_path / "history")

    assert rows_per_month(history) == {}
    assert rows_per_day(history, 30) == ({}, True)
    assert history.last_write() is None


def test_each_month_and_each_of_the_last_days_is_counted(tmp_path: Path) -> None:
    history = HistoryTable(tmp_path / "history")
    write(history, 1, [0, 0, 2, 3])
    write(history, 2, [0, 40])

    assert rows_per_month(history) == {"2025-10": 1, "2025-11": 5}
    assert rows_per_day(history, 4) == ({"2025-11-22": 1, "2025-11-23": 1, "2025-11-24": 0, "2025-11-25": 3}, True)
    last_write = history.last_write()
    assert last_write is not None
    assert last_write[1] == "WRITE"


def test_of_too_many_rows_the_newest_are_counted_and_that_is_said(tmp_path: Path) -> None:
    history = HistoryTable(tmp_path / "history")
    write(history, 1, [2, 2, 2])
    write(history, 2, [0, 1])

    found = rows_per_day(history, 3, max_rows=4)

    assert found.days == {"2025-11-23": 0, "2025-11-24": 1, "2025-11-25": 1}
    assert not found.is_whole
