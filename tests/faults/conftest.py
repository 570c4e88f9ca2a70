"""Workers with the fault tasks, and what these have counted."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import server_kinds
from celery import Celery
from fleet_fixtures import Fleet, WorkerProcess

from timbral.stack.embedded_server import EmbeddedServer

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes minutes runs only where it is asked for: ``pytest -m soak``."""
    if config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("soak")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Both servers where their answers matter, or where everything is asked for; else the one that is everywhere."""
    if "own_server" in metafunc.fixturenames:
        every = metafunc.config.option.every_server or metafunc.definition.get_closest_marker("both_servers")
        metafunc.parametrize("own_server", server_kinds.KINDS if every else [server_kinds.VALKEY], indirect=True)


@pytest.fixture
def own_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server with an append-only file, to be killed, frozen and filled; its kind is the parameter."""
    with EmbeddedServer(tmp_path / "redis", binary=server_kinds.binary_of(request.param)) as server:
        yield server


_OBSERVED: list[tuple[str, str]] = []


@pytest.fixture
def observed() -> Callable[[str, str], None]:
    """``observed(fault, what happened)``: a row of the table that stands at the end of the run."""
    return lambda fault, happened: _OBSERVED.append((fault, happened))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The fault table of this run."""
    if _OBSERVED:
        terminalreporter.section("what the faults did")
        for fault, happened in _OBSERVED:
            terminalreporter.write_line(f"| {fault} | {happened} |")


class FaultFleet:
    """A fleet whose workers know the fault tasks, with the means to send these and to see how often they were
    executed."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.server = fleet.server
        self.app = Celery("producer", broker=f"{fleet.server.url}/0", set_as_current=False)
        self.app.config_from_object("celeryconfig")
        self.app.conf.update(broker_url=f"{fleet.server.url}/0", result_backend=None)

    def start(self, n_workers: int = 1, **options: Any) -> list[WorkerProcess]:
        """Start workers and wait until they take messages."""
        return self.fleet.start(n_workers, **self._with_the_fault_tasks(options))

    def worker(self, **options: Any) -> WorkerProcess:
        """A worker that is not started yet."""
        return self.fleet.worker(**self._with_the_fault_tasks(options))

    @staticmethod
    def _with_the_fault_tasks(options: dict[str, Any]) -> dict[str, Any]:
        return {**options, "python_path": HERE, "options": (*options.get("options", ()), "-I", "fault_tasks")}

    def send(self, task: str, name: str, *, queue: str = "celery", **kwargs: Any) -> str:
        """Send a fault task; returns its id."""
        return self.send_task(f"fault.{task}", queue, name=name, **kwargs)

    def send_task(self, task: str, to_queue: str | None = None, **kwargs: Any) -> str:
        """Send any task; returns its id."""
        task_id = str(uuid.uuid4())
        self.app.send_task(task, kwargs=kwargs, task_id=task_id, queue=to_queue)
        return task_id

    def client(self) -> redis.Redis:
        """A client of the server; not one that an outage may have broken."""
        return self.server.client()

    def begun(self, name: str) -> int:
        """How often the task of this name was begun."""
        return self._count("begun", name)

    def done(self, name: str) -> int:
        """How often the task of this name came to its end."""
        return self._count("done", name)

    def _count(self, what: str, name: str) -> int:
        return int(self._ask(lambda client: client.hget(f"test:{what}", name)) or 0)

    def result(self, task_id: str) -> dict[str, Any]:
        """The task's state and result, as Celery stores them; empty before it was begun."""
        stored = self._ask(lambda client: client.get(f"celery-task-meta-{task_id}"))
        return json.loads(stored) if stored else {}

    def succeeded(self, task_id: str) -> bool:
        """Whether the task's success is stored."""
        return self.result(task_id).get("status") == "SUCCESS"

    def held(self) -> int:
        """Messages that workers hold."""
        return int(self._ask(lambda client: client.hlen("unacked")) or 0)

    def holder(self, task_id: str) -> WorkerProcess:
        """The worker that received the task last."""
        received = [
            (line.split()[0], worker)
            for worker in self.fleet.workers
            for line in worker.log.splitlines()
            if f"[{task_id}] received" in line
        ]
        return max(received, key=lambda pair: pair[0])[1]

    def _ask(self, question: Callable[[redis.Redis], Any]) -> Any:
        """None while the server is away."""
        try:
            with self.client() as client:
                return question(client)
        except (redis.ConnectionError, redis.TimeoutError):
            return None


@pytest.fixture
def faults(own_fleet: Fleet) -> FaultFleet:
    """A fleet on a server of the test's own, with an append-only file."""
    return FaultFleet(own_fleet)
