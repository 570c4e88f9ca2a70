"""Tells a task that ended its process from one that was handed over."""

from __future__ import annotations

from typing import Any

from billiard.einfo import ExceptionWithTraceback
from billiard.exceptions import WorkerLostError
from celery.app.task import Task as CeleryTask
from celery.worker.request import Request as CeleryRequest

from workers.delivery.transport import is_stopping

__all__ = ["Request", "Task"]


class Request(CeleryRequest):
    """A message on its way through the pool."""

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        lost = isinstance(error, WorkerLostError | SystemExit | KeyboardInterrupt)
        # A worker that stops ends its processes itself: no fault of the task.
        stopping = self._already_cancelled or self._already_revoked or is_stopping()
        self.message.crashed = lost and not stopping
        return super().on_failure(exc_info, send_failed_event, return_ok)


class Task(CeleryTask):
    """Base of every task of the fleet."""

    abstract = True
    Request = f"{__name__}:Request"
