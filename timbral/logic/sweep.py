"""Sweep: finds work that nobody does any more, and has it done.

Three records say what is owed: open jobs, requests with followers, and what producers submitted. A message that is in a queue or with
a worker is safe already; what is owed and has no message is sent again, under the same id. Doing it once too often does no harm.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import redis
import structlog

from timbral import keys
from timbral.config.settings import settings
from timbral.logic.jobs import Jobs, chunk_task_id
from timbral.logic.single_flight import SingleFlight
from timbral.messages import REFRESH_PLAYED
from timbral.plays.refresh_queue import RefreshQueue
from timbral.queue.held_messages import HeldMessages
from timbral.replies import now_s, text

__all__ = ["Publish", "Sweep", "Swept"]

logger = structlog.get_logger(__name__)

Publish = Callable[[str, dict[str, Any], str], None]
"""``publish(task, kwargs, task_id)``: put a task on its queue."""

RESULT_KEY: Final = "celery-task-meta-{task_id}"
DONE: Final = ("SUCCESS", "FAILURE", "REVOKED")
LOOK_TWICE_S: Final = 0.25
"""Between taking a message off its queue and noting who has it, a worker has it nowhere; so short a gap is waited out."""
PER_CALL: Final = 500


class Swept(NamedTuple):
    """What a sweep sent again: chunks of jobs, followers of lost leaders, submitted tasks, refreshes of users who have played."""

    chunks: int
    followers: int
    submitted: int
    refreshes: int


class Sweep:
    """Looks after the records of one fleet.

    Args:
        records: the Redis of the jobs and requests.
        broker: the Redis of the queue and the results.
        publish: sends a task.
        every_s: time between two sweeps of the fleet; what is younger than two of them is left alone.
    """

    def __init__(
        self, records: redis.Redis, broker: redis.Redis, publish: Publish, every_s: float | None = None
    ) -> None:
        self.records = records
        self.broker = broker
        self.publish = publish
        self.every_s = settings.RESTORE_INTERVAL_S if every_s is None else every_s
        self.jobs = Jobs(records)
        self.held = HeldMessages(broker)
        self.refreshes = RefreshQueue(records)
        self.flights = SingleFlight(records, lambda task_id: False, look_after_s=2 * self.every_s)  # noqa: ARG005

    def run(self) -> Swept | None:
        """Look after everything once; None where another worker has just done so."""
        if not self.records.set(keys.SWEEP_LOCK, 1, nx=True, px=max(1, int(self.every_s * 800))):
            return None
        n_refreshes = self._look_after_plays()
        stale = self.jobs.stale(2 * self.every_s)
        due = self.flights.due()
        owed = dict(self._owed())
        if not (stale or due or owed):
            return Swept(0, 0, 0, n_refreshes)
        held = self.held.task_ids()
        n_chunks = sum(self._look_after_job(job_id, held) for job_id in stale)
        n_followers = self._look_after_flights(due, held)
        n_submitted = self._look_after_submitted(owed, held)
        swept = Swept(n_chunks, n_followers, n_submitted, n_refreshes)
        if any(swept):
            logger.warning("sent again what nobody worked on", **swept._asdict())
        return swept

    def _look_after_plays(self) -> int:
        """Whoever recorded them may have died before the message was sent, or the worker that had the users."""
        may = self.refreshes.waiting(now_s()) and self.records.exists(keys.MODEL_CURRENT) and self.refreshes.may_send()
        if may:
            self.publish(REFRESH_PLAYED, {}, f"{REFRESH_PLAYED}-{uuid.uuid4()}")
        return int(bool(may))

    def _look_after_job(self, job_id: str, held: set[str]) -> int:
        remaining = self.jobs.remaining(job_id)
        ended = self.jobs.outcome(job_id) is not None
        # A job that has ended, but whose caller was not told, needs one chunk's message that tells it.
        wanted = [0] if ended or not remaining else remaining
        missing = [number for number in wanted if chunk_task_id(job_id, number) not in held]
        for number in missing:
            self.publish("compute_chunk", {"job_id": job_id, "chunk": number}, chunk_task_id(job_id, number))
        self.jobs.touch(job_id)
        return len(missing)

    def _look_after_flights(self, due: list[Any], held: set[str]) -> int:
        n_sent = 0
        for flight in due:
            if flight.leader in held or self.jobs.is_open(flight.leader):
                self.flights.postpone([flight.digest])
                continue
            heir = self.flights.hand_over(flight)
            if heir is not None:
                logger.warning("leader is gone", leader=flight.leader, heir=heir, task=flight.task)
                self.publish(flight.task, flight.arguments, heir)
                n_sent += 1
        return n_sent

    def _owed(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Submitted a while ago, and without a result; records of tasks that have one are dropped."""
        oldest = now_s() - 2 * self.every_s
        batch: dict[str, dict[str, Any]] = {}
        for field, value in self.records.hscan_iter(keys.SUBMITTED, count=PER_CALL):
            sent = _sent(value)
            if sent is None:
                self.records.hdel(keys.SUBMITTED, text(field))
            elif sent["at"] < oldest:
                batch[text(field)] = sent
            if len(batch) >= PER_CALL:
                yield from self._without_result(batch)
                batch = {}
        yield from self._without_result(batch)

    def _without_result(self, batch: dict[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
        if not batch:
            return
        results = self.broker.mget([RESULT_KEY.format(task_id=task_id) for task_id in batch])
        done = [task_id for task_id, result in zip(batch, results, strict=True) if _is_done(result)]
        if done:
            self.records.hdel(keys.SUBMITTED, *done)
        yield from ((task_id, sent) for task_id, sent in batch.items() if task_id not in done)

    def _look_after_submitted(self, owed: dict[str, dict[str, Any]], held: set[str]) -> int:
        followers = {
            text(member)
            for digest in self.records.zrange(keys.ONCE_OPEN, 0, -1)
            for member in self.flights.followers(text(digest))
        }
        jobs = {text(job_id) for job_id in self.records.zrange(keys.JOBS_OPEN, 0, -1)}
        lost = {task_id for task_id in owed if task_id not in held | followers | jobs}
        if not lost:
            return 0
        time.sleep(LOOK_TWICE_S)
        lost -= self.held.task_ids()
        lost = {task_id for task_id in lost if dict(self._without_result({task_id: owed[task_id]}))}
        return sum(self._send_again(task_id, owed[task_id]) for task_id in sorted(lost))

    def _send_again(self, task_id: str, sent: dict[str, Any]) -> bool:
        times = int(sent.get("times", 0)) + 1
        if times > settings.MAX_DELIVERIES:
            # Whatever swallows it (a message that is parked each time), sending it once more does not help.
            logger.error("lost too often, dropped", job=task_id, task=sent["task"], times=times)
            self.records.hdel(keys.SUBMITTED, task_id)
            return False
        logger.warning("submitted, and lost", job=task_id, task=sent["task"], times=times)
        self.publish(sent["task"], sent["kwargs"], task_id)
        self.records.hset(keys.SUBMITTED, task_id, json.dumps(sent | {"times": times}, ensure_ascii=False))
        return True


def _sent(value: Any) -> dict[str, Any] | None:
    """A producer's record, None where it is not one."""
    try:
        sent = json.loads(text(value))
        well = isinstance(sent["task"], str) and isinstance(sent["kwargs"], dict)
        return dict(sent, at=float(sent["at"])) if well else None
    except (KeyError, TypeError, ValueError):
        return None


def _is_done(result: Any) -> bool:
    try:
        return json.loads(text(result) or "{}").get("status") in DONE
    except (AttributeError, ValueError):
        return False
