"""Dropping what waits in a queue, for the person on call: who waits for it is told, and nothing sends it again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

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

PER_LOOK: Final = 100

# KEYS: queue, result. ARGV: a message, the result of its task ('' for none), its life in s. 0 where a worker was
# faster.
_DROP = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
if ARGV[2] ~= '' then
  redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
  redis.call('PUBLISH', KEYS[2], ARGV[2])  -- Celery's clients wait for that
end
return 1
"""


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
    jobs, submitted, drop = Jobs(records), Submitted(records), broker.register_script(_DROP)
    n_dropped = 0
    cancelled: set[str] = set()
    for key, value in _waiting(broker, queue, task):
        message = _loaded(value)
        task_id, name = task_id_of(message), _task_of(message)
        job_id = (task_id or "").rpartition(".")[0] if name == "compute_chunk" else ""
        result = _cancelled(task_id, name) if task_id is not None and not job_id else ""
        # In one step: whoever is lost in between has dropped nothing without a word.
        if not drop(keys=[key, layout.result_key(task_id or "")], args=[value, result, settings.RESULT_EXPIRES_S]):
            continue
        n_dropped += 1
        if job_id and job_id not in cancelled:
            cancelled.add(job_id)
            jobs.cancel(job_id)
        if task_id is not None:
            submitted.forget(task_id)
    logger.warning("dropped what waited", queue=queue, messages=n_dropped, jobs=len(cancelled))
    return n_dropped


def _waiting(broker: redis.Redis, queue: str, task: str | None) -> Iterator[tuple[str, Any]]:
    """Key and message of what waits now, for the caller to take out; what is sent from now on is not among it."""
    for key in layout.queue_keys(queue):
        # From the new end on: what is sent meanwhile pushes what has been looked at further, and is not looked at.
        n_kept = 0
        while values := broker.lrange(key, n_kept, n_kept + PER_LOOK - 1):
            for value in values:
                if task is None or _task_of(_loaded(value)) == task:
                    yield key, value
                else:
                    n_kept += 1


def _cancelled(task_id: str, task: str) -> str:
    """The result of a task that was dropped, as Celery stores it."""
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
    return json.dumps(meta | {"name": task})


def _loaded(value: Any) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return None


def _task_of(message: Any) -> str:
    headers = message.get("headers") if isinstance(message, dict) else None
    name = headers.get("task") if isinstance(headers, dict) else None
    return name if isinstance(name, str) else ""
