"""The rescue: what is owed and has no message is sent again; what somebody holds, has done, or has just sent is left
alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import kombu.pools
import pytest
import redis
from celery import Celery

from timbral import keys
from timbral.config.settings import settings
from timbral.logic.jobs import Jobs
from timbral.logic.rescue import Rescue, Rescued
from timbral.logic.single_flight import SingleFlight
from timbral.queue import layout
from timbral.queue.held_messages import HeldMessages
from timbral.stack.embedded_server import EmbeddedServer

VERSION = "20260101T000000-1"
EVERY_S = 30.0
Sent = list[tuple[str, dict[str, Any], str]]


@pytest.fixture
def sent() -> Sent:
    return []


@pytest.fixture
def given_up() -> list[Any]:
    return []


@pytest.fixture
def rescue(client: redis.Redis, sent: Sent, given_up: list[Any]) -> Callable[[], Rescued]:
    made = Rescue(
        client,
        client,
        lambda task, kwargs, task_id, _: sent.append((task, kwargs, task_id)),
        lambda *lost: given_up.append(lost),
        EVERY_S,
    )

    def run() -> Rescued:
        client.delete(keys.RESCUE_LOCK)
        rescued = made.run()
        assert rescued is not None
        return rescued

    return run


def submit(client: redis.Redis, task_id: str, *, age_s: float = 60.0) -> None:
    record = {"task": "train_model", "kwargs": {"dataset": "d"}, "queue": "training", "at": time.time() - age_s}
    client.hset(keys.SUBMITTED, task_id, json.dumps(record))


def open_job(client: redis.Redis, n_rows: int = 30) -> Jobs:
    client.zadd(keys.MODEL_VERSIONS, {VERSION: 1})
    jobs = Jobs(client)
    jobs.create("job", arguments={}, model_version=VERSION, n_rows=n_rows, chunk_size=10)
    client.zadd(keys.JOBS_OPEN, {"job": 1})
    return jobs


def queued(client: redis.Redis, queue: str, task_id: str) -> None:
    client.lpush(queue, json.dumps({"headers": {"id": task_id, "root_id": "other"}, "body": ""}))


def test_a_submitted_task_that_is_nowhere_is_sent_again_under_its_id(
    client: redis.Redis, rescue: Callable[[], Rescued], sent: Sent
) -> None:
    submit(client, "lost")

    assert rescue().submitted == 1
    assert sent == [("train_model", {"dataset": "d"}, "lost")]


def test_what_is_queued_held_followed_or_new_is_left_alone(
    client: redis.Redis, rescue: Callable[[], Rescued], sent: Sent
) -> None:
    for task_id in ("queued", "urgent", "held", "leader", "follower", "job"):
        submit(client, task_id)
    submit(client, "new", age_s=-0.5)
    queued(client, "training", "queued")
    queued(client, "celery\x06\x163", "urgent")
    for number, task_id in enumerate(("held", "leader")):
        client.hset("unacked", f"tag{number}", json.dumps([{"headers": {"id": task_id}}, "", "training"]))
    flights = SingleFlight(client, lambda task_id: True, 60)
    flights.join("digest", "leader", "train_model", {})
    flights.join("digest", "follower", "train_model", {})
    open_job(client)

    assert rescue().submitted == 0
    assert [task for task, _, _ in sent] == ["compute_chunk"] * 3


@pytest.mark.parametrize("status", ["SUCCESS", "FAILURE", "REVOKED"])
def test_the_record_of_a_task_that_has_its_result_goes(
    client: redis.Redis, rescue: Callable[[], Rescued], sent: Sent, status: str
) -> None:
    submit(client, "done")
    client.set("celery-task-meta-done", json.dumps({"status": status}))

    assert rescue() == Rescued(0, 0, 0, 0)
    assert not client.exists(keys.SUBMITTED)


def test_a_started_task_without_a_message_is_lost_too(
    client: redis.Redis, rescue: Callable[[], Rescued], sent: Sent
) -> None:
    submit(client, "begun")
    client.set("celery-task-meta-begun", json.dumps({"status": "STARTED"}))

    assert rescue().submitted == 1


def test_what_is_lost_again_and_again_is_given_up(
    client: redis.Redis, rescue: Callable[[], Rescued], sent: Sent, given_up: list[Any]
) -> None:
    submit(client, "swallowed")
    for _ in range(settings.MAX_DELIVERIES + 2):
        rescue()

    assert len(sent) == settings.MAX_DELIVERIES
    assert not client.exists(keys.SUBMITTED)
    assert given_up == [("train_model", "swallowed", {"dataset": "d"})], "who waits for it is told"


def test_a_record_that_is_none_is_dropped(client: redis.Redis, rescue: Callable[[], Rescued]) -> None:
    client.hset(keys.SUBMITTED, mapping={"a": "garbage", "b": "[]", "c": '{"task": 1, "kwargs": {}, "at": 0}'})

    assert rescue() == Rescued(0, 0, 0, 0)
    assert not client.exists(keys.SUBMITTED)


def test_chunks_that_nobody_holds_are_sent_again(
    client: redis.Redis, rescue: Callable[[], Rescued], sent: Sent
) -> None:
    open_job(client)
    queued(client, "batch", "job.1")

    assert rescue().chunks == 2
    assert [task_id for _, _, task_id in sent] == ["job.0", "job.2"]
    assert sent[1][1] == {"job_id": "job", "chunk": 2}


def test_a_job_that_moves_is_left_alone(client: redis.Redis, rescue: Callable[[], Rescued], sent: Sent) -> None:
    jobs = open_job(client)
    jobs.touch("job")

    assert rescue().chunks == 0


def test_a_job_whose_record_is_gone_is_asked_for_anew(
    client: redis.Redis, rescue: Callable[[], Rescued], sent: Sent, given_up: list[Any]
) -> None:
    # given: the server has let go of it, and not of its chunks
    submit(client, "job")
    open_job(client)
    client.delete(keys.job("job"))

    # when
    rescue()

    # then: no chunk is sent that nobody can do; the task is, and begins a whole job
    assert sent == [("train_model", {"dataset": "d"}, "job")]
    assert not client.exists(keys.JOBS_OPEN, keys.job_chunks("job"))
    assert not given_up


def test_who_waits_for_such_a_job_of_another_sender_is_told(
    client: redis.Redis, rescue: Callable[[], Rescued], sent: Sent, given_up: list[Any]
) -> None:
    open_job(client)
    client.delete(keys.job("job"))

    rescue()

    assert (sent, [lost[1] for lost in given_up]) == ([], ["job"])


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled"])
def test_an_ended_job_whose_caller_was_not_told_gets_someone_to_tell_them(
    client: redis.Redis, rescue: Callable[[], Rescued], sent: Sent, end: str, cancel: Callable[[str], bool]
) -> None:
    jobs = open_job(client, n_rows=10)
    if end == "succeeded":
        chunk = jobs.begin_chunk("job", 0)
        assert chunk is not None
        jobs.finish_chunk(chunk, 10, 0)
    else:
        cancel("job") if end == "cancelled" else jobs.fail("job", ValueError("no"))
    client.zadd(keys.JOBS_OPEN, {"job": 1})

    assert rescue().chunks == 1
    jobs.close("job")
    assert rescue().chunks == 0


def test_a_lost_leaders_follower_takes_over(client: redis.Redis, rescue: Callable[[], Rescued], sent: Sent) -> None:
    flights = SingleFlight(client, lambda task_id: True, 0.0)
    flights.join("digest", "leader", "train_model", {"dataset": "d"})
    client.sadd(keys.once_followers("digest"), "follower")

    assert rescue().followers == 1
    assert sent == [("train_model", {"dataset": "d"}, "follower")]


def test_a_follower_that_was_cancelled_or_has_its_result_takes_nothing_over(
    client: redis.Redis, rescue: Callable[[], Rescued], sent: Sent
) -> None:
    # given: both wait for a leader that is lost; one was delivered again and answered by then
    SingleFlight(client, lambda task_id: True, 0.0).join("digest", "leader", "train_model", {"dataset": "d"})
    client.sadd(keys.once_followers("digest"), "answered", "cancelled")
    client.set(layout.result_key("answered"), json.dumps({"status": "SUCCESS", "result": {}}))
    Jobs(client).cancel("cancelled")

    rescued = rescue()

    assert (rescued.followers, sent) == (0, [])
    assert not client.exists(keys.ONCE_OPEN, keys.once("digest"), keys.once_followers("digest"))


def test_a_lost_leader_without_followers_is_forgotten(client: redis.Redis, rescue: Callable[[], Rescued]) -> None:
    SingleFlight(client, lambda task_id: True, 0.0).join("digest", "leader", "train_model", {})

    assert rescue() == Rescued(0, 0, 0, 0)
    assert not client.exists(keys.once("digest"), keys.ONCE_OPEN)


def test_only_one_worker_rescues_at_a_time(client: redis.Redis, sent: Sent) -> None:
    first, second = (Rescue(client, client, lambda *call: sent.append(call), print, 5.0) for _ in range(2))

    assert first.run() is not None
    assert second.run() is None


def test_messages_as_kombu_writes_them_are_found(redis_server: EmbeddedServer, client: redis.Redis) -> None:
    with Celery("sender", broker=f"{redis_server.url}/0", set_as_current=False) as app:
        for priority in (0, 5):
            app.send_task("anything", task_id=f"priority {priority}", queue="batch", priority=priority)
        app.send_task("anything", task_id="other queue", queue="celery")
    kombu.pools.reset()  # not the app's pool alone: kombu would hand the closed one to the next app of this URL

    client.lpush("training", b"\xff garbage", "[]", '{"headers": null}')
    there = {"priority 0", "priority 5", "other queue"}
    assert HeldMessages(client).among([*there, "lost", "anything"]) == there
