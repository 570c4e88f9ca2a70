"""What every task does around its work: look whether it was cancelled, try again after an outage, do equal requests
once."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn, TypeVar

import redis.exceptions
import structlog
from celery import Task
from celery.exceptions import Ignore, Reject, Retry
from kombu.exceptions import OperationalError

from timbral import keys
from timbral.config.settings import public_address, settings
from timbral.errors import MessageError, RedisUnavailableError
from timbral.logic.progress import ProgressWriter
from timbral.logic.single_flight import digest_of
from timbral.messages import ANSWERS, Message, read_message
from timbral.queue import layout
from timbral.redis_server.refusals import as_ours
from timbral.redis_server.replies import text
from workers import outcome, resources, successors

__all__ = ["TRANSIENT", "again_later", "delivery", "progress_of", "read", "run_once"]

logger = structlog.get_logger(__name__)

TRANSIENT: Final = (
    RedisUnavailableError,
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ReadOnlyError,
    OperationalError,
    ConnectionError,
    TimeoutError,
)
"""Errors that time heals, replies that heal among them (timbral.queue.patience). All others would come again, so they
are the task's answer at once."""
MAX_RETRIES: Final = 5
MAX_BACK_OFF_S: Final = 60.0

M = TypeVar("M", bound=Message)


def read(task: Task, message: type[M], args: tuple[Any, ...], arguments: dict[str, Any]) -> M:
    """The task's arguments, checked. In a chain, the answer of the task before comes first, and is none of them.

    Raises:
        MessageError: lists each bad field.
    """
    if args and not (len(args) == 1 and task.request.parent_id and _is_an_answer(args[0])):
        problem = "arguments must be named; in a chain after another app's task, use its immutable signature, .si()"
        raise MessageError(message.task, [{"field": "args", "problem": problem, "value": repr(args)[:80]}])
    return read_message(message, arguments)


def _is_an_answer(value: object) -> bool:
    """Whether it is what one of our tasks returns, or a chord's list of that."""
    if isinstance(value, list):
        return bool(value) and all(map(_is_an_answer, value))
    return isinstance(value, dict) and bool(value) and any(value.keys() <= set(fields) for fields in ANSWERS.values())


@contextmanager
def delivery(task: Task, *, is_job: bool = True) -> Iterator[None]:
    """One delivery of a task's message: nothing is done where it was cancelled; an outage is tried again later.

    Args:
        is_job: somebody may have its id, to ask for it or to cancel it; else there is nothing to look up.
    """
    task_id = task.request.id
    try:
        if is_job:
            resources.jobs().check_cancelled(task_id)
        yield
    except (Ignore, Reject, Retry):
        raise
    except TRANSIENT as error:
        if _may_retry(task):
            again_later(task, error)
        logger.error("retries exhausted", retries=task.request.retries, problem=str(error))
        raise _as_ours(error) from error
    except Exception as error:
        _leave_to_another(task, error)
        if is_job:
            outcome.forget_submitted([task_id])
        raise
    if is_job:
        outcome.forget_submitted([task_id])


def again_later(task: Task, error: BaseException) -> NoReturn:
    """Put the task back with a delay that doubles each time. It stays the same task, with the same id."""
    delay_s = min(MAX_BACK_OFF_S, 2.0**task.request.retries) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
    logger.warning("retrying", delay_s=round(delay_s, 1), retries=task.request.retries, problem=str(error))
    try:
        retry = task.retry(exc=error, countdown=delay_s, max_retries=None, throw=False)
    except Reject as reject:
        # It could not be sent, and Celery would now drop it. Left unacknowledged, it comes back when Redis does.
        raise Reject(error, requeue=True) from reject
    raise retry


def progress_of(task: Task) -> ProgressWriter:
    """Progress that the producer reads, and that Celery's state and Flower show."""

    def report(done: int, total: int, words: str) -> None:
        task.update_state(state="PROGRESS", meta={"done": done, "total": total, "text": words})
        task.send_event("task-progress", result=f"{done}/{total} {words}")

    return ProgressWriter(resources.records(), task.request.id, report)


def run_once(
    task: Task,
    work: Callable[[str], dict[str, Any]],
    arguments: dict[str, Any],
    *context: object,
    own: dict[str, Any] | None = None,
    again_for_followers: bool = False,
) -> dict[str, Any]:
    """``work(digest)``, once for all equal requests of the moment: their results are stored with this one.

    Args:
        work: returns the answer; raises Ignore where somebody else will give it.
        arguments: what is asked; a follower is sent again with them if this task is lost.
        context: what else has to be equal.
        own: fields of the answer that are this request's alone.
        again_for_followers: who joins while the work runs may know of something that it has not seen: do it once more
            for all of them. Otherwise they are content with it, and so is who waited in the queue meanwhile.

    Raises:
        Ignore: another task does it, and will store the result.
    """
    flights, task_id = resources.flights(), task.request.id
    digest = digest_of(task.name, arguments, *context)
    sent_at_s = None if again_for_followers else _sent_at_s(task_id)
    asked = successors.asked(task)
    work_id = (task.request.headers or {}).get(layout.WORK_HEADER)
    joined = flights.join(
        digest, task_id, task.name, arguments, own=own, sent_at_s=sent_at_s, work=work_id, asked=asked
    )
    if joined.role == "follow":
        logger.info("follows", leader=joined.leader)
        raise Ignore
    if joined.role == "done":
        logger.info("already done", leader=joined.leader)
        return dict(joined.result)
    try:
        waiting = joined.followers
        while True:
            answer = work(digest)
            for follower in waiting:
                wanted = flights.asked_of(digest, follower)
                outcome.succeed(follower, task.name, answer | flights.own_part(digest, follower), wanted)
            waiting = flights.release(digest, task_id, waiting, answer)
            if not waiting:
                return answer | (own or {})
            if not again_for_followers:
                outcome.serve_followers(task.name, digest, task_id, answer)
                return answer | (own or {})
    except (Ignore, Reject, Retry):
        raise
    except Exception as error:
        if not (isinstance(error, TRANSIENT) and _may_retry(task)):
            _leave_to_another(task, error)
            outcome.fail_followers(task.name, digest, task_id, _as_ours(error))
        raise


def _leave_to_another(task: Task, error: BaseException) -> None:
    """A worker that stood still past the visibility timeout has lost its message to another, which works on: what
    fails here, for want of what that one has cleared away, say, is nobody's answer.

    Raises:
        Ignore: the message is another's.
    """
    tag = (task.request.properties or {}).get("delivery_tag")
    if not tag or resources.broker().hexists(layout.UNACKED, tag) or task.request.id not in resources.held():
        return
    logger.warning("failed when its message was another's already", problem=str(error))
    raise Ignore from error


def _may_retry(task: Task) -> bool:
    return int(task.request.retries or 0) < MAX_RETRIES


def _as_ours(error: BaseException) -> BaseException:
    return as_ours(public_address(settings.redis_url), error) if isinstance(error, TRANSIENT) else error


def _sent_at_s(task_id: str) -> float | None:
    sent = resources.records().hget(keys.SUBMITTED, task_id)
    try:
        return float(json.loads(text(sent))["at"]) if sent else None
    except (KeyError, TypeError, ValueError):
        return None
