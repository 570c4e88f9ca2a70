"""What every test may use: a private server, a wait with a deadline, and nobody's settings but the test's own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# Before anything of ours is imported: no test may read the developer's own environment or reach their Redis.
for _name in list(os.environ):
    if _name.startswith(
        ("REDIS_", "BROKER_", "CELERY_", "NMF_", "API_", "DATA_DIR", "MODEL_DIR", "FLOWER_", "KEY_PREFIX")
    ):
        del os.environ[_name]
os.environ["REDIS_URL"] = "redis://127.0.0.1:1"

import pytest
import redis
import server_kinds
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from timbral.stack.embedded_server import EmbeddedServer

hypothesis_settings.register_profile(
    "timbral",
    deadline=None,
    derandomize=True,
    max_examples=60,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
hypothesis_settings.load_profile("timbral")

pytest_plugins = [
    "fleet_fixtures",
    "app_fixtures",
    "sentinel_fixtures",
    "cluster_fixtures",
    "api_fixtures",
    "engine_fixtures",
]

Wait = Callable[..., None]
PATIENCE = 3


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--every-server``: the fault tests on each kind of server."""
    parser.addoption("--every-server", action="store_true", help="run each fault test on every kind of server")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Faults first: they wait for most of their time, and leave the cores to the others."""
    items.sort(key=lambda item: "/faults/" not in item.nodeid)


def pytest_report_header() -> str:
    """Which servers this run can use."""
    return f"servers: {server_kinds.names()}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The same at the end, where CI shows it."""
    terminalreporter.write_line(f"servers: {server_kinds.names()}")


@pytest.fixture(autouse=True)
def _no_settings_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def session_server() -> Iterator[EmbeddedServer]:
    """One server for all tests that do not stop it."""
    with EmbeddedServer(append_only=False, binary=server_kinds.binary_of(server_kinds.VALKEY)) as server:
        yield server


@pytest.fixture
def redis_server(session_server: EmbeddedServer) -> EmbeddedServer:
    """The shared private server, empty."""
    with session_server.client() as client:
        client.flushall()
    return session_server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server with an append-only file, for tests that kill, freeze or fill it."""
    with EmbeddedServer(tmp_path / "redis", binary=server_kinds.binary_of(server_kinds.VALKEY)) as server:
        yield server


@pytest.fixture
def client(redis_server: EmbeddedServer) -> Iterator[redis.Redis]:
    """A client of the shared private server."""
    with redis.Redis.from_url(redis_server.url) as made:
        yield made


@pytest.fixture
def wait_until() -> Wait:
    """``wait_until(condition, timeout_s, what)``: poll until the condition holds, or fail saying what did not
    happen. ``timeout_s`` is ample on a quiet machine; a busy one gets ``PATIENCE`` times that."""

    def wait(condition: Callable[[], object], timeout_s: float = 30.0, what: str = "the condition") -> None:
        deadline = time.monotonic() + PATIENCE * timeout_s
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"{what} did not come true within {PATIENCE * timeout_s} s")
            time.sleep(0.02)

    return wait
