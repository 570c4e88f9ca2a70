"""Plays while everything dies: each is counted once, in the lists and in the history, and nothing is left over."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from fleet_fixtures import Fleet, WorkerProcess
from taste import history, write_history
from warm_python import WarmProcess

import producers
from timbral import keys
from timbral.errors import RedisUnavailableError
from timbral.history.table import HistoryTable
from timbral.plays.pending import PendingPlays
from timbral.stack.embedded_server import EmbeddedServer

pytestmark = pytest.mark.faults


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with EmbeddedServer(tmp_path / "redis", options={"appendfsync": "always"}) as server:
        made = Fleet(server, tmp_path)
        write_history(made.data_dir / "plays.csv", history())
        producers.connect(server.url)
        yield made
        producers.connect()
        made.close()


class Beat:
    """The scheduler's process, which archives every second."""

    def __init__(self, worker: WorkerProcess) -> None:
        self.command = ["-m", "celery", "-A", "workers.app", "beat", "-l", "WARNING"]
        self.environment = worker.environment | {"ARCHIVE_EVERY_S": "1", "RENEW_EVERY_S": "0"}
        self.directory = worker.directory
        self.process: WarmProcess | None = None

    def start(self) -> None:
        self.process = WarmProcess(
            self.command, cwd=self.directory, env=self.environment, output=self.directory / "beat.log"
        )

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextmanager
def recording(events: list[dict[str, Any]]) -> Iterator[threading.Thread]:
    """An app that records events one by one, and those again of which it does not know whether they were recorded."""

    def run() -> None:
        for event in events:
            while True:
                try:
                    producers.record_plays([event])
                    break
                except RedisUnavailableError:
                    time.sleep(0.05)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield thread
    thread.join(900)
    assert not thread.is_alive()


@pytest.mark.timeout(400)
def test_each_play_counts_once_whoever_is_killed(fleet: Fleet, wait_until: Any, observed: Any) -> None:
    record_and_kill(fleet, wait_until, observed, 3_000, 2)


@pytest.mark.soak
@pytest.mark.timeout(1_800)
def test_so_does_each_of_a_hundred_thousand(fleet: Fleet, wait_until: Any, observed: Any) -> None:
    record_and_kill(fleet, wait_until, observed, 100_000, 10)


def record_and_kill(fleet: Fleet, wait_until: Any, observed: Any, n_events: int, n_rounds: int) -> None:
    """Record ``n_events`` plays one by one while everything is killed ``n_rounds`` times; each counts once."""
    rng = random.Random(5)
    workers = fleet.start(2)
    producers.enqueue_train_model("plays.csv").wait(100)
    beat = Beat(workers[0])
    beat.start()
    events = [
        {
            "user_id": 5_000 + rng.randrange(150),
            "item_id": 100 * rng.randrange(4) + rng.randrange(20),
            "event_id": f"e{n}",
        }
        for n in range(n_events)
    ]
    expected = Counter((event["user_id"], event["item_id"]) for event in events)
    killed: Counter[str] = Counter()

    def kill(what: str) -> None:
        killed[what] += 1
        if what == "redis":
            fleet.server.kill()
            time.sleep(rng.random() / 2)  # the fault's own length
            fleet.server.start()
        elif what == "scheduler":
            beat.kill()
            beat.start()
        elif what == "process":
            # One that was just started may have no process of its pool yet.
            wait_until(lambda: any(worker.alive and worker.children() for worker in workers), 30, "a process")
            next(worker for worker in workers if worker.alive and worker.children()).kill_child()
        else:
            worker = rng.choice(workers)
            worker.kill()
            worker.spawn()

    try:
        with recording(events) as thread:
            for what in ["redis", "worker", "process", "scheduler"] * n_rounds:
                time.sleep(rng.uniform(0.5, 1.5))  # faults come at any moment
                kill(what)
            while thread.is_alive():
                time.sleep(0.1)
        ended_at = time.monotonic()
        for worker in workers:
            worker.wait_ready()
        with fleet.server.client() as client:
            wait_until(
                lambda: not client.exists(keys.PLAYS_REFRESH, keys.PLAYS_REFRESHING), 120, "a list for everybody"
            )
            wait_until(lambda: client.xlen(keys.PLAYS_STREAM) == 0, 120, "an empty stream")
            took_s = time.monotonic() - ended_at

            assert in_history(HistoryTable(fleet.data_dir / "history")) == expected
            assert in_lists(client, {user for user, _ in expected}) == expected
            assert int(client.hget(keys.PLAYS_COUNTS, "recorded") or 0) == n_events
    finally:
        beat.kill()
    shown = ", ".join(f"{what} × {n}" for what, n in killed.items())
    observed(
        f"kill -9 while plays come: {shown}", f"each of {n_events:,} counted once; nothing waited {took_s:.0f} s later"
    )


def in_history(table: HistoryTable) -> Counter[tuple[int, int]]:
    found: Counter[tuple[int, int]] = Counter()
    for batch in table.batches():
        for row in batch.to_pylist():
            found[int(row["user_id"]), int(row["item_id"])] += int(row["plays"])
    return found


def in_lists(client: redis.Redis, users: set[int]) -> Counter[tuple[int, int]]:
    """What each user's list was made of: their pending plays, of which it knows the newest."""
    found: Counter[tuple[int, int]] = Counter()
    for user in users:
        pending = PendingPlays.read(client.lrange(keys.plays_user(user), 0, -1))
        listed = client.hget(keys.PLAYS_LISTED, keys.recommendations_user(user))
        assert listed is not None
        assert listed.decode() == pending.newest, user
        recommended = producers.get_recommendations(user)
        assert recommended is not None
        assert not {entry["item_id"] for entry in recommended} & pending.by_item().keys()
        for item, plays in pending.by_item().items():
            found[user, int(item)] += int(plays)
    return found
