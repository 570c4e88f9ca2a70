"""Fixtures of the security tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from guarded_server import GuardedServer


@pytest.fixture(scope="session")
def _guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedServer]:
    server = GuardedServer(tmp_path_factory.mktemp("guarded"))
    yield server.start()
    server.stop()


@pytest.fixture
def guarded(_guarded: GuardedServer) -> GuardedServer:
    """A server with the deployed users, empty."""
    with _guarded.client("admin") as admin:
        admin.flushall()
    return _guarded
