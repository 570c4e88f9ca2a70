"""Tasks for the fault tests: each counts its beginnings and ends in Redis, so that a test can tell how often it was
executed."""

from __future__ import annotations

import os
import signal
import time
import uuid
from typing import Any

import redis

from timbral.config.settings import settings
from timbral.redis_server.client import connect
from workers.app import app

_client = connect(settings.broker_url, timeout_s=30, connect_timeout_s=5)


def _count(what: str, name: str) -> int:
    """Count in Redis, however long it is away."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return int(_client.hincrby(f"test:{what}", name, 1))
        except redis.DataError:  # a name that is none: no time heals that
            raise
        except redis.RedisError:  # away, or it refuses
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _note_span(name: str, span: int | None, began: float) -> int | None:
    value = f"{began} {time.time()}"
    try:
        if span is None:
            return int(_client.rpush(f"test:spans:{name}", value)) - 1
        _client.lset(f"test:spans:{name}", span, value)
    except redis.RedisError:
        pass
    return span


@app.task(name="fault.work", bind=True)
def work(self: Any, name: str, seconds: float = 0.0, again: float | None = None) -> str:
    """Take ``seconds``, as a computation would; ``again`` seconds when it is not the first time."""
    if _count("begun", name) > 1 and again is not None:
        seconds = again
    deadline = time.monotonic() + seconds
    span, began, noted = None, time.time(), time.monotonic()
    while time.monotonic() < deadline:
        time.sleep(0.01)
        if seconds >= 1 and time.monotonic() > noted + 0.1:  # from when to when each run of it ran, for those that ask
            noted = time.monotonic()
            span = _note_span(name, span, began)
    _count("done", name)
    return name


@app.task(name="fault.run")
def run(name: str) -> str:
    """Note this execution in a set, under an id of its own: written twice, for want of an answer, it is there once."""
    token = f"{name}:{uuid.uuid4()}"
    deadline = time.monotonic() + 60
    while True:
        try:
            _client.sadd("test:runs", token)
        except redis.RedisError:  # away, or it refuses
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return name


@app.task(name="fault.kill_child")
def kill_child(name: str, times: int = 1_000_000) -> str:
    """End the process of the pool, the first ``times`` times."""
    _count("begun", name)
    if int(_client.hget("test:begun", name) or 0) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    _count("done", name)
    return name


@app.task(name="fault.kill_worker")
def kill_worker(name: str) -> None:
    """End the whole worker, as an out-of-memory killer may."""
    _count("begun", name)
    os.killpg(os.getpgrp(), signal.SIGKILL)


@app.task(name="fault.retry", bind=True, max_retries=10)
def retry(self: Any, name: str, times: int) -> str:
    """Ask for ``times`` retries, then succeed."""
    _count("begun", name)
    if self.request.retries < times:
        raise self.retry(countdown=0)
    _count("done", name)
    return name


@app.task(name="fault.threads")
def threads() -> list[int]:
    """Threads that the libraries of this process may use."""
    import numpy as np
    import threadpoolctl

    np.ones((8, 8)) @ np.ones((8, 8))
    return [int(library["num_threads"]) for library in threadpoolctl.threadpool_info()]
