"""The jobs that are not done yet, and the job that a beginning of an id means."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any, NamedTuple

from producers.connections import connections
from timbral import keys
from timbral.cli.short_ids import whole_id
from timbral.errors import RedisPermissionError
from timbral.queue import layout
from timbral.redis_server.replies import server_now_s, text, texts

__all__ = ["OpenJob", "open_jobs", "whole_job_id"]

_PATTERN = re.compile(r"[0-9A-Za-z._:-]+")


class OpenJob(NamedTuple):
    """A task that was sent and whose effect is not there yet."""

    id: str
    task: str
    arguments: dict[str, Any]
    age_s: float


def open_jobs() -> list[OpenJob]:
    """The newest first: what producers sent, and the jobs that were fanned out.

    Raises:
        RedisUnavailableError: Redis is away, or its user may not see them.
    """
    with connections().asking() as client:
        now = server_now_s(client)
        sent = texts(client.hgetall(keys.SUBMITTED))
        fanned_out: Any = client.zrange(keys.JOBS_OPEN, 0, -1, withscores=True)
        tasks = {text(name): text(client.hmget(keys.job(text(name)), "task")[0]) for name, _ in fanned_out}
    found = {job_id: _sent(job_id, value, now) for job_id, value in sent.items()}
    for name, moved_at in fanned_out:
        job_id = text(name)
        found.setdefault(job_id, OpenJob(job_id, tasks[job_id] or "?", {}, max(0.0, now - moved_at)))
    return sorted(found.values(), key=lambda job: job.age_s)


def whole_job_id(beginning: str) -> str:
    """The id of the job that ``beginning`` means: of one that is not done, or else of one whose result is kept."""
    if not _PATTERN.fullmatch(beginning) or len(beginning) >= 36:
        return beginning
    # Not every user of Redis may see them all; those who may not have to say the whole id.
    with contextlib.suppress(RedisPermissionError):
        found = whole_id(beginning, [job.id for job in open_jobs()], "job")
        if found != beginning:
            return found
        prefix = layout.result_key("")
        # Last, because it takes a walk over all keys.
        with connections().asking(results=True) as client:
            kept = [text(key)[len(prefix) :] for key in client.scan_iter(f"{prefix}{beginning}*", count=5_000)]
        return whole_id(beginning, kept, "job")
    return beginning


def _sent(job_id: str, value: str, now: float) -> OpenJob:
    try:
        record = json.loads(value)
        return OpenJob(job_id, str(record["task"]), dict(record["kwargs"]), max(0.0, now - float(record["at"])))
    except (KeyError, TypeError, ValueError):
        return OpenJob(job_id, "?", {}, 0.0)
