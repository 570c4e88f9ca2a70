"""Outcomes that are stored for other tasks than the one that runs: those that follow it, and the job whose last chunk it was.

A stored result is what the caller waits for; an event of its own lets Flower show the task as done.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import structlog
from celery import current_app, current_task, states
from celery.app.task import Context

from timbral import keys
from timbral.errors import JobCancelledError, JobError
from timbral.logic.single_flight import Flight
from workers import publishing, resources

__all__ = ["announce", "fail_followers", "forget_submitted", "given_up", "succeed"]

logger = structlog.get_logger(__name__)


def succeed(task_id: str, task: str, result: dict[str, Any]) -> None:
    """Store ``result`` for a task that ended without one."""
    _store(task_id, task, result, states.SUCCESS)
    _send_event("task-succeeded", task_id, result=repr(result), runtime=0.0)


def fail(task_id: str, task: str, error: BaseException) -> None:
    """Store ``error`` for a task that ended without a result."""
    _store(task_id, task, error, states.FAILURE)
    _send_event("task-failed", task_id, exception=repr(error), traceback="")


def _store(task_id: str, task: str, result: Any, state: str) -> None:
    current_app.backend.store_result(task_id, result, state, request=Context(id=task_id, task=task))
    forget_submitted([task_id])


def serve_followers(task: str, digest: str, leader: str, result: dict[str, Any]) -> None:
    """Store the leader's ``result`` for all who wait for it, until nobody does."""
    flights = resources.flights()
    waiting = flights.followers(digest)
    while True:
        for follower in waiting:
            succeed(follower, task, result | flights.own_part(digest, follower))
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
            fail(follower, task, error)
        waiting = flights.release(digest, leader, waiting)
        if not waiting:
            return


def hand_over(flight: Flight) -> None:
    """One of the followers leads now, and is sent again."""
    heir = resources.flights().hand_over(flight)
    if heir is not None:
        logger.warning("handed over", task=flight.task, leader=flight.leader, heir=heir)
        publishing.publish(flight.task, flight.arguments, heir)


def announce(job_id: str) -> None:
    """Store a job's outcome for its caller and for those who asked the same; nothing where it still runs, or that was done.

    Doing it twice does no harm, so it is done before it is noted as done: a crash in between loses no result.
    """
    jobs = resources.jobs()
    outcome = jobs.outcome(job_id)
    if outcome is None:
        return
    task = "compute_recommendations"
    if outcome.answer is not None:
        _store(job_id, task, outcome.answer, states.SUCCESS)
        serve_followers(task, outcome.digest, job_id, outcome.answer)
        event: dict[str, Any] = {"kind": "task-succeeded", "result": repr(outcome.answer), "runtime": outcome.runtime_s}
    else:
        error = outcome.error or JobError(job_id, "it ended without a reason")
        _store(job_id, task, error, states.FAILURE)
        fail_followers(task, outcome.digest, job_id, error)
        event = {"kind": "task-failed", "exception": repr(error), "traceback": ""}
    if jobs.close(job_id):
        _send_event(task_id=job_id, **event)
        logger.info("job ended", job=job_id, state=outcome.state, runtime_s=round(outcome.runtime_s, 3))


def given_up(task_id: str, task: str, kwargs: dict[str, Any], error: BaseException) -> None:
    """A task's message was parked, or its process was ended for good: let those know that wait for it."""
    forget_submitted([task_id])
    if task == "compute_chunk" and isinstance(kwargs.get("job_id"), str):
        if resources.jobs().fail(kwargs["job_id"], error):
            announce(kwargs["job_id"])
        return
    flight = resources.flights().led_by(task_id)
    if flight is not None:
        fail_followers(flight.task, flight.digest, task_id, error)


def forget_submitted(task_ids: Iterable[str]) -> None:
    """The effect of these tasks is there: nobody has to look after them."""
    resources.records().hdel(keys.SUBMITTED, *task_ids)


def _send_event(kind: str, task_id: str, **fields: Any) -> None:
    # Only for people to see; an outage here must not undo what was stored.
    try:
        # Under the worker's own name: another one would be one more worker in Flower.
        name = current_task.request.hostname if current_task else None
        with current_app.events.default_dispatcher(hostname=name) as dispatcher:
            dispatcher.send(kind, uuid=task_id, **fields)
    except Exception as error:
        logger.warning("event not sent", kind=kind, job=task_id, problem=str(error))
