"""Dropping what waits in a queue, for the person on call: who waits for it is told, and nothing sends it again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import redis
import structlog

from timbral.config.settings import settings
from timbral.errors import ParameterError
from timbral.logic.jobs import Jobs
from timbral.logic.submitted import Submitted
from timbral.queue import layout
from timbral.queue.envelope import task_id_of

__all__ = ["drop_queue"]

logger = structlog.get_logger(__name__)

_SET_ASIDE = f"{layout.PRIORITY_SEPARATOR}dropped"


def drop_queue(records: redis.Redis, broker: redis.Redis, queue: str, task: str | None = None) -> int:
    """Remove the messages that wait in a queue; returns how many. What a worker has in hand runs on.

    A task's result becomes that it was cancelled, and a job of which a chunk waited is cancelled.

    Args:
        task: only messages of this task; the others keep their order.

    Raises:
        ParameterError: there is no such queue.
    """
    if queue not in layout.QUEUES:
        raise ParameterError(f"No queue {queue!r}; the queues are {', '.join(layout.QUEUES)}")
    jobs, submitted = Jobs(records), Submitted(records)
    n_dropped = 0
    cancelled: set[str] = set()
    for message in _taken_out(broker, queue, task):
        n_dropped += 1
        task_id, name = task_id_of(message), _task_of(message)
        if task_id is None:
            continue
        job_id = task_id.rpartition(".")[0] if name == "compute_chunk" else ""
        if job_id and job_id not in cancelled:
            cancelled.add(job_id)
            jobs.cancel(job_id)
        if not job_id:
            _store_cancelled(broker, task_id, name)
        submitted.forget(task_id)
    logger.warning("dropped what waited", queue=queue, messages=n_dropped, jobs=len(cancelled))
    return n_dropped


def _taken_out(broker: redis.Redis, queue: str, task: str | None) -> Iterator[Any]:
    for key in layout.queue_keys(queue):
        aside = (
            key + _SET_ASIDE
        )  # in one step, so that what is sent from now on stays; and what an interrupted call left is there
        if not broker.exists(aside) and not _renamed(broker, key, aside):
            continue
        kept: list[Any] = []
        while value := broker.rpop(aside):
            message = _loaded(value)
            if task is None or _task_of(message) == task:
                yield message
            else:
                kept.append(value)
        if kept:
            broker.rpush(key, *reversed(kept))


def _renamed(broker: redis.Redis, key: str, aside: str) -> bool:
    try:
        return bool(broker.renamenx(key, aside))
    except redis.ResponseError:  # there is nothing
        return False


def _store_cancelled(broker: redis.Redis, task_id: str, task: str) -> None:
    error = {
        "exc_type": "JobCancelledError",
        "exc_message": [task_id, "dropped from its queue"],
        "exc_module": "timbral.errors",
    }
    now = datetime.now(UTC).replace(tzinfo=None).isoformat()
    meta: dict[str, Any] = {
        "status": "REVOKED",
        "result": error,
        "traceback": None,
        "children": [],
        "date_done": now,
        "task_id": task_id,
    }
    text = json.dumps(meta | {"name": task})
    broker.set(layout.result_key(task_id), text, ex=settings.RESULT_EXPIRES_S)
    broker.publish(layout.result_key(task_id), text)  # Celery's clients wait for that


def _loaded(value: Any) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return None


def _task_of(message: Any) -> str:
    headers = message.get("headers") if isinstance(message, dict) else None
    name = headers.get("task") if isinstance(headers, dict) else None
    return name if isinstance(name, str) else ""
