"""Variables that an app beside us sets for its own Celery move neither our producers nor our workers, and are said
once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from fleet_fixtures import Fleet

from timbral.config.celery_variables import CELERY_VARIABLES
from timbral.stack.embedded_server import EmbeddedServer


@pytest.fixture
def theirs() -> Iterator[EmbeddedServer]:
    """The server of the other app."""
    with EmbeddedServer(append_only=False) as server:
        yield server


@pytest.fixture
def variables(theirs: EmbeddedServer) -> dict[str, str]:
    """What the other app has in the environment."""
    url = theirs.url.replace("://", "://me:hunter2@")
    urls = {name: url for name in CELERY_VARIABLES if name.endswith(("_URL", "_BACKEND"))}
    return {**urls, "CELERY_LOADER": "theirs.loader:Loader", "CELERY_CONFIG_MODULE": "theirs.config"}


@pytest.mark.integration
def test_a_job_is_done_and_answered_on_our_redis(
    fleet: Fleet, theirs: EmbeddedServer, variables: dict[str, str]
) -> None:
    (worker,) = fleet.start(environment=variables)
    code = """
import producers
from timbral.errors import TimbralError
for _ in range(2):
    try:
        producers.enqueue_train_model("missing.csv").wait(100)
    except TimbralError as error:
        print(type(error).__name__)
"""

    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **variables, "REDIS_URL": fleet.server.url},
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert ran.stdout.split() == ["DatasetNotFoundError"] * 2, ran.stderr + worker.log[-3000:]
    with theirs.client() as client:
        assert client.dbsize() == 0
    for said in (ran.stderr, worker.log):
        for name in CELERY_VARIABLES:
            assert said.count(f"{name}=") == 1
        assert "hunter2" not in said


@pytest.mark.parametrize("program", ["beat", "flower", "worker"])
def test_no_program_of_the_fleet_is_moved(
    program: str, redis_server: EmbeddedServer, theirs: EmbeddedServer, variables: dict[str, str]
) -> None:
    code = f"""
import sys
from celery.bin import celery
def show(self, *arguments, **options):
    from workers.app import app
    print(app.connection_for_read().port, app.connection_for_write().port, app.backend.connparams["port"], type(app.loader).__name__)
from click import Command
Command.invoke = show
sys.argv = ["celery", "-A", "workers.app", "-b", {theirs.url!r}, {program!r}]
celery.main()
"""
    environment = {**os.environ, **variables, "REDIS_URL": redis_server.url}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)

    assert ran.stdout.split()[-4:] == [str(redis_server.port)] * 3 + ["AppLoader"], ran.stderr


def test_the_same_servers_are_not_worth_a_word(redis_server: EmbeddedServer) -> None:
    environment = {**os.environ, "BROKER_URL": redis_server.url, "CELERY_BROKER_URL": redis_server.url}

    ran = subprocess.run(
        [sys.executable, "-c", "import workers.app"], env=environment, capture_output=True, text=True, timeout=60
    )

    assert (ran.returncode, ran.stderr) == (0, "")
