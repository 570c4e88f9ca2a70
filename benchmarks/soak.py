"""Work under random faults: ``python -m benchmarks.soak [--minutes 10] [--jobs 500] [--seed 1]``, or ``make soak``.

A server with an append-only file, two workers for everything and one for trainings; jobs at an even pace; a fault every
few seconds: a process
of a pool killed, a worker killed, a worker told to stop (another one comes for each), Redis killed and started again,
Redis frozen,
all connections cut. In the end every job's effect is looked for in Redis. Exit status 1 where one is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from fleet_fixtures import Fleet, WorkerProcess
from taste import history, write_history

import producers
from timbral.errors import RedisUnavailableError
from timbral.stack.embedded_server import EmbeddedServer

ENVIRONMENT = {
    "VISIBILITY_TIMEOUT_S": "8",
    "RESTORE_INTERVAL_S": "1",
    "SOFT_SHUTDOWN_S": "3",
    "CHUNK_SIZE": "50",
    # Faults hit at random here, not for what a message holds: none shall be taken for poison.
    "MAX_DELIVERIES": "50",
    "KEEP_MODELS": "20",
}
N_USERS = 1200
PAUSE_S = (2.0, 7.0)
"""Between two faults."""
GRACE_S = 180.0
"""After the last job, for what is still open."""


class Soak:
    """One run: its fleet, the jobs that were sent and what was done to it."""

    def __init__(self, server: EmbeddedServer, directory: Path, seed: int) -> None:
        self.server = server
        self.fleet = Fleet(server, directory)
        self.rng = random.Random(seed)
        self.faults: Counter[str] = Counter()
        self.jobs: list[tuple[str, Any, Callable[[redis.Redis, Any], bool]]] = []
        self.refused = 0
        write_history(self.fleet.data_dir / "plays.csv", history(N_USERS))

    # The fleet

    def start_worker(self, queues: str) -> WorkerProcess:
        return self.fleet.worker(queues=queues, concurrency=2, environment=ENVIRONMENT).spawn()

    def alive(self) -> list[WorkerProcess]:
        return [worker for worker in self.fleet.workers if worker.alive]

    def queues_of(self, worker: WorkerProcess) -> str:
        return worker.command[worker.command.index("-Q") + 1]

    # Faults

    def fault(self) -> None:
        """Do one, and wait until it is over."""
        kinds = [
            self.kill_child,
            self.kill_worker,
            self.stop_worker,
            self.kill_redis,
            self.freeze_redis,
            self.cut_connections,
        ]
        kind = self.rng.choice(kinds)
        kind()
        self.faults[kind.__name__.replace("_", " ")] += 1

    def kill_child(self) -> None:
        worker = self.rng.choice(self.alive())
        children = worker.children()
        if children:
            os.kill(self.rng.choice(children), signal.SIGKILL)

    def kill_worker(self) -> None:
        worker = self.rng.choice(self.alive())
        worker.kill()
        self.start_worker(self.queues_of(worker))

    def stop_worker(self) -> None:
        worker = self.rng.choice(self.alive())
        worker.signal(signal.SIGTERM)
        self.start_worker(self.queues_of(worker))

    def kill_redis(self) -> None:
        self.server.kill()
        time.sleep(self.rng.uniform(0, 4))
        self.server.start()

    def freeze_redis(self) -> None:
        assert self.server.process is not None
        os.kill(self.server.process.pid, signal.SIGSTOP)
        time.sleep(self.rng.uniform(1, 10))
        os.kill(self.server.process.pid, signal.SIGCONT)

    def cut_connections(self) -> None:
        with self.server.client() as client:
            for kind in ("normal", "pubsub"):
                client.client_kill_filter(_type=kind, skipme=True)

    # Jobs

    def send(self, number: int) -> None:
        """Job ``number``, and how to tell that its effect is there."""
        user = 1000 + number % N_USERS
        new_user = f"new{number}"
        kinds: dict[str, tuple[Callable[[], Any], Callable[[redis.Redis, Any], bool]]] = {
            "train": (
                lambda: producers.enqueue_train_model(
                    "plays.csv", n_components=8, max_iter=30, random_state=number, promote="always"
                ),
                lambda client, job: client.exists(f"model:{job.wait(1)['model_version']}:metadata") == 1,
            ),
            "everybody": (
                lambda: producers.enqueue_compute_recommendations(top_k=5),
                lambda client, _: all(client.mget([f"recommendations:user:{1000 + u}" for u in range(N_USERS)])),
            ),
            "named": (
                lambda: producers.enqueue_compute_recommendations(user_ids=[user], top_k=7),
                lambda client, _: client.exists(f"recommendations:user:{user}") == 1,
            ),
            "plays": (
                lambda: producers.enqueue_refresh_embeddings(
                    plays=[{"user_id": new_user, "item_id": item, "plays": 2} for item in (1, 2, 101)]
                ),
                lambda client, _: (
                    client.exists(f"recommendations:user:{new_user}") == 1
                    # Counted once, however often the message was delivered; a later training may have taken them up.
                    and set(client.hvals(f"plays:user:{new_user}")) <= {b"2", b"2.0"}
                ),
            ),
        }
        kind = self.rng.choices(["train", "everybody", "named", "plays"], [2, 2, 48, 48])[0]
        enqueue, effect = kinds[kind]
        while True:
            try:
                self.jobs.append((kind, enqueue(), effect))
                return
            except RedisUnavailableError:
                self.refused += 1
                time.sleep(0.2)

    def states(self) -> dict[str, str]:
        found = {}
        for _, job, _ in self.jobs:
            try:
                found[job.id] = job.state
            except RedisUnavailableError:
                found[job.id] = "unknown"
        return found

    def report(self, began: float) -> dict[str, Any]:
        states = self.states()
        with self.server.client() as client:
            kinds: dict[str, Counter[str]] = {}
            for kind, job, effect in self.jobs:
                counts = kinds.setdefault(kind, Counter())
                state = states[job.id]
                counts["sent"] += 1
                counts["succeeded"] += state == "SUCCESS"
                counts["failed"] += state in ("FAILURE", "REVOKED")
                counts["lost"] += state not in ("SUCCESS", "FAILURE", "REVOKED")
                counts["effect there"] += state == "SUCCESS" and effect(client, job)
            left = {
                "unacked": client.hlen("unacked"),
                "queued": sum(client.llen(queue) for queue in ("celery", "batch", "training")),
                "submitted": client.hlen("tasks:submitted"),
                "jobs open": client.zcard("jobs:open"),
                "deliveries": len(list(client.scan_iter("deliveries:*", count=1000))),
                "dead letters": client.zcard("dead_letters"),
            }
        for _, job, _ in self.jobs:
            if states[job.id] != "SUCCESS":
                print(f"  {job!r} {states[job.id]} {job._stored()!r:.300}")
        received = sum(worker.log.count("] received") for worker in self.fleet.workers)
        return {
            "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}",
            "seconds": round(time.monotonic() - began),
            "faults": dict(self.faults),
            "workers started": len(self.fleet.workers),
            "jobs": {kind: dict(counts) for kind, counts in kinds.items()},
            "messages received": received,
            "enqueues refused while Redis was away": self.refused,
            "left over": left,
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the counts there, too")
    parser.add_argument("--keep", type=Path, help="folder for server, models and logs; a temporary one if unset")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="timbral-soak-") as temporary:
        directory = options.keep or Path(temporary)
        with EmbeddedServer(directory / "redis") as server:
            producers.connect(server.url)
            soak = Soak(server, directory, options.seed)
            try:
                counts = run(soak, options.minutes * 60, options.jobs)
            finally:
                soak.fleet.close()
    print(json.dumps(counts, indent=2))
    if options.json:
        options.json.write_text(json.dumps(counts, indent=2) + "\n")
    wrong = [kind for kind, each in counts["jobs"].items() if each["effect there"] != each["sent"]]
    print("every job's effect is there" if not wrong else f"NOT ALL EFFECTS ARE THERE: {', '.join(wrong)}")
    return bool(wrong)


def run(soak: Soak, duration_s: float, n_jobs: int) -> dict[str, Any]:
    """Faults and jobs for ``duration_s``, then wait for what is open, and count."""
    began = time.monotonic()
    for queues in ("celery,batch", "celery,batch", "training"):
        soak.start_worker(queues)
    for worker in soak.fleet.workers:
        worker.wait_ready(300)  # the first start of all compiles the kernels
    producers.enqueue_train_model("plays.csv", n_components=8, max_iter=30, promote="always").wait(120)
    ends = time.monotonic() + duration_s
    next_fault = time.monotonic() + soak.rng.uniform(*PAUSE_S)
    sent = 0
    while sent < n_jobs or time.monotonic() < ends:
        due = n_jobs if time.monotonic() >= ends else int(n_jobs * (1 - (ends - time.monotonic()) / duration_s))
        while sent < due:
            soak.send(sent)
            sent += 1
        if time.monotonic() >= next_fault and time.monotonic() < ends:
            soak.fault()
            next_fault = time.monotonic() + soak.rng.uniform(*PAUSE_S)
            print(
                f"{time.monotonic() - began:6.0f} s  {sent} jobs sent, {sum(soak.faults.values())} faults", flush=True
            )
        time.sleep(0.05)
    deadline = time.monotonic() + GRACE_S
    while time.monotonic() < deadline:
        states = Counter(soak.states().values())
        if set(states) <= {"SUCCESS", "FAILURE", "REVOKED"}:
            break
        print(f"{time.monotonic() - began:6.0f} s  waiting: {dict(states)}", flush=True)
        time.sleep(2)
    time.sleep(3)  # for the last acknowledgements and records
    return soak.report(began)


if __name__ == "__main__":
    sys.exit(main())
