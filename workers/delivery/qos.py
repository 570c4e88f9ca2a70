"""QoS: what a channel has delivered and is not acknowledged, over Redis's record of it (``unacked``)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from kombu.utils.json import dumps, loads
from redis.exceptions import ResponseError

from timbral.messages import REFRESH_PLAYED
from timbral.queue import layout
from timbral.queue.envelope import envelope_problem, task_id_of
from timbral.queue.patience import OUTAGES, PatientRedis
from workers.delivery import sent_ahead
from workers.delivery.held import is_stopping, running_requests
from workers.delivery.message import work_of
from workers.delivery.unacked import Unacked

__all__ = ["QoS", "catch_up"]

logger = logging.getLogger(__name__)


class QoS(kombu_redis.QoS):
    """What this channel has delivered and is not acknowledged. Works on after its channel was closed.

    What Redis does not take, because it is away or refuses, is done later: the heartbeat calls ``catch_up``.
    """

    def __init__(self, channel: Any, prefetch_count: int = 0) -> None:
        super().__init__(channel, prefetch_count)
        # A client of its own: what runs on after a lost connection is acknowledged when the channel is long closed.
        client = PatientRedis(connection_pool=channel.pool)
        self.unacked = Unacked(client, channel.unacked_index_key, channel.unacked_key)
        self._held: dict[str, Any] = {}
        self._late: dict[str, Callable[[], object]] = {}
        self._unrecorded: set[str] = set()

    def append(self, message: Any, delivery_tag: str) -> None:
        self._held[delivery_tag] = message
        self._unrecorded.add(delivery_tag)
        # It is off the queue: without a record of it, to work on it is the best that can be done, and a record may come
        # later.
        self._try(delivery_tag, partial(self._take, message, delivery_tag), "note that this worker holds")
        virtual.QoS.append(self, message, delivery_tag)

    def _take(self, message: Any, tag: str) -> None:
        info = message.delivery_info
        content = dumps([message.raw, info["exchange"], info["routing_key"]])
        again = tag in self._late or bool(info.get("redelivered"))
        # Of the one before, which was done long ago, unless its task was ended in another thread.
        sent_ahead.read_replies()
        if not again and _is_refresh(message):
            # A user's list waits for it, and nothing can be known of a new message under an id that was made for it.
            # Were it lost all the same, whoever waits in its users' queue would be seen by the next one, or the rescue.
            self.unacked.take_ahead(tag, content, message.headers["id"], work_of(message))
            self._unrecorded.discard(tag)
            return
        taken = self.unacked.take(tag, content, task_id_of(message.raw), work_of(message), again)
        message.begun, message.work_id, message.work_state = taken
        self._unrecorded.discard(tag)

    def ack(self, delivery_tag: str) -> None:
        self._settle(delivery_tag)
        virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if requeue:
            crashed = getattr(self._held.get(delivery_tag), "crashed", False)
            self.put_back(delivery_tag, leftmost=True, uncount=not crashed)
        else:
            self._settle(delivery_tag)
            virtual.QoS.ack(self, delivery_tag)

    def put_back(self, tag: str, *, leftmost: bool = False, uncount: bool = True, queue: str | None = None) -> None:
        """Put a message back that this channel delivered, or move it to ``queue``: now, or as soon as Redis takes
        it."""
        sent_ahead.read_replies()
        self._unrecorded.discard(tag)
        if tag in self._held:
            put_back = partial(self.restore_by_tag, tag, leftmost=leftmost, uncount=uncount, queue=queue)
            self._try(tag, put_back, "put back", done=partial(self._held.pop, tag, None))
        virtual.QoS.ack(self, tag)

    def _settle(self, tag: str) -> None:
        sent_ahead.read_replies()  # that it is held is noted before that it is not
        self._unrecorded.discard(tag)
        message = self._held.get(tag)
        task_id = None if message is None else task_id_of(message.raw)
        # Celery would log a failure and forget it, and the task would run again after the visibility timeout.
        done = partial(self._held.pop, tag, None)
        self._try(tag, lambda: self.unacked.settle(tag, task_id), "acknowledge", done)

    def _try(self, tag: str, step: Callable[[], object], what: str, done: Callable[[], object] = lambda: None) -> None:
        try:
            step()
        except (*OUTAGES, ResponseError) as error:
            logger.warning("Cannot %s %s yet: %s", what, tag, error)
            self._late[tag] = partial(self._try, tag, step, what, done)
            _behind.add(self)
        else:
            self._late.pop(tag, None)
            done()

    def catch_up(self) -> None:
        """Do what could not be done when Redis was away or refused."""
        for step in list(self._late.values()):
            step()
        if not self._late:
            _behind.discard(self)

    def restore_unacked(self, client: Any = None) -> list[Any]:  # noqa: ARG002 - kombu's
        """Put back what was delivered, but for what still runs here: after a lost connection it runs on, and is
        acknowledged later."""
        running = set() if is_stopping() else {request.message.delivery_tag for request in running_requests()}
        for tag in list(self._held):
            if tag in running or (tag in self._late and tag not in self._unrecorded):
                virtual.QoS.ack(self, tag)
            else:
                self.put_back(tag)
        return []

    def restore_visible(self, start: int = 0, num: Any = None, interval: int = 1) -> None:  # noqa: ARG002 - kombu's
        """Put back what no living worker has renewed for the visibility timeout."""
        timeout_s = float(self.visibility_timeout)
        interval_s = float(self.channel.unacked_restore_interval)
        try:
            for tag in self.unacked.lapsed(timeout_s, gap_s=2 * interval_s + 1, grace_s=timeout_s / 4 + 2):
                self.restore_by_tag(tag, lapsed_for_s=timeout_s)
        except (*OUTAGES, ResponseError) as error:  # full, for one; the next look may succeed
            logger.error("Cannot put lapsed messages back: %s", error)

    def restore_by_tag(
        self,
        tag: str,
        client: Any = None,  # noqa: ARG002 - kombu's
        leftmost: bool = False,
        *,
        uncount: bool = False,
        lapsed_for_s: float | None = None,
        queue: str | None = None,
    ) -> None:
        """Put one message back into its queue, or into another, or park it where that cannot be done."""
        goes_to: Any = None
        content = self.unacked.content(tag)
        unrecorded = content is None and tag in self._held
        if unrecorded:
            content = dumps([self._held[tag].raw, "", self._held[tag].delivery_info["routing_key"]]).encode()
        if content is None:
            self.unacked.drop(tag, lapsed_for_s)
            return
        try:
            payload, exchange, routing_key = loads(content.decode())
            problem = envelope_problem(payload)
            goes_to = queue or (None if problem else _queue_of(exchange, routing_key))
            problem = problem or (
                None if goes_to else f"no queue for exchange {exchange!r}, routing key {routing_key!r}"
            )
        except OUTAGES:
            raise
        except Exception as error:
            problem = f"unreadable in {self.unacked.content_key}: {error!r:.200}"
        if problem:
            if self.unacked.drop(tag, lapsed_for_s):
                self.channel.park(content, "", problem)
            return
        if queue is None:
            payload["headers"] = {**(payload.get("headers") or {}), "redelivered": True}
            payload["properties"]["delivery_info"]["redelivered"] = True
        queue_key = layout.queue_key(goes_to, layout.priority_of(payload))
        task_id = task_id_of(payload)
        if self.unacked.put_back(
            tag, dumps(payload), queue_key, at_head=not leftmost, lapsed_for_s=lapsed_for_s,
            uncount=task_id if uncount else None,
            unrecorded=unrecorded,
        ):  # fmt: skip
            logger.info("Put message %s back into %s", task_id or tag, queue_key)


def _is_refresh(message: Any) -> bool:
    """Whether it is a ``refresh_played`` of the fleet's own, each of which has an id of its own."""
    headers = message.raw.get("headers") or {}
    return headers.get("task") == REFRESH_PLAYED and str(task_id_of(message.raw)).startswith(f"{REFRESH_PLAYED}-")


def _queue_of(exchange: str, routing_key: str) -> str | None:
    """The queue that a message came from: the fleet's exchanges are direct, and a key is its queue's name."""
    return routing_key if routing_key and (not exchange or routing_key in layout.QUEUES) else None


_behind: set[QoS] = set()


def catch_up() -> None:
    """Do, on every channel of this process, what could not be done while Redis was away."""
    for qos in list(_behind):
        qos.catch_up()
