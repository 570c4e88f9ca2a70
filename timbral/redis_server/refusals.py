"""What redis-py raised, as our error: a server that is away is one thing, one that answers and refuses is another."""

from __future__ import annotations

from typing import Final

from redis.exceptions import NoPermissionError, RedisError, ResponseError

from timbral.errors import RedisPermissionError, RedisRefusedError, RedisUnavailableError

__all__ = ["as_ours", "code_of", "in_words", "to_do"]

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

_TO_DO_TO_CONNECT: Final = {
    "CERTIFICATE_VERIFY_FAILED": "REDIS_CA_CERTS names the file of the CA that signs its certificate",
    "WRONG_VERSION_NUMBER": "it speaks no TLS at this port: redis://",
    "DB index is out of range": "it has fewer databases: REDIS_DB=0, or the number at the end of the URL",
    "max number of clients reached": "close connections that nobody needs, or raise its maxclients",
    "onnection reset by peer": "if it speaks TLS: rediss://",
    "onnection closed by server": "if it speaks TLS: rediss://",
}
"""What to do, by a part of what kept us from connecting."""


def to_do(error: BaseException) -> str:
    """What to do about an error; empty where nothing is known."""
    connecting = (do for mark, do in _TO_DO_TO_CONNECT.items() if mark in str(error))
    return _TO_DO.get(code_of(error), "") or next(connecting, "")


def in_words(error: BaseException) -> str:
    """What the server or the network said, and what to do about it."""
    code, do, text = code_of(error), to_do(error), str(error) or type(error).__name__
    if not do:
        return text
    # Without a password the reply is a paragraph on the HELLO that redis-py had sent.
    said = code if code == "NOAUTH" else text.partition(" script: ")[0].rstrip(".")
    return f"{said if code in said else f'{code} {said}'}; {do}"


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
    is_refusal = code_of(error) in _TO_DO or isinstance(error, ResponseError)
    return (RedisRefusedError if is_refusal else RedisUnavailableError)(address, in_words(error))
