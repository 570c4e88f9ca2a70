"""A fleet that knows a user in every place there is, and a look through all of these places."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from fleet_fixtures import Fleet
from taste import history, write_history

import producers
from timbral import keys
from timbral.history.table import HistoryTable
from timbral.stack.embedded_server import EmbeddedServer

USER = "u1007"
OTHER = "u1008"


def mentions(client: redis.Redis, directory: Path, user_id: str) -> list[str]:
    """Every key and every file below ``directory`` that has the id in its name or in its content, base64 looked
    into."""
    needle = user_id.encode()
    found = [key.decode(errors="replace") for key in client.scan_iter("*") if _holds(needle, key, *_parts(client, key))]
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return found + [
        str(path.relative_to(directory)) for path in files if _holds(needle, path.name.encode(), path.read_bytes())
    ]


def _parts(client: redis.Redis, key: bytes) -> list[bytes]:
    kind = client.type(key)
    if kind == b"string":
        return [client.get(key) or b""]
    if kind == b"hash":
        return [part for pair in client.hgetall(key).items() for part in pair]
    if kind == b"list":
        return list(client.lrange(key, 0, -1))
    if kind == b"set":
        return list(client.smembers(key))
    if kind == b"zset":
        return [member for member, _ in client.zrange(key, 0, -1, withscores=True)]
    return [part for _, fields in client.xrange(key) for pair in fields.items() for part in pair]


def _holds(needle: bytes, *parts: bytes) -> bool:
    return any(needle in part or needle in _body_in(part) for part in parts)


def _body_in(part: bytes) -> bytes:
    try:
        message: Any = json.loads(part)
        message = message[0] if isinstance(message, list) else message
        return base64.b64decode(message["body"])
    except (ValueError, TypeError, KeyError, IndexError):
        return b""


def record_history(fleet: Fleet, users: list[str]) -> HistoryTable:
    """Two plays of each user in the history, in two files, and one that is still in the stream."""
    table = HistoryTable(fleet.data_dir / "history")
    with Celery("beat", broker=f"{fleet.server.url}/0", set_as_current=False) as app, fleet.server.client() as client:
        for number in (1, 2, 3):
            plays = [{"user_id": user, "item_id": f"i{number}", "event_id": f"{user}/{number}"} for user in users]
            assert producers.record_plays(plays) == len(users)
            if number < 3:
                app.send_task("archive_plays", queue="batch")
                wait_for(lambda: client.xlen(keys.PLAYS_STREAM) == 0, "the archive")
    return table


def wait_for(condition: Callable[[], object], what: str, timeout_s: float = 60.0) -> None:
    """Poll until the condition holds, or fail."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true within {timeout_s} s"
        time.sleep(0.02)


@pytest.fixture
def fleet(own_server: EmbeddedServer, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet that is not started, with a data set of text ids; ``producers`` is connected to it."""
    made = Fleet(own_server, tmp_path / "fleet")
    write_history(made.data_dir / "plays.csv", history(text_ids=True))
    producers.connect(own_server.url)
    try:
        yield made
    finally:
        producers.connect()
        made.close()


@pytest.fixture
def known(fleet: Fleet) -> Fleet:
    """The fleet with one worker, two model versions, and USER in every place."""
    fleet.start(environment={"CHUNK_SIZE": "25", "ARCHIVE_EVERY_S": "0"})
    for seed in (1, 2):
        producers.enqueue_train_model("plays.csv", promote="always", random_state=seed).wait(100)
    producers.enqueue_compute_recommendations().wait(100)
    producers.enqueue_refresh_embeddings().wait(100)
    plays = [{"user_id": user, "item_id": "i101"} for user in (USER, OTHER)]
    producers.enqueue_refresh_embeddings(plays=plays).wait(100)
    producers.block_items(USER, ["i102"])
    producers.put_item_set("some", [f"i{number}" for number in range(100, 110)])
    producers.enqueue_compute_recommendations(user_ids=[USER, OTHER], allow=["some"]).wait(100)
    assert producers.get_recommendations(USER, allow=["some"])
    record_history(fleet, [USER, OTHER])
    return fleet
