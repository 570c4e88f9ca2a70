"""Job: state, progress, result and errors, as Celery's result backend and the fleet's bookkeeping store them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import Celery

import producers
from producers import Job, Progress
from timbral.errors import (
    DataError,
    JobCancelledError,
    JobTimeoutError,
    MessageError,
    MissingColumnsError,
    TaskFailedError,
    TrainingError,
)
from timbral.logic.jobs import Jobs
from timbral.stack.embedded_server import EmbeddedServer

# Celery's result backend, which redis-py warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex")


class Backend:
    """The worker's end: stores results as a worker with our settings does."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.app = Celery("worker", backend=f"{server.url}/0", set_as_current=False)
        self.app.conf.update(result_serializer="json", accept_content=["json"], result_extended=True)

    def store(self, job: Job, state: str, result: Any = None) -> None:
        self.app.backend.store_result(job.id, result, state)


@pytest.fixture
def backend(connected: EmbeddedServer) -> Iterator[Backend]:
    made = Backend(connected)
    yield made
    made.app.close()


def test_a_job_goes_from_pending_over_started_to_its_answer(backend: Backend) -> None:
    job = producers.enqueue_train_model("plays.csv")
    assert (job.state, job.done, job.progress) == ("PENDING", False, Progress(0, 0, ""))
    backend.store(job, "STARTED", {"pid": 1, "hostname": "h"})
    assert (job.state, job.done) == ("STARTED", False)
    backend.store(job, "SUCCESS", {"model_version": "v1"})
    assert (job.state, job.done) == ("SUCCESS", True)
    assert job.wait(0) == job.result == {"model_version": "v1"}


def test_an_id_is_enough_to_be_the_same_job(backend: Backend) -> None:
    job = producers.enqueue_train_model("plays.csv")
    again = producers.job(job.id)
    assert again == job
    assert hash(again) == hash(job)
    assert again.task is None
    backend.store(job, "SUCCESS", {"model_version": "v1"})
    assert again.wait(1) == {"model_version": "v1"}
    assert Job(job.id).state == "SUCCESS"
    assert job.id in repr(again)


def test_an_id_that_nobody_knows_is_pending(connected: EmbeddedServer) -> None:
    job = producers.job("nobody-knows-me")
    assert (job.state, job.progress.total) == ("PENDING", 0)


def test_progress_is_what_the_task_says(connected: EmbeddedServer, client: redis.Redis) -> None:
    job = producers.enqueue_train_model("plays.csv")
    client.hset(f"progress:{job.id}", mapping={"done": 3, "total": 20, "text": "sweep 3 of 20, ψ"})
    assert job.progress == Progress(3, 20, "sweep 3 of 20, ψ")


def test_a_job_that_was_fanned_out_knows_its_total_before_its_first_chunk_is_done(
    connected: EmbeddedServer, client: redis.Redis
) -> None:
    job = producers.enqueue_compute_recommendations()
    client.hset(f"job:{job.id}", mapping={"state": "running", "total": 50_000})
    assert job.progress == Progress(0, 50_000, "")
    client.hset(f"progress:{job.id}", mapping={"done": 2000, "total": 50_000, "text": "2000/50000 users"})
    assert job.progress.done == 2000


