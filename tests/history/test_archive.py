"""Plays on their way from the stream into the history: each once, whatever becomes of Redis."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from timbral import keys
from timbral.history.archive import PlayArchive
from timbral.history.table import HistoryTable
from timbral.logic.overlay import Overlay
from timbral.messages import Play


@pytest.fixture
def archive(client: redis.Redis, tmp_path: Path) -> PlayArchive:
    return PlayArchive(client, HistoryTable(tmp_path / "history"))


def record(client: redis.Redis, call: str, *items: int) -> None:
    for item in items:
        Overlay(client).add_plays(f"{call}:{item}", [Play(user_id=7, item_id=item)])


def items_of(archive: PlayArchive) -> list[str]:
    return sorted(str(row["item_id"]) for row in archive.history.plays_of(7).to_pylist())


def test_plays_are_moved_once_and_leave_the_stream(client: redis.Redis, archive: PlayArchive) -> None:
    for items in ((1, 2), (3,), ()):
        record(client, "call", *items)
        assert archive.run().plays == len(items)
    assert items_of(archive) == ["1", "2", "3"]
    assert client.xlen(keys.PLAYS_STREAM) == 0


def test_a_redis_that_lost_its_data_and_whose_clock_is_behind_loses_no_play(
    client: redis.Redis, archive: PlayArchive
) -> None:
    # given: the history is further than the clock of the Redis that comes in its server's place
    client.xadd(keys.PLAYS_STREAM, {"plays": "[[7,1,1.0,0]]", "total": 1}, id="4102444800000-5")
    archive.run()
    client.flushdb()
    record(client, "call", 2, 3)

    # when
    moved = [archive.run().plays, archive.run().plays]
    record(client, "call", 4)
    moved.append(archive.run().plays)

    # then
    assert moved == [2, 0, 1]
    assert items_of(archive) == ["1", "2", "3", "4"]
    assert archive.history.watermark() == "4102444800000-8"
