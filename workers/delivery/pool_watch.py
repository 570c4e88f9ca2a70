"""Notices a killed process of the pool in half a second.

Celery is told by the closing of a pipe, but looks at once, when the kernel may not have the process's status yet; then
it looks every 5 s.
"""

from __future__ import annotations

from typing import Any

from celery import bootsteps

__all__ = ["PoolWatch"]

INTERVAL_S = 0.5


class PoolWatch(bootsteps.StartStopStep):
    """Worker step: a timer of the event loop."""

    requires = ("celery.worker.components:Pool",)

    def register_with_event_loop(self, worker: Any, hub: Any) -> None:
        hub.call_repeatedly(INTERVAL_S, worker.pool.maintain_pool)
