"""Real worker processes for tests: start, watch, kill, stop, and count what was executed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import redis
from celery import Celery
from warm_python import WarmProcess, die_with_the_parent

from timbral.stack.embedded_server import EmbeddedServer

FAST = {
    "VISIBILITY_TIMEOUT_S": "4",
    "RESTORE_INTERVAL_S": "0.5",
    "SOFT_SHUTDOWN_S": "2",
    "N_THREADS": "1",
    "NMF_N_COMPONENTS": "8",
}
"""Settings of a worker under test: what is lost comes back in seconds, and models are small."""


class WorkerProcess:
    """One ``python -m celery -A workers.app worker`` with its pool, in a process group of its own.

    Args:
        server: the broker, results and cache.
        directory: holds ``data/``, ``models/`` and the worker's log ``{name}.log``.
        environment: settings beside FAST, as environment variables; they win over FAST.
        app: the Celery application, for tests that add tasks of their own.
        python_path: a folder in front of the module path, where such an app lies.
        options: more arguments of ``celery worker``.
    """

    def __init__(
        self,
        server: EmbeddedServer,
        directory: Path,
        *,
        name: str = "worker",
        queues: str = "celery,batch,training",
        concurrency: int = 1,
        pool: str = "prefork",
        environment: dict[str, str] | None = None,
        app: str = "workers.app",
        python_path: Path | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        self.server = server
        self.directory = directory
        self.name = name
        self.log_path = directory / f"{name}.log"
        self.command = [sys.executable, "-m", "celery", "-A", app, "worker", "-n", f"{name}@test", "-Q", queues]
        self.command += ["-c", str(concurrency), "-P", pool, "-l", "INFO", *options]
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("REDIS_", "BROKER_"))},
            **FAST,
            "REDIS_URL": server.url,
            "DATA_DIR": str(directory / "data"),
            "MODEL_DIR": str(directory / "models"),
            "REMAP_SIGTERM": "SIGQUIT",
            **(environment or {}),
        }
        if python_path is not None:
            self.environment["PYTHONPATH"] = os.pathsep.join([str(python_path), os.environ.get("PYTHONPATH", "")])
        self.process: WarmProcess | subprocess.Popen[bytes] | None = None

    def spawn(self) -> Self:
        """Start the process and return at once."""
        for folder in ("data", "models"):
            (self.directory / folder).mkdir(parents=True, exist_ok=True)
        if self.command[:2] == [sys.executable, "-m"]:
            self.process = WarmProcess(self.command[1:], cwd=self.directory, env=self.environment, output=self.log_path)
        else:  # a test has put another program in front of it
            with self.log_path.open("ab") as log:
                self.process = subprocess.Popen(
                    self.command, cwd=self.directory, env=self.environment, stdin=subprocess.DEVNULL, stdout=log,
                    stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=die_with_the_parent,
                )  # fmt: skip
        return self

    def start(self, timeout_s: float = 100.0) -> Self:
        """Start the process and wait until it takes messages."""
        self.spawn()
        self.wait_ready(timeout_s)
        return self

    def wait_ready(self, timeout_s: float = 100.0) -> None:
        """Wait until this process waits on its queues."""
        assert self.process is not None
        deadline = time.monotonic() + timeout_s
        with self.server.client() as client:
            while time.monotonic() < deadline:
                assert self.process.poll() is None, f"{self.name} ended: {self.log[-2000:]}"
                waiting = {int(c["addr"].rpartition(":")[2]) for c in client.client_list() if c["cmd"] == "brpop"}
                if waiting & _local_ports(self.process.pid):
                    return
                time.sleep(0.02)
        pytest.fail(f"{self.name} takes no messages after {timeout_s} s: {self.log[-2000:]}")

    @property
    def pid(self) -> int:
        """Process id of the worker's parent process."""
        assert self.process is not None
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether the parent process runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def log(self) -> str:
        """What the worker has printed so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def children(self) -> list[int]:
        """Process ids of the pool's processes."""
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(pid) for pid in listed if _is_pool_process(int(pid))]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the parent process alone."""
        os.kill(self.pid, number)

    def kill_child(self) -> int:
        """SIGKILL one process of the pool; returns its id."""
        pid = self.children()[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill(self) -> None:
        """SIGKILL the worker with its pool, as a lost host would."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self, timeout_s: float = 15.0) -> None:
        """SIGTERM (a soft shutdown), and SIGKILL if it is not heeded."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout_s)
        self.kill()


class Watch:
    """Records the task events of a broker from now on: who executed what, and how often."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.events: list[dict[str, Any]] = []
        self._app = Celery("watch", broker=f"{server.url}/0")
        self._stop = threading.Event()
        self._server = server
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._app.connection_for_read() as connection:
                    receiver = self._app.events.Receiver(connection, handlers={"*": self._record})
                    with receiver.Consumer() as (consuming, _channel, _consumers):
                        while not self._stop.is_set():
                            with contextlib.suppress(TimeoutError):  # nothing came
                                consuming.drain_events(timeout=0.2)
            except Exception:  # the server is away: look again
                self._stop.wait(0.1)

    def _record(self, event: dict[str, Any]) -> None:
        if event["type"].startswith("task-"):
            self.events.append(event)

    def executions(self, task_id: str | None = None) -> int:
        """How often a task (or any task) was begun."""
        return sum(e["type"] == "task-started" and task_id in (None, e["uuid"]) for e in list(self.events))

    def executions_by_name(self) -> Counter[str]:
        """How often each kind of task was begun."""
        events = list(self.events)
        names = {e["uuid"]: e["name"] for e in events if e.get("name")}
        return Counter(names.get(e["uuid"], "?") for e in events if e["type"] == "task-started")

    def types(self, task_id: str) -> list[str]:
        """The kinds of event of a task, in order of arrival."""
        return [e["type"] for e in list(self.events) if e.get("uuid") == task_id]

    def __enter__(self) -> Self:
        with self._server.client() as client:
            before = _subscribers(client)
            self._thread.start()
            deadline = time.monotonic() + 60
            while not _subscribers(client) - before:
                assert time.monotonic() < deadline, "the event receiver did not start"
                time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)
        self._app.close()


