"""A worker for as long as one program needs it: started, watched, and ended with its whole group."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from timbral.errors import TimbralError
from timbral.queue import layout
from timbral.stack.signals import ending_with_us

__all__ = ["one_worker"]

READY_S: Final = 180.0
"""A worker that ends is noticed at once; one that is slow (a busy machine, kernels to compile) is not ended."""


@contextlib.contextmanager
def one_worker(url: str, log_path: Path, environment: Mapping[str, str], *, concurrency: int) -> Iterator[None]:
    """A Celery worker with its pool that takes every queue of the server at ``url``; it logs to ``log_path``.

    Args:
        environment: settings beside those of this process.

    Raises:
        TimbralError: it ended before it was ready, or was not within ``READY_S``; with the end of its log.
    """
    theirs = {
        **os.environ,
        "REDIS_URL": url,
        "SOFT_SHUTDOWN_S": "1",
        "PYTHONSAFEPATH": "1",  # a package of the app's own in this folder must not take the place of ours
        **environment,
    }
    theirs.pop("BROKER_URL", None)
    command = [sys.executable, "-m", "workers", "worker", "--queues", ",".join(layout.QUEUES)]
    command += ["--concurrency", str(concurrency), "--loglevel", "INFO", "--without-gossip", "--without-mingle"]
    with log_path.open("wb") as log:
        # A session of its own, so that Ctrl-C reaches this program alone and it ends the whole group.
        process = subprocess.Popen(  # noqa: S603 - our own programs
            ending_with_us(command),
            env=theirs,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_until_ready(process, log_path)
        yield
    finally:
        _end_group(process)


def _wait_until_ready(process: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline = time.monotonic() + READY_S
    while process.poll() is None and time.monotonic() < deadline:
        if b" ready." in log_path.read_bytes():
            return
        time.sleep(0.05)
    code = process.poll()
    why = f"was not ready after {READY_S:.0f} s: is the machine busy?" if code is None else f"ended with code {code}"
    lines = [line.strip() for line in log_path.read_text(errors="replace").splitlines() if line.strip()]
    tail = "\n".join(lines[-15:]) or "empty"
    raise TimbralError(f"the worker {why}; the end of its log:\n{tail}")


def _end_group(process: subprocess.Popen[bytes], timeout_s: float = 8.0) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):  # Ctrl-C once more: at once
            process.wait(timeout_s)
    # The main process is gone; a pool child that outlived it still carries the group's number.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
