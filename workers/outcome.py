"""Outcomes that are stored for other tasks than the one that runs: those that follow it, and the job whose last chunk
it was.

A stored result is what the caller waits for; an event of its own lets Flower show the task as done.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import structlog
from celery import current_app, current_task

from timbral import keys
from timbral.errors import DeadLetterError, JobCancelledError, JobError, MessageError, TaskFailedError
from timbral.logic.dropping import drop_queue
from timbral.logic.single_flight import Flight
from timbral.logic.submitted import Submitted
from timbral.queue import layout
from timbral.versions.trainings import Trainings
from workers import engine_lists, publishing, resources, successors

__all__ = [
    "NODE",
    "announce",
    "drop",
    "fail",
    "fail_followers",
    "forget_submitted",
    "forget_work",
    "given_up",
    "is_going_on",
    "lost",
    "revoked",
    "succeed",
    "tell",
    "unreadable",
    "unreadable_error",
]

logger = structlog.get_logger(__name__)

Asked = dict[str, Any]


class _Node:
    """This worker's name: an event under another one would be one more worker in Flower."""

    name: str | None = None


NODE = _Node()


def succeed(task_id: str, task: str, result: dict[str, Any], asked: Asked) -> None:
    """``result`` for a task that ended without one, and for its successors."""
    successors.succeed(task_id, task, result, asked)
    forget_submitted([task_id])
    _send_event("task-succeeded", task_id, result=repr(result), runtime=0.0)


def fail(task_id: str, task: str, error: BaseException, asked: Asked) -> None:
    """``error`` for a task that ended without a result, and for its successors."""
    successors.fail(task_id, task, error, asked)
    forget_submitted([task_id])
    _send_event("task-failed", task_id, exception=repr(error), traceback="")


def serve_followers(task: str, digest: str, leader: str, result: dict[str, Any]) -> None:
    """Store the leader's ``result`` for all who wait for it, until nobody does."""
    flights = resources.flights()
    waiting = flights.followers(digest)
    while True:
        for follower in waiting:
            succeed(follower, task, result | flights.own_part(digest, follower), flights.asked_of(digest, follower))
        waiting = flights.release(digest, leader, waiting, result)
        if not waiting:
            return


def fail_followers(task: str, digest: str, leader: str, error: BaseException) -> None:
    """The leader failed for good: so did they. One that was cancelled hands over instead: they were not."""
    flights = resources.flights()
    flight = flights.flight(digest)
    if flight is None or flight.leader != leader:
        return
    if isinstance(error, JobCancelledError):
        hand_over(flight)
        return
    waiting = flights.followers(digest)
    while True:
        for follower in waiting:
            fail(follower, task, error, flights.asked_of(digest, follower))
        waiting = flights.release(digest, leader, waiting)
        if not waiting:
            return


def hand_over(flight: Flight) -> None:
    """One of the followers leads now, and is sent again."""
    flights = resources.flights()
    heir = flights.hand_over(flight)
    if heir is not None:
        logger.warning("handed over", task=flight.task, leader=flight.leader, heir=heir)
        publishing.publish(flight.task, flight.arguments, heir, flights.asked_of(flight.digest, heir))


def announce(job_id: str) -> None:
    """Store a job's outcome for its caller and for those who asked the same; nothing where it still runs, or that was
    done.

    Doing it twice does no harm, so it is done before it is noted as done: a crash in between loses no result.
    """
    jobs = resources.jobs()
    outcome = jobs.outcome(job_id)
    if outcome is None:
        return
    task = outcome.task
    if outcome.answer is not None:
        successors.succeed(job_id, task, outcome.answer, outcome.asked, outcome.kwargs)
        serve_followers(task, outcome.digest, job_id, outcome.answer)
        event: dict[str, Any] = {"kind": "task-succeeded", "result": repr(outcome.answer), "runtime": outcome.runtime_s}
    else:
        error = outcome.error or JobError(job_id, "it ended without a reason")
        successors.fail(job_id, task, error, outcome.asked, outcome.kwargs)
        fail_followers(task, outcome.digest, job_id, error)
        event = {"kind": "task-failed", "exception": repr(error), "traceback": ""}
    forget_submitted([job_id])
    if jobs.close(job_id):
        if outcome.kwargs.get("engine") == "spark":
            engine_lists.forget(job_id)
        _send_event(task_id=job_id, **event)
        logger.info("job ended", job=job_id, state=outcome.state, runtime_s=round(outcome.runtime_s, 3))


