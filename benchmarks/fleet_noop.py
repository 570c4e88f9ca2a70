"""The fleet's Celery application with a task that does nothing: what delivery as we do it costs."""

from __future__ import annotations

from workers.app import app

__all__ = ["app"]


@app.task(name="noop")
def noop() -> int:
    return 1
