"""One fleet for the tests of the tasks: two workers of two processes each, a model, and an app that sends to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from celery.result import AsyncResult
from fleet_fixtures import Fleet
from taste import history, write_history

import producers
from timbral.stack.embedded_server import EmbeddedServer


class Bench:
    """The fleet, and an app that does not have our code: it sends tasks by name, on no queue in particular."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        url = f"{fleet.server.url}/0"
        self.celery = Celery("stranger", broker=url, backend=url, set_as_current=False)
        self.celery.conf.broker_transport_options = {"visibility_timeout": 4}

    def send(self, task: str, **kwargs: Any) -> AsyncResult:
        return self.celery.send_task(task, kwargs=kwargs)

    def call(self, task: str, **kwargs: Any) -> Any:
        return self.send(task, **kwargs).get(timeout=100)

    def cancel(self, job_id: str) -> bool:
        """As a producer does it."""
        producers.connect(self.fleet.server.url)
        try:
            return producers.job(job_id).cancel()
        finally:
            producers.connect()

    def slow_training(self, **arguments: Any) -> AsyncResult:
        """One that takes a second or two, and does not go live."""
        given = {"dataset": "slow.csv", "n_components": 128, "max_iter": 60, "tol": 0, "promote": "never"} | arguments
        return self.send("train_model", **given)


@pytest.fixture(scope="package")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    directory: Path = tmp_path_factory.mktemp("fleet")
    with EmbeddedServer(append_only=False) as server:
        fleet = Fleet(server, directory)
        write_history(fleet.data_dir / "plays.csv", history())
        write_history(fleet.data_dir / "slow.csv", history(3000, seed=2))
        try:
            fleet.start(2, concurrency=2, environment={"CHUNK_SIZE": "10"})
            made = Bench(fleet)
            made.call("train_model", dataset="plays.csv")
            yield made
            made.celery.close()
        finally:
            fleet.close()


@pytest.fixture
def cache(bench: Bench) -> Iterator[redis.Redis]:
    """A client of the fleet's server; lists, plays, blocks and embeddings are gone."""
    with bench.fleet.server.client() as client:
        left = [
            key for prefix in ("recommendations", "plays", "blocks", "embeddings") for key in client.keys(f"{prefix}:*")
        ]
        if left:
            client.delete(*left)
        yield client
