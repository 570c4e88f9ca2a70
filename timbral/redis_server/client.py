"""Clients of a Redis, by its URL: one room that turns a URL into a client's options, for all of timbral but Celery
itself.

None gives itself a name: servers for hire often know no CLIENT command. What redis-py asks with it beyond that may be
refused.
"""

from __future__ import annotations

from typing import Any, Final

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from timbral.config.redis_url import RedisUrl
from timbral.redis_server.cluster import (
    AsyncSlotConnection,
    AsyncSlotSSLConnection,
    SlotConnection,
    SlotSSLConnection,
    slot_of,
)

__all__ = ["close_async", "connect", "connect_async", "retry_once"]

REDIS_PORT: Final = 6379
HEALTH_CHECK_S: Final = 30
"""A connection that rested for so long is tried before it is used."""


def connect(
    url: str, *, timeout_s: float, connect_timeout_s: float, kind: type[redis.Redis] = redis.Redis, **options: Any
) -> redis.Redis:
    """A client of ``url``; connects when it is first used.

    Args:
        url: as ``Settings`` completes it.
        timeout_s: longest wait for an answer, in seconds.
        connect_timeout_s: longest wait for a connection, in seconds.
        kind: class of the client.
        **options: more of redis-py's options of a connection or its pool.

    Raises:
        ValueError: ``url`` is no Redis URL.
    """
    where = RedisUrl.parse(url)
    options = {**_options(where, timeout_s, connect_timeout_s), **options}
    if where.scheme == "sentinel":
        sentinels = redis.sentinel.Sentinel(_sentinels(where), sentinel_kwargs=where.sentinel_options)
        client: redis.Redis = sentinels.master_for(where.primary, kind, **options)
        return client
    classes: dict[str, type[Any]] = {"unix": redis.UnixDomainSocketConnection, "rediss": redis.SSLConnection}
    if where.cluster_tag:
        classes = {"redis": SlotConnection, "rediss": SlotSSLConnection}
    pool = redis.ConnectionPool(connection_class=classes.get(where.scheme, redis.Connection), **options)
    return kind.from_pool(pool)


def connect_async(url: str, *, timeout_s: float, connect_timeout_s: float, max_connections: int) -> redis.asyncio.Redis:
    """The same for asyncio; who finds all ``max_connections`` taken waits ``timeout_s`` for one."""
    where = RedisUrl.parse(url)
    retry = AsyncRetry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
    options = {**_options(where, timeout_s, connect_timeout_s), "retry": retry}
    if where.scheme == "sentinel":
        sentinels = redis.asyncio.sentinel.Sentinel(_sentinels(where), sentinel_kwargs=where.sentinel_options)
        client: redis.asyncio.Redis = sentinels.master_for(where.primary, max_connections=max_connections, **options)
        return client
    classes: dict[str, type[Any]] = {
        "unix": redis.asyncio.UnixDomainSocketConnection,
        "rediss": redis.asyncio.SSLConnection,
    }
    if where.cluster_tag:
        classes = {"redis": AsyncSlotConnection, "rediss": AsyncSlotSSLConnection}
    pool = redis.asyncio.BlockingConnectionPool(
        connection_class=classes.get(where.scheme, redis.asyncio.Connection),
        max_connections=max_connections,
        timeout=timeout_s,
        **options,
    )
    return redis.asyncio.Redis(connection_pool=pool)


async def close_async(client: redis.asyncio.Redis) -> None:
    """Close what ``connect_async`` made, with its connections to the sentinels."""
    pool = client.connection_pool
    await client.aclose()
    await pool.disconnect()
    if isinstance(pool, redis.asyncio.sentinel.SentinelConnectionPool):
        await pool.sentinel_manager.aclose()


def retry_once() -> Retry:
    """One more try, at once: after a restart of Redis every connection in the pool is a dead one, and a second wait
    would be no use."""
    return Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))


def _options(where: RedisUrl, timeout_s: float, connect_timeout_s: float) -> dict[str, Any]:
    options: dict[str, Any] = {
        "username": where.username or None,
        "password": where.password,
        "db": where.db,
        "socket_timeout": timeout_s,
        "health_check_interval": HEALTH_CHECK_S
        if where.health_check_interval_s is None
        else where.health_check_interval_s,
        **where.tls,
    }
    if where.scheme == "unix":
        return {**options, "path": where.path}
    options |= {"socket_connect_timeout": connect_timeout_s, "socket_keepalive": True}
    if where.scheme == "sentinel":
        return options
    if where.cluster_tag:
        nodes = [(host, port or REDIS_PORT) for host, port in where.hosts]
        return {**options, "nodes": nodes, "slot": slot_of(where.cluster_tag)}
    ((host, port),) = where.hosts
    return {**options, "host": host, "port": port or REDIS_PORT}


def _sentinels(where: RedisUrl) -> list[tuple[str, int]]:
    return [(host, port or REDIS_PORT) for host, port in where.hosts]
