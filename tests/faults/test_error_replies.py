"""Redis answers, and its answer is an error that somebody or time makes go away: nothing is lost, nothing ends, nothing
hangs."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from timbral.queue import dead_letters
from timbral.stack.embedded_server import EmbeddedServer

pytestmark = pytest.mark.faults

REFUSED_S = 2.0

Refusal = Callable[[EmbeddedServer, redis.Redis], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def no_replicas(server: EmbeddedServer, client: redis.Redis) -> Iterator[None]:
    client.config_set("min-replicas-to-write", 1)
    yield
    client.config_set("min-replicas-to-write", 0)


@contextlib.contextmanager
def read_only(server: EmbeddedServer, client: redis.Redis) -> Iterator[None]:
    """As after a failover: those that wait in BRPOP are told UNBLOCKED, all others READONLY."""
    client.execute_command("REPLICAOF", "127.0.0.1", "1")
    yield
    client.execute_command("REPLICAOF", "NO", "ONE")


@contextlib.contextmanager
def no_stale_data(server: EmbeddedServer, client: redis.Redis) -> Iterator[None]:
    """MASTERDOWN, to reads too."""
    client.config_set("replica-serve-stale-data", "no")
    with read_only(server, client):
        yield


@contextlib.contextmanager
def cannot_save(server: EmbeddedServer, client: redis.Redis) -> Iterator[None]:
    (server.directory / "dump.rdb").mkdir()
    client.config_set("save", "3600 1")
    client.bgsave()
    deadline = time.monotonic() + 90
    while client.info("persistence")["rdb_last_bgsave_status"] == "ok":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield
    client.config_set("save", "")


@contextlib.contextmanager
def no_permission(server: EmbeddedServer, client: redis.Redis) -> Iterator[None]:
    client.execute_command("ACL", "SETUSER", "default", "-@write", "-@scripting")
    yield
    client.execute_command("ACL", "SETUSER", "default", "+@all")


@contextlib.contextmanager
def wrong_type(server: EmbeddedServer, client: redis.Redis) -> Iterator[None]:
    with client.pipeline() as pipe:
        pipe.set("aside", 1)
        for key in ("unacked", "celery"):
            if client.exists(key):
                pipe.rename(key, f"{key}:aside")
            pipe.set(key, "not a hash, not a list")
        pipe.execute()
    yield
    with client.pipeline() as pipe:
        for key in ("unacked", "celery"):
            pipe.delete(key)
            if client.exists(f"{key}:aside"):
                pipe.rename(f"{key}:aside", key)
        pipe.execute()


@contextlib.contextmanager
def busy(server: EmbeddedServer, client: redis.Redis) -> Iterator[None]:
    client.config_set("lua-time-limit", 50)

    def run() -> None:
        with server.client() as own, contextlib.suppress(redis.RedisError):
            own.eval("while true do end", 0)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    client.script_kill()
    thread.join()


@contextlib.contextmanager
def full(server: EmbeddedServer, client: redis.Redis) -> Iterator[None]:
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)
    yield
    client.config_set("maxmemory", 0)


REFUSALS: dict[str, Refusal] = {
    "NOREPLICAS": no_replicas,
    "READONLY and UNBLOCKED": read_only,
    "MASTERDOWN": no_stale_data,
    "MISCONF": cannot_save,
    "NOPERM": no_permission,
    "WRONGTYPE": wrong_type,
    "BUSY": busy,
    "OOM": full,
}


@pytest.mark.parametrize("reply", REFUSALS)
def test_three_hundred_tasks_outlast_an_error_reply(faults: Any, wait_until: Any, observed: Any, reply: str) -> None:
    # given: a worker in the middle of 300 tasks
    (worker,) = faults.start(concurrency=4)
    sent = [faults.send("work", f"t{n}", seconds=0.02) for n in range(300)]
    wait_until(lambda: faults.done("t20"), 30, "the first tasks")

    # when
    with faults.client() as client, REFUSALS[reply](faults.server, client):
        time.sleep(REFUSED_S)  # the fault's own length

    # then: all are done, each of them once, by the same worker
    wait_until(lambda: all(map(faults.succeeded, sent)), 60, "all tasks")
    assert worker.alive
    with faults.client() as client:
        counts = {name.decode(): int(times) for name, times in client.hgetall("test:done").items()}
        wait_until(lambda: client.hlen("unacked") == 0, 20, "nothing held")
        assert dead_letters.count(client) == 0
    again = {name: times for name, times in counts.items() if times != 1}
    assert not again
    assert len(counts) == 300
    observed(f"{reply} for {REFUSED_S:g} s in the middle of 300 tasks, -c 4", "300 done once; the worker went on")

    # and: it can be stopped
    worker.process.terminate()
    assert worker.process.wait(30) == 0


def test_a_worker_that_is_refused_for_good_can_be_stopped(faults: Any, wait_until: Any, observed: Any) -> None:
    # given: tasks run, and what they end with cannot be written
    (worker,) = faults.start(concurrency=4)
    for n in range(20):
        faults.send("work", f"t{n}", seconds=1)
    wait_until(lambda: faults.held() >= 4, 20, "running tasks")
    with faults.client() as client:
        client.config_set("min-replicas-to-write", 1)

        # when
        wait_until(lambda: "NOREPLICAS" in worker.log, 20, "the refusal")
        worker.process.terminate()

        # then
        began = time.monotonic()
        worker.process.wait(60)
        observed("SIGTERM while Redis refuses, for good", f"ended after {time.monotonic() - began:.0f} s")
        assert not [pid for pid in Path("/proc").glob("[0-9]*") if _group(pid) == worker.process.pid], (
            "no process is left"
        )

        # and: what it had in hand is done by the next
        client.config_set("min-replicas-to-write", 0)
        faults.start()
        wait_until(lambda: all(faults.done(f"t{n}") for n in range(20)), 60, "all of it done")


@pytest.mark.both_servers
def test_a_worker_starts_on_a_server_that_is_full(faults: Any, wait_until: Any, observed: Any) -> None:
    # given: a fleet that ran here, tasks that wait, and no room; nothing can be evicted
    (first,) = faults.start()
    first.stop()
    for n in range(20):
        faults.send("work", f"t{n}")
    with faults.client() as client:
        letter = dead_letters.park(client, b"x" * 1000, kind="garbage", reason="none", queue="celery")
        with full(faults.server, client):
            # when
            worker = faults.worker().spawn()

            # then: it takes tasks; and a dead letter can be deleted to make room
            worker.wait_ready()
            assert worker.alive
            assert dead_letters.delete(client, letter)
            assert dead_letters.count(client) == 0
        wait_until(lambda: all(faults.done(f"t{n}") for n in range(20)), 60, "all of it done")
        assert worker.alive
    observed("a worker's start, and deleting a dead letter, with Redis full and nothing to evict", "both work")


def _group(pid: Path) -> int | None:
    try:
        return int((pid / "stat").read_text().rpartition(")")[2].split()[2])
    except (OSError, ValueError):
        return None
