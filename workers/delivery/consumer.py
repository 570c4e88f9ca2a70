"""The worker's consumer: parks messages that cannot be worked on, and those that were delivered too often."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from celery.bootsteps import RUN
from celery.exceptions import NotRegistered
from celery.worker import state
from celery.worker.consumer import Consumer as CeleryConsumer

from timbral.config.settings import settings
from timbral.errors import DeadLetterError
from timbral.queue import dead_letters
from timbral.queue.envelope import body_problem, headers_problem, task_id_of
from workers import outcome
from workers.delivery.held import is_stopping, running_requests
from workers.delivery.message import encode
from workers.delivery.qos import OUTAGES
from workers.watching import metrics

__all__ = ["Consumer"]

logger = logging.getLogger(__name__)

PUT_OFF_S = 1.0


class Consumer(CeleryConsumer):
    """Celery's, with a closer look at each message before it is handed on."""

    def __init__(self, *args: Any, **options: Any) -> None:
        # Workers need not know of each other: mingle costs a second at the start, gossip a message per event.
        self._counts = metrics.TaskCounts()
        super().__init__(*args, **{**options, "without_mingle": True, "without_gossip": True})

    def update_strategies(self) -> None:
        # For each connection, after its dispatcher was made and before a strategy takes hold of it.
        if self.event_dispatcher is not None:
            self._counts.read_along(self.event_dispatcher)
        super().update_strategies()

    def ensure_connected(self, conn: Any) -> Any:
        # kombu waits up to half a minute between two tries; a fleet shall be back soon after its Redis.
        conn.ensure_connection = partial(conn.ensure_connection, interval_start=1, interval_step=0, interval_max=1)
        return super().ensure_connected(conn)

    def create_task_handler(self, **options: Any) -> Callable[[Any], None]:
        handle = super().create_task_handler(**options)

        def on_task_received(message: Any) -> None:
            if message.deliveries > 1:
                metrics.REDELIVERED.inc()
            problem = headers_problem(message.headers) or _payload_problem(message)
            if problem:
                self._park(message, "garbage", problem)
            elif message.deliveries > settings.MAX_DELIVERIES:
                self._park_poison(message)
            elif message.deliveries == settings.MAX_DELIVERIES and _suspects():
                self._put_off(message)
            else:
                try:
                    handle(message)
                except OUTAGES:
                    raise
                except Exception as error:
                    self._give_up(message, error)

        return on_task_received

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        self._park(message, "garbage", f"body cannot be decoded: {exc!r:.200}")

    def on_unknown_message(self, body: Any, message: Any) -> None:  # noqa: ARG002
        self._park(message, "garbage", "not a task message")

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:  # noqa: ARG002
        self._park(message, "garbage", f"invalid task message: {exc!s:.200}")

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:  # noqa: ARG002
        name = message.headers["task"]
        self._park(message, "unknown_task", f"no worker of this version knows the task {name!r}", NotRegistered(name))

    def _put_off(self, message: Any) -> None:
        """A message's last delivery is not shared with others that were there when a worker was lost: one of them is to blame, and only
        that one shall be parked."""
        logger.info("Put off the last delivery of %s: others run that may be to blame", message.headers["id"])
        qos, tag = message.channel.qos, message.delivery_tag
        qos.unacked.uncount(message.headers["id"])
        self.timer.call_after(PUT_OFF_S, qos.give_back, (tag,))

    def _park_poison(self, message: Any) -> None:
        task_id = message.headers["id"]
        deliveries = message.deliveries - 1
        reason = f"delivered {deliveries} times, and each time its worker was lost"
        message.deliveries = deliveries
        self._park(message, "poison", reason, DeadLetterError(task_id, reason))

    def _park(self, message: Any, kind: dead_letters.Kind, reason: str, error: Exception | None = None) -> None:
        """Write the dead letter, say so to whoever waits for the task, and only then let go of the message."""
        task, task_id = message.headers.get("task"), task_id_of(message._raw)
        queue = message.delivery_info["routing_key"]
        metrics.PARKED.labels(kind).inc()
        with message.channel.conn_or_acquire() as client:
            letter = dead_letters.park(
                client,
                encode(message),
                kind=kind,
                reason=reason,
                queue=queue,
                task=task if isinstance(task, str) else "",
                task_id=task_id or "",
                args=_arguments(message),
                deliveries=max(message.deliveries, 1),
            )
        if error is not None and task_id is not None:
            self.app.backend.mark_as_failure(task_id, error)
            outcome.given_up(task_id, str(task), _keywords(message), error)
            if self.event_dispatcher is not None:
                self.event_dispatcher.send("task-failed", uuid=task_id, exception=repr(error), traceback="")
        message.ack_log_error(logger, self.connection_errors)
        logger.error("Parked %s %s from queue %s as dead letter %s: %s", task, task_id, queue, letter, reason)

    def _give_up(self, message: Any, error: Exception) -> None:
        """A message that got past every check and still broke the worker's own code."""
        if message.acknowledged:
            raise error
        if self.blueprint.state != RUN or is_stopping():
            message.reject_log_error(logger, self.connection_errors, requeue=True)
            return
        logger.exception("A message broke the consumer")
        request = state.requests.pop(message.headers["id"], None)
        if request is not None and request.message is message:
            state.reserved_requests.discard(request)
            if self.controller.semaphore is not None:
                self.controller.semaphore.release()
        self._park(message, "garbage", f"cannot be worked on: {error!r:.200}")


def _suspects() -> bool:
    return any(request.message.deliveries > 1 for request in running_requests())


def _payload_problem(message: Any) -> str | None:
    try:
        return body_problem(message.payload)
    except Exception as error:  # the content type decides which code reads it
        return f"body cannot be read: {error!r:.200}"


def _keywords(message: Any) -> dict[str, Any]:
    try:
        return dict(message.payload[1])
    except Exception:
        return {}


def _arguments(message: Any) -> str:
    try:
        args, kwargs, _ = message.payload
        return json.dumps([args, kwargs] if args else kwargs, ensure_ascii=False)
    except Exception:
        return ""
