"""Redis replies as text: a client answers with bytes or with str, as it was made."""

from __future__ import annotations

from typing import Any

import redis

__all__ = ["server_now_s", "text", "texts"]


def text(reply: Any) -> str:
    """A string reply as str; nothing becomes an empty one."""
    if reply is None:
        return ""
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def texts(reply: Any) -> dict[str, str]:
    """A hash reply as a dict of str."""
    return {text(field): text(value) for field, value in reply.items()}


def server_now_s(client: redis.Redis) -> float:
    """Seconds since 1970 by the server's clock: those of two hosts cannot be compared."""
    seconds, microseconds = client.time()
    return float(seconds + microseconds / 1e6)
