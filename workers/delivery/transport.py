"""kombu's Redis transport for workers: counts what is begun, renews and puts back by server time, and parks garbage.

It stands in for kombu's own under ``redis://`` and ``rediss://`` wherever the Celery application is loaded. What it
relies on that is private to kombu is in CONTRIBUTING.md, and tests/workers/delivery/test_private_names.py.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import kombu.transport
import redis
import redis.sentinel
from kombu.transport import redis as kombu_redis
from redis.exceptions import ResponseError

from timbral.queue import dead_letters
from timbral.queue.envelope import task_id_of
from timbral.queue.patience import refused
from timbral.queue.shared_client import SharedClient
from workers.delivery.client import Client
from workers.delivery.message import DeliveredMessage
from workers.delivery.qos import QoS
from workers.delivery.reading import loaded
from workers.watching import metrics

__all__ = ["Channel", "Transport", "install"]

logger = logging.getLogger(__name__)


class _Patient:
    """A connection that is refused at its very beginning (NOPERM on SELECT, say) is one that is not there yet."""

    def on_connect(self) -> None:
        try:
            super().on_connect()  # type: ignore[misc]  # mixed into connections, which have it
        except ResponseError as error:
            raise refused(error) from error


class _Connection(_Patient, redis.Connection):
    pass


class _SSLConnection(_Patient, redis.SSLConnection):
    pass


class _SentinelConnection(_Patient, redis.sentinel.SentinelManagedConnection):
    pass


class _Surviving(SharedClient):
    """A channel that survives whatever is in its queues, and whatever Redis answers."""

    QoS = QoS
    Message = DeliveredMessage

    def _get_client(self) -> Any:
        return partial(Client, park=self.park)

    def queue_purge(self, queue: str, **_: Any) -> int:
        """Remove all that waits: who waits for it is told, and nothing sends it again."""
        from workers.outcome import drop

        return drop(queue)

    def park(self, value: bytes, queue: str, reason: str) -> None:
        """Write what is no message as a dead letter; a task whose id can be read gets its error."""
        with self.conn_or_acquire() as client:
            letter = dead_letters.park(client, value, kind="garbage", reason=reason, queue=queue)
        metrics.PARKED.labels("garbage").inc()
        logger.error("Parked garbage from queue %s as dead letter %s: %s", queue or "(unacked)", letter, reason)
        task_id = task_id_of(loaded(value))
        if task_id is not None:
            # Imported here: Flower and the scheduler load this module, and have no use for what the tasks need.
            from workers.outcome import unreadable

            unreadable(task_id, "", reason)


class Channel(_Surviving, kombu_redis.Channel):
    """One to the server at the URL."""

    connection_class = _Connection
    connection_class_ssl = _SSLConnection


class SentinelChannel(_Surviving, kombu_redis.SentinelChannel):
    """One to the server that the sentinels name."""

    connection_class = _SentinelConnection


class Transport(kombu_redis.Transport):
    """kombu's, with our channels."""

    Channel = Channel


class SentinelTransport(kombu_redis.SentinelTransport):
    """The same for ``sentinel://``."""

    Channel = SentinelChannel


def install() -> None:
    """Have these transports used for ``redis://``, ``rediss://`` and ``sentinel://`` from now on."""
    for scheme, name in (("redis", "Transport"), ("rediss", "Transport"), ("sentinel", "SentinelTransport")):
        kombu.transport.TRANSPORT_ALIASES[scheme] = f"{__name__}:{name}"
        kombu.transport._transport_cache.pop(scheme, None)
