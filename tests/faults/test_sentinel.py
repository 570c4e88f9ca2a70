"""Failovers through Sentinel, under load: nothing is lost and nothing is done twice."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fleet_fixtures import WorkerProcess
from sentinel_fixtures import SentinelServers

from producers.broker import Broker
from timbral.config.redis_url import RedisUrl
from timbral.errors import RedisUnavailableError
from timbral.redis_server.client import close_async, connect_async
from timbral.utils.redis_connector import RedisConnector

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]

N_TASKS = 240
FAULT_TASKS = Path(__file__).parent


class Sender(threading.Thread):
    """Sends numbered tasks, one after the other, and tries again where Redis is away."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.broker = Broker(RedisUrl.parse(url))
        self.n_sent = 0
        self.pause = threading.Event()

    def run(self) -> None:
        for n in range(N_TASKS):
            while True:
                try:
                    self.broker.publish("fault.run", {"name": str(n)}, f"run-{n}")
                    break
                except RedisUnavailableError:
                    self.pause.wait(0.1)
            self.n_sent += 1
            self.pause.wait(0.03)


def runs(servers: SentinelServers) -> Counter[str]:
    with servers.client() as client:
        return Counter(member.decode().partition(":")[0] for member in client.smembers("test:runs"))


def test_a_kill_and_an_orderly_failover_under_load_lose_nothing_and_do_nothing_twice(
    sentinels: SentinelServers, tmp_path: Path
) -> None:
    # given
    workers = [
        WorkerProcess(
            sentinels,
            tmp_path,
            name=f"worker{n}",
            concurrency=2,
            python_path=FAULT_TASKS,
            options=("-I", "fault_tasks"),
            environment={"VISIBILITY_TIMEOUT_S": "20"},
        ).spawn()
        for n in range(2)
    ]
    for worker in workers:
        sentinels.wait_for(lambda w=worker: "ready." in w.log, f"{worker.name}: {worker.log[-1500:]}", 100)
    connector = RedisConnector(sentinels.url)
    assert connector.set_recommendations(7, [1])
    sender = Sender(sentinels.url)

    # when: the primary is killed, comes back as a replica, and later hands over in good order
    sender.start()
    sentinels.wait_for(lambda: sender.n_sent > N_TASKS // 6, "the first messages")
    killed = sentinels.primary()
    killed.kill()
    sentinels.wait_for(lambda: sentinels.primary() is not killed, "the new primary")
    killed.start()
    sentinels.wait_for(lambda: sender.n_sent > N_TASKS // 2, "messages on the new primary", 90)
    sentinels.wait_for(lambda: sentinels.replicas() == 2, "the replicas")
    sentinels.fail_over()
    sender.join(120)

    # then
    try:
        assert sender.n_sent == N_TASKS
        sentinels.wait_for(lambda: len(runs(sentinels)) == N_TASKS, "all of them", 200)
        with sentinels.client() as client:
            sentinels.wait_for(lambda: client.hlen("unacked") == 0, "the last acknowledgement", 60)
            assert client.llen("celery") == 0
            answers = [client.get(f"celery-task-meta-run-{n}") or b"" for n in range(N_TASKS)]
        assert Counter(runs(sentinels).values()) == {1: N_TASKS}
        assert all(b"SUCCESS" in answer for answer in answers)
        assert all(worker.alive for worker in workers)
        # and the cache, and the HTTP API's client, have followed
        sentinels.wait_for(lambda: connector.get_recommendations(7) == [1], "the connector")
        assert asyncio.run(_read(sentinels.url)) == b"[1]"
    finally:
        for worker in workers:
            worker.stop()
        sender.broker.close()
        connector.close()


async def _read(url: str) -> Any:
    client = connect_async(url, timeout_s=5, connect_timeout_s=2, max_connections=4)
    try:
        return await client.get("recommendations:user:7")
    finally:
        await close_async(client)


def test_health_and_flower_find_the_primary(sentinels: SentinelServers) -> None:
    environment = {**os.environ, "REDIS_URL": sentinels.url}
    code = """
import asyncio, celeryconfig
from flower.utils.broker import Broker
from workers.app import app
uri = app.connection().as_uri(include_password=True)
broker = Broker(uri, broker_options=celeryconfig.broker_transport_options)
print(asyncio.run(broker.queues(["training"])))
"""
    with sentinels.client() as client:
        client.lpush("training", "1", "2")

    counted = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    health = subprocess.run(
        [sys.executable, "-m", "timbral.cli", "health", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert "'messages': 2" in counted.stdout, counted.stderr
    assert '"training": 2' in health.stdout, health.stderr


def test_what_is_sent_on_a_channel_that_kombu_closed_goes_over_a_new_one(
    sentinels: SentinelServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: as outages leave it, with another sentinel asked, and closed although the queue was just declared
    broker = Broker(RedisUrl.parse(sentinels.url))
    try:
        broker.publish("train_model", {}, "first")
        with broker._producers.acquire() as producer:
            producer.connection.maybe_switch_next()
            producer.channel.close()
        monkeypatch.setattr("kombu.messaging.maybe_declare", lambda *_, **__: True)

        # when
        broker.publish("train_model", {}, "second")

        # then
        with sentinels.client() as client:
            assert client.llen("training") == 2
    finally:
        broker.close()


def test_sentinels_that_know_no_such_primary_are_an_outage(sentinels: SentinelServers) -> None:
    connector = RedisConnector(sentinels.url.replace("mymaster", "another"))

    assert connector.get_recommendations(7) is None
    assert connector.health_check()["status"] == "unhealthy"
    assert "No master found for 'another'" in connector.health_check()["error"]
