"""The result backend: Celery's for Redis, without a copy of each task's arguments.

Extended results name the task, which whoever waits for it wants to know. But they also hold all of its arguments, for a
day: 10 MB for a refresh
with a hundred thousand plays.
"""

from __future__ import annotations

from typing import Any

from celery.backends.redis import RedisBackend
from celery.backends.redis import SentinelBackend as CelerySentinelBackend

from timbral.queue.patience import heals

__all__ = ["Backend", "SentinelBackend"]


class Backend(RedisBackend):
    """Stores state, result, and the task's name."""

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
