"""kombu's Redis transport for workers: counts deliveries, renews and puts back by server time, and parks garbage.

It stands in for kombu's own under ``redis://`` and ``rediss://`` wherever the Celery application is loaded. It leans on internals of
kombu 5.7: QoS, Channel._brpop_read and Transport._deliver.
"""

from __future__ import annotations

import logging
import time
import uuid
from queue import Empty
from typing import Any

import kombu.transport
from kombu.transport import redis as kombu_redis
from kombu.utils.json import loads

from timbral.queue import dead_letters
from timbral.queue.envelope import envelope_problem
from workers.delivery.message import DeliveredMessage
from workers.delivery.qos import QoS
from workers.watching import metrics

__all__ = ["Channel", "Transport", "install"]

logger = logging.getLogger(__name__)


class Channel(kombu_redis.Channel):
    """A channel that survives whatever is in its queues."""

    QoS = QoS
    Message = DeliveredMessage

    answered_at = 0.0
    """When Redis last answered this channel's BRPOP, with a message or without (time.monotonic)."""

    def _brpop_read(self, **options: Any) -> bool:
        try:
            try:
                reply = self.client.parse_response(self.client.connection, "BRPOP", **options)
            except self.connection_errors:
                self.client.connection.disconnect()
                raise
            self.answered_at = time.monotonic()
            if not reply:
                raise Empty
            queue = reply[0].decode().rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(queue)
            self._deliver_value(reply[1], queue)
            return True
        finally:
            self._in_poll: Any = None
            self._flush_brpop_reauth()

    def _get(self, queue: str, timeout: float | None = None) -> Any:  # noqa: ARG002
        while True:
            with self.conn_or_acquire() as client:
                values = (client.rpop(self._q_for_pri(queue, priority)) for priority in self.priority_steps)
                value = next((value for value in values if value), None)
                self._maybe_update_queues_expire(client, queue)
            if value is None:
                raise Empty
            payload = self._readable(value, queue)
            if payload is not None:
                return payload

    def _deliver_value(self, value: bytes, queue: str) -> None:
        payload = self._readable(value, queue)
        if payload is not None:
            self.connection._deliver(payload, queue)

    def _deliver_fanout_message(self, message: Any, exchange: str) -> bool:
        problem = envelope_problem(message)
        if problem:
            logger.warning("Dropped an event or control message on %s: %s", exchange, problem)
            raise Empty
        return bool(super()._deliver_fanout_message(message, exchange))

    def _readable(self, value: bytes, queue: str) -> dict[str, Any] | None:
        """The envelope in ``value``; parks it and gives None where there is none."""
        try:
            payload = loads(value.decode())
        except Exception as error:  # whatever a foreign value does to the decoder
            problem: str | None = f"not a message: not JSON ({error!r:.200})"
        else:
            problem = envelope_problem(payload)
        if problem:
            self.park(value, queue, problem)
            return None
        properties = payload["properties"]
        # A new tag for each delivery: a worker that comes back to life cannot acknowledge what is no longer its own.
        properties["delivery_tag"] = str(uuid.uuid4())
        # Where it goes back to, whatever its sender has written there.
        properties["delivery_info"].update(exchange="", routing_key=queue)
        return dict(payload)

    def queue_of(self, exchange: str, routing_key: str) -> str | None:
        """The queue that a message came from; direct exchanges are all that the fleet has."""
        if not exchange or self.connection is None:  # a closed channel knows no exchanges
            return routing_key or None
        return next(iter(self._lookup(exchange, routing_key)), None)

    def park(self, value: bytes, queue: str, reason: str) -> None:
        """Write what is no message as a dead letter."""
        with self.conn_or_acquire() as client:
            letter = dead_letters.park(client, value, kind="garbage", reason=reason, queue=queue)
        metrics.PARKED.labels("garbage").inc()
        logger.error("Parked garbage from queue %s as dead letter %s: %s", queue or "(unacked)", letter, reason)


class Transport(kombu_redis.Transport):
    """kombu's, with our channels."""

    Channel = Channel


def install() -> None:
    """Have this transport used for ``redis://`` and ``rediss://`` from now on."""
    for scheme in ("redis", "rediss"):
        kombu.transport.TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
        kombu.transport._transport_cache.pop(scheme, None)
