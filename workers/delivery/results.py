"""The result backend: Celery's for Redis, without a copy of each task's arguments.

Extended results name the task, which whoever waits for it wants to know. But they also hold all of its arguments, for a
day: 10 MB for a refresh
with a hundred thousand plays.
"""

from __future__ import annotations

from typing import Any

import redis
import structlog
from celery.backends.redis import RedisBackend
from celery.backends.redis import SentinelBackend as CelerySentinelBackend

from timbral.messages import MESSAGES
from timbral.queue import ended_jobs, layout
from timbral.queue.patience import heals

__all__ = ["Backend", "SentinelBackend"]

logger = structlog.get_logger(__name__)


class Backend(RedisBackend):
    """Stores state, result, and the task's name; notes which jobs have ended."""

    def store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **options: Any
    ) -> Any:
        """The result, and for a job's last one a line of what ended."""
        stored = super().store_result(task_id, result, state, traceback=traceback, request=request, **options)
        task = str(getattr(request, "task", None) or "")
        if state in layout.DONE_STATES and task in MESSAGES:
            arguments = getattr(request, "kwargs", None)
            try:
                ended_jobs.note(self.client, task_id, task, state, arguments if isinstance(arguments, dict) else None)
            except redis.RedisError as error:  # the result is stored, and that is what somebody waits for
                logger.warning("cannot note that a job ended", job=task_id, problem=str(error))
        return stored

    def _get_result_meta(self, *args: Any, **options: Any) -> dict[str, Any]:
        meta: dict[str, Any] = super()._get_result_meta(*args, **options)
        meta.pop("args", None)
        meta.pop("kwargs", None)
        return meta

    def exception_safe_to_retry(self, exc: BaseException) -> bool:
        """A result that Redis refuses for now is stored later: who waits for it would wait for ever."""
        return heals(exc) or bool(super().exception_safe_to_retry(exc))


class SentinelBackend(Backend, CelerySentinelBackend):
    """The same, on the server that the sentinels name."""