ERRORS = [
    DataError("column rating, row 3: 'x' is no number", "plays.csv"),
    MissingColumnsError(["item_id"], "plays.csv", ["user_id", "track"]),
    MessageError("train_model", [{"field": "dataset", "problem": "is required", "value": "…"}]),
    TrainingError("the loss became NaN in sweep 3"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_the_tasks_own_error_is_raised_as_the_class_it_was(backend: Backend, error: Exception) -> None:
    job = producers.enqueue_train_model("plays.csv")
    backend.store(job, "FAILURE", error)
    with pytest.raises(type(error)) as raised:
        job.wait(1)
    assert type(raised.value) is type(error)
    assert raised.value.args == error.args
    assert str(raised.value) == str(error)
    assert job.state == "FAILURE"


def test_an_error_that_is_not_ours_is_a_task_failed_error_with_its_class_and_text(backend: Backend) -> None:
    job = producers.enqueue_train_model("plays.csv")
    backend.store(job, "FAILURE", ZeroDivisionError("division by zero"))
    with pytest.raises(TaskFailedError, match=f"Job {job.id}: ZeroDivisionError: division by zero"):
        job.wait(1)


@pytest.mark.parametrize(
    "stored", ['{"status": "FAILURE", "result": null}', '{"status": "FAILURE", "result": {"exc_type": "X"}}']
)
def test_a_failure_that_says_little_is_still_a_task_failed_error(
    connected: EmbeddedServer, client: redis.Redis, stored: str
) -> None:
    client.set("celery-task-meta-odd", stored)
    with pytest.raises(TaskFailedError):
        producers.job("odd").wait(1)


@pytest.mark.parametrize("stored", ["", "not json", "[1]", '"SUCCESS"', "\x00"])
def test_a_result_that_is_damaged_is_no_result(connected: EmbeddedServer, client: redis.Redis, stored: str) -> None:
    client.set("celery-task-meta-odd", stored)
    assert producers.job("odd").state == "PENDING"


def test_waiting_longer_than_was_given_is_a_timeout_error_that_says_the_state(backend: Backend) -> None:
    job = producers.enqueue_train_model("plays.csv")
    backend.store(job, "STARTED")
    with pytest.raises(JobTimeoutError, match="not done after 0") as raised:
        job.wait(0.2)
    assert isinstance(raised.value, TimeoutError)


def test_waiting_ends_with_the_result_not_with_the_time_that_was_given(backend: Backend) -> None:
    job = producers.enqueue_train_model("plays.csv")
    threading.Timer(0.2, backend.store, (job, "SUCCESS", {"model_version": "v1"})).start()

    assert job.wait(3600) == {"model_version": "v1"}


def test_waiting_tells_each_change_of_state_and_progress_once(backend: Backend, client: redis.Redis) -> None:
    job = producers.enqueue_train_model("plays.csv")
    told: list[tuple[str, Progress]] = []

    def tell(state: str, progress: Progress) -> None:
        told.append((state, progress))
        if state == "PENDING":
            backend.store(job, "STARTED")
        elif progress.total == 0:
            client.hset(f"progress:{job.id}", mapping={"done": 1, "total": 2, "text": "half"})
        else:
            backend.store(job, "SUCCESS", {"a": 1})

    assert job.wait(10, on_progress=tell) == {"a": 1}
    none, half = Progress(0, 0, ""), Progress(1, 2, "half")
    assert told == [("PENDING", none), ("STARTED", none), ("STARTED", half), ("SUCCESS", half)]


def test_cancelling_leaves_the_mark_that_the_fleet_looks_for(connected: EmbeddedServer, client: redis.Redis) -> None:
    jobs = Jobs(client)
    waiting = producers.enqueue_train_model("plays.csv")
    assert jobs.is_cancelled(waiting.id) is False
    assert waiting.cancel() is True
    assert jobs.is_cancelled(waiting.id) is True
    assert client.ttl(f"job:{waiting.id}") > 0
    fanned_out = producers.enqueue_compute_recommendations()
    client.zadd("model:versions", {"v": 1})
    assert jobs.create(fanned_out.id, arguments={}, model_version="v", n_rows=9, chunk_size=3)
    assert fanned_out.cancel() is True
    assert client.ttl(f"job:{fanned_out.id}") == -1
    ended = jobs.outcome(fanned_out.id)
    assert ended is not None
    assert isinstance(ended.error, JobCancelledError)
    assert ended.error.args[0] == fanned_out.id
    assert fanned_out.cancel() is False


def test_a_job_that_has_ended_cannot_be_cancelled(backend: Backend, client: redis.Redis) -> None:
    job = producers.enqueue_train_model("plays.csv")
    backend.store(job, "SUCCESS", {})
    assert job.cancel() is False
    assert client.exists(f"job:{job.id}") == 0


def test_a_cancelled_task_is_revoked_and_waiting_for_it_says_so(backend: Backend) -> None:
    for stored in (("REVOKED", None), ("FAILURE", JobCancelledError("x", "it was cancelled"))):
        job = producers.enqueue_train_model("plays.csv")
        backend.store(job, *stored)
        assert (job.state, job.done) == ("REVOKED", True)
        with pytest.raises(JobCancelledError, match="cancelled"):
            job.wait(1)


def test_results_are_read_where_the_queue_is_and_progress_where_the_cache_is(redis_server: EmbeddedServer) -> None:
    with EmbeddedServer(append_only=False) as queue, queue.client() as on_queue, redis_server.client() as on_cache:
        producers.connect(redis_server.url, queue.url)
        try:
            job = producers.enqueue_compute_recommendations()
            assert on_queue.llen("celery") == 1
            assert on_cache.hexists("tasks:submitted", job.id)
            assert on_queue.exists("tasks:submitted") == 0
            on_queue.set(f"celery-task-meta-{job.id}", '{"status": "SUCCESS", "result": {"users_done": 1}}')
            on_cache.hset(f"progress:{job.id}", mapping={"done": 1, "total": 1, "text": ""})
            assert job.wait(1) == {"users_done": 1}
            assert job.progress.total == 1
            queue.stop()
            with pytest.raises(ConnectionError, match=str(queue.port)):
                producers.enqueue_compute_recommendations()
            assert on_cache.hlen("tasks:submitted") == 1
        finally:
            producers.connect()


@pytest.mark.parametrize("urls", [("http://host",), ("host:6379",), (None, "redis://")], ids=str)
def test_a_url_that_is_none_of_redis_is_refused_without_repeating_it(urls: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="_URL: must look like redis://host:6379"):
        producers.connect(*urls)
