"""GET and DELETE /jobs/{id}, and its stream: from the results that workers store as Celery does."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import redis

from timbral import keys

Wait = Callable[..., None]
JOB_ID = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def stored(store: redis.Redis) -> Iterator[Callable[..., None]]:
    """``stored(state, result)``: what a worker leaves in the result backend for JOB_ID."""

    def write(state: str, result: Any = None, task: str = "train_model") -> None:
        record = {"task_id": JOB_ID, "status": state, "result": result, "name": task, "traceback": None, "children": []}
        store.set(f"celery-task-meta-{JOB_ID}", json.dumps(record), ex=60)

    yield write
    store.delete(f"celery-task-meta-{JOB_ID}", keys.progress(JOB_ID), keys.job(JOB_ID))
    store.hdel(keys.SUBMITTED, JOB_ID)


def test_a_job_that_nobody_sent_is_not_found(http: httpx.Client, writer: httpx.Client) -> None:
    assert http.get(f"/jobs/{JOB_ID}").status_code == 404
    assert http.get(f"/jobs/{JOB_ID}/events").status_code == 404
    assert writer.delete(f"/jobs/{JOB_ID}").status_code == 404
    assert http.get("/jobs/no%20id").status_code == 422


def test_a_running_job_tells_its_progress(http: httpx.Client, store: redis.Redis, stored: Callable[..., None]) -> None:
    stored("STARTED")
    store.hset(keys.progress(JOB_ID), mapping={"done": 3, "total": 20, "text": "sweep 3"})

    assert http.get(f"/jobs/{JOB_ID}").json() == {
        "id": JOB_ID,
        "task": "train_model",
        "state": "STARTED",
        "progress": {"done": 3, "total": 20, "text": "sweep 3"},
        "result": None,
        "error": None,
    }


def test_a_job_that_is_done_tells_its_result(http: httpx.Client, stored: Callable[..., None]) -> None:
    stored("SUCCESS", {"model_version": "v", "loss": 0.25})

    found = http.get(f"/jobs/{JOB_ID}").json()

    assert (found["state"], found["result"], found["error"]) == ("SUCCESS", {"model_version": "v", "loss": 0.25}, None)


def test_whatever_is_stored_for_a_job_the_answer_is_json(
    http: httpx.Client, store: redis.Redis, stored: Callable[..., None]
) -> None:
    stored("SUCCESS", {"path": "caf\udce9.csv", "loss": float("inf"), "deep": [[[[]]]]})
    store.hset(keys.progress(JOB_ID), mapping={"done": "inf", "total": "x", "text": b"\xff"})

    found = http.get(f"/jobs/{JOB_ID}")

    assert (found.status_code, found.json()["result"]["path"]) == (200, r"caf\udce9.csv")
    assert found.json()["result"]["loss"] is None
    store.set(f"celery-task-meta-{JOB_ID}", b"\x80\x04K.")
    assert http.get(f"/jobs/{JOB_ID}").json()["state"] == "PENDING"


@pytest.mark.parametrize(
    ("exc_type", "exc_message", "error"),
    [
        ("DataError", ["is empty", "plays.csv"], {"error": "DataError", "message": "plays.csv: is empty"}),
        (
            "RedisUnavailableError",
            ["127.0.0.1:6379", "it went away"],
            {
                "error": "RedisUnavailableError",
                "message": "Redis at 127.0.0.1:6379 is not available: it went away",
            },
        ),
        (
            "ZeroDivisionError",
            ["division by zero"],
            {"error": "TaskFailedError", "message": f"Job {JOB_ID}: ZeroDivisionError: division by zero"},
        ),
    ],
)
def test_a_job_that_failed_tells_its_own_error(
    http: httpx.Client, stored: Callable[..., None], exc_type: str, exc_message: list[str], error: dict[str, str]
) -> None:
    stored("FAILURE", {"exc_type": exc_type, "exc_message": exc_message, "exc_module": "timbral.errors"})

    found = http.get(f"/jobs/{JOB_ID}").json()

    assert (found["state"], found["result"], found["error"]) == ("FAILURE", None, error)


def test_a_waiting_job_can_be_called_off(writer: httpx.Client, queued: Callable[..., Any], store: redis.Redis) -> None:
    job_id = writer.post("/tasks/compute_recommendations", json={}).json()["id"]

    answer = writer.delete(f"/jobs/{job_id}")

    assert (answer.status_code, answer.json()["id"]) == (202, job_id)
    assert store.hget(keys.job(job_id), "state") == b"cancelled"
    store.delete(keys.job(job_id))


def test_a_job_that_is_done_stays_done_when_it_is_called_off(writer: httpx.Client, stored: Callable[..., None]) -> None:
    stored("SUCCESS", {"users": 1})

    answer = writer.delete(f"/jobs/{JOB_ID}")

    assert (answer.status_code, answer.json()["state"], answer.json()["result"]) == (202, "SUCCESS", {"users": 1})


def _events(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    kind = ""
    for line in lines:
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield kind, json.loads(line.removeprefix("data: "))


def test_a_stream_tells_each_change_and_ends_with_the_job(
    http: httpx.Client, store: redis.Redis, stored: Callable[..., None]
) -> None:
    stored("STARTED")

    with http.stream("GET", f"/jobs/{JOB_ID}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        events = _events(answer.iter_lines())
        kind, job = next(events)
        assert (kind, job["state"], job["progress"]["done"]) == ("progress", "STARTED", 0)
        store.hset(keys.progress(JOB_ID), mapping={"done": 1, "total": 2, "text": "half"})
        kind, job = next(events)
        assert (kind, job["progress"]) == ("progress", {"done": 1, "total": 2, "text": "half"})
        stored("SUCCESS", {"users": 2})
        kind, job = next(events)
        assert (kind, job["result"]) == ("done", {"users": 2})
        assert list(events) == []


def test_a_client_that_goes_away_frees_its_stream(
    http: httpx.Client, stored: Callable[..., None], wait_until: Wait
) -> None:
    stored("STARTED")
    with http.stream("GET", f"/jobs/{JOB_ID}/events") as answer:
        lines = answer.iter_lines()
        next(_events(lines))
        wait_until(lambda: _open_streams(http) == 1, 5, "an open stream in the metrics")

    wait_until(lambda: _open_streams(http) == 0, 5, "the end of the stream")


def test_streams_end_when_the_api_closes(
    seeded: Any, start_api: Callable[..., Any], stored: Callable[..., None]
) -> None:
    stored("STARTED")
    api = start_api(seeded.server.url)
    with api.client() as client, client.stream("GET", f"/jobs/{JOB_ID}/events") as answer:
        lines = answer.iter_lines()
        next(_events(lines))
        ended = threading.Thread(target=lambda: list(lines))
        ended.start()
        assert api.stop() == 0
        ended.join(5)

    assert not ended.is_alive()


def _open_streams(http: httpx.Client) -> float:
    for line in http.get("/metrics").text.splitlines():
        if line.startswith("timbral_http_event_streams "):
            return float(line.split()[1])
    return -1
