"""Delivery, on each kind of server in turn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import server_kinds

from timbral.stack.embedded_server import EmbeddedServer


@pytest.fixture(scope="package", params=server_kinds.KINDS)
def delivery_server(request: pytest.FixtureRequest) -> Iterator[EmbeddedServer]:
    """A private server of one kind."""
    with EmbeddedServer(append_only=False, binary=server_kinds.binary_of(request.param)) as server:
        yield server


@pytest.fixture
def redis_server(delivery_server: EmbeddedServer) -> EmbeddedServer:
    """The same, empty."""
    with delivery_server.client() as client:
        client.flushall()
    return delivery_server
