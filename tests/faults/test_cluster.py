"""The cache in a Redis Cluster, the queue in a single Redis: the whole path, before and after a failover."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
import redis
from cluster_fixtures import TAG, ClusterServers
from fleet_fixtures import Fleet
from redis.backoff import ExponentialBackoff
from redis.retry import Retry
from taste import history, write_history

from timbral.redis_server.cluster import SlotConnection, slot_of
from timbral.stack.embedded_server import EmbeddedServer

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]

PREFIX = f"{{{TAG}}}:"


def run(environment: dict[str, str], script: str) -> Any:
    """What a program of an app's own prints last, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_whole_path_runs_on_a_cluster_and_goes_on_after_its_failover(
    cluster: ClusterServers, redis_server: EmbeddedServer, tmp_path: Path
) -> None:
    # given: a model, lists for everybody and a play that changed one of them
    environment = {
        "REDIS_URL": cluster.url,
        "BROKER_URL": redis_server.url,
        "CACHE_CLUSTER": "true",
        "KEY_PREFIX": PREFIX,
        "DATA_DIR": str(tmp_path / "data"),
        "MODEL_DIR": str(tmp_path / "models"),
    }
    fleet = Fleet(redis_server, tmp_path)
    write_history(fleet.data_dir / "plays.csv", history())
    queues = ",".join(PREFIX + name for name in ("celery", "batch", "training"))
    try:
        fleet.start(queues=queues, environment={**environment, "CHUNK_SIZE": "25"})
        before = run(
            environment,
            """
            import json, time, producers
            producers.enqueue_train_model("plays.csv").wait(90)
            producers.enqueue_compute_recommendations().wait(90)
            first = producers.get_recommendations(1001)
            played = first[0]["item_id"]
            producers.record_plays([{"user_id": 1001, "item_id": played}])
            deadline = time.monotonic() + 90
            while played in [i["item_id"] for i in producers.get_recommendations(1001)]:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            producers.block_items(1002, [producers.get_recommendations(1002)[0]["item_id"]])
            print(json.dumps([first, producers.get_recommendations(1001), producers.get_recommendations(1002)]))
            """,
        )
        assert [len(found) for found in before] == [10, 10, 9]
        with cluster.owner().client() as client:
            assert {key.partition(b":")[0] for key in client.scan_iter()} == {b"{music}"}
        for server in cluster.servers:
            if not cluster.owns(server) and server is not cluster.servers[3]:
                with server.client() as client:
                    assert client.dbsize() == 0

        # when
        cluster.owner().kill()

        # then: the replica is the owner, and has everything
        cluster.wait_for(lambda: cluster.owns(cluster.servers[3]), "the new owner")
        after = run(
            environment,
            """
            import json, producers
            done = producers.enqueue_compute_recommendations().wait(150)
            print(json.dumps([done["users_done"], producers.get_recommendations(1002)]))
            """,
        )
        assert (after[0], after[1][:9]) == (120, before[2])
        assert all(worker.alive for worker in fleet.workers)
    finally:
        fleet.close()


def test_a_slot_that_moves_is_followed_by_a_client_that_is_connected(cluster: ClusterServers) -> None:
    nodes = [("127.0.0.1", server.port) for server in cluster.servers]
    pool = redis.ConnectionPool(connection_class=SlotConnection, nodes=nodes, slot=slot_of(TAG), socket_timeout=5)
    client = redis.Redis.from_pool(pool)
    before = cluster.owner()
    assert client.set(PREFIX + "a", 1)

    with cluster.servers[3].client() as replica:
        replica.execute_command("CLUSTER", "FAILOVER")
    cluster.wait_for(lambda: cluster.owner().port != before.port, "the new owner")

    cluster.wait_for(lambda: client.incr(PREFIX + "a") >= 2, "a write through the connection that was there")
    assert client.connection_pool is pool
    client.close()
    with cluster.owner().client() as owner:
        assert int(owner.get(PREFIX + "a") or 0) >= 2


def test_a_node_that_answers_nobody_does_not_hold_up_the_search_for_the_owner(cluster: ClusterServers) -> None:
    # given: a client as patient as a worker's, and a node that takes connections and says nothing
    patience_s = 30.0
    frozen = next(server for server in cluster.servers[:3] if not cluster.owns(server))
    assert frozen.process is not None
    nodes = sorted([("127.0.0.1", s.port) for s in cluster.servers], key=lambda node: node[1] != frozen.port)
    retry = Retry(ExponentialBackoff(cap=3, base=0.2), 8)
    pool = redis.ConnectionPool(
        connection_class=SlotConnection, nodes=nodes, slot=slot_of(TAG), socket_timeout=patience_s, retry=retry
    )
    os.kill(frozen.process.pid, signal.SIGSTOP)
    try:
        with redis.Redis.from_pool(pool) as client:
            began = time.monotonic()

            assert client.set(PREFIX + "a", 1)

            assert time.monotonic() - began < patience_s / 2, "the frozen node was waited for as the owner would be"
    finally:
        os.kill(frozen.process.pid, signal.SIGCONT)
