"""What the broker looks like: the names of queues and keys and what lies in them, as kombu and Celery make them.

Nothing else in this code knows it; a test compares it with kombu's own. Loads no Redis and no Celery, so producers use
it too.
"""

from __future__ import annotations

import json
from bisect import bisect
from typing import Any, Final

from timbral.config.settings import settings

__all__ = [
    "BATCH_QUEUE",
    "BINDINGS",
    "DEFAULT_QUEUE",
    "DONE_STATES",
    "PRIORITY_SEPARATOR",
    "PRIORITY_STEPS",
    "QUEUES",
    "ROUTED_TASKS",
    "SHARED_QUEUE",
    "TRAINING_QUEUE",
    "UNACKED",
    "UNACKED_INDEX",
    "UNACKED_MUTEX",
    "WORK_HEADER",
    "all_queue_keys",
    "id_in_json",
    "is_done",
    "name",
    "own_queue",
    "priority_of",
    "queue_key",
    "queue_keys",
    "queue_of_key",
    "result_key",
    "stored_result",
]

PRIORITY_STEPS: Final = (0, 3, 6, 9)
"""kombu keeps a list for each step; 0 is the highest, and its list has the queue's own name."""
PRIORITY_SEPARATOR: Final = "\x06\x16"
DONE_STATES: Final = frozenset({"SUCCESS", "FAILURE", "REVOKED"})
"""States of a stored result after which no other comes."""
WORK_HEADER: Final = "timbral_work"
"""Header of a message that says which piece of work it is: the same on every delivery, retry and second sending of one
piece; another where the task id is used again. Without it, it is the delivery tag that the sender made."""


def name(key: str) -> str:
    """A name of the broker's as it stands in Redis, behind KEY_PREFIX. A queue's full name is what Celery and ``-Q``
    know it by."""
    return settings.KEY_PREFIX + key


DEFAULT_QUEUE: Final = name(settings.QUEUE)
BATCH_QUEUE: Final = name(settings.BATCH_QUEUE)
TRAINING_QUEUE: Final = name(settings.TRAINING_QUEUE)
QUEUES: Final = (DEFAULT_QUEUE, BATCH_QUEUE, TRAINING_QUEUE)
SHARED_QUEUE: Final = "celery"
"""The queue of every Celery app that names none: what lies in it may be another app's."""
_OWN_QUEUES: Final = {
    "train_model": TRAINING_QUEUE,
    "tune_model": TRAINING_QUEUE,
    "compute_chunk": BATCH_QUEUE,
    "train_block": BATCH_QUEUE,
    "archive_plays": BATCH_QUEUE,  # not behind a long training: until it is done, plays take room in Redis
}
ROUTED_TASKS: Final = tuple(_OWN_QUEUES)

UNACKED: Final = name("unacked")
"""hash: delivery tag → ``[message, exchange, routing key]``, from the moment that a worker takes the message."""
UNACKED_INDEX: Final = name("unacked_index")
"""zset: delivery tag → when its worker last said that it holds it (seconds)."""
UNACKED_MUTEX: Final = name("unacked_mutex")
BINDINGS: Final = "_kombu.binding.%s"
"""Of an exchange, by its name, which has the prefix."""
_RESULT: Final = name("celery-task-meta-")


def own_queue(task: str) -> str:
    """The queue that a task belongs on."""
    return _OWN_QUEUES.get(task, DEFAULT_QUEUE)


def queue_key(queue: str, priority: int = 0) -> str:
    """The list that a message of this priority waits in: pushed on the left, taken from the right."""
    step = PRIORITY_STEPS[bisect(PRIORITY_STEPS, min(max(priority, 0), PRIORITY_STEPS[-1])) - 1]
    return f"{queue}{PRIORITY_SEPARATOR}{step}" if step else queue


def queue_keys(queue: str) -> list[str]:
    """All lists of a queue, the most urgent first."""
    return [queue_key(queue, step) for step in PRIORITY_STEPS]


def all_queue_keys() -> list[str]:
    """All lists of all queues of the fleet."""
    return [key for queue in QUEUES for key in queue_keys(queue)]


def queue_of_key(key: str) -> str:
    """The queue that a list belongs to."""
    return key.rsplit(PRIORITY_SEPARATOR, 1)[0]


def priority_of(message: dict[str, Any]) -> int:
    """The priority that a message asks for; 0 where it says none."""
    try:
        return int(message["properties"]["priority"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return 0


def result_key(task_id: str) -> str:
    """Where Celery's result backend keeps a task's result, as JSON."""
    return _RESULT + task_id


def stored_result(value: bytes | str | None) -> dict[str, Any]:
    """The result in ``value``; empty where there is none, or none that Celery has written."""
    try:
        stored = json.loads(value or "{}")
    except ValueError:
        return {}
    return stored if isinstance(stored, dict) else {}


def is_done(value: bytes | str | None) -> bool:
    """Whether a stored result is a task's last."""
    status = stored_result(value).get("status")
    return isinstance(status, str) and status in DONE_STATES


def id_in_json(task_id: str) -> str:
    """A task id as it stands between the quotes of a message."""
    return json.dumps(task_id)[1:-1]
