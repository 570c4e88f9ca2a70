"""kombu's Redis transport for workers: counts deliveries, renews and puts back by server time, and parks garbage.

It stands in for kombu's own under ``redis://`` and ``rediss://`` wherever the Celery application is loaded. It leans on internals of
kombu 5.7: QoS, Channel._brpop_read and Transport._deliver.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import uuid
from queue import Empty
from typing import Any, Final

import kombu.message
import kombu.transport
import redis.exceptions
from celery.worker import state
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from kombu.utils.json import dumps, loads

from timbral.logic import dead_letters
from workers import metrics
from workers.delivery.envelope import envelope_problem, task_id_of
from workers.delivery.unacked import Unacked

__all__ = ["OUTAGES", "Channel", "Message", "QoS", "Transport", "install"]

logger = logging.getLogger(__name__)

OUTAGES: Final = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)
"""What it looks like when Redis is away. kombu's own list has KeyError too, which any bad message can cause."""


class Message(virtual.Message):
    """A message whose body may be broken: then it carries the error instead of raising it."""

    deliveries = 0
    """How often this message was delivered, this time included; 0 where that is not counted."""
    crashed = False
    """Whether its task ended its process: then going back to the queue counts as a delivery."""

    def __init__(self, payload: dict[str, Any], channel: Any = None, **kwargs: Any) -> None:
        self._raw = payload
        properties = payload["properties"]
        body: Any = payload.get("body")
        try:
            if body:
                body = channel.decode_body(body, properties.get("body_encoding"))
        except ValueError:
            self.errors = [sys.exc_info()]
            body = b""
        # Not virtual.Message's: it would decode again, and raise.
        kombu.message.Message.__init__(
            self,
            body=body,
            channel=channel,
            delivery_tag=properties["delivery_tag"],
            content_type=payload.get("content-type"),
            content_encoding=payload.get("content-encoding"),
            headers=payload.get("headers"),
            properties=properties,
            delivery_info=properties.get("delivery_info"),
            postencode="utf-8",
            **kwargs,
        )


