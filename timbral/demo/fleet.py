"""A server and a worker for as long as the demo runs: started, watched, and ended with nothing left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import redis

from timbral.config.settings import public_address
from timbral.errors import ParameterError, RedisUnavailableError, TimbralError
from timbral.queue import layout
from timbral.redis_server.client import connect
from timbral.stack.embedded_server import EmbeddedServer

__all__ = ["demo_server", "demo_worker"]


@contextlib.contextmanager
def demo_server(url: str | None, directory: Path) -> Iterator[str]:
    """URL of a server that the demo may fill: the one at ``url`` if its database is empty, else a private one.

    What the demo wrote into a server of the user's is removed at the end.

    Raises:
        ParameterError: the database at ``url`` holds something.
        RedisUnavailableError: nothing answers at ``url``, or no server can be started.
    """
    if url is None:
        with EmbeddedServer(directory / "redis") as server:
            yield f"{server.url}/0"
        return
    with connect(url, timeout_s=10, connect_timeout_s=3) as client:
        try:
            size = client.dbsize()
        except redis.RedisError as error:
            raise RedisUnavailableError(public_address(url), str(error)) from error
        if size:
            raise ParameterError(
                f"REDIS_URL {public_address(url)} holds {size} keys, and the demo only works in an empty database: "
                "name another one (redis://host:6379/9), or unset REDIS_URL and the demo starts a server of its own"
            )
        try:
            yield url
        finally:
            client.flushdb()


@contextlib.contextmanager
def demo_worker(url: str, data_dir: Path, directory: Path, *, concurrency: int) -> Iterator[Path]:
    """A Celery worker with its pool that takes every queue; returns the path of its log.

    Raises:
        TimbralError: it ended before it was ready; with the end of its log.
    """
    log_path = directory / "worker.log"
    environment = {
        **os.environ,
        "REDIS_URL": url,
        "DATA_DIR": str(data_dir),
        "MODEL_DIR": str(directory / "models"),
        "HISTORY_URI": str(directory / "history"),
        "SOFT_SHUTDOWN_S": "1",
        "PYTHONSAFEPATH": "1",  # a package of the app's own in this folder must not take the place of ours
    }
    environment.pop("BROKER_URL", None)
    command = [sys.executable, "-m", "workers", "worker", "--queues", ",".join(layout.QUEUES)]
    command += ["--concurrency", str(concurrency), "--loglevel", "INFO", "--without-gossip", "--without-mingle"]
    with log_path.open("wb") as log:
        # A session of its own, so that Ctrl-C reaches the demo alone and the demo ends the whole group.
        process = subprocess.Popen(  # noqa: S603 - our own programs
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_until_ready(process, log_path)
        yield log_path
    finally:
        _end_group(process)


def _wait_until_ready(process: subprocess.Popen[bytes], log_path: Path, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while process.poll() is None and time.monotonic() < deadline:
        if b" ready." in log_path.read_bytes():
            return
        time.sleep(0.05)
    tail = "\n".join(log_path.read_text(errors="replace").splitlines()[-15:])
    raise TimbralError(f"the worker did not start; the end of its log:\n{tail}")


def _end_group(process: subprocess.Popen[bytes], timeout_s: float = 8.0) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout_s)
    # The main process is gone; a pool child that outlived it still carries the group's number.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
