"""How it stands with the plays: how many came, how many the history has, and who still waits for a list."""

from __future__ import annotations

from typing import Any, NamedTuple

import redis

from timbral import keys
from timbral.redis_server.replies import server_now_s, text, texts

__all__ = ["PlaysState", "read_plays_state"]


class PlaysState(NamedTuple):
    """Counts since the beginning, and ages in seconds.

    ``waiting`` plays are not in the history yet, the oldest of them for ``waiting_s`` (0 without any); ``archived_s``
    is the age of the newest play that it has, None before the first. ``unlisted_users`` have played something that
    their lists do not know of, for ``unlisted_s`` at most.
    """

    recorded: int
    duplicates: int
    unknown_items: int
    waiting: int
    waiting_s: float
    archived_s: float | None
    unlisted_users: int
    unlisted_s: float


def read_plays_state(client: redis.Redis) -> PlaysState:
    """Read it, in two round trips."""
    with client.pipeline(transaction=False) as pipeline:
        pipeline.hgetall(keys.PLAYS_COUNTS)
        pipeline.hgetall(keys.PLAYS_ARCHIVED)
        pipeline.xrange(keys.PLAYS_STREAM, count=1)
        pipeline.zrange(keys.PLAYS_REFRESH, 0, 0, withscores=True)
        pipeline.zcard(keys.PLAYS_REFRESH)
        pipeline.zcard(keys.PLAYS_REFRESHING)
        counts, archived, oldest, first, n_waiting, n_refreshing = pipeline.execute()
    counted, reached, now = texts(counts), texts(archived), server_now_s(client)
    recorded = int(counted.get("recorded", 0))
    return PlaysState(
        recorded=recorded,
        duplicates=int(counted.get("duplicates", 0)),
        unknown_items=int(counted.get("unknown_items", 0)),
        waiting=recorded - int(reached.get("total", 0)) if oldest else 0,
        waiting_s=max(0.0, now - _moment_s(oldest[0][0])) if oldest else 0.0,
        archived_s=max(0.0, now - _moment_s(reached["entry"])) if "entry" in reached else None,
        unlisted_users=int(n_waiting) + int(n_refreshing),
        unlisted_s=max(0.0, now - float(first[0][1])) if first else 0.0,
    )


def _moment_s(entry_id: Any) -> float:
    return int(text(entry_id).partition("-")[0]) / 1_000
