"""Bare Celery with a task that does nothing, late acknowledgement and nothing else: what the fleet is compared with."""

from __future__ import annotations

import os

from celery import Celery

__all__ = ["app"]

app = Celery("bare", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(
    task_acks_late=True, worker_prefetch_multiplier=1, worker_send_task_events=True, task_track_started=True
)


@app.task(name="noop")
def noop() -> int:
    return 1
