"""The result backend: Celery's for Redis, without a copy of each task's arguments, and without waiting where nobody has
to: that a task has started is sent ahead.

Extended results name the task, which whoever waits for it wants to know. But they also hold all of its arguments, for a
day: 10 MB for a refresh
with a hundred thousand plays.
"""

from __future__ import annotations

from typing import Any

import redis
import structlog
from celery import states
from celery.backends.redis import RedisBackend
from celery.backends.redis import SentinelBackend as CelerySentinelBackend

from timbral.config.settings import settings
from timbral.messages import MESSAGES
from timbral.queue import ended_jobs, layout
from timbral.queue.patience import OUTAGES, heals
from workers.delivery import sent_ahead

__all__ = ["Backend", "SentinelBackend"]

logger = structlog.get_logger(__name__)


_STARTED = """
-- KEYS: result. ARGV: the state, its life in s. A task that came back after its success is not unmade by it.
local known = redis.call('GET', KEYS[1])
if known then
  local readable, stored = pcall(cjson.decode, known)
  if readable and type(stored) == 'table' and stored.status == 'SUCCESS' then return end
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('PUBLISH', KEYS[1], ARGV[1])
"""


class Backend(RedisBackend):
    """Stores state, result, and the task's name; notes which jobs have ended."""

    def store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **options: Any
    ) -> Any:
        """The result, and for a job's last one a line of what ended."""
        if state == states.STARTED:
            self._send_started(task_id, result, request)
            return result
        sent_ahead.read_replies()  # what comes now is newer
        stored = super().store_result(task_id, result, state, traceback=traceback, request=request, **options)
        task = str(getattr(request, "task", None) or "")
        if state in layout.DONE_STATES and task in MESSAGES:
            arguments = getattr(request, "kwargs", None)
            try:
                ended_jobs.note(self.client, task_id, task, state, arguments if isinstance(arguments, dict) else None)
            except redis.RedisError as error:  # the result is stored, and that is what somebody waits for
                logger.warning("cannot note that a job ended", job=task_id, problem=str(error))
        return stored

    def _send_started(self, task_id: str, result: Any, request: Any) -> None:
        meta = self._get_result_meta(result, states.STARTED, None, request) | {"task_id": task_id}
        life_s = int(settings.RESULT_EXPIRES_S)
        try:
            started = _STARTED, 1, layout.result_key(task_id), self.encode(meta), life_s
            sent_ahead.send(self.client, f"store that {task_id} has started", "EVAL", *started)
        except OUTAGES as error:  # whoever waits sees its result all the same
            logger.warning("cannot store that a task has started", job=task_id, problem=str(error))

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
