"""Commands that a task's process, or the worker on its behalf, sends without waiting for their replies: those are read
when the task has ended.

Redis carries out what was sent, and in its order, though the sender be killed the moment after. So what is to be noted
before a task's work is noted, and costs the work no round trip.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

import redis
from redis.exceptions import RedisError

__all__ = ["read_replies", "send"]

logger = logging.getLogger(__name__)


class _Open(threading.local):
    """What this thread, which does one task at a time, has sent and not read the replies of."""

    pool: Any = None
    connection: Any = None
    what: tuple[str, ...] = ()


_open = _Open()


def _forget_after_fork() -> None:
    # The reply is the parent's, on the parent's socket.
    _open.pool = _open.connection = None
    _open.what = ()


os.register_at_fork(after_in_child=_forget_after_fork)


def send(client: redis.Redis, what: str, *command: Any) -> None:
    """Send a command; all that a task sends so goes over one connection.

    Args:
        what: it is for, for the log.

    Raises:
        redis.ConnectionError, redis.TimeoutError, OSError: there is no connection.
    """
    if _open.connection is None:
        _open.pool = client.connection_pool
        _open.connection = _open.pool.get_connection()
    try:
        _open.connection.send_command(*command)
    except BaseException:
        _let_go(broken=True)
        raise
    _open.what += (what,)


def read_replies() -> None:
    """Wait until Redis has done what was sent. What it refused, or was away for, is logged: it is no longer needed
    once the task has ended."""
    if _open.connection is None:
        return
    broken = True
    try:
        for what in _open.what:
            try:
                _open.connection.read_response()
            except redis.ResponseError as error:
                logger.warning("Cannot %s: %s", what, error)
        broken = False
    except (RedisError, OSError, AttributeError) as error:
        # The last one is redis-py's where the connection was closed by somebody else: kombu closes all of a pool when
        # it gives up the queue's connection.
        logger.warning("Cannot tell whether Redis could %s: %s", " and ".join(_open.what), error)
    finally:
        _let_go(broken=broken)


def _let_go(*, broken: bool) -> None:
    pool, connection = _open.pool, _open.connection
    _open.pool = _open.connection = None
    _open.what = ()
    if broken:
        connection.disconnect()
    pool.release(connection)