def given_up(task_id: str, task: str, kwargs: dict[str, Any], error: BaseException) -> None:
    """A task's message was parked, or its process was ended for good: let those know that wait for it."""
    forget_submitted([task_id])
    job_id = _job_of(task, kwargs)
    if job_id is not None:
        ended = (
            resources.jobs().cancel(job_id)
            if isinstance(error, JobCancelledError)
            else resources.jobs().fail(job_id, error)
        )
        if ended:
            announce(job_id)
        return
    flight = resources.flights().led_by(task_id)
    if flight is not None:
        fail_followers(flight.task, flight.digest, task_id, error)


def lost(task: str, task_id: str, kwargs: dict[str, Any]) -> None:
    """A task was sent again and again, and has no effect: say so to whoever waits."""
    error = DeadLetterError(task_id, "it was lost again and again; the workers' logs and the dead letters may say why")
    fail(task_id, task, error, {})
    given_up(task_id, task, kwargs, error)


def revoked(task_id: str, task: str, kwargs: dict[str, Any], *, expired: bool) -> None:
    """Somebody revoked or terminated a task, or it expired: what it is part of ends with it."""
    job_id = _job_of(task, kwargs)
    if job_id is not None and expired:
        given_up(
            task_id, task, kwargs, TaskFailedError(job_id, f"its chunk {task_id} expired before a worker began it")
        )
        return
    if job_id is None and resources.jobs().is_open(task_id) and resources.jobs().cancel(task_id):
        announce(task_id)
    given_up(task_id, task, kwargs, JobCancelledError(job_id or task_id, "it was revoked"))


def drop(queue: str) -> int:
    """Remove what waits in a queue."""
    return drop_queue(resources.records(), resources.broker(), queue)


def unreadable_error(task: str, problem: str) -> MessageError:
    """What the caller of a message is told that cannot be worked on."""
    return MessageError(task or "unknown task", [{"field": "message", "problem": problem, "value": "…"}])


def unreadable(task_id: str, task: str, problem: str) -> None:
    """A message that cannot be worked on, but says whose it is: its caller is told."""
    fail(task_id, task, unreadable_error(task, problem), {})


def is_going_on(task_id: str) -> bool:
    """Whether work under this task id is being done, by its job or by a request that it leads or follows."""
    return resources.jobs().is_open(task_id) or task_id in resources.flights().waiting([task_id])


def forget_work(task_id: str) -> None:
    """A task id is used again, for other work: what was done under it before is no proof of anything now."""
    records = resources.records()
    resources.jobs().forget(task_id)
    resources.overlay().forget_task(task_id)
    records.delete(keys.progress(task_id), keys.told(task_id))
    Trainings(records).forget(task_id)
    resources.broker().delete(layout.result_key(task_id))


def forget_submitted(task_ids: Iterable[str]) -> None:
    """The effect of these tasks is there: nobody has to look after them."""
    Submitted(resources.records()).forget(*task_ids)


def tell(task_id: str, done: int, total: int, words: str) -> None:
    """How far a task is that this process is not running, for Flower."""
    _send_event("task-progress", task_id, result=f"{done}/{total} {words}")


def _job_of(task: str, kwargs: dict[str, Any]) -> str | None:
    """The job that a chunk is part of."""
    job_id = kwargs.get("job_id") if task == "compute_chunk" else None
    return job_id if isinstance(job_id, str) else None


def _send_event(kind: str, task_id: str, **fields: Any) -> None:
    # Only for people to see; an outage here must not undo what was stored.
    try:
        # Under the worker's own name: another one would be one more worker in Flower.
        name = current_task.request.hostname if current_task else NODE.name
        with current_app.events.default_dispatcher(hostname=name) as dispatcher:
            dispatcher.send(kind, uuid=task_id, **fields)
    except Exception as error:
        logger.warning("event not sent", kind=kind, job=task_id, problem=str(error))
