"""QoS: what a channel has delivered and is not acknowledged, over Redis's record of it (``unacked``)."""

from __future__ import annotations

import logging
from typing import Any, Final

import redis.exceptions
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from kombu.utils.json import dumps, loads

from timbral.queue.envelope import envelope_problem, task_id_of
from workers.delivery.held import is_stopping, running_requests
from workers.delivery.unacked import Unacked

__all__ = ["OUTAGES", "QoS", "settle_late"]

logger = logging.getLogger(__name__)

OUTAGES: Final = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)
"""What it looks like when Redis is away. kombu's own list has KeyError too, which any bad message can cause."""


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
