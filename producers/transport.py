"""kombu's transports, as producers use them: Redis's, whose channels keep their client, and one that sends nothing."""

from __future__ import annotations

from typing import Any

from kombu.transport import redis as kombu_redis
from kombu.transport import virtual

from timbral.queue.shared_client import SharedClient

__all__ = ["Unsent", "transport_of"]


class _Channel(SharedClient, kombu_redis.Channel):
    pass


class _SentinelChannel(SharedClient, kombu_redis.SentinelChannel):
    pass


class _Transport(kombu_redis.Transport):
    Channel = _Channel


class _SentinelTransport(kombu_redis.SentinelTransport):
    Channel = _SentinelChannel


def transport_of(url: str) -> type[kombu_redis.Transport]:
    """The transport for a queue's URL as Celery is given it."""
    return _SentinelTransport if url.startswith("sentinel") else _Transport


class _UnsentChannel(virtual.Channel):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]  # kombu has no types
        self.unsent: list[tuple[str, dict[str, Any]]] = []

    def _put(self, queue: str, message: dict[str, Any], **_: Any) -> None:
        self.unsent.append((queue, message))

    def _size(self, queue: str) -> int:
        return sum(name == queue for name, _ in self.unsent)


class Unsent(virtual.Transport):
    """Its channels keep what is published, in ``unsent``: queues and messages."""

    Channel = _UnsentChannel

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]  # kombu has no types
        self.state = virtual.BrokerState()
