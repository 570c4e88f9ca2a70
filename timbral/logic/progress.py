"""ProgressWriter: how far a task is, where its producer reads it."""

from __future__ import annotations

import time
from collections.abc import Callable

import redis

from timbral import keys
from timbral.config.settings import settings

__all__ = ["ProgressWriter"]

MIN_INTERVAL_S = 0.5

Report = Callable[[int, int, str], None]


class ProgressWriter:
    """Writes ``progress:{task_id}``, at most every half second, and the last step always.

    Args:
        redis_client: holds the progress.
        task_id: whose it is.
        report: called with the same (done, total, text) after each write: for Celery's state and events.
    """

    def __init__(self, redis_client: redis.Redis, task_id: str, report: Report | None = None) -> None:
        self.redis = redis_client
        self.task_id = task_id
        self._report = report
        self._next_s = 0.0

    def __call__(self, done: int, total: int, text: str) -> None:
        now = time.monotonic()
        if now < self._next_s and done < total:
            return
        self._next_s = now + MIN_INTERVAL_S
        with self.redis.pipeline(transaction=True) as pipeline:
            pipeline.hset(keys.progress(self.task_id), mapping={"done": done, "total": total, "text": text})
            pipeline.expire(keys.progress(self.task_id), settings.RESULT_EXPIRES_S)
            pipeline.execute()
        if self._report is not None:
            self._report(done, total, text)
