"""Pools and flags of ``celery worker``: those that are supported work, the others are refused at the start with the
reason."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from fleet_fixtures import FAST, Fleet, WorkerProcess

from timbral.stack.embedded_server import EmbeddedServer

CELERY = [sys.executable, "-m", "celery", "-A", "workers.app"]


def train_nothing(server: EmbeddedServer, client: redis.Redis, wait_until: Any) -> None:
    """Send a training that fails at once, and wait for its answer."""
    app = Celery("sender", broker=f"{server.url}/0", set_as_current=False)
    task_id = app.send_task("train_model", kwargs={"dataset": "missing.csv"}, queue="training").id
    app.close()
    wait_until(lambda: b"DatasetNotFoundError" in (client.get(f"celery-task-meta-{task_id}") or b""), 60, "the answer")


def environment(server: EmbeddedServer) -> dict[str, str]:
    return {**os.environ, **FAST, "REDIS_URL": server.url}


def test_what_is_not_supported_is_refused_with_the_reason_for_each(redis_server: EmbeddedServer) -> None:
    flags = [
        "-B",
        "--prefetch-multiplier",
        "4",
        "--time-limit",
        "5",
        "--soft-time-limit",
        "5",
        "-S",
        "state",
        "-P",
        "custom",
    ]
    # A pool of the kind of gevent's, which need not be installed here.
    Path("green.py").write_text("from celery.concurrency.base import BasePool\n\nclass TaskPool(BasePool): pass\n")
    given = {**environment(redis_server), "CELERY_CUSTOM_WORKER_POOL": "green:TaskPool"}

    ran = subprocess.run([*CELERY, "worker", *flags], env=given, capture_output=True, text=True, timeout=60)

    assert ran.returncode == 1
    for reason in ("the pool green is not", "-B is not", "--prefetch-multiplier is not", "--time-limit is not",
                   "--soft-time-limit is not", "--statedb is not"):  # fmt: skip
        assert ran.stderr.count(reason) == 1, ran.stderr
    assert "-P prefork, threads or solo" in ran.stderr
    assert "celery -A workers.app beat" in ran.stderr


@pytest.mark.integration
@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_a_pool_without_time_limits_says_so_works_and_ends(
    pool: str, fleet: Fleet, client: redis.Redis, wait_until: Any
) -> None:
    (worker,) = fleet.start(pool=pool)

    train_nothing(fleet.server, client, wait_until)
    worker.signal(signal.SIGTERM)
    wait_until(lambda: not worker.alive, 30, "the end")

    assert worker.log.count(f"The pool {pool} ends no hung task") == 1


@pytest.mark.integration
def test_a_pool_that_grows_and_renews_its_processes_works(fleet: Fleet, client: redis.Redis, wait_until: Any) -> None:
    fleet.start(options=("--autoscale", "3,1", "--max-tasks-per-child", "1", "--max-memory-per-child", "4000000"))

    for _ in range(3):
        train_nothing(fleet.server, client, wait_until)


@pytest.mark.integration
def test_the_log_goes_to_the_file_and_at_the_level_that_were_asked_for(
    fleet: Fleet, tmp_path: Path, wait_until: Any
) -> None:
    loud = fleet.worker(name="loud", options=("-f", str(tmp_path / "%n.out")))
    quiet = fleet.worker(name="quiet", options=("-f", str(tmp_path / "%n.out"), "-l", "ERROR"))
    for worker in (loud, quiet):
        if worker is loud:
            worker.command = [word for word in worker.command if word not in ("-l", "INFO")]
        worker.start()

    wait_until(lambda: "loud@test ready" in (tmp_path / "loud.out").read_text(), 30, "the line in the file")
    assert "[info" not in loud.log
    assert "ready" not in (tmp_path / "quiet.out").read_text()


@pytest.mark.integration
def test_celery_multi_starts_workers_in_the_background_with_their_logs(
    redis_server: EmbeddedServer, client: redis.Redis, tmp_path: Path, wait_until: Any
) -> None:
    files = [f"--pidfile={tmp_path}/%n.pid", f"--logfile={tmp_path}/%n%I.log"]
    words = ["-A", "workers.app", *files, "-Q", "celery,training", "-c", "1", "-l", "INFO"]

    def multi(*command: str) -> None:
        ran = subprocess.run(
            [sys.executable, "-m", "celery", "multi", *command, *words],
            env=environment(redis_server), capture_output=True, text=True, timeout=90,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout + ran.stderr

    multi("start", "one")
    try:
        train_nothing(redis_server, client, wait_until)
    finally:
        multi("stopwait", "one")

    logs = "".join(path.read_text() for path in tmp_path.glob("one*.log"))
    assert "ready" in logs
    assert "DatasetNotFoundError" in logs


def test_the_first_process_of_a_container_ends_on_a_sigterm_while_it_starts(
    redis_server: EmbeddedServer, tmp_path: Path, wait_until: Any
) -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-pf", "true"], capture_output=True).returncode:
        pytest.skip("no process here may become the first one of a name space")
    worker = WorkerProcess(redis_server, tmp_path)
    worker.command = [unshare, "-pf", *worker.command]
    worker.spawn()
    assert worker.process is not None
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children")
    wait_until(lambda: children.read_text().split(), 10, "the process")
    first = int(children.read_text().split()[0])

    def handles_sigterm() -> bool:
        caught = next(
            line for line in Path(f"/proc/{first}/status").read_text().splitlines() if line.startswith("SigCgt")
        )
        return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)

    wait_until(handles_sigterm, 30, "a handler")
    assert "ready" not in worker.log
    os.kill(first, signal.SIGTERM)
    deadline = time.monotonic() + 90
    while worker.alive and time.monotonic() < deadline:
        time.sleep(0.05)
    ended = not worker.alive
    worker.kill()

    assert ended
    assert "ready" not in worker.log