class Fleet:
    """Workers on one server and one folder; all of them are ended with the test."""

    def __init__(self, server: EmbeddedServer, directory: Path) -> None:
        self.server = server
        self.directory = directory
        self.workers: list[WorkerProcess] = []
        for folder in ("data", "models"):
            (directory / folder).mkdir(parents=True, exist_ok=True)

    @property
    def data_dir(self) -> Path:
        """Where the workers look for data sets."""
        return self.directory / "data"

    @property
    def model_dir(self) -> Path:
        """Where the workers keep models."""
        return self.directory / "models"

    def worker(self, **options: Any) -> WorkerProcess:
        """A worker that is not started yet; options as WorkerProcess takes them."""
        options.setdefault("name", f"worker{len(self.workers)}")
        made = WorkerProcess(self.server, self.directory, **options)
        self.workers.append(made)
        return made

    def start(self, n_workers: int = 1, **options: Any) -> list[WorkerProcess]:
        """Start workers side by side and wait until all of them take messages."""
        made = [self.worker(**options).spawn() for _ in range(n_workers)]
        for worker in made:
            worker.wait_ready()
        return made

    def close(self) -> None:
        """End every worker, hard."""
        for worker in self.workers:
            worker.kill()


@pytest.fixture
def fleet(redis_server: EmbeddedServer, tmp_path: Path) -> Iterator[Fleet]:
    """Workers on the shared private server."""
    made = Fleet(redis_server, tmp_path)
    yield made
    made.close()


@pytest.fixture
def own_fleet(own_server: EmbeddedServer, tmp_path: Path) -> Iterator[Fleet]:
    """Workers on a server of the test's own, with an append-only file, to be killed, frozen and filled."""
    made = Fleet(own_server, tmp_path)
    yield made
    made.close()


def _subscribers(client: redis.Redis) -> set[str]:
    """Ids of the connections that are subscribed to events."""
    return {str(one["id"]) for one in client.client_list() if int(one["psub"]) > 0}


def _local_ports(pid: int) -> set[int]:
    """TCP ports on this machine's side of the process's connections."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    ports = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[9] in inodes:
            ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


def _is_pool_process(pid: int) -> bool:
    try:
        return b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
