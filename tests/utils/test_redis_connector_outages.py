"""RedisConnector while Redis is down at the start, in between, frozen, and back again: with real servers."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from timbral.stack.embedded_server import EmbeddedServer
from timbral.utils.redis_connector import RedisConnector

Wait = Callable[..., None]

CALLS: dict[str, tuple[Callable[[RedisConnector], Any], Any]] = {
    "set_recommendations": (lambda c: c.set_recommendations(1, []), False),
    "get_recommendations": (lambda c: c.get_recommendations(1), None),
    "set_recommendations_many": (lambda c: c.set_recommendations_many({1: []}), False),
    "get_recommendations_many": (lambda c: c.get_recommendations_many([1]), None),
    "set_embeddings": (lambda c: c.set_embeddings("a", []), False),
    "get_embeddings": (lambda c: c.get_embeddings("a"), None),
    "set_embeddings_many": (lambda c: c.set_embeddings_many({"a": []}), False),
    "get_embeddings_many": (lambda c: c.get_embeddings_many(["a"]), None),
    "delete_key": (lambda c: c.delete_key("a"), False),
    "delete_keys": (lambda c: c.delete_keys(["a"]), None),
}


def test_down_at_the_start_every_call_answers_false_or_none_at_once() -> None:
    server = EmbeddedServer(append_only=False).start()
    server.stop()
    connector = RedisConnector(server.url)
    assert connector.redis_client is None
    assert {name: call(connector) for name, (call, _) in CALLS.items()} == {name: no for name, (_, no) in CALLS.items()}
    assert connector.set_recommendations_many({}) is False
    report = connector.health_check()
    assert report["status"] == "unhealthy"
    assert "refused" in report["error"]
    assert report["latency_ms"] is None
    server.close()


def test_a_server_that_comes_after_the_connector_is_found(own_server: EmbeddedServer, wait_until: Wait) -> None:
    own_server.stop()
    connector = RedisConnector(own_server.url)
    assert connector.get_recommendations(1) is None
    own_server.start()
    wait_until(lambda: connector.set_recommendations(1, [1]), 5, "writing to the server")
    assert connector.get_recommendations(1) == [1]
    assert connector.health_check()["status"] == "healthy"


def test_down_in_between_every_call_answers_false_or_none_and_works_again_after(
    own_server: EmbeddedServer, wait_until: Wait
) -> None:
    # One for each call, so that each of them is the first to meet the outage.
    connectors = {name: RedisConnector(own_server.url) for name in CALLS}
    for name, connector in connectors.items():
        assert connector.set_recommendations(name, [name])
    own_server.kill()
    for name, (call, answer) in CALLS.items():
        assert call(connectors[name]) is answer, name
        assert connectors[name].redis_client is None
    own_server.start()
    for name, connector in connectors.items():
        wait_until(lambda connector=connector: connector.redis_client is not None, 5, name)
        assert connector.set_recommendations(name, [2]) is True
        assert connector.get_recommendations(name) == [2]


def test_a_restart_that_nobody_saw_costs_no_answer(own_server: EmbeddedServer) -> None:
    connector = RedisConnector(own_server.url)
    assert connector.set_recommendations(1, [1])
    own_server.stop()
    own_server.start()
    assert connector.get_recommendations(1) == [1]
    with own_server.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)
    assert connector.get_recommendations(1) == [1]


def test_an_outage_is_logged_when_it_begins_and_when_it_ends_and_not_at_every_call(
    own_server: EmbeddedServer, caplog: pytest.LogCaptureFixture, wait_until: Wait
) -> None:
    connector = RedisConnector(own_server.url)
    own_server.stop()
    with caplog.at_level(logging.INFO, "timbral.utils.redis_connector"):
        for _ in range(50):
            assert connector.get_recommendations(1) is None
        assert len(caplog.records) == 1
        own_server.start()
        wait_until(lambda: connector.set_recommendations(1, []), 5, "writing to the server")
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_frozen_server_costs_one_bounded_wait_and_then_next_to_nothing(
    own_server: EmbeddedServer, wait_until: Wait
) -> None:
    connector = RedisConnector(own_server.url, socket_timeout_s=0.4)
    assert connector.set_recommendations(1, [1])
    os.kill(own_server.process.pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        assert connector.get_recommendations(1) is None
        wait_s = time.monotonic() - started
        started = time.monotonic()
        for _ in range(200):
            assert connector.get_recommendations(1) is None
        assert time.monotonic() - started < 20 * wait_s, "not a wait for each of 200 calls"
        # A look at the frozen server holds up the one who looks, and not the others.
        time_of_next_look = connector._next_look_at
        wait_until(lambda: time.monotonic() >= time_of_next_look, 5)
        looker = threading.Thread(target=connector.get_recommendations, args=(1,))
        looker.start()
        wait_until(lambda: connector._next_look_at != time_of_next_look, 5)
        assert connector.get_recommendations(1) is None
        assert looker.is_alive()
        looker.join()
    finally:
        os.kill(own_server.process.pid, signal.SIGCONT)
    started = time.monotonic()
    wait_until(lambda: connector.get_recommendations(1) == [1], 5, "reading after the freeze")
    assert connector.redis_client is not None


def test_a_client_that_was_taken_away_comes_back(redis_server: EmbeddedServer, wait_until: Wait) -> None:
    connector = RedisConnector(redis_server.url)
    connector.redis_client = None
    assert connector.set_recommendations(1, []) is False
    wait_until(lambda: connector.set_recommendations(1, []), 5)


def test_threads_that_outlive_an_outage_all_work_again(own_server: EmbeddedServer, wait_until: Wait) -> None:
    connector = RedisConnector(own_server.url)
    raised: list[BaseException] = []
    stop = threading.Event()

    def work() -> None:
        try:
            while not stop.is_set():
                connector.set_recommendations(1, [1])
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    own_server.kill()
    wait_until(lambda: connector.redis_client is None, 5)
    own_server.start()
    with redis.Redis.from_url(own_server.url) as client:
        client.delete("recommendations:user:1")
        wait_until(lambda: client.exists("recommendations:user:1"), 5)
    stop.set()
    for thread in threads:
        thread.join(10)
    assert raised == []
