"""Rescue: finds work that nobody does any more, and has it done.

Three records say what is owed: open jobs, requests with followers, and what producers submitted. A message that is in a
queue or with a worker is safe already; what is owed and has no message is sent again, under the same id. Doing it once
too often does no harm.

What it costs does not follow what waits: it goes through the records by parts, has the server look through the queues,
and is done so seldom that it takes a twentieth of the time at most.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import redis
import structlog

from timbral import keys
from timbral.config.settings import settings
from timbral.logic.jobs import Jobs, chunk_task_id
from timbral.logic.single_flight import Flight, SingleFlight
from timbral.logic.submitted import Submitted
from timbral.messages import REFRESH_PLAYED
from timbral.plays.refresh_queue import RefreshQueue
from timbral.queue import layout
from timbral.queue.held_messages import HeldMessages

__all__ = ["GiveUp", "Publish", "Rescue", "Rescued"]

logger = structlog.get_logger(__name__)

Publish = Callable[[str, dict[str, Any], str, dict[str, Any]], None]
"""``publish(task, kwargs, task_id, asked)``: put a task on its queue, with what its caller asked for."""
GiveUp = Callable[[str, str, dict[str, Any]], None]
"""``give_up(task, task_id, kwargs)``: tell who waits for it that it was lost too often."""

LOOK_TWICE_S: Final = 0.25
"""Between taking a message off its queue and noting who has it, a worker has it nowhere; so short a gap is waited
out."""
SHARE_OF_TIME: Final = 0.05
CHUNKS_PER_LOOK: Final = 2_000


class Rescued(NamedTuple):
    """What a rescue sent again: chunks of jobs, followers of lost leaders, submitted tasks, refreshes of users who have
    played."""

    chunks: int
    followers: int
    submitted: int
    refreshes: int


class Rescue:
    """Looks after the records of one fleet.

    Args:
        records: the Redis of the jobs and requests.
        broker: the Redis of the queue and the results.
        publish: sends a task.
        give_up: called for what was lost too often.
        every_s: time between two rescues of the fleet; what is younger than two of them is left alone.
    """

    def __init__(
        self,
        records: redis.Redis,
        broker: redis.Redis,
        publish: Publish,
        give_up: GiveUp,
        every_s: float | None = None,
    ) -> None:
        self.records = records
        self.broker = broker
        self.publish = publish
        self.give_up = give_up
        self.every_s = settings.RESTORE_INTERVAL_S if every_s is None else every_s
        self.jobs = Jobs(records)
        self.held = HeldMessages(broker)
        self.refreshes = RefreshQueue(records)
        self.submitted = Submitted(records)
        self.flights = SingleFlight(records, lambda _: False, look_after_s=2 * self.every_s)

    def run(self) -> Rescued | None:
        """Look after everything once; None where another worker has just done so."""
        if not self.records.set(keys.RESCUE_LOCK, 1, nx=True, px=max(1, int(self.every_s * 800))):
            return None
        began = time.monotonic()
        rescued = self._run()
        took_s = time.monotonic() - began
        if took_s / SHARE_OF_TIME > self.every_s:
            self.records.set(keys.RESCUE_LOCK, 1, px=int(took_s / SHARE_OF_TIME * 1000))
        if any(rescued):
            logger.warning("resent lost work", **rescued._asdict())
        return rescued

    def _look_after_plays(self) -> int:
        """Whoever recorded them may have died before the message was sent, or the worker that had the users."""
        may = self.refreshes.waiting() and self.records.exists(keys.MODEL_CURRENT) and self.refreshes.may_send()
        if may:
            self.publish(REFRESH_PLAYED, {}, f"{REFRESH_PLAYED}-{uuid.uuid4()}", {})
        return int(bool(may))

    def _run(self) -> Rescued:
        n_refreshes = self._look_after_plays()
        owed = self._without_result(self.submitted.due(2 * self.every_s))
        stale = {job_id: self._wanted(job_id) for job_id in self.jobs.stale(2 * self.every_s)}
        due = self.flights.due()
        looked_for = {task_id for wanted in stale.values() for task_id in wanted.values()}
        looked_for |= {flight.leader for flight in due} | set(owed)
        if not (looked_for or stale):
            return Rescued(0, 0, 0, n_refreshes)
        held = self.held.among(looked_for)
        if looked_for - held:
            time.sleep(LOOK_TWICE_S)
            held |= self.held.among(looked_for - held)
        n_chunks = sum(self._look_after_job(job_id, wanted, held) for job_id, wanted in stale.items())
        n_followers = self._look_after_flights(due, held)
        n_submitted = self._look_after_submitted([task_id for task_id in owed if task_id not in held])
        return Rescued(n_chunks, n_followers, n_submitted, n_refreshes)

    def _wanted(self, job_id: str) -> dict[int, str]:
        """Numbers and task ids of the chunks of a job that somebody should have."""
        remaining = self.jobs.remaining(job_id)
        ended = self.jobs.outcome(job_id) is not None
        # A job that has ended, but whose caller was not told, needs one chunk's message that tells it.
        numbers = [0] if ended or not remaining else remaining[:CHUNKS_PER_LOOK]
        return {number: chunk_task_id(job_id, number) for number in numbers}

    def _look_after_job(self, job_id: str, wanted: dict[int, str], held: set[str]) -> int:
        if self.jobs.is_lost(job_id):
            self._begin_anew(job_id)
            return 0
        missing = {number: task_id for number, task_id in wanted.items() if task_id not in held}
        for number, task_id in missing.items():
            self.publish("compute_chunk", {"job_id": job_id, "chunk": number}, task_id, {})
        self.jobs.touch(job_id)
        return len(missing)

    def _begin_anew(self, job_id: str) -> None:
        """What its producer noted is sent again, once it is no open job; where nothing was noted, who waits is told."""
        logger.error("a job's record is gone from Redis", job=job_id, key=keys.job(job_id))
        self.jobs.drop_lost(job_id)
        if self.submitted.read(job_id) is None:
            self.give_up("compute_recommendations", job_id, {})

    def _look_after_flights(self, due: list[Flight], held: set[str]) -> int:
        n_sent = 0
        for flight in due:
            if flight.leader in held or self.jobs.is_open(flight.leader):
                self.flights.postpone([flight.digest])
                continue
            self.flights.leave(flight.digest, self._ended(self.flights.followers(flight.digest)))
            heir = self.flights.hand_over(flight)
            if heir is not None:
                logger.warning("leader lost", leader=flight.leader, heir=heir, task=flight.task)
                self.publish(flight.task, flight.arguments, heir, self.flights.asked_of(flight.digest, heir))
                n_sent += 1
        return n_sent

    def _without_result(self, task_ids: list[str]) -> list[str]:
        """Those of the tasks that have no result yet; the records of the others are dropped."""
        if not task_ids:
            return []
        results: list[Any] = self.broker.mget([layout.result_key(task_id) for task_id in task_ids])
        done = {task_id for task_id, result in zip(task_ids, results, strict=True) if layout.is_done(result)}
        self.submitted.forget(*done)
        return [task_id for task_id in task_ids if task_id not in done]

    def _ended(self, task_ids: list[str]) -> list[str]:
        """Those of the tasks that wait for nothing any more: they were cancelled, or delivered again, when another
        version was live, and have their result. Sent again, they would do nothing, for ever."""
        open_ones = set(self._without_result(task_ids))
        return [task_id for task_id in task_ids if task_id not in open_ones or self.jobs.is_cancelled(task_id)]

    def _look_after_submitted(self, missing: list[str]) -> int:
        waiting = self.flights.waiting(missing)
        lost = [task_id for task_id in missing if task_id not in waiting and not self.jobs.is_open(task_id)]
        return sum(self._send_again(task_id) for task_id in self._without_result(lost))

    def _send_again(self, task_id: str) -> bool:
        sent = self.submitted.read(task_id)
        if sent is None:
            return False
        times = sent.times + 1
        if times > settings.MAX_DELIVERIES:
            # Whatever swallows it (a message that is parked each time), sending it once more does not help.
            logger.error("lost too often, retries exhausted", job=task_id, task=sent.task, times=times)
            self.give_up(sent.task, task_id, sent.kwargs)
            self.submitted.forget(task_id)
            return False
        logger.warning("lost after submission", job=task_id, task=sent.task, times=times)
        self.publish(sent.task, sent.kwargs, task_id, {})
        self.submitted.sent_again(task_id)
        return True
