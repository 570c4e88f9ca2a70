"""Producers while Redis is away, frozen, restarted or says no."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator

import pytest
import redis

import producers
from producers.connections import connections
from timbral.errors import JobTimeoutError, RedisUnavailableError, TimbralError
from timbral.stack.embedded_server import EmbeddedServer


@pytest.fixture
def server(own_server: EmbeddedServer) -> Iterator[EmbeddedServer]:
    producers.connect(own_server.url)
    yield own_server
    producers.connect()


def test_enqueueing_without_a_server_fails_with_a_connection_error_of_ours(server: EmbeddedServer) -> None:
    server.stop()
    with pytest.raises(RedisUnavailableError, match=f"127.0.0.1:{server.port}.*refused") as raised:
        producers.enqueue_train_model("plays.csv")
    assert isinstance(raised.value, ConnectionError)
    assert isinstance(raised.value, TimbralError)
    assert producers.get_recommendations(1) is None
    assert producers.get_recommendations_many([1]) == {1: None}
    for ask in (
        lambda: producers.job("x").state,
        lambda: producers.job("x").progress,
        lambda: producers.job("x").cancel(),
    ):
        with pytest.raises(RedisUnavailableError):
            ask()
    with pytest.raises(RedisUnavailableError):
        producers.block_items(1, [2])


def test_after_a_restart_the_same_process_enqueues_again(server: EmbeddedServer) -> None:
    first = producers.enqueue_train_model("plays.csv")
    server.kill()
    with pytest.raises(RedisUnavailableError):
        producers.enqueue_train_model("plays.csv")
    server.start()
    second = producers.enqueue_train_model("plays.csv")
    with server.client() as client:
        assert client.llen("training") == 2
        assert set(client.hkeys("tasks:submitted")) == {first.id.encode(), second.id.encode()}


def test_a_restart_that_nobody_saw_costs_nothing(server: EmbeddedServer) -> None:
    producers.enqueue_train_model("plays.csv")
    server.stop()
    server.start()
    assert producers.enqueue_train_model("plays.csv").state == "PENDING"
    with server.client() as client:
        assert client.llen("training") == 2


def test_a_frozen_server_is_an_error_while_it_is_still_frozen(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.connections.SOCKET_TIMEOUT_S", 0.5)
    producers.enqueue_train_model("plays.csv")
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(RedisUnavailableError, match="Timeout"):
            producers.enqueue_train_model("plays.csv")
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    assert producers.enqueue_train_model("plays.csv").state == "PENDING"


def test_a_refusal_is_ours_too_and_leaves_no_note_of_a_task_that_was_not_sent(server: EmbeddedServer) -> None:
    with server.client() as client:
        client.lpush("tasks:submitted", "not a hash")
        with pytest.raises(RedisUnavailableError, match="WRONGTYPE"):
            producers.enqueue_train_model("plays.csv")
        client.delete("tasks:submitted")
        client.set("training", "not a list")
        with pytest.raises(RedisUnavailableError):
            producers.enqueue_train_model("plays.csv")
        assert client.hlen("tasks:submitted") == 0


def test_a_producer_that_may_only_enqueue_does_so_and_says_once_what_it_lacks(
    server: EmbeddedServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.enqueue._warned", set())
    with server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "sender", "on", ">pw", "resetkeys", "~training*", "~celery*", "~_kombu.binding*", "-@all",
            "+ping", "+lpush", "+llen", "+sadd", "+select", "+client", "+hello", "+multi", "+exec", "+auth",
        )  # fmt: skip
        producers.connect(f"redis://sender:pw@127.0.0.1:{server.port}")
        with caplog.at_level(logging.WARNING):
            producers.enqueue_train_model("plays.csv")
            producers.enqueue_compute_recommendations()
        assert client.llen("training") == client.llen("celery") == 1
        assert client.exists("tasks:submitted") == 0
    assert sum("may not write tasks:submitted" in record.message for record in caplog.records) == 1
    assert "pw" not in [*caplog.text.split(), connections().cache.address]


def test_waiting_sits_an_outage_out(server: EmbeddedServer) -> None:
    job = producers.enqueue_train_model("plays.csv")
    server.kill()

    def come_back() -> None:
        server.start()
        with redis.Redis(port=server.port) as client:
            client.set(f"celery-task-meta-{job.id}", '{"status": "SUCCESS", "result": {"model_version": "v1"}}')

    worker = threading.Timer(0.5, come_back)
    worker.start()
    assert job.wait(100) == {"model_version": "v1"}
    worker.join()


def test_waiting_through_an_outage_ends_while_the_server_is_still_away(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = producers.enqueue_train_model("plays.csv")
    with pytest.raises(JobTimeoutError):
        job.wait(0.05)
    server.kill()
    with pytest.raises(RedisUnavailableError):
        job.wait(0.3)
    monkeypatch.setattr("producers.jobs.OUTAGE_PATIENCE_S", 0.2)
    with pytest.raises(RedisUnavailableError):
        job.wait()
