"""A Redis Cluster: three primaries that share the slots, and a replica of the one that owns the fleet's slot."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import redis

from timbral.redis_server.cluster import slot_of
from timbral.stack.embedded_server import EmbeddedServer

TAG = "music"
N_SLOTS = 16_384
OPTIONS = {"cluster-enabled": "yes", "cluster-node-timeout": "1500", "repl-diskless-sync-delay": "0"}


class ClusterServers:
    """The four processes; ``url`` is what goes into REDIS_URL beside CACHE_CLUSTER."""

    def __init__(self, folder: Path) -> None:
        self.servers = [
            EmbeddedServer(folder / f"node{n}", options={**OPTIONS, "cluster-port": str(_free_port())})
            for n in range(4)
        ]

    @property
    def url(self) -> str:
        """All nodes, the one that owns the slot last."""
        names = ";".join(f"127.0.0.1:{server.port}" for server in sorted(self.servers, key=self.owns))
        return f"redis://{names}"

    def owns(self, server: EmbeddedServer) -> bool:
        """Whether the server is the primary of the fleet's slot."""
        return server.port == self.owner().port

    def owner(self) -> EmbeddedServer:
        """The primary of the fleet's slot, as the nodes that are there see it."""
        for server in self.servers:
            try:
                with server.client() as client:
                    for first, last, primary, *_ in _run(client, "CLUSTER", "SLOTS"):
                        if first <= slot_of(TAG) <= last:
                            return next(each for each in self.servers if each.port == primary[1])
            except redis.ConnectionError:
                continue
        raise LookupError("nobody owns the slot")

    def start(self) -> Self:
        """Start them, make them one cluster and wait until it takes writes."""
        ids = []
        for server in self.servers:
            with server.start().client() as client:
                ids.append(_run(client, "CLUSTER", "MYID").decode())
                _run(
                    client,
                    "CLUSTER",
                    "MEET",
                    "127.0.0.1",
                    self.servers[0].port,
                    self.servers[0].options["cluster-port"],
                )
        owner = slot_of(TAG) * 3 // N_SLOTS
        for n, server in enumerate(self.servers[:3]):
            with server.client() as client:
                first, last = -(-n * N_SLOTS // 3), -(-(n + 1) * N_SLOTS // 3) - 1
                _run(client, "CLUSTER", "ADDSLOTSRANGE", first, last)
        with self.servers[3].client() as client:
            self.wait_for(lambda: _run(client, "CLUSTER", "REPLICATE", ids[owner]), "the replica's order")
            self.wait_for(lambda: _info(client, "replication")["master_link_status"] == "up", "the replica")
        for server in self.servers:
            with server.client() as client:
                self.wait_for(lambda c=client: b"cluster_state:ok" in _run(c, "CLUSTER", "INFO"), "the cluster")
        return self

    def wait_for(self, condition: Callable[[], Any], what: str, timeout_s: float = 90.0) -> None:
        """Poll until it holds."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                if condition():
                    return
            except (redis.RedisError, OSError, LookupError):
                pass
            time.sleep(0.05)
        pytest.fail(f"{what} did not come within {timeout_s} s")

    def close(self) -> None:
        """End them all."""
        for server in self.servers:
            server.kill()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _run(client: redis.Redis, *words: object) -> Any:
    return client.execute_command(*words)


def _info(client: redis.Redis, section: str) -> Any:
    return client.info(section)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ClusterServers]:
    """A cluster of the test's own."""
    made = ClusterServers(tmp_path / "cluster")
    try:
        yield made.start()
    finally:
        made.close()
