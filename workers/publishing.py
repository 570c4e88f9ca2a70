"""Sending messages from inside the fleet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import structlog
from celery import current_app

from timbral.logic.jobs import chunk_task_id
from timbral.queue import layout
from workers import resources

__all__ = ["publish", "publish_chunks", "publish_missing"]

logger = structlog.get_logger(__name__)


def publish(
    task: str, kwargs: dict[str, Any], task_id: str, asked: dict[str, Any] | None = None, queue: str | None = None
) -> None:
    """Put a task on its queue under an id that it already has: the same work, with what its caller asked for
    (``successors.asked``).

    Args:
        queue: where it goes on, if that is not where it belongs.
    """
    options = dict(asked or {})
    headers = {**(options.pop("headers", None) or {})}
    headers.setdefault(layout.WORK_HEADER, task_id)
    current_app.send_task(
        task, kwargs=kwargs, task_id=task_id, queue=queue or layout.own_queue(task), headers=headers, **options
    )


def publish_chunks(
    job_id: str, numbers: Iterable[int], priority: int | None = None, time_limit_s: int | None = None
) -> None:
    """Put chunks of a job on their queue; TASK_TIME_LIMIT_S is what they may take where ``time_limit_s`` is None."""
    with current_app.producer_or_acquire() as producer:
        for number in numbers:
            task_id = chunk_task_id(job_id, number)
            current_app.send_task(
                "compute_chunk",
                kwargs={"job_id": job_id, "chunk": number},
                task_id=task_id,
                queue=layout.own_queue("compute_chunk"),
                headers={layout.WORK_HEADER: task_id},
                priority=priority,
                time_limit=time_limit_s,
                ignore_result=True,
                producer=producer,
            )


def publish_missing(job_id: str) -> int:
    """Put those chunks of a job on their queue that are not done and that nobody holds; returns how many.

    Where all are done, but nobody has said so, one is sent to say it. It looks through the queues, which a new job need
    not.
    """
    jobs = resources.jobs()
    remaining = jobs.remaining(job_id)
    ids = {number: chunk_task_id(job_id, number) for number in remaining}
    held = resources.held().among(ids.values())
    missing = [number for number, task_id in ids.items() if task_id not in held]
    publish_chunks(job_id, missing if remaining else [0])
    jobs.touch(job_id)
    logger.info("chunks enqueued", job=job_id, chunks=len(missing), of=len(remaining))
    return len(missing)
