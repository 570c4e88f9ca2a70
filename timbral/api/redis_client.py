"""The API's asyncio connection to the cache, with limits that keep a dead Redis from holding a request."""

from __future__ import annotations

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

__all__ = ["connect"]

MAX_CONNECTIONS = 32
TIMEOUT_S = 2.0


def connect(url: str) -> Redis:
    """A client of ``url`` (with its password) that fails within seconds and takes up again by itself."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=TIMEOUT_S,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=1.0,
        socket_keepalive=True,
        client_name="timbral-http",
        # One more try, at once: after a restart of Redis every connection in the pool is a dead one.
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
    )
    return Redis(connection_pool=pool)
