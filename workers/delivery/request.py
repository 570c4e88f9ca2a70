"""Tells a task that ended its process from one that was handed over."""

from __future__ import annotations

import logging
from typing import Any

from billiard.einfo import ExceptionWithTraceback
from billiard.exceptions import WorkerLostError
from celery.app.task import Task as CeleryTask
from celery.exceptions import TimeLimitExceeded
from celery.worker.request import Request as CeleryRequest

from workers.delivery.held import is_stopping

__all__ = ["Request", "Task"]

logger = logging.getLogger(__name__)


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

    def on_timeout(self, soft: bool, timeout: float) -> None:
        super().on_timeout(soft, timeout)
        if not soft and not is_stopping():
            # Imported here: Flower and the scheduler load this module, and have no use for what the tasks need.
            from workers.outcome import given_up

            try:
                given_up(self.id, self.type, self.kwargs, TimeLimitExceeded(timeout))
            except Exception:
                logger.exception("Cannot tell those who wait for %s that it was ended", self.id)


class Task(CeleryTask):
    """Base of every task of the fleet."""

    abstract = True
    Request = f"{__name__}:Request"
    notes_its_beginning = False
    """Whether the task itself notes that it was begun, in the first step that it does
    (``beginning.noted_by_itself``)."""
