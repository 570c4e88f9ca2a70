"""What a producer knows of a task that it sent."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

from redis.client import Pipeline

from producers.connections import connections
from timbral import keys
from timbral.errors import (
    JobCancelledError,
    JobTimeoutError,
    ParameterError,
    RedisUnavailableError,
    TaskFailedError,
    error_from,
)
from timbral.queue import layout

__all__ = ["DONE_STATES", "Job", "Progress", "job"]

DONE_STATES: Final = layout.DONE_STATES
logger = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.005
LONGEST_PAUSE_S: Final = 0.5
OUTAGE_PATIENCE_S: Final = 60.0
"""``wait`` sits out an outage of Redis this long: the fleet loses nothing in one, so neither should who waits for
it."""


class Progress(NamedTuple):
    """How far a task is: ``done`` of ``total`` steps (0 of 0 where it has not said), and ``text`` in words."""

    done: int
    total: int
    text: str


class Job:
    """A task that was sent. It holds nothing but its id: ``Job(id)`` in another process is the same job.

    Attributes:
        id: the task's id.
        task: the task's name, or None where only the id is known and nothing is stored yet.
    """

    def __init__(self, id: str, task: str | None = None) -> None:  # noqa: A002 - the public interface's name
        self.id = id
        self._task = task

    def __repr__(self) -> str:
        return f"Job(id={self.id!r}, task={self._task!r})"

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, Job) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def task(self) -> str | None:
        """The task's name, or None where only the id is known and no worker has stored it yet."""
        if self._task is None:
            self._task = self._stored().get("name")
        return self._task

    @property
    def state(self) -> str:
        """PENDING (waiting, or unknown), STARTED, PROGRESS, RETRY, SUCCESS, FAILURE or REVOKED (cancelled).

        Raises:
            RedisUnavailableError: Redis is away.
        """
        return _state(self._stored())

    @property
    def done(self) -> bool:
        """Whether there will be no other state."""
        return self.state in DONE_STATES

    @property
    def progress(self) -> Progress:
        """How far it is; of a job that was fanned out, over all its chunks.

        Raises:
            RedisUnavailableError: Redis is away.
        """
        with connections().asking() as client, client.pipeline(transaction=False) as pipeline:
            pipeline.hmget(keys.progress(self.id), "done", "total", "text")
            pipeline.hmget(keys.job(self.id), "total")
            (done, total, text), (job_total,) = pipeline.execute()
        return Progress(_number(done), _number(total or job_total), (text or b"").decode(errors="replace"))

    @property
    def result(self) -> dict[str, Any]:
        """The task's answer, at once.

        Raises:
            JobTimeoutError: it is not done.
            TimbralError: as ``wait``.
        """
        return self.wait(0)

    def wait(
        self, timeout_s: float | None = None, on_progress: Callable[[str, Progress], None] | None = None
    ) -> dict[str, Any]:
        """Wait until the task is done, and return its answer: the fields of ``timbral.messages.ANSWERS``.

        From asyncio: ``await asyncio.to_thread(job.wait, 60)``.

        Args:
            timeout_s: longest wait in seconds; None for no end.
            on_progress: called with the state and the progress whenever one of them has changed.

        Raises:
            TimbralError: the task's own error, as it was raised in the worker (DataError, TrainingError, …).
            TaskFailedError: it failed with an error that is not one of ours.
            JobCancelledError: it was cancelled.
            DeadLetterError: its message was parked after too many deliveries.
            JobTimeoutError: it is not done after ``timeout_s``; it goes on.
            RedisUnavailableError: Redis was away for a minute, or for what was left of ``timeout_s``.
        """
        if timeout_s is not None and math.isnan(timeout_s):  # which no time is after
            raise ParameterError(f"timeout_s must be a number of seconds or None, got {timeout_s!r}")
        started = time.monotonic()
        deadline = None if timeout_s is None else started + timeout_s
        pause_s, outage_began, shown = FIRST_PAUSE_S, None, None
        while True:
            stored: dict[str, Any] = {}
            try:
                stored = self._stored()
                if on_progress is not None:
                    seen = (_state(stored), self.progress)
                    if seen != shown:
                        shown = seen
                        on_progress(*seen)
                outage_began = None
            except RedisUnavailableError:
                now = time.monotonic()
                outage_began = outage_began or now
                if now - outage_began > OUTAGE_PATIENCE_S or (deadline is not None and now >= deadline):
                    raise
            if _state(stored) in DONE_STATES:
                return self._answer(stored)
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                raise JobTimeoutError(self.id, f"not done after {timeout_s:g} s (state {_state(stored)}); it goes on")
            # A short task is answered in milliseconds; a long one is asked for twice a second.
            pause_s = min(max(pause_s, (now - started) / 10), LONGEST_PAUSE_S)
            time.sleep(pause_s if deadline is None else min(pause_s, max(deadline - now, 0.001)))

    @property
    def is_known(self) -> bool:
        """Whether anything is known of it: it was sent by one of ours and is not done, or its outcome is still kept.

        Raises:
            RedisUnavailableError: Redis is away.
        """
        if self._stored():
            return True
        with connections().asking() as client, client.pipeline(transaction=False) as pipeline:
            pipeline.hmget(keys.SUBMITTED, self.id)
            pipeline.exists(keys.progress(self.id), keys.job(self.id))
            (sent,), n_keys = pipeline.execute()
        return sent is not None or n_keys > 0

    def cancel(self) -> bool:
        """Have the fleet drop the task: it is not begun if it waits, and ends at its next step if it runs.

        Returns:
            False where it had ended before.

        Raises:
            RedisUnavailableError: Redis is away.
        """
        if self.done:
            return False
        name, life_s = keys.job(self.id), connections().settings.RESULT_EXPIRES_S
        error = json.dumps(["JobCancelledError", [self.id, "it was cancelled"]])

        def mark(pipeline: Pipeline) -> bool:
            state: Any = pipeline.hget(name, "state")
            pipeline.multi()
            if state not in (None, b"running"):
                return False
            pipeline.hset(name, mapping={"state": "cancelled", "error": error})
            if state is None:  # a mark on a task that is no job (yet): it must go by itself
                pipeline.expire(name, life_s)
            return True

        with connections().asking() as client:
            return bool(client.transaction(cast("Any", mark), name, value_from_callable=True))

    def _stored(self) -> dict[str, Any]:
        with connections().asking(results=True) as client:
            value = client.get(layout.result_key(self.id))
        if value is None:
            return {}
        try:
            stored = json.loads(value)
        except ValueError:
            stored = None
        if not isinstance(stored, dict):
            logger.warning("The result of job %s is not JSON as Celery writes it", self.id)
            return {}
        return stored

    def _answer(self, stored: dict[str, Any]) -> dict[str, Any]:
        result = stored.get("result")
        if stored["status"] == "SUCCESS":
            answer: dict[str, Any] = result if isinstance(result, dict) else {"result": result}
            return answer
        name, args = _failure(stored)
        if stored["status"] == "REVOKED":
            raise JobCancelledError(self.id, "it was cancelled")
        raise error_from(name, args) or TaskFailedError(
            self.id, f"{name or 'it failed'}: {' '.join(str(arg) for arg in args)}".rstrip(": ")
        )


def job(id: str) -> Job:  # noqa: A002 - the public interface's name
    """The job with this id, sent by whichever process; an id that nobody knows has the state PENDING.

    Raises:
        ParameterError: it is no id.
    """
    if not isinstance(id, str) or not id:
        raise ParameterError(f"a job's id must be a string, got {id!r:.80}")
    return Job(id)


def _failure(stored: dict[str, Any]) -> tuple[str, list[Any]]:
    """Class name and arguments of the error that Celery stored."""
    failure = stored.get("result")
    failure = failure if isinstance(failure, dict) else {}
    args = failure.get("exc_message")
    return str(failure.get("exc_type") or ""), args if isinstance(args, list) else [] if args is None else [args]


def _state(stored: dict[str, Any]) -> str:
    state = str(stored.get("status", "PENDING"))
    return "REVOKED" if state == "FAILURE" and _failure(stored)[0] == JobCancelledError.__name__ else state


def _number(value: bytes | None) -> int:
    try:
        return int(float(value or 0))
    except (ValueError, OverflowError):  # not a number, or infinity
        return 0
