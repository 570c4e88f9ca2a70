"""The history's table: each play once, a version for ever the same, a deleted user nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from timbral.errors import HistoryError
from timbral.history.play_rows import RecordedPlay, as_rows
from timbral.history.table import STREAM, HistoryTable

NOW_US = 1_764_000_000_000_000
DAY_US = 86_400_000_000


def play(user: int | str, item: int | str, plays: float = 1.0, days_ago: int = 0) -> RecordedPlay:
    return RecordedPlay(user, item, plays, NOW_US - days_ago * DAY_US, NOW_US)


@pytest.fixture
def history(tmp_path: Path) -> HistoryTable:
    return HistoryTable(tmp_path / "a history")


def rows(history: HistoryTable, version: int | None = None) -> list[tuple[str, str, float]]:
    return [
        (row["user_id"], row["item_id"], row["plays"])
        for batch in history.batches(version)
        for row in batch.to_pylist()
    ]


def test_an_empty_history_is_no_error(history: HistoryTable) -> None:
    assert (history.exists(), history.version(), history.watermark(), rows(history)) == (False, None, "0-0", [])
    assert (history.stats().rows, history.delete_user(7), history.compact(), history.vacuum()) == (0, 0, 0, 0)
    assert history.plays_of(7).num_rows == 0


def test_what_was_written_before_is_not_written_again(history: HistoryTable) -> None:
    steps = [(1, None), (1, None), (2, 1), (2, 1), (3, 1)]

    written = [history.append(as_rows([play(1, number)]), STREAM, number, after=after) for number, after in steps]

    assert written == [True, False, True, False, False]
    assert sorted(rows(history)) == [("1", "1", 1.0), ("1", "2", 1.0)]
    assert history.has(STREAM)
    assert not history.has("another")


def test_of_two_writers_at_the_same_time_one_writes(history: HistoryTable) -> None:
    history.append(as_rows([play(1, 1)]), STREAM, 1)
    late, stale = HistoryTable(history.uri), history._table()
    looked: list[int] = []

    def table(version: int | None = None) -> object:
        looked.append(1)
        return stale if len(looked) == 1 else HistoryTable._table(late, version)

    late._table = table
    history.append(as_rows([play(1, 2)]), STREAM, 2, after=1)

    assert late.append(as_rows([play(1, 2), play(1, 3)]), STREAM, 3, after=1) is False

    assert len(looked) == 2
    assert sorted(rows(history)) == [("1", "1", 1.0), ("1", "2", 1.0)]


def test_writers_of_different_things_do_not_hinder_each_other(history: HistoryTable) -> None:
    history.append(as_rows([play(1, 1)]), STREAM, 1)
    late, stale = HistoryTable(history.uri), history._table()
    late._table = lambda version=None: stale
    history.append(as_rows([play(1, 2)]), STREAM, 2, after=1)

    assert late.append(as_rows([play(1, 3)]), "a file", 1) is True

    assert sorted(rows(history)) == [("1", "1", 1.0), ("1", "2", 1.0), ("1", "3", 1.0)]


def test_a_version_stays_what_it_was_through_compaction(history: HistoryTable) -> None:
    for number in range(30):
        history.append(as_rows([play(number, 1), play(number, 2, days_ago=40)]), STREAM, number + 1, after=number)
    version = history.version()
    before = rows(history, version)

    assert history.compact() == 60

    assert history.stats().files == 2
    assert rows(history, version) == before
    assert sorted(rows(history)) == sorted(before)
    assert history.watermark() == history.watermark(version)
    history.vacuum(keep_versions=[version or 0])
    assert rows(history, version) == before


def test_an_int_and_its_text_are_two_users(history: HistoryTable) -> None:
    history.append(as_rows([play(1, 5), play("1", 6), play("1", "6", days_ago=70)]), STREAM, 1)

    assert history.plays_of(1).column("item_id").to_pylist() == ["5"]
    assert history.plays_of("1").column("item_is_int").to_pylist() == [False, True]
    assert history.delete_user("1") == 2
    assert history.plays_of(1).column("item_id").to_pylist() == ["5"]
    assert [row[:2] for row in rows(history)] == [("1", "5")]


def test_two_users_are_deleted_at_a_time(history: HistoryTable, monkeypatch: pytest.MonkeyPatch) -> None:
    history.append(as_rows([play(user, 1) for user in (1, 2, 3)]), STREAM, 1)
    look, others = history._table, [2]

    def then_another_deletes(version: int | None = None) -> Any:
        table = look(version)
        if others:
            HistoryTable(history.uri).delete_user(others.pop())
        return table

    monkeypatch.setattr(history, "_table", then_another_deletes)

    assert history.delete_user(1) == 1
    assert rows(history) == [("3", "1", 1.0)]


def test_a_deleted_user_is_in_no_file(history: HistoryTable) -> None:
    name = "o'Hara-7f3a9c"
    for number in range(3):
        history.append(
            as_rows([play(name, number), play("other", number, days_ago=40)]), STREAM, number + 1, after=number
        )
    history.compact()
    assert any(name.encode() in file.read_bytes() for file in Path(history.uri).rglob("*") if file.is_file())

    assert history.delete_user(name) == 3

    assert not any(name.encode() in file.read_bytes() for file in Path(history.uri).rglob("*") if file.is_file())
    assert len(rows(history)) == 3
    assert history.watermark() == "0-3"


@pytest.mark.parametrize("written_by", ["append", "compact", "delete_user"])
def test_a_bit_that_has_flipped_is_an_error_that_names_the_file_and_never_other_plays(
    history: HistoryTable, written_by: str
) -> None:
    # given: a file, as each of the writes makes it
    for number in range(24 if written_by == "compact" else 1):
        plays = [play(user, user * user * (7 + number) % 499) for user in range(600)]
        history.append(as_rows(plays), STREAM, number + 1, after=number)
    if written_by == "compact":
        assert history.compact() == 24
    elif written_by == "delete_user":
        assert history.delete_user(0) == 1
    (file,) = history.files()
    path = Path(history.uri) / file.path
    whole = path.read_bytes()
    expected = answers(history)

    # when: one bit, anywhere
    told: list[list[Any]] = []
    for place in range(0, len(whole), len(whole) // 40):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        told.append(answers(history))

    # then: only a byte that says nothing, in the file's last lines, may go unnoticed
    refused = [one for one in told if one != expected]
    assert all(
        path.name in answer for each in refused for answer, right in zip(each, expected, strict=True) if answer != right
    )
    assert len(refused) > 25


def answers(history: HistoryTable) -> list[Any]:
    """All rows, and a user's; the error's text instead of either."""
    found: list[Any] = []
    for ask in (lambda: rows(history), lambda: history.plays_of(7).to_pylist()):
        try:
            found.append(ask())
        except HistoryError as error:
            found.append(str(error))
    return found


def test_stats_come_from_the_log(history: HistoryTable) -> None:
    history.append(as_rows([play(1, 1, days_ago=50), play(2, 1)]), STREAM, (5 << 20) | 2)

    stats = history.stats()

    assert (stats.rows, stats.files, stats.watermark) == (2, 2, "5-2")
    assert stats.oldest is not None
    assert stats.newest is not None
    assert (stats.newest - stats.oldest).days == 50
