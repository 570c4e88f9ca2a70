"""Fan-out through real workers: chunks that fail, jobs that nobody works on, and jobs that are cancelled."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import redis
from fleet_fixtures import Watch

from timbral import keys
from timbral.errors import JobCancelledError
from timbral.logic.jobs import Jobs
from timbral.logic.rescue import Rescue

pytestmark = pytest.mark.integration

Wait = Callable[..., None]


def make_fail(cache: redis.Redis, user_id: int) -> None:
    """Reading this user's plays is an error now."""
    cache.set(keys.plays_user(user_id), "not a hash")


def test_a_chunk_that_fails_is_tried_again_alone(bench: Any, cache: redis.Redis, wait_until: Wait) -> None:
    make_fail(cache, 1035)
    with Watch(bench.fleet.server) as watch:
        sent = bench.send("compute_recommendations", top_k=3)
        wait_until(lambda: "task-retried" in watch.types(f"{sent.id}.3"), 20, "the retry")
        cache.delete(keys.plays_user(1035))
        answer = sent.get(timeout=100)
        wait_until(lambda: watch.executions_by_name()["compute_chunk"] >= 13, 5, "the events")
        executions = watch.executions_by_name()["compute_chunk"]

    assert answer["users_done"] == 120
    assert executions == 13
    assert cache.exists("recommendations:user:1035")


def test_a_chunk_that_never_succeeds_fails_the_job_with_its_reason_once(
    bench: Any, cache: redis.Redis, wait_until: Wait
) -> None:
    make_fail(cache, 1035)
    with Watch(bench.fleet.server) as watch:
        sent = bench.send("compute_recommendations", top_k=3)
        error = sent.get(timeout=100, propagate=False)
        wait_until(lambda: "task-failed" in watch.types(sent.id), 5, "the event")
        failures = watch.types(sent.id).count("task-failed")

    assert type(error).__name__ == "TaskFailedError"
    assert "WRONGTYPE" in str(error)
    assert failures == 1
    assert len(cache.keys("recommendations:user:*")) == 110, "the other chunks are done"
    wait_until(lambda: cache.zscore(keys.JOBS_OPEN, sent.id) is None, 5, "the end of the job")
    cache.delete(keys.plays_user(1035))
    assert bench.call("compute_recommendations", top_k=3)["users_done"] == 120


def test_chunks_whose_messages_are_lost_are_found_and_the_job_finished(
    bench: Any, cache: redis.Redis, wait_until: Wait
) -> None:
    version = cache.get(keys.MODEL_CURRENT).decode()
    jobs = Jobs(cache)
    jobs.create("lost", arguments={"top_k": 3, "exclude_seen": True}, model_version=version, n_rows=120, chunk_size=50)

    def publish(task: str, kwargs: dict[str, Any], task_id: str) -> None:
        bench.celery.send_task(task, kwargs=kwargs, task_id=task_id, queue="batch")

    def rescue_until_done() -> bool:
        cache.delete(keys.RESCUE_LOCK)
        Rescue(cache, cache, publish, 0.1).run()
        return bool(bench.celery.AsyncResult("lost").ready())

    wait_until(rescue_until_done, 20, "the end of the job")
    assert bench.celery.AsyncResult("lost").get()["users_done"] == 120
    wait_until(lambda: jobs.stale(-1) == [], 5, "the end of the job")


def test_a_cancelled_job_ends_at_once_and_what_is_left_is_not_done(
    bench: Any, cache: redis.Redis, wait_until: Wait
) -> None:
    make_fail(cache, 1000)
    sent = bench.send("compute_recommendations", top_k=3)
    wait_until(lambda: cache.hget(keys.job(sent.id), "attempts:0"), 20, "the first chunk")

    assert bench.cancel(sent.id)

    error = sent.get(timeout=100, propagate=False)
    assert isinstance(error, JobCancelledError)
    wait_until(lambda: cache.zscore(keys.JOBS_OPEN, sent.id) is None, 5, "the end of the job")


def test_the_caller_sees_done_of_total(bench: Any, cache: redis.Redis) -> None:
    sent = bench.send("compute_recommendations", top_k=3)
    sent.get(timeout=100)

    progress = {field.decode(): value.decode() for field, value in cache.hgetall(keys.progress(sent.id)).items()}
    assert progress == {"done": "120", "total": "120", "text": "120/120 users"}


def test_users_who_are_new_are_done_with_everybody(bench: Any, cache: redis.Redis) -> None:
    bench.call("refresh_embeddings", plays=[{"user_id": 5, "item_id": 201}])
    cache.delete("recommendations:user:5")

    answer = bench.call("compute_recommendations", top_k=3)

    assert answer["users_done"] == 121
    assert {entry["item_id"] // 100 for entry in json.loads(cache.get("recommendations:user:5"))} == {2}


def test_many_named_users_are_fanned_out_too(bench: Any, cache: redis.Redis, wait_until: Wait) -> None:
    users = [*range(1000, 1030), *range(5000, 5007)]
    with Watch(bench.fleet.server) as watch:
        answer = bench.call("compute_recommendations", user_ids=users, top_k=3)
        wait_until(lambda: watch.executions_by_name()["compute_chunk"] >= 4, 5, "the events")
        executions = watch.executions_by_name()["compute_chunk"]

    assert (answer["users_done"], answer["users_unknown"]) == (30, 7)
    assert executions == 4
    assert len(cache.keys("recommendations:user:*")) == 30


def test_a_chunk_that_comes_late_writes_what_the_live_model_says(bench: Any, cache: redis.Redis) -> None:
    # given: a job of a version, some of whose chunks are done again when it was replaced, or rolled back
    old = cache.get(keys.MODEL_CURRENT).decode()
    jobs = Jobs(cache)
    late = str(uuid.uuid4())
    jobs.create(late, arguments={"top_k": 4, "exclude_seen": True}, model_version=old, n_rows=120, chunk_size=60)
    bench.call("train_model", dataset="plays.csv", random_state=77, n_components=3, promote="always")
    bench.call("compute_recommendations", top_k=4)
    wanted = {name: cache.get(name) for name in cache.keys("recommendations:user:*")}

    # when
    for number in (0, 1):
        kwargs = {"job_id": late, "chunk": number}
        bench.celery.send_task("compute_chunk", kwargs=kwargs, task_id=f"{late}.{number}", queue="batch")
    answer = bench.celery.AsyncResult(late).get(timeout=100)

    # then
    assert answer["users_done"] == 120
    assert {name: cache.get(name) for name in cache.keys("recommendations:user:*")} == wanted
    bench.call("train_model", dataset="plays.csv", random_state=78, promote="always")


def test_a_hostile_chunk_message_is_refused(bench: Any, wait_until: Wait) -> None:
    with Watch(bench.fleet.server) as watch:
        sent = [
            bench.celery.send_task("compute_chunk", kwargs=kwargs, queue="batch")
            for kwargs in ({"job_id": 7, "chunk": 0}, {"job_id": "x", "chunk": -1}, {"job_id": "x"}, {"chunk": True})
        ]
        wait_until(lambda: all("task-failed" in watch.types(one.id) for one in sent), 20, "their refusal")
