"""Connections to a Redis Cluster in which all keys of the fleet lie in one slot.

One slot has one owner at a time, so scripts, transactions and pipelines are what they are on a single server. A new
connection asks the nodes who the owner is; one whose server has given the slot away is closed, and the next asks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

__all__ = ["AsyncSlotConnection", "AsyncSlotSSLConnection", "SlotConnection", "SlotSSLConnection", "slot_of"]

NOT_THE_OWNER = (AskError, ClusterDownError)
"""MOVED is an AskError too. None of them has done anything: whoever asked may ask again."""
Node = tuple[str, int]
ASK_TIMEOUT_S: Final = 1.0
"""A node that is gone must not hold up the question to the next."""


def slot_of(tag: str) -> int:
    """Number of the slot of all keys that begin with ``{tag}``."""
    return int(key_slot(tag.encode()))


class SlotConnection(redis.Connection):
    """A connection to whichever node owns the slot.

    Args:
        nodes: hosts and ports to ask, in this order; any node of the cluster knows.
        slot: number of the slot.
    """

    def __init__(self, *, nodes: Sequence[Node], slot: int, **options: Any) -> None:
        self._nodes, self._slot, self._options = tuple(nodes), slot, options
        super().__init__(**options)  # type: ignore[no-untyped-call]  # redis-py's

    def connect(self) -> None:
        """Find the owner and connect to it.

        Raises:
            redis.ConnectionError: no node answers, or none owns the slot.
        """
        if self._sock is None:
            self.retry.call_with_retry(self._connect_to_the_owner, lambda _: None)

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """As a plain connection does; an answer of a node that owns the slot no longer is a lost connection."""
        try:
            return super().read_response(*args, **kwargs)
        except NOT_THE_OWNER as error:
            self.disconnect()  # type: ignore[no-untyped-call]  # redis-py's
            raise RedisConnectionError(_moved(self.host, self.port, error)) from error

    def _connect_to_the_owner(self) -> None:
        self.host, self.port = self._find()
        self.connect_check_health(check_health=True, retry_socket_connect=False)

    def _find(self) -> Node:
        problems = []
        for host, port in _first(self._nodes, (self.host, self.port)):
            asked = self._plain(host=host, port=port, **_impatient(self._options, Retry(NoBackoff(), 0)))
            try:
                asked.connect()
                asked.send_command("CLUSTER", "SLOTS")
                return _owner(asked.read_response(), self._slot, host)
            except (RedisError, OSError) as error:
                problems.append(f"{host}:{port}: {error}")
            finally:
                asked.disconnect()
        raise RedisConnectionError(_nobody(self._slot, problems))

    @staticmethod
    def _plain(**options: Any) -> Any:
        return redis.Connection(**options)


class SlotSSLConnection(SlotConnection, redis.SSLConnection):
    """The same with TLS."""

    @staticmethod
    def _plain(**options: Any) -> Any:
        return redis.SSLConnection(**options)


class AsyncSlotConnection(redis.asyncio.Connection):
    """``SlotConnection`` for asyncio."""

    def __init__(self, *, nodes: Sequence[Node], slot: int, **options: Any) -> None:
        self._nodes, self._slot, self._options = tuple(nodes), slot, options
        super().__init__(**options)

    async def connect(self) -> None:
        """Find the owner and connect to it.

        Raises:
            redis.ConnectionError: no node answers, or none owns the slot.
        """
        if not self.is_connected:
            await self.retry.call_with_retry(self._connect_to_the_owner, lambda _: asyncio.sleep(0))

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """As a plain connection does; an answer of a node that owns the slot no longer is a lost connection."""
        try:
            return await super().read_response(*args, **kwargs)
        except NOT_THE_OWNER as error:
            await self.disconnect(nowait=True)
            raise RedisConnectionError(_moved(self.host, self.port, error)) from error

    async def _connect_to_the_owner(self) -> None:
        self.host, self.port = await self._find()
        await self.connect_check_health(check_health=True, retry_socket_connect=False)

    async def _find(self) -> Node:
        problems = []
        for host, port in _first(self._nodes, (self.host, self.port)):
            asked = self._plain(host=host, port=port, **_impatient(self._options, AsyncRetry(NoBackoff(), 0)))
            try:
                await asked.connect()
                await asked.send_command("CLUSTER", "SLOTS")
                return _owner(await asked.read_response(), self._slot, host)
            except (RedisError, OSError) as error:
                problems.append(f"{host}:{port}: {error}")
            finally:
                await asked.disconnect(nowait=True)
        raise RedisConnectionError(_nobody(self._slot, problems))

    @staticmethod
    def _plain(**options: Any) -> Any:
        return redis.asyncio.Connection(**options)


class AsyncSlotSSLConnection(AsyncSlotConnection, redis.asyncio.SSLConnection):
    """The same with TLS."""

    @staticmethod
    def _plain(**options: Any) -> Any:
        return redis.asyncio.SSLConnection(**options)


def _first(nodes: tuple[Node, ...], last: Node) -> list[Node]:
    # The node of the last connection goes last: it may be the one that is gone.
    return sorted(nodes, key=lambda node: node == last)


def _impatient(options: dict[str, Any], retry: Any) -> dict[str, Any]:
    """The options of a connection, for one question: asked once, and not waited for long."""
    timeouts = {
        name: min(options.get(name) or ASK_TIMEOUT_S, ASK_TIMEOUT_S)
        for name in ("socket_timeout", "socket_connect_timeout")
    }
    return {**options, **timeouts, "retry": retry}


def _owner(ranges: Any, slot: int, asked: str) -> Node:
    for first, last, primary, *_ in ranges:
        if first <= slot <= last:
            # No name means: the address that was asked.
            return (primary[0].decode() if primary[0] else asked), int(primary[1])
    raise RedisConnectionError("knows no owner of it")


def _moved(host: str, port: int, error: Exception) -> str:
    return f"{host}:{port} owns the slot no longer: {error}"


def _nobody(slot: int, problems: list[str]) -> str:
    return f"no node of the cluster tells who owns slot {slot}: {'; '.join(problems)}"
