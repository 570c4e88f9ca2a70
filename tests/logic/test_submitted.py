"""Records of what was submitted: what is forgotten meanwhile stays forgotten."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis

from timbral import keys
from timbral.logic.submitted import Submitted

RECORD = {"task": "refresh_embeddings", "kwargs": {"user_ids": ["somebody"]}, "at": 1.0}


class Meddled:
    """A client with which something else happens just after the first read of a record."""

    def __init__(self, client: redis.Redis, meanwhile: Callable[[], object]) -> None:
        self._client = client
        self._meanwhile = meanwhile

    def hget(self, *arguments: Any) -> Any:
        found = self._client.hget(*arguments)
        self._meanwhile()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


@pytest.mark.parametrize("step", ["sent again", "put right"])
def test_a_record_that_is_forgotten_or_blotted_meanwhile_does_not_come_back(client: redis.Redis, step: str) -> None:
    blotted = json.dumps(RECORD | {"kwargs": {"user_ids": ["forgotten:1"]}})

    def forget() -> None:
        client.hdel(keys.SUBMITTED, "done")
        client.hset(keys.SUBMITTED, "blotted", blotted)

    records = Submitted(Meddled(client, forget))  # type: ignore[arg-type]  # as much of a client as is needed
    for task_id in ("done", "blotted"):
        client.hset(keys.SUBMITTED, task_id, json.dumps(RECORD))
        if step == "sent again":
            records.sent_again(task_id)
        else:
            records._put_right([task_id], 2.0)

    assert client.hgetall(keys.SUBMITTED) == {b"blotted": blotted.encode()}


def test_each_sending_is_counted(client: redis.Redis) -> None:
    client.hset(keys.SUBMITTED, "task", json.dumps(RECORD))
    records = Submitted(client)

    for _ in range(2):
        records.sent_again("task")

    read = records.read("task")
    assert read is not None
    assert read.times == 2
