"""Hosts' clocks may be any: what is compared was told by the server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
import redis

import producers
from timbral import keys
from timbral.logic.jobs import Jobs
from timbral.logic.single_flight import SingleFlight
from timbral.logic.submitted import Submitted
from timbral.redis_server.replies import server_now_s
from timbral.stack.embedded_server import EmbeddedServer
from workers.watching.health import alive_workers

_real = time.time


@pytest.fixture(params=[-600.0, -2.0, 600.0], ids=lambda by: f"clock {by:+g} s")
def wrong_clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: _real() + request.param)


@pytest.fixture
def connected(redis_server: EmbeddedServer) -> Iterator[None]:
    producers.connect(redis_server.url)
    yield
    producers.connect()


def test_a_producers_record_has_the_servers_time(connected: None, client: redis.Redis, wrong_clock: None) -> None:
    job = producers.enqueue_compute_recommendations()

    at = json.loads(client.hget(keys.SUBMITTED, job.id))["at"]

    assert abs(at - server_now_s(client)) < 60


def test_what_was_lost_is_due_whatever_time_its_record_has(client: redis.Redis) -> None:
    record = {"task": "train_model", "kwargs": {}, "queue": "training"}
    client.hset(keys.SUBMITTED, "fast", json.dumps(record | {"at": server_now_s(client) + 600}))
    client.hset(keys.SUBMITTED, "none", json.dumps(record))
    submitted = Submitted(client)

    assert submitted.due(30.0) == [], "counted from now on"
    assert sorted(submitted.due(-1.0)) == ["fast", "none"]


def test_jobs_and_requests_and_workers_age_by_the_servers_clock(client: redis.Redis, wrong_clock: None) -> None:
    jobs, flights = Jobs(client), SingleFlight(client, lambda _: True, 60.0)
    client.zadd(keys.MODEL_VERSIONS, {"v": 1})

    jobs.create("job", arguments={}, model_version="v", n_rows=1, chunk_size=1)
    flights.join("digest", "leader", "train_model", {})
    client.zadd(keys.WORKERS, {"w": server_now_s(client)})

    assert jobs.stale(30.0) == []
    assert jobs.stale(-30.0) == ["job"]
    assert flights.due() == []
    assert SingleFlight(client, lambda _: True, -60.0).join("digest", "other", "t", {}).role == "follow"
    assert 0 <= alive_workers(client)["w"] < 20


def test_who_was_sent_before_the_work_ended_gets_its_result_and_who_after_does_not(
    client: redis.Redis, wrong_clock: None
) -> None:
    flights = SingleFlight(client, lambda _: True, 60.0)
    flights.join("digest", "leader", "train_model", {})
    before = server_now_s(client)
    flights.release("digest", "leader", (), {"done": True})
    after = server_now_s(client) + 0.001

    assert flights.join("digest", "early", "train_model", {}, sent_at_s=before).role == "done"
    assert flights.join("digest", "late", "train_model", {}, sent_at_s=after).role == "lead"
