"""Sending messages from inside the fleet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from celery import current_app

from timbral.logic.jobs import chunk_task_id

__all__ = ["publish", "publish_chunks", "queue_of"]


def queue_of(task: str) -> str:
    """The queue that a task belongs on."""
    route: dict[str, str] = current_app.conf.task_routes.get(task, {})
    return route.get("queue", str(current_app.conf.task_default_queue))


def publish(task: str, kwargs: dict[str, Any], task_id: str, queue: str | None = None) -> None:
    """Put a task on its queue under an id that it already has."""
    current_app.send_task(task, kwargs=kwargs, task_id=task_id, queue=queue or queue_of(task))


def publish_chunks(job_id: str, numbers: Iterable[int]) -> None:
    """Put chunks of a job on their queue."""
    queue = queue_of("compute_chunk")
    with current_app.producer_or_acquire() as producer:
        for number in numbers:
            current_app.send_task(
                "compute_chunk",
                kwargs={"job_id": job_id, "chunk": number},
                task_id=chunk_task_id(job_id, number),
                queue=queue,
                ignore_result=True,
                producer=producer,
            )
