"""What a task's process sends without waiting for the reply."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import Celery
from celery.app.task import Context

from timbral.queue import layout
from timbral.stack.embedded_server import EmbeddedServer
from workers.delivery import sent_ahead
from workers.delivery.results import Backend

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex")  # Celery's


@pytest.fixture
def client(redis_server: EmbeddedServer) -> Iterator[redis.Redis]:
    with redis_server.client() as made:
        yield made
    sent_ahead.read_replies()


@pytest.fixture
def backend(redis_server: EmbeddedServer) -> Iterator[Backend]:
    with Celery("tests", set_as_current=False) as app:
        app.conf.result_extended = True
        made = Backend(app=app, url=f"{redis_server.url}/0")
        yield made
        sent_ahead.read_replies()
        made.client.connection_pool.disconnect()


def test_what_was_sent_is_done_though_its_sender_is_killed_the_moment_after(
    redis_server: EmbeddedServer, client: redis.Redis, wait_until: Any
) -> None:
    child = os.fork()
    if not child:
        with redis_server.client() as own:
            for n in range(50):
                sent_ahead.send(own, "count", "SADD", "begun", n)
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)

    wait_until(lambda: client.scard("begun") == 50, 10, "all that was sent")


def test_what_was_sent_is_done_when_its_replies_are_read_and_its_connection_is_used_again(client: redis.Redis) -> None:
    for n in range(20):
        sent_ahead.send(client, "count", "RPUSH", "sent", n)
        sent_ahead.send(client, "count", "RPUSH", "sent", -n)
        sent_ahead.read_replies()
        sent_ahead.read_replies()
        assert client.llen("sent") == 2 * n + 2

    assert client.connection_pool._created_connections == 1


def test_a_command_that_is_refused_is_logged_and_the_next_is_done(
    client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    client.set("text", "no set")
    with caplog.at_level(logging.WARNING):
        sent_ahead.send(client, "count that task was begun", "SADD", "text", 1)
        sent_ahead.send(client, "store", "SET", "next", 1)
        sent_ahead.read_replies()

    assert "Cannot count that task was begun: " in caplog.text
    assert client.get("next") == b"1"


def test_a_connection_that_is_lost_meanwhile_is_logged_and_replaced(
    client: redis.Redis, redis_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        sent_ahead.send(client, "count", "DEBUG", "SLEEP", 0)
        with redis_server.client() as other:
            other.client_kill_filter(_type="normal", skipme=True)
        sent_ahead.read_replies()
        sent_ahead.send(client, "count", "SADD", "begun", 1)
        sent_ahead.read_replies()

    assert client.scard("begun") == 1


def test_a_connection_whose_pool_was_closed_meanwhile_is_logged_and_replaced(
    client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        sent_ahead.send(client, "count", "SADD", "begun", 1)
        sent_ahead._open.connection.disconnect()
        sent_ahead.read_replies()
        sent_ahead.send(client, "count", "SADD", "begun", 2)
        sent_ahead.read_replies()

    assert "Cannot tell whether Redis could count" in caplog.text
    assert client.sismember("begun", 2)


def stored(client: redis.Redis) -> dict[str, Any]:
    value: Any = client.get(layout.result_key("t1"))
    return dict(json.loads(value))


def test_that_a_task_has_started_is_stored_and_told_and_is_there_before_what_comes_next(
    client: redis.Redis, backend: Backend
) -> None:
    with client.pubsub() as listener:
        listener.subscribe(layout.result_key("t1"))
        listener.get_message(timeout=5)
        request = Context(id="t1", task="train_model", kwargs={"large": 1})
        backend.store_result("t1", {"pid": 7}, "STARTED", request=request)
        backend.store_result("t1", {"done": 1}, "PROGRESS", request=request)

        told = [json.loads(listener.get_message(timeout=5)["data"]) for _ in range(2)]
    assert [one["status"] for one in told] == ["STARTED", "PROGRESS"]
    assert told[0].items() >= {"task_id": "t1", "name": "train_model", "result": {"pid": 7}}.items()
    assert "kwargs" not in told[0]
    assert stored(client)["status"] == "PROGRESS"
    assert client.ttl(layout.result_key("t1")) > 0


def test_a_task_that_comes_back_after_its_success_does_not_unmake_it(client: redis.Redis, backend: Backend) -> None:
    backend.store_result("t1", {"users": 1}, "SUCCESS")
    backend.store_result("t1", {"pid": 7}, "STARTED")
    sent_ahead.read_replies()

    assert stored(client)["status"] == "SUCCESS"


FORKING = """
import os, sys, redis
from workers.delivery import sent_ahead
client = redis.Redis.from_url(sys.argv[1])
sent_ahead.send(client, "count", "SADD", "begun", 1)
if os.fork() == 0:
    sent_ahead.read_replies()
    os._exit(0)
os.wait()
print(sent_ahead._open.connection.read_response())
"""


def test_a_child_leaves_its_parents_replies_to_its_parent(redis_server: EmbeddedServer, client: redis.Redis) -> None:
    answer = subprocess.run([sys.executable, "-c", FORKING, redis_server.url], stdout=subprocess.PIPE, timeout=60)

    assert answer.stdout.split() == [b"1"]
