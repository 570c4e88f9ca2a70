"""Fixtures of the deployment tests."""

from __future__ import annotations

import logging
import urllib.request
from collections.abc import Iterator

import pytest
from s3_server import S3


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """An empty server, and this process' environment pointing at it."""
    # Here, as its import takes a second, and each process that collects the tests would take it.
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    # All servers of a process have one memory.
    urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST"), timeout=60).close()
    made = S3(url)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    yield made
    made.client.close()
    server.stop()
