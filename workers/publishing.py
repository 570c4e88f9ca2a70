"""Sending messages from inside the fleet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from celery import current_app

from timbral.logic.jobs import chunk_task_id
from timbral.queue import layout

__all__ = ["publish", "publish_chunks"]


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
