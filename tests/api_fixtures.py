"""The HTTP API for tests: real server processes before a real Redis that holds a model and everybody's lists."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import redis
from warm_python import WarmProcess

from timbral.stack.embedded_server import EmbeddedServer
from tools.example_users import Example, seed

TOKEN = "a token for the tests"
CSRF = re.compile(r'name="csrf" value="([0-9a-f]{64})"')
AUTH = {"authorization": f"Bearer {TOKEN}"}


class ApiProcess:
    """``timbral serve`` on a free port of 127.0.0.1."""

    def __init__(self, redis_url: str, directory: Path, **settings: str) -> None:
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("REDIS_", "API_"))},
            "REDIS_URL": redis_url,
            "API_HOST": "127.0.0.1",
            "API_PORT": "0",
            "API_WORKERS": "1",
            "MODEL_DIR": str(directory / "models"),
            **settings,
        }
        self.directory = directory
        self.url = ""
        self.log_lines: list[str] = []

    def start(self) -> ApiProcess:
        self.log_path = self.directory / f"api-{id(self)}.log"
        self.process = WarmProcess(
            ["-m", "timbral.api.serve"], cwd=self.directory, env=self.environment, output=self.log_path
        )
        return self

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def wait(self, wait: Callable[..., None]) -> ApiProcess:
        """Until it answers."""

        def answers() -> bool:
            assert self.process.poll() is None, self.log
            listening = [line for line in self.log.splitlines() if line.startswith("timbral listens on ")]
            if not listening:
                return False
            self.url = listening[0].split()[3]
            try:
                return httpx.get(f"{self.url}/health", timeout=1).status_code == 200
            except httpx.TransportError:
                return False

        wait(answers, 30, f"the API's first answer ({self.log_path})")
        return self

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, **options)

    def stop(self) -> int:
        self.process.terminate()
        try:
            return self.process.wait(40)
        finally:
            self.process.kill()


class Seeded(NamedTuple):
    server: EmbeddedServer
    directory: Path
    example: Example


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seeded]:
    """A server of this folder's own, with a model and everybody's lists; tests leave it as they found it."""
    directory = tmp_path_factory.mktemp("api")
    with EmbeddedServer(append_only=False) as server, server.client() as client:
        yield Seeded(server, directory, seed(client, directory / "models"))


@pytest.fixture(scope="session")
def example(seeded: Seeded) -> Example:
    return seeded.example


@pytest.fixture
def store(seeded: Seeded) -> Iterator[redis.Redis]:
    """A client of the APIs' Redis."""
    with seeded.server.client() as client:
        yield client


@pytest.fixture(scope="session")
def api(seeded: Seeded) -> Iterator[ApiProcess]:
    """The API of most tests: one process, a token for writing."""
    made = ApiProcess(seeded.server.url, seeded.directory, API_TOKEN=TOKEN).start().wait(_wait)
    yield made
    made.stop()


@pytest.fixture
def http(api: ApiProcess) -> Iterator[httpx.Client]:
    """A client without a token."""
    with api.client() as client:
        yield client


@pytest.fixture
def writer(api: ApiProcess) -> Iterator[httpx.Client]:
    """A client with the token for writing."""
    with api.client(headers=AUTH) as client:
        yield client


@pytest.fixture
def start_api(tmp_path: Path, wait_until: Callable[..., None]) -> Iterator[Callable[..., ApiProcess]]:
    """``start_api(redis_url, NAME="value", …)``: an API of the test's own."""
    made: list[ApiProcess] = []

    def start(redis_url: str, directory: Path | None = None, **settings: str) -> ApiProcess:
        made.append(ApiProcess(redis_url, directory or tmp_path, **settings).start())
        return made[-1].wait(wait_until)

    yield start
    for one in made:
        one.stop()


def log_in(client: httpx.Client, token: str) -> httpx.Response:
    """Log somebody in at the console."""
    return client.post(
        "/console/login", data={"csrf": csrf_of(client.get("/console/login")), "token": token, "next": "/"}
    )


def csrf_of(answer: httpx.Response) -> str:
    """The token of a page's form."""
    found = CSRF.search(answer.text)
    assert found is not None, answer.text
    return found[1]


def messages_on(client: redis.Redis, queue: str) -> list[dict[str, Any]]:
    """The keyword arguments of the messages that wait on a queue, the newest first, with their task's name and id."""
    import base64

    found = []
    for raw in client.lrange(queue, 0, -1):
        envelope = json.loads(raw)
        _, kwargs, _ = json.loads(base64.b64decode(envelope["body"]))
        found.append({"task": envelope["headers"]["task"], "id": envelope["headers"]["id"], "kwargs": kwargs})
    return found


@pytest.fixture
def queued(store: redis.Redis) -> Iterator[Callable[[str], list[dict[str, Any]]]]:
    """``queued("training")``: what waits there; emptied after the test."""
    yield lambda queue: messages_on(store, queue)
    for key in store.scan_iter("*"):
        if store.type(key) == b"list" and key.decode() in ("celery", "batch", "training"):
            store.delete(key)
    store.delete("tasks:submitted")


def _wait(condition: Callable[[], object], timeout_s: float, what: str) -> None:
    import time

    deadline = time.monotonic() + 3 * timeout_s  # ample on a quiet machine, and this one may be busy
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come true within {timeout_s} s")
        time.sleep(0.02)
