"""Calls the rescue of lost work every RESTORE_INTERVAL_S; which worker of the fleet does it, the rescue settles itself.

A thread, so that a Redis that is away holds up no event loop.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from celery import bootsteps

from timbral.config.settings import settings
from workers import rescuing

__all__ = ["Rescuer"]

logger = logging.getLogger(__name__)


class Rescuer(bootsteps.StartStopStep):
    """Worker step that owns the thread."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._stop = threading.Event()

    def start(self, worker: Any) -> None:
        threading.Thread(target=self._run, args=(worker.app,), name="rescuer", daemon=True).start()

    def stop(self, worker: Any) -> None:  # noqa: ARG002 - Celery's signature
        self._stop.set()

    terminate = stop

    def _run(self, app: Any) -> None:
        app.set_current()  # for this thread, which publishes
        while not self._stop.wait(settings.RESTORE_INTERVAL_S):
            try:
                rescuing.rescue_once()
            except Exception as error:
                logger.warning("Cannot look for lost work: %s", error)