class QoS(kombu_redis.QoS):
    """What this channel has delivered and is not acknowledged. Works on after its channel was closed."""

    def __init__(self, channel: Any, prefetch_count: int = 0) -> None:
        super().__init__(channel, prefetch_count)
        # A client of its own: what runs on after a lost connection is acknowledged when the channel is long closed.
        self.unacked = Unacked(channel._create_client(), channel.unacked_index_key, channel.unacked_key)
        self._held: dict[str, Any] = {}
        self._unsettled: set[str] = set()

    def append(self, message: Any, delivery_tag: str) -> None:
        info = message.delivery_info
        content = dumps([message._raw, info["exchange"], info["routing_key"]])
        try:
            message.deliveries = self.unacked.take(delivery_tag, content, task_id_of(message._raw))
        except redis.exceptions.OutOfMemoryError as error:
            # It is off the queue, and cannot be put back either: to work on it is all that is left, and frees memory.
            logger.error("Took a message without a record of it, Redis is full: %s", error)
        self._held[delivery_tag] = message
        virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        self._settle(delivery_tag)
        virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if requeue:
            message = self._held.pop(delivery_tag, None)
            self.restore_by_tag(delivery_tag, leftmost=True, uncount=not getattr(message, "crashed", False))
        else:
            self._settle(delivery_tag)
        virtual.QoS.ack(self, delivery_tag)

    def give_back(self, delivery_tag: str) -> None:
        """Put a message back that was not worked on, and is not counted any more."""
        if self._held.pop(delivery_tag, None) is not None:
            try:
                self.restore_by_tag(delivery_tag, leftmost=True)
            except OUTAGES as error:
                logger.warning("Cannot put %s back, it will lapse: %s", delivery_tag, error)
            virtual.QoS.ack(self, delivery_tag)

    def settle_late(self) -> None:
        """Acknowledge what could not be while Redis was away."""
        for tag in list(self._unsettled):
            self._settle(tag)

    def _settle(self, tag: str) -> None:
        message = self._held.get(tag)
        try:
            self.unacked.settle(tag, None if message is None else task_id_of(message._raw))
        except OUTAGES as error:
            # Celery would log this and forget it, and the task would run again after the visibility timeout.
            logger.warning("Cannot acknowledge %s yet: %s", tag, error)
            self._unsettled.add(tag)
            _unsettled.add(self)
        else:
            self._held.pop(tag, None)
            self._unsettled.discard(tag)
            if not self._unsettled:
                _unsettled.discard(self)

    def restore_unacked(self, client: Any = None) -> list[Any]:  # noqa: ARG002
        """Put back what was delivered, but for what still runs here: after a lost connection it runs on, and is acknowledged later."""
        self._flush()
        running = set() if is_stopping() else {request.message.delivery_tag for request in running_requests()}
        for tag in self._delivered:
            if tag not in running:
                self.restore_by_tag(tag, uncount=True)
                self._held.pop(tag, None)
        self._delivered.clear()
        return []

    def restore_visible(self, start: int = 0, num: int | None = None, interval: int = 1) -> None:  # noqa: ARG002
        """Put back what no living worker has renewed for the visibility timeout."""
        timeout_s = float(self.visibility_timeout)
        interval_s = float(self.channel.unacked_restore_interval)
        try:
            for tag in self.unacked.lapsed(timeout_s, gap_s=2 * interval_s + 1, grace_s=timeout_s / 4 + 2):
                self.restore_by_tag(tag, lapsed_for_s=timeout_s)
        except redis.exceptions.ResponseError as error:  # full, for one; the next look may succeed
            logger.error("Cannot put lapsed messages back: %s", error)

    def restore_by_tag(
        self,
        tag: str,
        client: Any = None,  # noqa: ARG002
        leftmost: bool = False,
        *,
        uncount: bool = False,
        lapsed_for_s: float | None = None,
    ) -> None:
        """Put one message back into its queue, or park it where that cannot be done."""
        content = self.unacked.content(tag)
        if content is None:
            self.unacked.drop(tag, lapsed_for_s)
            return
        try:
            payload, exchange, routing_key = loads(content.decode())
            problem = envelope_problem(payload)
            queue = None if problem else self.channel.queue_of(exchange, routing_key)
            problem = problem or (None if queue else f"no queue for exchange {exchange!r}, routing key {routing_key!r}")
        except OUTAGES:
            raise
        except Exception as error:
            problem = f"unreadable in {self.unacked.content_key}: {error!r:.200}"
        if problem:
            if self.unacked.drop(tag, lapsed_for_s):
                self.channel.park(content, "", problem)
            return
        payload["headers"] = {**(payload.get("headers") or {}), "redelivered": True}
        payload["properties"]["delivery_info"]["redelivered"] = True
        queue_key = self.channel._q_for_pri(queue, self.channel._get_message_priority(payload, reverse=False))
        task_id = task_id_of(payload) if uncount else None
        if self.unacked.put_back(
            tag, dumps(payload), queue_key, at_head=not leftmost, lapsed_for_s=lapsed_for_s, uncount=task_id
        ):
            logger.info("Put message %s back into %s", task_id_of(payload) or tag, queue_key)


_unsettled: set[QoS] = set()


def settle_late() -> None:
    """Acknowledge, on every channel of this process, what could not be while Redis was away."""
    for qos in list(_unsettled):
        qos.settle_late()


def running_requests() -> list[Any]:
    """Requests that this worker works on, or is about to. May be called from any thread."""
    return _unacknowledged(state.reserved_requests, state.active_requests)


def held_requests() -> list[Any]:
    """The same, and those that wait for their time (retries, countdowns)."""
    return _unacknowledged(state.reserved_requests, state.active_requests, state.scheduled_requests)


def is_stopping() -> bool:
    """Whether this worker's pool is about to end, or has ended."""
    return any(flag is not None and flag is not False for flag in (state.should_stop, state.should_terminate))


def _unacknowledged(*sets: Any) -> list[Any]:
    while True:
        try:
            requests = {request for each in sets for request in each}
        except RuntimeError:  # another thread changed one of the sets meanwhile
            continue
        return [request for request in requests if not request.acknowledged]


class Channel(kombu_redis.Channel):
    """A channel that survives whatever is in its queues."""

    QoS = QoS
    Message = Message

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


def encode(message: Any) -> bytes:
    """A message as it was in the queue, for a dead letter."""
    return json.dumps(message._raw).encode()
