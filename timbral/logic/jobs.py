"""Jobs: work that is fanned out over the fleet in chunks, and what is left of it.

A job's id is its task's id. A chunk that is done twice counts once; whoever does the last one finishes the job. While
the job's outcome is not stored for its caller it stays in ``jobs:open``, where a rescue finds it if nobody works on it
any more.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import redis
import structlog

from timbral import keys
from timbral.config.settings import settings
from timbral.errors import JobCancelledError, JobError, TimbralError, error_from
from timbral.logic import job_scripts as scripts
from timbral.redis_server.replies import server_now_s, text, texts

__all__ = ["Chunk", "Jobs", "Outcome", "State", "chunk_task_id"]

logger = structlog.get_logger(__name__)

State = Literal["running", "succeeded", "failed", "cancelled"]
MAX_ATTEMPTS = 5
"""Times that a chunk is begun before the job is given up: after errors, lost workers and time limits, all counted
together."""


class Chunk(NamedTuple):
    """One part of a job of ``task``: the rows ``start`` to ``stop`` of its model version, or the users in ``user_ids``;
    of a search the trial ``number``."""

    job_id: str
    number: int
    attempt: int
    model_version: str
    start: int
    stop: int
    user_ids: list[int | str] | None
    arguments: dict[str, Any]
    task: str


class Outcome(NamedTuple):
    """How a job of ``task`` ended: ``answer`` where it succeeded, else ``error``."""

    task: str
    state: State
    answer: dict[str, Any] | None
    error: TimbralError | None
    digest: str
    kwargs: dict[str, Any]
    runtime_s: float
    asked: dict[str, Any]


def chunk_task_id(job_id: str, number: int) -> str:
    """Id of the task of a chunk: the same whenever it is sent, so that its deliveries add up."""
    return f"{job_id}.{number}"


class Jobs:
    """The bookkeeping of all jobs, in Redis.

    Args:
        redis_client: holds it.
    """

    def __init__(self, redis_client: redis.Redis) -> None:
        self.redis = redis_client
        self._create = redis_client.register_script(scripts.CREATE)
        self._begin_chunk = redis_client.register_script(scripts.BEGIN_CHUNK)
        self._finish_chunk = redis_client.register_script(scripts.FINISH_CHUNK)
        self._finish_trial = redis_client.register_script(scripts.FINISH_TRIAL)
        self._finish_verdict = redis_client.register_script(scripts.FINISH_VERDICT)
        self._end = redis_client.register_script(scripts.END)
        self._close = redis_client.register_script(scripts.CLOSE)
        self._forget = redis_client.register_script(scripts.FORGET)
        self._stale = redis_client.register_script(scripts.STALE)
        self._touch = redis_client.register_script(scripts.TOUCH)
        self._age = redis_client.register_script(scripts.AGE)

    def create(
        self,
        job_id: str,
        *,
        arguments: dict[str, Any],
        model_version: str,
        n_rows: int,
        chunk_size: int,
        named: Sequence[Sequence[int | str]] = (),
        digest: str = "",
        kwargs: dict[str, Any] | None = None,
        asked: dict[str, Any] | None = None,
        task: str = "compute_recommendations",
        n_trials: int | None = None,
    ) -> Literal["new", "known", "gone"]:
        """Open a job over the first ``n_rows`` rows of ``model_version`` ("" for a job that needs none), and the users
        of the lists in ``named``.

        Chunk ``i`` is rows ``i * chunk_size`` on; after those come the lists. Of a search, which has
        ``n_trials``, a row is a trial that may be done at the same time as others; whoever ends one begins the next,
        and after all of them chunk ``n_trials`` is the verdict. A "known" job is left as it is: its task
        was
        delivered again. "gone" is the version: begin again with the one that is live now.
        """
        n_chunks = -(-n_rows // chunk_size)
        total = n_rows + sum(len(part) for part in named)
        fields: dict[str, Any] = {
            "task": task,
            "arguments": json.dumps(arguments),
            "kwargs": json.dumps(kwargs or {}),
            "model_version": model_version,
            "chunk_size": chunk_size,
            "n_rows": n_rows,
            "total": total,
            "digest": digest,
            "asked": json.dumps(asked or {}),
        }
        if n_trials is not None:
            fields |= {"begun": n_rows, "last": n_trials}
        fields |= {f"users:{n_chunks + place}": json.dumps(list(part)) for place, part in enumerate(named)}
        flat = [item for pair in fields.items() for item in pair]
        known: list[Any] = [job_id, n_chunks + len(named), model_version, *flat]
        created = self._create(keys=[*self._keys(job_id), keys.MODEL_VERSIONS], args=known)
        return text(created)  # type: ignore[return-value]  # the script says one of the three

    def remaining(self, job_id: str) -> list[int]:
        """Numbers of the chunks that are not done."""
        return sorted(int(member) for member in self.redis.smembers(keys.job_chunks(job_id)))

    def begin_chunk(self, job_id: str, number: int) -> Chunk | None:
        """What the chunk is, None where there is nothing to do: it is done, or the job has ended, or was never
        there."""
        known: list[Any] = [number, MAX_ATTEMPTS, self._too_often(job_id, number), self._gone(job_id)]
        reply = self._begin_chunk(keys=self._keys(job_id), args=known)
        if not reply:
            return None
        attempt, version, size, n_rows, users, arguments, task = (text(part) for part in reply)
        start = number * int(size)
        stop = min(start + int(size), int(n_rows))
        user_ids = json.loads(users) if users else None
        return Chunk(job_id, number, int(attempt), version, start, stop, user_ids, json.loads(arguments), task)

    def finish_chunk(self, chunk: Chunk, users: int, unknown: int) -> bool:
        """The chunk's effect is in Redis. True where it was the last one, and the job's outcome is to be announced."""
        known: list[Any] = [chunk.job_id, chunk.number, users, unknown, settings.RESULT_EXPIRES_S]
        return bool(self._finish_chunk(keys=self._keys_with_progress(chunk.job_id), args=known))

    def finish_trial(self, chunk: Chunk, progress: tuple[int, int, str], *, go_on: bool) -> int | None:
        """The chunk's trial is over. Gives the number of the chunk that is to be sent now, if there is one: another
        trial's, as long as there are some and ``go_on``; and the verdict's when no trial is left.

        Args:
            progress: done, total and text of the job's progress.
        """
        known: list[Any] = [chunk.job_id, chunk.number, settings.RESULT_EXPIRES_S, *progress, int(go_on)]
        number = text(self._finish_trial(keys=self._keys_with_progress(chunk.job_id), args=known))
        return int(number) if number else None

    def finish_verdict(self, chunk: Chunk, answer: dict[str, Any]) -> bool:
        """The job has its answer. True where its outcome is to be announced."""
        known: list[Any] = [chunk.job_id, chunk.number, settings.RESULT_EXPIRES_S, json.dumps(answer)]
        return bool(self._finish_verdict(keys=self._keys_with_progress(chunk.job_id), args=known))

    def began_at_s(self, job_id: str) -> float:
        """When this was asked first, by the server's clock."""
        self.redis.hsetnx(keys.job(job_id), "began_at", str(server_now_s(self.redis)))
        return float(text(self.redis.hget(keys.job(job_id), "began_at")))

    def fail(self, job_id: str, error: BaseException) -> bool:
        """End a running job with ``error``; its chunks become nothing to do. False where it had ended before."""
        if isinstance(error, TimbralError):
            name, args = type(error).__name__, list(error.args)
        else:
            name, args = "TaskFailedError", [job_id, f"{type(error).__name__}: {error}"]
        return self._ended(job_id, "failed", json.dumps([name, args], default=str))

    def cancel(self, job_id: str) -> bool:
        """End a running job, or have a task that is none end at its next step; False where the job had ended before.

        The caller's result is stored by the next chunk that comes by, or by a rescue.
        """
        cancelled = self._ended(job_id, "cancelled", json.dumps(["JobCancelledError", [job_id, "it was cancelled"]]))
        if cancelled:
            logger.info("cancelled", job=job_id)
        return cancelled

    def is_cancelled(self, job_id: str) -> bool:
        """Whether somebody cancelled the job or task."""
        return text(self.redis.hget(keys.job(job_id), "state")) == "cancelled"

    def check_cancelled(self, job_id: str) -> None:
        """Raise JobCancelledError where somebody cancelled the job or task."""
        if self.is_cancelled(job_id):
            raise JobCancelledError(job_id, "it was cancelled")

    def outcome(self, job_id: str) -> Outcome | None:
        """How the job ended; None while it runs, after it was closed, and for one that was never there."""
        known = texts(self.redis.hgetall(keys.job(job_id)))
        state = known.get("state")
        if state not in ("succeeded", "failed", "cancelled") or known.get("closed") or "total" not in known:
            return None
        error: TimbralError | None = None
        answer: dict[str, Any] | None = None
        if state == "succeeded" and "answer" in known:
            answer = json.loads(known["answer"])
        elif state == "succeeded":
            answer = {
                "users_done": int(known.get("users_done", 0)),
                "users_unknown": int(known.get("users_unknown", 0)),
                "job_id": job_id,
                "model_version": known["model_version"],
            }
        else:
            name, args = json.loads(known["error"])
            error = error_from(name, args) or JobError(job_id, f"{name}: {args}")
        runtime_s = float(self._age(keys=[keys.job(job_id)], args=[known["created_at"]]))
        kwargs, asked = json.loads(known["kwargs"]), json.loads(known.get("asked", "{}"))
        task = known.get("task", "compute_recommendations")
        ended: Any = state  # one of Outcome's, for the job has ended
        return Outcome(task, ended, answer, error, known["digest"], kwargs, runtime_s, asked)

    def close(self, job_id: str) -> bool:
        """The outcome is stored for everyone who waits: the job is over. True for the first to say so."""
        return bool(self._close(keys=self._keys(job_id), args=[job_id, settings.RESULT_EXPIRES_S]))

    def is_open(self, job_id: str) -> bool:
        """Whether the job's outcome is still to come."""
        return self.redis.zscore(keys.JOBS_OPEN, job_id) is not None

    def is_lost(self, job_id: str) -> bool:
        """Whether an open job's record is gone from Redis, so that it can neither go on nor end."""
        return self.is_open(job_id) and not self.redis.hexists(keys.job(job_id), "total")

    def drop_lost(self, job_id: str) -> None:
        """Nothing is left of a lost job but that it was cancelled, if it was: its task can be done anew."""
        self.close(job_id)
        if not self.is_cancelled(job_id):
            self.forget(job_id)

    def stale(self, after_s: float) -> list[str]:
        """Ids of the open jobs of which nothing was heard for ``after_s``."""
        return [text(member) for member in self._stale(keys=[keys.JOBS_OPEN], args=[after_s])]

    def touch(self, job_id: str) -> None:
        """The job was looked after just now."""
        self._touch(keys=[keys.JOBS_OPEN], args=[job_id])

    def forget(self, job_id: str) -> bool:
        """Its id is another job's from now on; False where it is still open."""
        return bool(self._forget(keys=self._keys(job_id), args=[job_id]))

    def _ended(self, job_id: str, state: State, error: str) -> bool:
        known: list[Any] = [job_id, state, error, settings.RESULT_EXPIRES_S]
        return bool(self._end(keys=self._keys(job_id), args=known))

    def _too_often(self, job_id: str, number: int) -> str:
        reason = f"chunk {number} was begun {MAX_ATTEMPTS} times and never got done; see the workers' logs"
        return json.dumps(["TaskFailedError", [job_id, reason]])

    def _gone(self, job_id: str) -> str:
        reason = (
            f"{keys.job_chunks(job_id)} is gone from Redis, and with it what is left to do: maxmemory-policy must be "
            "volatile-ttl, and nobody else may delete keys there; ask for it again"
        )
        return json.dumps(["JobError", [job_id, reason]])

    def _keys_with_progress(self, job_id: str) -> list[str]:
        return [*self._keys(job_id), keys.progress(job_id)]

    def _keys(self, job_id: str) -> list[str]:
        return [keys.job(job_id), keys.job_chunks(job_id), keys.JOBS_OPEN]
