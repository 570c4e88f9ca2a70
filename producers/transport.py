"""kombu's Redis transports, as producers use them: their channels keep their client."""

from __future__ import annotations

from kombu.transport import redis as kombu_redis

from timbral.queue.shared_client import SharedClient

__all__ = ["transport_of"]


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
