"""Jobs for the screens: those that are not done, and those that ended last."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import redis

from producers.connections import connections
from producers.jobs import Job
from timbral import keys
from timbral.errors import TimbralError
from timbral.queue import ended_jobs, layout
from timbral.queue.ended_jobs import EndedJob
from timbral.redis_server.replies import server_now_s, text

__all__ = ["JobRow", "OpenJobs", "is_personal", "read_ended", "read_job", "read_open"]

MOST_OPEN = 100
"""Open jobs that a screen shows; of more, it says how many there are."""
_LOOKED_THROUGH = 400


class JobRow(NamedTuple):
    """One job as a screen shows it."""

    id: str
    task: str
    state: str
    age_s: float | None
    done: int
    total: int
    text: str
    arguments: dict[str, Any]

    @property
    def share(self) -> float | None:
        return min(1.0, self.done / self.total) if self.total else None

    @property
    def runs(self) -> bool:
        return self.state in ("STARTED", "PROGRESS", "RETRY")


class OpenJobs(NamedTuple):
    """The newest of the open jobs, and how many there are."""

    rows: list[JobRow]
    total: int

    @property
    def running(self) -> list[JobRow]:
        return [row for row in self.rows if row.runs]

    @property
    def waiting(self) -> list[JobRow]:
        return [row for row in self.rows if not row.runs]


def read_open(limit: int = MOST_OPEN, task: str | None = None) -> OpenJobs:
    """The ``limit`` newest of what was sent and has no effect yet, of all tasks or of one; of a part of it, where there
    is very much."""
    with connections().asking() as client:
        now = server_now_s(client)
        n_sent, n_fanned = int(client.hlen(keys.SUBMITTED)), int(client.zcard(keys.JOBS_OPEN))
        sent = _some_sent(client)
        fanned: Any = client.zrevrange(keys.JOBS_OPEN, 0, MOST_OPEN - 1, withscores=True)
    found = {job_id: _sent(value, now) for job_id, value in sent.items()}
    for name, moved_at in fanned:
        found.setdefault(text(name), ("compute_recommendations", max(0.0, now - moved_at), {}))
    if task is not None:
        found = {job_id: known for job_id, known in found.items() if known[0] == task}
    newest = dict(sorted(found.items(), key=lambda one: one[1][1])[:limit])
    return OpenJobs(_rows(newest), max(n_sent, n_fanned, len(found)))


def _rows(known: dict[str, tuple[str, float, dict[str, Any]]]) -> list[JobRow]:
    """State and progress of all of them, in a round trip each."""
    if not known:
        return []
    with connections().asking(results=True) as client:
        results: Any = client.mget([layout.result_key(job_id) for job_id in known])
    with connections().asking() as client, client.pipeline(transaction=False) as pipe:
        for job_id in known:
            pipe.hmget(keys.progress(job_id), "done", "total", "text")
        told = pipe.execute()
    return [
        JobRow(
            job_id,
            task,
            str(layout.stored_result(result).get("status", "PENDING")),
            age_s,
            _number(done),
            _number(total),
            text(said),
            {} if is_personal(arguments) else arguments,
        )
        for (job_id, (task, age_s, arguments)), result, (done, total, said) in zip(
            known.items(), results, told, strict=True
        )
    ]


def _number(value: Any) -> int:
    try:
        return int(text(value) or 0)
    except ValueError:
        return 0


def _some_sent(client: redis.Redis) -> dict[str, str]:
    found: dict[str, str] = {}
    cursor = 0
    for _ in range(_LOOKED_THROUGH // 100):
        reply: Any = client.hscan(keys.SUBMITTED, cursor, count=100)
        cursor, part = reply
        found |= {text(name): text(value) for name, value in part.items()}
        if cursor == 0:
            break
    return found


def _sent(value: str, now: float) -> tuple[str, float, dict[str, Any]]:
    try:
        record = json.loads(value)
        return str(record["task"]), max(0.0, now - float(record["at"])), dict(record["kwargs"])
    except (KeyError, TypeError, ValueError):
        return "?", 0.0, {}


def _row(job_id: str, task: str, age_s: float | None, arguments: dict[str, Any]) -> JobRow:
    job = Job(job_id, task)
    state, progress = job.state, job.progress
    return JobRow(job_id, task, state, age_s, *progress, {} if is_personal(arguments) else arguments)


def is_personal(arguments: dict[str, Any]) -> bool:
    """Whether arguments name users: long, and not for every reader."""
    return bool({"user_id", "user_ids", "plays"} & set(arguments))


def read_ended(limit: int, offset: int) -> tuple[list[EndedJob], int]:
    """Ended jobs, the newest first, and how many are known."""
    with connections().asking(results=True) as client:
        return ended_jobs.list_ended(client, limit, offset), ended_jobs.count(client)


class JobDetail(NamedTuple):
    """All of one job; ``answer`` where it succeeded, ``error`` where it did not."""

    row: JobRow
    answer: dict[str, Any] | None
    error: str
    ended: EndedJob | None

    @property
    def final(self) -> bool:
        return self.row.state in ("SUCCESS", "FAILURE", "REVOKED")


def read_job(job_id: str) -> JobDetail | None:
    """One job; None where nothing is known of it."""
    job = Job(job_id)
    if not job.is_known:
        return None
    with connections().asking() as client:
        now = server_now_s(client)
        sent = client.hget(keys.SUBMITTED, job_id)
    task, age_s, arguments = _sent(text(sent), now) if sent else (job.task or "?", None, {})
    row = _row(job_id, task, age_s, arguments)
    answer, error = None, ""
    if row.state in ("SUCCESS", "FAILURE", "REVOKED"):
        try:
            answer = job.result
        except TimbralError as problem:
            error = str(problem)
    ended = next((one for one in read_ended(ended_jobs.KEPT, 0)[0] if one.id == job_id), None)
    return JobDetail(row, answer, error, ended)
