"""The jobs that ended last, so that somebody can look back: what, how, when, and what was asked where that names no
user. In the Redis of the queue; knows no Celery."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import redis

from timbral import keys
from timbral.messages import MESSAGES
from timbral.redis_server.replies import text

__all__ = ["KEPT", "EndedJob", "count", "list_ended", "note"]

KEPT: Final = 500
_MAX_ARGUMENTS: Final = 4_000
"""Characters of arguments that are kept; longer ones are not, and cannot be sent again from here."""


class EndedJob(NamedTuple):
    """A job as it ended: ``state`` is SUCCESS, FAILURE or REVOKED, ``ended_at`` seconds since 1970; ``arguments`` None
    where they name users, or are too long to keep."""

    id: str
    task: str
    state: str
    ended_at: float
    arguments: dict[str, Any] | None


def note(client: redis.Redis, task_id: str, task: str, state: str, arguments: Mapping[str, Any] | None) -> None:
    """Note that a job ended. Ids of users are not kept: who is forgotten must be nowhere."""
    kept = dict(arguments) if arguments is not None and _names_nobody(task, arguments) else None
    if kept is not None and len(json.dumps(kept, default=str)) > _MAX_ARGUMENTS:
        kept = None
    record = json.dumps({"id": task_id, "task": task, "state": state, "ended_at": time.time(), "arguments": kept})
    with client.pipeline(transaction=False) as pipe:
        pipe.lpush(keys.JOBS_ENDED, record)
        pipe.ltrim(keys.JOBS_ENDED, 0, KEPT - 1)
        pipe.execute()


def count(client: redis.Redis) -> int:
    """How many there are."""
    return int(client.llen(keys.JOBS_ENDED))


def list_ended(client: redis.Redis, limit: int, offset: int = 0) -> list[EndedJob]:
    """Ended jobs, the newest first."""
    found = []
    for raw in client.lrange(keys.JOBS_ENDED, offset, offset + limit - 1):
        try:
            record = json.loads(text(raw))
            found.append(EndedJob(*(record[name] for name in EndedJob._fields)))
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _names_nobody(task: str, arguments: Mapping[str, Any]) -> bool:
    return task in MESSAGES and not {"user_id", "user_ids", "plays"} & set(arguments)
