"""What redis-py raised, as our error: a server that is away is one thing, one that answers and refuses is another."""

from __future__ import annotations

from typing import Final

from redis.exceptions import NoPermissionError, RedisError, ResponseError

from timbral.errors import RedisPermissionError, RedisRefusedError, RedisUnavailableError

__all__ = ["as_ours", "code_of", "to_do"]

_TO_DO: Final = {
    "READONLY": "it is a replica: REDIS_URL has to name its primary",
    "MASTERDOWN": "it is a replica that has lost its primary: REDIS_URL has to name a primary",
    "NOREPLICAS": "it takes writes with more replicas alone (min-replicas-to-write)",
    "OOM": "its memory is full: raise its maxmemory",
    "MISCONF": "it cannot write to its disk: make room there",
    "LOADING": "it reads its file after a start: wait",
    "BUSY": "a script runs in it for too long: SCRIPT KILL ends it",
    "WRONGTYPE": "a key with a name of timbral's holds something else: KEY_PREFIX keeps apps in one database apart",
    "NOAUTH": "it wants a password: set REDIS_PASSWORD",
    "WRONGPASS": "set REDIS_PASSWORD, or the user in REDIS_URL",
    "MOVED": "it is a Redis Cluster: docs/operations.md says what can be on one",
    "CLUSTERDOWN": "it is a Redis Cluster that misses a part of its nodes: redis-cli CLUSTER INFO",
    "CROSSSLOT": "it is a Redis Cluster: docs/operations.md says what can be on one",
}
"""What to do, by the first word of the reply."""


def to_do(error: BaseException) -> str:
    """What to do about an error reply; empty where nothing is known."""
    return _TO_DO.get(code_of(error), "")


def code_of(error: BaseException) -> str:
    """First word of an error reply, such as READONLY; redis-py cuts it off the text, or puts the command
    before it."""
    text = str(error).rpartition("of pipeline caused error: ")[2]
    return getattr(error, "status_code", None) or text.partition(" ")[0].lstrip("('")


def as_ours(address: str, error: BaseException) -> RedisUnavailableError:
    """The error to raise from ``error``; ``address`` is without password."""
    if isinstance(error, RedisUnavailableError):
        return error
    cause = error.__cause__
    if isinstance(cause, RedisError) and not isinstance(error, RedisError):  # kombu's error, around redis-py's
        error = cause
    if isinstance(error, NoPermissionError):
        return RedisPermissionError(address, str(error))
    code, text = code_of(error), str(error) or type(error).__name__
    if code not in _TO_DO:
        return (RedisRefusedError if isinstance(error, ResponseError) else RedisUnavailableError)(address, text)
    # Without a password the reply is a paragraph on the HELLO that redis-py had sent.
    said = code if code == "NOAUTH" else text.partition(" script: ")[0].rstrip(".")
    return RedisRefusedError(address, f"{said if code in said else f'{code} {said}'}; {_TO_DO[code]}")
