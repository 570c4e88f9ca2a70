"""An app and a fleet that run for the whole session: for tests of what apps do, which stop and break nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from fleet_fixtures import Fleet
from taste import history, write_history

import producers
from timbral.stack.embedded_server import EmbeddedServer


@pytest.fixture
def connected(redis_server: EmbeddedServer) -> Iterator[EmbeddedServer]:
    """``producers`` connected to the shared private server, which is empty and has no workers."""
    producers.connect(redis_server.url)
    yield redis_server
    producers.connect()


@pytest.fixture
def cancel(connected: EmbeddedServer) -> Callable[[str], bool]:
    """``cancel(job_id)``: as a producer does it, on the shared private server."""
    return lambda job_id: producers.job(job_id).cancel()


@pytest.fixture(scope="session")
def live_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A worker with a model trained on ``plays.csv``, recommendations and embeddings in the cache, on a server of its
    own."""
    with EmbeddedServer(append_only=False) as server:
        fleet = Fleet(server, tmp_path_factory.mktemp("live"))
        write_history(fleet.data_dir / "plays.csv", history())
        try:
            fleet.start(concurrency=2, environment={"CHUNK_SIZE": "25"})
            producers.connect(server.url)
            producers.enqueue_train_model("plays.csv", promote="always").wait(100)
            producers.enqueue_compute_recommendations().wait(100)
            producers.enqueue_refresh_embeddings().wait(100)
            yield fleet
        finally:
            producers.connect()
            fleet.close()


@pytest.fixture
def live(live_fleet: Fleet) -> Iterator[Fleet]:
    """``live_fleet``, with ``producers`` connected to it."""
    producers.connect(live_fleet.server.url)
    yield live_fleet
    producers.connect()


@pytest.fixture
def app_environment(live_fleet: Fleet) -> dict[str, str]:
    """The environment of an app in a process of its own that has its Redis from REDIS_URL."""
    return {**os.environ, "REDIS_URL": live_fleet.server.url, "NO_COLOR": "1", "COLUMNS": "160"}
