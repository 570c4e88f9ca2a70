"""PatientRedis: a client for which an error reply that heals is an outage, to be waited out, and not an answer.

A Redis that is read-only during a failover, has too few replicas, is full, or has just been told other permissions
answers with an error. It
means the same as no answer at all: try again. So it is made an error of the connection, which redis-py, kombu and
Celery wait out.
"""

from __future__ import annotations

from typing import Any, Final

import redis
from redis.client import Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError

from timbral.redis_server.refusals import code_of

__all__ = ["HEALING_CODES", "OUTAGES", "PatientPipeline", "PatientRedis", "RefusedError", "heals", "refused"]

HEALING_CODES: Final = frozenset(
    {
        "READONLY", "UNBLOCKED", "NOREPLICAS", "MISCONF", "BUSY", "LOADING", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN",
        "OOM", "NOPERM",
        "WRONGTYPE", "NOAUTH", "WRONGPASS", "EXECABORT", "MOVED", "ASK", "REDIRECT", "INPROG", "NOGOODSLAVE",
        "NOTREADY", "DENIED",
    }
)  # fmt: skip
"""First words of the replies that somebody's doing, or time, makes go away: the same command succeeds later."""
_IN_SCRIPTS: Final = ("ACL failure in script", "The user executing the script can't")
"""How the server words NOPERM inside a script."""


class RefusedError(RedisConnectionError):
    """``RefusedError(text)``: Redis is there, and refuses for now."""


OUTAGES: Final = (RedisConnectionError, redis.exceptions.TimeoutError, OSError)
"""What it looks like when Redis is away or refuses. kombu's own list has KeyError too, which any bad message can
cause."""


def heals(error: BaseException) -> bool:
    """Whether this error reply means: later."""
    if isinstance(error, RefusedError):
        return True
    if not isinstance(error, RedisError) or isinstance(error, NoScriptError):
        return False
    return code_of(error) in HEALING_CODES or any(words in str(error) for words in _IN_SCRIPTS)


def refused(error: BaseException) -> RefusedError:
    """The error reply as an outage."""
    code = getattr(error, "status_code", None) or ""
    text = str(error)
    return RefusedError(text if not code or text.startswith(code) else f"{code} {text}")


class PatientPipeline(Pipeline):
    """A pipeline that says once, at its end, that it was refused: what came before in it may have been done."""

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        try:
            return super().execute(raise_on_error)
        except ResponseError as error:
            if heals(error):
                raise refused(error) from error
            raise


class PatientRedis(redis.Redis):
    """redis-py's client; replies that heal are raised as RefusedError."""

    def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:
        try:
            return super().parse_response(  # type: ignore[no-untyped-call]  # redis-py has no types here
                connection, command_name, **options
            )
        except ResponseError as error:
            if heals(error):
                raise refused(error) from error
            raise

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> PatientPipeline:
        return PatientPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
