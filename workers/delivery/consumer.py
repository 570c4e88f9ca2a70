"""The worker's consumer: parks messages that cannot be worked on, and those that were delivered too often."""

from __future__ import annotations

import contextlib
import difflib
import json
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from celery.bootsteps import RUN
from celery.exceptions import NotRegistered
from celery.worker import state
from celery.worker.consumer import Consumer as CeleryConsumer

from timbral.config.settings import settings
from timbral.errors import DeadLetterError, MessageError
from timbral.queue import dead_letters, layout
from timbral.queue.envelope import body_problem, headers_problem, task_id_of
from timbral.queue.patience import OUTAGES, RefusedError
from workers import outcome, successors
from workers.delivery.handing_over import hand_over
from workers.delivery.held import is_stopping, running_requests
from workers.delivery.message import encode, work_of
from workers.watching import metrics

__all__ = ["Consumer"]

logger = logging.getLogger(__name__)

PUT_OFF_S = 1.0
MISTYPED = 0.75
"""How alike an unknown task's name is to one of ours, from 0 to 1, to be taken for it with a slip in it."""
SAY_AGAIN_S = 60.0
REFUSED_PAUSE_S = 0.5
RECEIVED = logging.getLogger("celery.worker.strategy")
"""Celery's own line on each task that comes, before the task goes to its process, and as long as all else before that
takes together. It is written a little later instead."""
RECEIVED_AFTER_S = 0.002
EVENTS_AFTER_S = 0.1
"""Who watches sees a task's events so much later, and most tasks' in one message. Sent at once, as Celery does, they
would go before the task itself goes to its process."""


