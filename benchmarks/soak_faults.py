"""What ``benchmarks.soak`` does to a fleet and its Redis, each at random, each over when it returns."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable

import redis
from fleet_fixtures import Fleet, WorkerProcess
from sentinel_fixtures import SentinelServers

from timbral.stack.embedded_server import EmbeddedServer

__all__ = ["Faults"]


class Faults:
    """Faults for a fleet; ``done`` counts them by name."""

    def __init__(
        self,
        server: EmbeddedServer | SentinelServers,
        fleet: Fleet,
        rng: random.Random,
        start_worker: Callable[[str], WorkerProcess],
    ) -> None:
        self.server = server
        self.fleet = fleet
        self.rng = rng
        self.start_worker = start_worker
        self.done: Counter[str] = Counter()
        self.kinds: list[Callable[[], None]] = [
            self.kill_child,
            self.kill_worker,
            self.stop_worker,
            self.kill_redis,
            self.freeze_redis,
            self.cut_connections,
            self.want_more_replicas,
            self.cut_permissions,
            self.fill_redis,
            self.fail_over if isinstance(server, SentinelServers) else self.read_only,
        ]

    def one(self) -> None:
        """Do one, and wait until it is over."""
        kind = self.rng.choice(self.kinds)
        kind()
        self.done[kind.__name__.replace("_", " ")] += 1

    # Workers

    def kill_child(self) -> None:
        children = self.rng.choice(self._alive()).children()
        if children:
            os.kill(self.rng.choice(children), signal.SIGKILL)

    def kill_worker(self) -> None:
        worker = self.rng.choice(self._alive())
        worker.kill()
        self.start_worker(_queues_of(worker))

    def stop_worker(self) -> None:
        worker = self.rng.choice(self._alive())
        worker.signal(signal.SIGTERM)
        self.start_worker(_queues_of(worker))

    # Redis is away

    def kill_redis(self) -> None:
        killed = self._primary()
        killed.kill()
        if isinstance(self.server, SentinelServers):
            servers = self.server
            servers.wait_for(lambda: servers.primary() is not killed, "the new primary")
        time.sleep(self.rng.uniform(0, 4))
        killed.start()
        self._settle()

    def freeze_redis(self) -> None:
        process = self._primary().process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(self.rng.uniform(1, 10))
        os.kill(process.pid, signal.SIGCONT)
        self._settle()

    def cut_connections(self) -> None:
        with self.server.client() as client:
            for kind in ("normal", "pubsub"):
                client.client_kill_filter(_type=kind, skipme=True)

    def fail_over(self) -> None:
        assert isinstance(self.server, SentinelServers)
        self.server.fail_over()
        self._settle()

    # Redis refuses

    def want_more_replicas(self) -> None:
        with self._primary().client() as client:
            (before,) = client.config_get("min-replicas-to-write").values()
            client.config_set("min-replicas-to-write", 5)
            self._wait()
            client.config_set("min-replicas-to-write", before)

    def read_only(self) -> None:
        with self._primary().client() as client:
            _run(client, "REPLICAOF", "127.0.0.1", "1")
            self._wait()
            _run(client, "REPLICAOF", "NO", "ONE")

    def cut_permissions(self) -> None:
        with self._primary().client() as client:
            _run(client, "ACL", "SETUSER", "default", "-@write", "-@scripting")
            self._wait()
            _run(client, "ACL", "SETUSER", "default", "+@all")

    def fill_redis(self) -> None:
        with self._primary().client() as client:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", 1)
            self._wait()
            client.config_set("maxmemory", 0)

    def _wait(self) -> None:
        time.sleep(self.rng.uniform(1, 4))

    def _alive(self) -> list[WorkerProcess]:
        return [worker for worker in self.fleet.workers if worker.alive]

    def _primary(self) -> EmbeddedServer:
        return self.server.primary() if isinstance(self.server, SentinelServers) else self.server

    def _settle(self) -> None:
        """Sentinels do nothing more before the replicas are back."""
        if isinstance(self.server, SentinelServers):
            servers = self.server
            servers.wait_for(lambda: servers.replicas() == 2, "the replicas")


def _run(client: redis.Redis, *words: str) -> None:
    client.execute_command(*words)


def _queues_of(worker: WorkerProcess) -> str:
    return worker.command[worker.command.index("-Q") + 1]
