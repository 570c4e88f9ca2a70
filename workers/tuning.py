"""Tuning: a search for settings becomes trials, which all workers share, and one verdict."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NoReturn

from celery.exceptions import Ignore

from timbral.config.settings import settings
from timbral.extras import require
from timbral.logic.jobs import Chunk
from timbral.logic.progress import ProgressWriter
from timbral.messages import TuneModel
from workers import outcome, publishing, resources

if TYPE_CHECKING:
    from timbral.logic.training import TrainingRun
    from timbral.tuning.search import Search

__all__ = ["fan_out", "release", "work"]

AT_ONCE: Final = 32
"""Most trials at the same time, however large the fleet: each learns from those that ended before it began."""

PRIORITY: Final = 9
"""The lowest: lists that are asked for meanwhile do not wait for the trials that are still to come."""


def fan_out(job_id: str, message: TuneModel, progress: ProgressWriter, asked: dict[str, Any], digest: str) -> NoReturn:
    """Begin the search, put its trials on their queue and end: whoever gives the verdict stores the answer.

    Raises:
        Ignore: always; the task has no result of its own.
    """
    require(message.task, "tune")
    # Imported here: a worker that never searches needs no Optuna.
    from timbral.tuning import search

    jobs = resources.jobs()
    if jobs.is_open(job_id):  # the message was delivered again
        publishing.publish_missing(job_id)
        raise Ignore
    run = _run(job_id, progress)
    arguments = search.begin(resources.records(), job_id, message, run, resources.n_threads())
    trials = search.n_trials(message)
    jobs.create(
        job_id,
        task=message.task,
        arguments=arguments,
        model_version="",
        n_rows=min(trials, AT_ONCE),
        chunk_size=1,
        n_trials=trials,
        digest=digest,
        kwargs=message.kwargs(),
        asked=asked,
    )
    jobs.check_cancelled(job_id)
    _publish(job_id, jobs.remaining(job_id), PRIORITY)
    raise Ignore


def work(chunk: Chunk) -> bool:
    """One trial, or the verdict after the last one; whether the job is over."""
    require(TuneModel.task, "tune")
    jobs, search = resources.jobs(), _search(chunk.job_id, json.dumps(chunk.arguments))
    if chunk.number == search.verdict_number:
        over = jobs.finish_verdict(chunk, search.judge())
        release()
        return over
    search.try_one(chunk)
    progress, left_s = search.progress(), search.seconds_left
    go_on = left_s is None or left_s > 0
    following = jobs.finish_trial(chunk, progress, go_on=go_on)
    outcome.tell(chunk.job_id, *progress)
    if following is not None:
        is_verdict = following == search.verdict_number
        _publish(chunk.job_id, [following], None if is_verdict else PRIORITY)
    if not go_on:
        release()
    return False


def _publish(job_id: str, numbers: list[int], priority: int | None) -> None:
    # They fit models, as trainings do.
    publishing.publish_chunks(job_id, numbers, priority, settings.TRAIN_TIME_LIMIT_S)


def release() -> None:
    """Let go of the data of the last search."""
    _search.cache_clear()


@lru_cache(maxsize=1)
def _search(job_id: str, arguments: str) -> Search:
    """Kept from one trial to the next: its data are read once by each process."""
    from timbral.tuning.search import Search

    return Search(resources.records(), job_id, json.loads(arguments), _run(job_id), resources.n_threads())


def _run(job_id: str, progress: ProgressWriter | None = None) -> TrainingRun:
    from timbral.logic.training import TrainingRun

    def check() -> None:
        resources.jobs().check_cancelled(job_id)

    if progress is None:
        return TrainingRun(resources.store(), resources.overlay(), check=check)
    return TrainingRun(resources.store(), resources.overlay(), progress, check)
