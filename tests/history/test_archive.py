"""Plays on their way from the stream into the history: each once, whatever becomes of Redis."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import redis

from timbral import keys
from timbral.errors import HistoryError
from timbral.history.archive import PlayArchive
from timbral.history.table import HistoryTable
from timbral.lists.forgotten import Forgotten
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


def test_a_redis_that_lost_its_last_writes_counts_no_play_twice(client: redis.Redis, archive: PlayArchive) -> None:
    # given: a stream as it was saved, or replicated, before the last play came and all of them were moved
    record(client, "call", 1, 2)
    saved = client.dump(keys.PLAYS_STREAM) or b""
    record(client, "call", 3)
    archive.run()

    # when: it is back, and its clock is behind, too, as another host's may be
    client.delete(keys.PLAYS_STREAM)
    client.restore(keys.PLAYS_STREAM, 0, saved)
    milliseconds, _, sequence = archive.stream.last_entry().partition("-")
    client.xadd(
        keys.PLAYS_STREAM,
        {"plays": "[[7,1,1,0],[7,4,1,0]]", "total": 4},
        id=f"{milliseconds}-{int(sequence) + 1}",
    )
    moved = archive.run().plays

    # then: what was moved before is not moved again, what is new is
    assert moved == 2
    assert items_of(archive) == ["1", "1", "2", "3", "4"]
    assert client.xlen(keys.PLAYS_STREAM) == 0


def test_what_was_moved_and_not_cut_is_cut_by_the_next(client: redis.Redis, archive: PlayArchive) -> None:
    # given: a worker was killed between the table's commit and the stream's cut, and a user was forgotten since
    record(client, "call", 1, 2)
    Overlay(client).add_plays("other", [Play(user_id="8", item_id="x", plays=0.3), Play(user_id=9, item_id=1)])
    saved = client.dump(keys.PLAYS_STREAM) or b""
    archive.run()
    client.restore(keys.PLAYS_STREAM, 0, saved, replace=True)
    Forgotten(client).add([9])
    archive.history.delete_user(9)

    # when, then
    assert archive.run().plays == 0
    assert client.xlen(keys.PLAYS_STREAM) == 0
    assert items_of(archive) == ["1", "2"]
    assert [len(archive.history.plays_of(user)) for user in ("8", 9)] == [1, 0]


def test_plays_stay_in_redis_where_the_table_of_before_is_gone(
    client: redis.Redis, archive: PlayArchive, tmp_path: Path
) -> None:
    # given: plays were moved, and more have come since
    record(client, "call", 1)
    archive.run()
    backup = shutil.copytree(tmp_path / "history", tmp_path / "backup")
    record(client, "call", 2)
    archive.run()
    record(client, "call", 3)

    # when: its volume is not mounted, or it is one of yesterday
    other_host = PlayArchive(client, HistoryTable(tmp_path / "not mounted"))
    for lacking, told in (
        (other_host, "there is no table"),
        (PlayArchive(client, HistoryTable(backup)), "this table has plays up to 20"),
    ):
        with pytest.raises(HistoryError, match=f"{told}.*were moved into it.*plays:archived"):
            lacking.run()
        with pytest.raises(HistoryError, match=told):  # an export of a user would leave out what is not there
            lacking.waiting()
    assert not other_host.history.exists()

    # then
    assert archive.run().plays == 1
    assert items_of(archive) == ["1", "2", "3"]
    client.delete(keys.PLAYS_ARCHIVED)
    record(client, "call", 4)
    assert other_host.run().plays == 1
