"""Fan-out: one request for many users becomes chunks, which all workers share, and one answer."""

from __future__ import annotations

from functools import partial
from typing import Any, NoReturn

import numpy as np
import structlog
from celery import Task
from celery.exceptions import Ignore

from timbral.config.settings import settings
from timbral.errors import JobCancelledError, MessageError, ModelNotFoundError
from timbral.logic.batch_recommendation import BatchRecommendation
from timbral.logic.jobs import MAX_ATTEMPTS, Chunk
from timbral.messages import ComputeRecommendations, TuneModel
from timbral.versions.served_model import ServedModel
from workers import engine_lists, outcome, publishing, resources, tuning
from workers.execution import TRANSIENT, again_later
from workers.live_model import while_live

__all__ = ["compute", "fan_out", "read"]

LIST_OPTIONS = ("top_k", "exclude_seen", "max_per_group", "exploration_share", "allow", "exclude")
"""Arguments of the message that say what the lists are to be like."""

logger = structlog.get_logger(__name__)

MAX_ATTEMPTS_OF_AN_ERROR = 3
"""Times that a chunk is tried which fails with an error that time does not heal; other errors have MAX_ATTEMPTS."""


def fan_out(
    job_id: str, message: ComputeRecommendations, served: ServedModel, asked: dict[str, Any], digest: str
) -> NoReturn:
    """Split the request, put its chunks on their queue and end: whoever does the last one stores the answer.

    Raises:
        Ignore: always; the task has no result of its own.
    """
    jobs, size = resources.jobs(), settings.CHUNK_SIZE
    everybody = message.user_ids is None
    if not jobs.is_open(job_id):
        engine_lists.make(job_id, message, served)
    # New users, whom the model has not seen: they are in no row of it.
    listed = list(dict.fromkeys(message.user_ids or _new_users(served)))
    created = jobs.create(
        job_id,
        arguments={name: getattr(message, name) for name in (*LIST_OPTIONS, "engine")},
        model_version=served.version,
        n_rows=len(served.user_ids) if everybody else 0,
        chunk_size=size,
        named=[listed[start : start + size] for start in range(0, len(listed), size)],
        digest=digest,
        kwargs=message.kwargs(),
        asked=asked,
    )
    if created == "gone":
        raise ModelNotFoundError(served.version)
    jobs.check_cancelled(job_id)
    if everybody and not (message.allow or message.exclude):
        batch = BatchRecommendation(
            resources.records(), served, top_k=message.top_k, max_per_group=message.max_per_group
        )
        if resources.store().current_version() == served.version:
            resources.store().promote(served.version)  # renews the lists of similar items
        batch.write_popular()
    if created == "known":
        publishing.publish_missing(job_id)
    else:
        publishing.publish_chunks(job_id, jobs.remaining(job_id), asked.get("priority"))
    raise Ignore


def _new_users(served: ServedModel) -> list[int | str]:
    users = resources.overlay().users()
    return [users[place] for place in np.flatnonzero(served.user_ids.codes(users) < 0).tolist()]


def read(args: tuple[Any, ...], arguments: dict[str, Any]) -> tuple[str, int]:
    """Job id and number of a chunk, checked."""
    job_id, number = arguments.get("job_id"), arguments.get("chunk")
    fits = isinstance(job_id, str) and isinstance(number, int) and not isinstance(number, bool) and number >= 0
    if args or not fits or len(arguments) != 2:
        problem = "must be job_id, a string, and chunk, a number"
        raise MessageError("compute_chunk", [{"field": "arguments", "problem": problem, "value": repr(arguments)[:80]}])
    assert isinstance(job_id, str)  # noqa: S101 - for the type checker
    assert isinstance(number, int)  # noqa: S101 - for the type checker
    return job_id, number


def compute(task: Task, job_id: str, number: int) -> None:
    """Do one chunk; after the last one, announce the job. A chunk that is done, or whose job has ended, is nothing to
    do."""
    jobs = resources.jobs()
    chunk: Chunk | None = None
    try:
        chunk = jobs.begin_chunk(job_id, number)
        if chunk is None or _work(chunk):
            outcome.announce(job_id)
    except JobCancelledError:
        outcome.announce(job_id)
    except Exception as error:
        limit = MAX_ATTEMPTS if isinstance(error, TRANSIENT) else MAX_ATTEMPTS_OF_AN_ERROR
        attempt = int(task.request.retries or 0) + 1 if chunk is None else chunk.attempt
        if attempt < limit:
            again_later(task, error)
        if jobs.fail(job_id, error):
            outcome.announce(job_id)
        raise


def _work(chunk: Chunk) -> bool:
    """The work of a chunk; whether it was the job's last one."""
    if chunk.task == TuneModel.task:
        return tuning.work(chunk)
    tuning.release()
    return resources.jobs().finish_chunk(chunk, *_recommend(chunk))


def _recommend(chunk: Chunk) -> tuple[int, int]:
    _, done = while_live(partial(_write_lists, chunk))
    return done


def _write_lists(chunk: Chunk, served: ServedModel) -> tuple[int, int]:
    is_the_jobs = served.version == chunk.model_version
    made = None
    if chunk.arguments.get("engine") == "spark" and chunk.user_ids is None and is_the_jobs:
        made = engine_lists.made_for(chunk.job_id, chunk.model_version)
    batch = BatchRecommendation(
        resources.records(),
        served,
        made=made,
        **{name: chunk.arguments[name] for name in LIST_OPTIONS if name in chunk.arguments},
    )
    if chunk.user_ids is not None:
        return batch.for_users(chunk.user_ids)
    if is_the_jobs:
        return batch.for_codes(chunk.start, chunk.stop)
    # Another version has gone live since: its lists are wanted, of the users whom the chunk is about.
    return batch.for_users(resources.store().get(chunk.model_version).users_in_rows(chunk.start, chunk.stop))
