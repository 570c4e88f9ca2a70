"""Redis with sentinels, as Debian has them: one primary, two replicas, three sentinels that agree by majority."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import redis

from timbral.redis_server.client import connect
from timbral.stack.embedded_server import EmbeddedServer

NAME = "mymaster"
DOWN_AFTER_MS = 1_000


class SentinelServers:
    """The six processes; ``url`` is what goes into REDIS_URL."""

    def __init__(self, folder: Path, sentinel: str) -> None:
        self.folder = folder
        self.sentinel = sentinel
        # A primary that is on its own refuses writes: what it took would be gone once the other is in charge.
        options = {"min-replicas-to-write": "1", "min-replicas-max-lag": "5", "repl-diskless-sync-delay": "0"}
        self.servers = [EmbeddedServer(folder / f"redis{n}", options=dict(options)) for n in range(3)]
        self.ports: list[int] = []
        self.processes: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        """``sentinel://`` URL of the primary."""
        return f"sentinel://{';'.join(f'127.0.0.1:{port}' for port in self.ports)}/{NAME}"

    def client(self) -> redis.Redis:
        """A client of whichever is the primary."""
        return connect(self.url, timeout_s=5, connect_timeout_s=2)

    def start(self) -> Self:
        """Start them and wait until a write to the primary is taken."""
        primary = self.servers[0].start()
        for server in self.servers[1:]:
            _start_replica(server, primary.port)
        for n in range(3):
            port = _free_port()
            file = self.folder / f"sentinel{n}.conf"
            file.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {self.folder}\nlogfile {self.folder}/sentinel{n}.log\n"
                f"sentinel monitor {NAME} 127.0.0.1 {primary.port} 2\n"
                f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\n"
                f"sentinel failover-timeout {NAME} 5000\nsentinel parallel-syncs {NAME} 2\n"
            )
            quiet = subprocess.DEVNULL
            self.processes.append(
                subprocess.Popen(
                    [self.sentinel, str(file)], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
                )
            )
            self.ports.append(port)
        self.wait_for(lambda: self._ask("sentinels", NAME) and len(self._ask("sentinels", NAME)) == 2, "the sentinels")
        self.wait_for(lambda: len(self._ask("replicas", NAME)) == 2, "the replicas")
        self.wait_for(self._writes, "a write")
        return self

    def primary(self) -> EmbeddedServer:
        """The server that the sentinels say is in charge."""
        port = int(self._ask("get-master-addr-by-name", NAME)[1])
        return next(server for server in self.servers if server.port == port)

    def replicas(self) -> int:
        """How many replicas the primary has that keep up."""
        with self.client() as client:
            info: Any = client.info("replication")
        return int(info["connected_slaves"])

    def fail_over(self) -> None:
        """Have the sentinels put another server in charge, in good order."""
        before = self.primary().port
        self._ask("failover", NAME)
        self.wait_for(lambda: self.primary().port != before, "the new primary")

    def wait_for(self, condition: Any, what: str, timeout_s: float = 90.0) -> None:
        """Poll until it holds."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                if condition():
                    return
            except (redis.RedisError, OSError, StopIteration):
                pass
            time.sleep(0.05)
        logs = "".join(path.read_text()[-800:] for path in self.folder.glob("sentinel*.log"))
        pytest.fail(f"{what} did not come within {timeout_s} s: {logs}")

    def close(self) -> None:
        """End them all."""
        for process in self.processes:
            process.kill()
            process.wait()
        for server in self.servers:
            server.kill()

    def _writes(self) -> bool:
        with self.client() as client:
            return bool(client.set("probe", 1)) and bool(client.delete("probe"))

    def _ask(self, *words: str) -> Any:
        for port in self.ports:
            try:
                with redis.Redis(port=port, socket_timeout=2, decode_responses=True) as client:
                    return client.execute_command("SENTINEL", *words)
            except redis.ConnectionError:
                continue
        return []


def _start_replica(server: EmbeddedServer, primary_port: int) -> None:

    server.start()
    with server.client() as client:
        client.replicaof("127.0.0.1", primary_port)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[SentinelServers]:
    """The six processes; skipped, aloud, where there is no redis-sentinel."""
    program = shutil.which("redis-sentinel")
    if program is None:
        pytest.skip("no redis-sentinel here: apt-get install redis-sentinel")
    made = SentinelServers(tmp_path / "sentinel", program)
    try:
        yield made.start()
    finally:
        made.close()
