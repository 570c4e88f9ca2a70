"""HeldMessages: which tasks' messages are in a queue or with a worker. A task whose message is neither is lost or done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import redis

__all__ = ["HeldMessages"]

UNACKED: Final = "unacked"
QUEUES: Final = ("celery", "batch", "training")
PRIORITIES: Final = ("", "\x06\x163", "\x06\x166", "\x06\x169")
"""kombu keeps a list for each step of priority; the first has the queue's own name."""
ITEMS_PER_CALL: Final = 500


class HeldMessages:
    """The queues of the broker, and ``unacked``, where a message lies from the moment that a worker takes it."""

    def __init__(self, broker: redis.Redis) -> None:
        self.broker = broker

    def task_ids(self) -> set[str]:
        """Ids of all tasks whose message is somewhere."""
        # The queues first: what a worker takes meanwhile is then found in unacked, and not missed in both.
        found = {task_id for queue in QUEUES for step in PRIORITIES for task_id in self._in_list(queue + step)}
        for _, content in self.broker.hscan_iter(UNACKED, count=ITEMS_PER_CALL):
            found |= {_task_id(part) for part in _loaded(content)[:1]}
        return found - {""}

    def _in_list(self, key: str) -> Iterator[str]:
        start = 0
        while items := self.broker.lrange(key, start, start + ITEMS_PER_CALL - 1):
            yield from (_task_id(part) for item in items for part in _loaded(b"[" + _bytes(item) + b"]")[:1])
            start += ITEMS_PER_CALL


def _bytes(item: bytes | str) -> bytes:
    return item.encode() if isinstance(item, str) else item


def _loaded(content: bytes | str) -> list[Any]:
    try:
        loaded = json.loads(content)
    except ValueError:  # garbage; whoever takes it parks it
        return []
    return loaded if isinstance(loaded, list) else []


def _task_id(message: Any) -> str:
    headers = message.get("headers") if isinstance(message, dict) else None
    task_id = headers.get("id") if isinstance(headers, dict) else None
    return task_id if isinstance(task_id, str) else ""
