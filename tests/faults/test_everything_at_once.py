"""Everything at once: plays, trainings, lists, erasures, cancelled jobs, ids used again, garbage, while workers, their
processes and the server are killed and frozen, past the visibility timeout too. In the end all of it has come to
something."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from celery import Celery
from fleet_fixtures import Fleet, WorkerProcess
from kombu.exceptions import OperationalError
from taste import history, write_history

import producers
from timbral import keys
from timbral.errors import RedisUnavailableError
from timbral.history.table import HistoryTable
from timbral.queue import dead_letters, layout
from timbral.stack.embedded_server import EmbeddedServer
from timbral.versions.model_store import ModelStore

pytestmark = [pytest.mark.faults, pytest.mark.soak]

LOAD_S = 60
N_USERS = 200
LEFT = (RedisUnavailableError, OperationalError, OSError)
"""What an app gets while its Redis is away, and tries again or leaves."""


@dataclass
class App:
    """What an app asks for at random, and what it has to get in the end."""

    server: EmbeddedServer
    rng: random.Random
    plays: dict[str, tuple[int, int]] = field(default_factory=dict)
    jobs: list[producers.Job] = field(default_factory=list)
    seeds: dict[str, int] = field(default_factory=dict)
    forgotten: dict[int, producers.Job] = field(default_factory=dict)
    used_again: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.celery = Celery("stranger", broker=f"{self.server.url}/0", backend=f"{self.server.url}/0")
        self.celery.conf.broker_transport_options = {"visibility_timeout": 4}

    def step(self) -> None:
        asked = [self.record, self.refresh, self.compute, self.train, self.send_under_an_old_id, self.cancel]
        (what,) = self.rng.choices([*asked, self.forget, self.put_garbage], [45, 15, 10, 8, 12, 3, 2, 1])
        with contextlib.suppress(*LEFT):
            what()

    def user(self) -> int:
        return 1000 + self.rng.randrange(N_USERS)

    def record(self) -> None:
        event = f"e{len(self.plays)}"
        user, item = self.user(), 100 * self.rng.randrange(4) + self.rng.randrange(20)
        while True:
            try:
                producers.record_plays([{"user_id": user, "item_id": item, "event_id": event}] * 2)
                break
            except RedisUnavailableError:
                time.sleep(0.3)
        self.plays[event] = user, item

    def refresh(self) -> None:
        self.jobs.append(producers.enqueue_refresh_embeddings(user_ids=[self.user() for _ in range(3)]))

    def compute(self) -> None:
        self.jobs.append(producers.enqueue_compute_recommendations(top_k=self.rng.choice([5, 7])))

    def train(self) -> None:
        seed, dataset = self.rng.randrange(10**6), self.rng.choice(["plays.csv", "slow.csv", None])
        job = producers.enqueue_train_model(
            dataset, random_state=seed, max_iter=20, promote=self.rng.choice(["never", "always"])
        )
        self.jobs.append(job)
        self.seeds[job.id] = seed

    def send_under_an_old_id(self) -> None:
        task_id = f"same-{self.rng.randrange(6)}"
        task, kwargs = self.rng.choice([
            ("train_model", {"dataset": "plays.csv", "random_state": self.rng.randrange(10**6), "promote": "never"}),
            ("refresh_embeddings", {"user_ids": [self.user()]}),
            ("compute_recommendations", {"user_ids": [self.user()]}),
        ])  # fmt: skip
        self.celery.send_task(task, kwargs=kwargs, task_id=task_id)
        self.used_again.add(task_id)

    def cancel(self) -> None:
        if self.jobs:
            self.rng.choice(self.jobs).cancel()

    def forget(self) -> None:
        if len(self.forgotten) < 8:
            user = self.user()
            self.forgotten[user] = producers.forget_user(user)

    def put_garbage(self) -> None:
        with self.server.client() as client:
            client.lpush(layout.DEFAULT_QUEUE, self.rng.choice(["junk", "{}", "[1]", '{"body": 1}']))


def freeze(kill: Callable[[int, int], None], pid: int, seconds: float) -> None:
    kill(pid, signal.SIGSTOP)
    time.sleep(seconds)  # the fault's own length
    kill(pid, signal.SIGCONT)


def harm(server: EmbeddedServer, workers: list[WorkerProcess], rng: random.Random) -> None:
    """One fault."""
    worker = rng.choice(workers)
    children = worker.children()
    faults = [
        "process killed",
        "worker killed",
        "worker frozen",
        "process frozen",
        "stop",
        "server killed",
        "server frozen",
    ]
    (fault,) = rng.choices(faults, [35, 15, 20, 10, 8, 6, 6])
    if fault.startswith("process") and not children:
        return
    if fault == "process killed":
        os.kill(rng.choice(children), signal.SIGKILL)
    elif fault == "worker killed":
        worker.kill()
        worker.spawn()
    elif fault == "worker frozen":
        freeze(os.killpg, worker.pid, rng.uniform(0.5, 9))
    elif fault == "process frozen":
        freeze(os.kill, rng.choice(children), rng.uniform(0.5, 6))
    elif fault == "stop":
        worker.stop()
        worker.spawn()
    elif fault == "server killed":
        server.kill()
        server.start()
    else:
        assert server.process is not None
        freeze(os.kill, server.process.pid, rng.uniform(0.5, 5))


def owed(server: EmbeddedServer) -> dict[str, int]:
    """What has not come to something yet."""
    with server.client() as client:
        waiting = sum(client.llen(key) for key in layout.all_queue_keys())
        sets = layout.UNACKED_INDEX, keys.JOBS_OPEN, keys.ONCE_OPEN, keys.PLAYS_REFRESH, keys.PLAYS_REFRESHING
        left = {name: client.zcard(name) for name in sets}
        left |= {name: client.hlen(name) for name in (layout.UNACKED, keys.SUBMITTED)}
    return {name: n for name, n in ({"queues": waiting} | left).items() if n}


def is_quiet(server: EmbeddedServer) -> bool:
    # A message that a worker has just taken is nowhere for a moment.
    return not any(owed(server) or time.sleep(0.3) for _ in range(4))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_lost_done_for_another_or_brought_back(
    own_server: EmbeddedServer, own_fleet: Fleet, wait_until: Any, observed: Any, seed: int
) -> None:
    # given
    fleet, app, rng = own_fleet, App(own_server, random.Random(seed)), random.Random(seed + 100)
    own_server.client().config_set("appendfsync", "always")
    write_history(fleet.data_dir / "plays.csv", history(N_USERS))
    write_history(fleet.data_dir / "slow.csv", history(1500, seed=2))
    producers.connect(own_server.url)
    workers = fleet.start(3, concurrency=2, environment={"CHUNK_SIZE": "20", "CHECKPOINT_EVERY_S": "0.3"})
    producers.enqueue_train_model("plays.csv", promote="always").wait(60)
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.wait(app.rng.uniform(0.01, 0.1)):
            app.step()

    # when
    asking = threading.Thread(target=ask)
    asking.start()
    ends_at = time.monotonic() + LOAD_S
    while time.monotonic() < ends_at:
        time.sleep(rng.uniform(0.8, 3))  # faults come at any moment
        harm(own_server, workers, rng)
    is_over.set()
    asking.join()
    for worker in workers:
        worker.wait_ready()

    # then: everything has an effect, an error or a dead letter, and each answer is of what was asked
    wait_until(lambda: is_quiet(own_server), 240, "the end of all that is owed")
    producers.enqueue_train_model(promote="always").wait(100)
    erased = {user for user, job in app.forgotten.items() if job.wait(10)}
    with own_server.client() as client:
        store = ModelStore(client, fleet.model_dir, n_threads=1)
        for job in app.jobs:
            assert job.state in ("SUCCESS", "REVOKED"), (job, job.state)
            version = job.result["model_version"] if job.id in app.seeds and job.state == "SUCCESS" else None
            if version in store.versions():
                assert store.show(str(version))["arguments"]["random_state"] == app.seeds[job.id]
        for task_id in app.used_again:
            assert json.loads(client.get(layout.result_key(task_id)))["status"] == "SUCCESS"
        assert {letter.kind for letter in dead_letters.list_letters(client, 1_000)} <= {"garbage"}
        # each play counts once, and nobody who was forgotten is anywhere
        table = HistoryTable(fleet.data_dir / "history")
        rows = [row for batch in table.batches(columns=["user_id", "item_id"]) for row in batch.to_pylist()]
        wanted = Counter((user, item) for user, item in app.plays.values() if user not in erased)
        assert Counter((int(row["user_id"]), int(row["item_id"])) for row in rows) == wanted
        names = [name.decode() for name in client.scan_iter(count=1_000)]
        assert not [name for name in names for user in erased if name.endswith(f":{user}")]
        for version in store.versions():
            assert (store.files.read(version, verify=True).user_ids.codes(sorted(erased)) < 0).all()
        assert {path.stem for path in fleet.model_dir.glob("*.safetensors")} == set(store.versions())
    producers.connect()
    observed(
        f"everything at once, seed {seed}",
        f"{len(app.jobs)} jobs, {len(app.plays)} plays, {len(erased)} erasures: all came to something, once",
    )
