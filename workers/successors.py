"""What a message carries beyond its own work: the chain it is part of, links, a chord, a priority, who waits.

Celery applies them when a task returns. A task that ends without a result, because another does its work, leaves them
with that one: ``asked`` is
what has to be kept, as JSON, and ``succeed`` and ``fail`` do with it what Celery would have done.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from celery import Celery, Task, current_app, states
from celery.app.task import Context
from celery.canvas import group
from kombu.entity import Queue

from timbral import keys
from timbral.config.settings import settings
from timbral.redis_server.replies import text
from workers import resources

__all__ = ["asked", "asked_by", "fail", "know_queues", "succeed"]

TELLING_S: Final = 60
"""Whoever tells the successors has this long; if it is lost meanwhile, another may."""
LOOK_S: Final = 0.1
"""Between two looks whether another has told them."""
_TELLING, _TOLD = "telling", "told"
_DROPPED: Final = ("task_id", "retries", "origin")


def asked(task: Task) -> dict[str, Any]:
    """What the caller of the running task asked for, in the words of ``send_task``."""
    request = task.request
    options = {name: value for name, value in request.as_execution_options().items() if name not in _DROPPED}
    options["priority"] = (request.delivery_info or {}).get("priority")
    options["headers"] = {
        name: value for name, value in (options.get("headers") or {}).items() if name != "redelivered"
    }
    options["ignore_result"] = vars(request).get("ignore_result") or None
    return {name: value for name, value in options.items() if value not in (None, [], {})}


def asked_by(headers: dict[str, Any], embedded: object, priority: Any = None) -> dict[str, Any]:
    """The same of a message that no task has seen."""
    embed = embedded if isinstance(embedded, dict) else {}
    options = {
        "root_id": headers.get("root_id"), "parent_id": headers.get("parent_id"), "group_id": headers.get("group"),
        "group_index": headers.get("group_index"), "chord": embed.get("chord"), "chain": embed.get("chain"),
        "link": embed.get("callbacks"), "link_error": embed.get("errbacks"), "priority": priority,
    }  # fmt: skip
    return {name: value for name, value in options.items() if value not in (None, [], {})}


def succeed(
    task_id: str, task: str, result: dict[str, Any], asked: dict[str, Any], kwargs: dict[str, Any] | None = None
) -> None:
    """Store the result of a task that ended without one, and have its successors run, once. ``kwargs`` are the task's
    own, where they are known: it may be sent again with them."""
    context, backend = _context(task_id, task, asked, kwargs), current_app.backend
    store = not context.ignore_result
    with _telling(task_id, asked) as is_to_tell:
        if is_to_tell:
            _go_on(task_id, result, asked, context)
            backend.mark_as_done(task_id, result, request=context, store_result=store)
        elif store:
            backend.store_result(task_id, result, states.SUCCESS, request=context)


def _go_on(task_id: str, result: dict[str, Any], asked: dict[str, Any], context: Context) -> None:
    know_queues(current_app, asked)
    options = {"parent_id": task_id, "root_id": context.root_id, "priority": asked.get("priority")}
    linked = [current_app.signature(one) for one in asked.get("link", ())]
    groups = [one for one in linked if isinstance(one, group)]
    for each in groups or []:
        each.apply_async((result,), **options)
    for each in linked:
        if not isinstance(each, group):
            each.apply_async((result,), **options)
    chain = list(asked.get("chain", ()))
    if chain:
        current_app.signature(chain.pop()).apply_async((result,), chain=chain, **options)


def fail(
    task_id: str, task: str, error: BaseException, asked: dict[str, Any], kwargs: dict[str, Any] | None = None
) -> None:
    """Store the error of a task that ended without a result, and tell its successors, once; ``kwargs`` as in
    ``succeed``."""
    context, backend = _context(task_id, task, asked, kwargs), current_app.backend
    with _telling(task_id, asked) as is_to_tell:
        if is_to_tell:
            know_queues(current_app, asked)
            backend.mark_as_failure(task_id, error, request=context)
        else:
            backend.store_result(task_id, error, states.FAILURE, request=context)


def know_queues(app: Celery, carried: Any) -> None:
    """A successor may go to a queue of its caller's own, which the fleet has never heard of and does not read."""
    queues = app.amqp.queues
    for name in _queues_in(carried):
        if name not in queues:
            queues.add(Queue(name, routing_key=name))


def _queues_in(carried: Any, depth: int = 0) -> Iterator[str]:
    if depth > 20:
        return
    if isinstance(carried, dict):
        queue = carried.get("queue")
        if isinstance(queue, str) and queue:
            yield queue
        for value in carried.values():
            yield from _queues_in(value, depth + 1)
    elif isinstance(carried, list | tuple):
        for value in carried:
            yield from _queues_in(value, depth + 1)


def _context(task_id: str, task: str, asked: dict[str, Any], kwargs: dict[str, Any] | None) -> Context:
    return Context(
        id=task_id,
        task=task,
        kwargs=kwargs,
        correlation_id=task_id,
        root_id=asked.get("root_id") or task_id,
        parent_id=asked.get("parent_id"),
        group=asked.get("group_id"),
        group_index=asked.get("group_index"),
        chord=asked.get("chord"),
        chain=asked.get("chain"),
        callbacks=asked.get("link"),
        errbacks=asked.get("link_error"),
        reply_to=asked.get("reply_to"),
        ignore_result=bool(asked.get("ignore_result")),
        delivery_info={"priority": asked.get("priority")},
    )


@contextmanager
def _telling(task_id: str, asked: dict[str, Any]) -> Iterator[bool]:
    """Whether the successors are to be told now, by this process; where another is at it, its end is waited for: it may
    be lost, or fail, and then it is this one's to do."""
    if not any(asked.get(name) for name in ("link", "link_error", "chain", "chord")):
        yield False
        return
    records, key = resources.records(), keys.told(task_id)
    while not records.set(key, _TELLING, nx=True, ex=TELLING_S):
        if text(records.get(key)) not in ("", _TELLING):
            yield False
            return
        time.sleep(LOOK_S)
    try:
        yield True
    except BaseException:
        records.delete(key)
        raise
    records.set(key, _TOLD, ex=settings.RESULT_EXPIRES_S)