class Consumer(CeleryConsumer):
    """Celery's, with a closer look at each message before it is handed on."""

    def __init__(self, *args: Any, **options: Any) -> None:
        # Workers need not know of each other: mingle costs a second at the start, gossip a message per event.
        self._said_foreign_at: dict[str, float] = {}
        self._events_wait = False
        self._received: list[str] = []
        # Its event loop stands still while a task runs.
        self._is_solo = type(options.get("pool")).__module__.endswith("solo")
        super().__init__(*args, **{**options, "without_mingle": True, "without_gossip": True})
        self._counts = metrics.TaskCounts(name for name in self.app.tasks if not name.startswith("celery."))
        outcome.NODE.name = self.hostname

    def update_strategies(self) -> None:
        if not self._is_solo:
            RECEIVED.setLevel(logging.WARNING)
        # For each connection, after its dispatcher was made and before a strategy takes hold of it.
        if self.event_dispatcher is not None:
            self._counts.read_along(self.event_dispatcher)
        super().update_strategies()

    def ensure_connected(self, conn: Any) -> Any:
        # kombu waits up to half a minute between two tries; a fleet shall be back soon after its Redis.
        conn.ensure_connection = partial(conn.ensure_connection, interval_start=1, interval_step=0, interval_max=1)
        return super().ensure_connected(conn)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        super().on_connection_error_after_connected(exc)
        if isinstance(exc, RefusedError):
            time.sleep(REFUSED_PAUSE_S)  # Redis is there, and would refuse again at once

    def on_send_event_buffered(self) -> None:
        if not self._events_wait:
            self._events_wait = True
            self.timer.call_after(EVENTS_AFTER_S, self._send_events)

    def _send_events(self) -> None:
        self._events_wait = False
        if self.event_dispatcher:
            self.event_dispatcher.flush()

    def _note_received(self, message: Any) -> None:
        if self._is_solo:
            return
        if not self._received:
            self.timer.call_after(RECEIVED_AFTER_S, self._log_received)
        self._received.append(f"{message.headers['task']}[{message.headers['id']}]")

    def _log_received(self) -> None:
        received, self._received = self._received, []
        for one in received:
            logger.info("Task %s received", one)

    def on_close(self) -> None:
        self._log_received()
        # What the last tasks have said.
        with contextlib.suppress(*OUTAGES):
            self._send_events()
        super().on_close()

    def create_task_handler(self, **options: Any) -> Callable[[Any], None]:
        handle = super().create_task_handler(**options)

        def on_task_received(message: Any) -> None:
            if message.begun:
                metrics.REDELIVERED.inc()
            problem = headers_problem(message.headers) or _payload_problem(message)
            if problem:
                self._park(message, "garbage", problem, MessageError)
            elif self._move_to_own_queue(message):
                pass
            elif message.work_id != "same" and not self._take_over_id(message):
                self._put_off(message, "its task id is that of work which is not done")
            elif message.begun >= settings.MAX_DELIVERIES:
                self._park_poison(message)
            elif message.begun == settings.MAX_DELIVERIES - 1 and _suspects():
                self._put_off(message, "others run that may have ended its worker")
            else:
                try:
                    handle(message)
                except OUTAGES:
                    raise
                except Exception as error:
                    self._give_up(message, error)
                else:
                    hand_over(self.hub, self.pool)
                    self._note_received(message)

        return on_task_received

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        self._park(message, "garbage", f"body cannot be decoded: {exc!r:.200}", MessageError)

    def on_unknown_message(self, body: Any, message: Any) -> None:  # noqa: ARG002 - Celery's signature
        self._park(message, "garbage", "not a task message", MessageError)

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:  # noqa: ARG002 - Celery's signature
        self._park(message, "garbage", f"invalid task message: {exc!s:.200}", MessageError)

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:  # noqa: ARG002 - Celery's signature
        name, queue = message.headers["task"], message.delivery_info["routing_key"]
        close = difflib.get_close_matches(name, self.app.tasks, n=1, cutoff=MISTYPED)
        if queue == layout.SHARED_QUEUE and not close:
            self._give_back_to_others(message, name)
        else:
            hint = f"; did you mean {close[0]!r}?" if close else ""
            reason = f"no worker of this version knows the task {name!r}{hint}"
            self._park(message, "unknown_task", reason, NotRegistered(name))

    def _give_back_to_others(self, message: Any, name: str) -> None:
        """Every Celery app that names no queue uses this one: what is none of ours may well be theirs."""
        now = time.monotonic()
        if now - self._said_foreign_at.get(name, -SAY_AGAIN_S) >= SAY_AGAIN_S:
            self._said_foreign_at[name] = now
            logger.error(
                "The queue %s holds %s %s, which is not a task of timbral: put back. Another Celery app uses this "
                "queue, and its workers "
                "fail what is ours: set KEY_PREFIX here, or give that app a queue of its own",
                layout.SHARED_QUEUE, name, message.headers["id"],
            )  # fmt: skip
        self._put_off(message, f"{name} is none of our tasks")

    def _move_to_own_queue(self, message: Any) -> bool:
        """A foreign sender that named no queue reached the default one: the message goes, as it is, to where its task
        belongs."""
        queue = layout.own_queue(message.headers["task"])
        if message.delivery_info["routing_key"] != layout.DEFAULT_QUEUE or queue == layout.DEFAULT_QUEUE:
            return False
        message.channel.qos.put_back(message.delivery_tag, leftmost=True, queue=queue)
        logger.info("Moved %s %s to its queue, %s", message.headers["task"], message.headers["id"], queue)
        return True

    def _take_over_id(self, message: Any) -> bool:
        """A task id that was other work's before: this is new work, once that is done. False where it is not."""
        task_id, work = message.headers["id"], work_of(message)
        if work is None or message.work_id == "busy" or outcome.is_going_on(task_id):
            return False
        unacked = message.channel.qos.unacked
        # Two workers may have got two messages of the id at a time: one of them was first.
        if not unacked.claim(message.delivery_tag, task_id, work, message.work_state):
            return False
        outcome.forget_work(task_id)
        unacked.forgotten(task_id)
        logger.info("Task id %s is used again, for other work", task_id)
        return True

    def _put_off(self, message: Any, why: str) -> None:
        """A message's last delivery is not shared with others that were there when a worker was lost: one of them is to
        blame, and only that one shall be parked. Nor are two messages of one task id worked on at a time."""
        logger.info("Put off %s: %s", message.headers["id"], why)
        qos, tag = message.channel.qos, message.delivery_tag
        self.timer.call_after(PUT_OFF_S, qos.put_back, (tag,), {"leftmost": True})

    def _park_poison(self, message: Any) -> None:
        task_id = message.headers["id"]
        reason = f"begun {message.begun} times, and each time its worker was lost"
        self._park(message, "poison", reason, DeadLetterError(task_id, reason))

    def _park(self, message: Any, kind: dead_letters.Kind, reason: str, error: Exception | type[MessageError]) -> None:
        """Write the dead letter, say so to whoever waits for the task, and only then let go of the message."""
        task, task_id = message.headers.get("task"), task_id_of(message.raw)
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
                deliveries=max(message.begun, 1),
            )
        if task_id is not None:
            self._tell(message, task_id, str(task or ""), error if isinstance(error, Exception) else None, reason)
        message.ack_log_error(logger, self.connection_errors)
        logger.error("Parked %s %s from queue %s as dead letter %s: %s", task, task_id, queue, letter, reason)

    def _tell(self, message: Any, task_id: str, task: str, error: Exception | None, reason: str) -> None:
        """Those who wait for a message's task; its successors too, where they can be read."""
        told = error or outcome.unreadable_error(task, reason)
        try:
            outcome.fail(task_id, task, told, _asked(message))
        except OUTAGES:
            raise
        except Exception:
            logger.exception("The successors of %s cannot be told that it failed", task_id)
            outcome.fail(task_id, task, told, {})
        outcome.given_up(task_id, task, _keywords(message), told)

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
        self._park(message, "garbage", f"cannot be worked on: {error!r:.200}", MessageError)


def _suspects() -> bool:
    return any(request.message.begun > 0 for request in running_requests())


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


def _asked(message: Any) -> dict[str, Any]:
    """What is to follow, where it can be read and is well."""
    try:
        if headers_problem(message.headers) is None and body_problem([[], {}, message.payload[2]]) is None:
            return successors.asked_by(message.headers, message.payload[2], message.properties.get("priority"))
    except Exception:
        logger.debug("No successors can be read", exc_info=True)
    return {}


def _arguments(message: Any) -> str:
    try:
        args, kwargs, _ = message.payload
        return json.dumps([args, kwargs] if args else kwargs, ensure_ascii=False)
    except Exception:
        return ""
