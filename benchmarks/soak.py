"""Work under random faults: ``python -m benchmarks.soak [--minutes 10] [--jobs 500] [--seed 1] [--on valkey]``, or
``make soak``.

On valkey, on Redis 7 and on three servers with three sentinels, one after the other: an append-only file; two workers
for everything and one for trainings; jobs at an even pace; one of ``soak_faults`` every few seconds. In the end every
job's effect is looked for in Redis: lost is a job whose effect is not there, doubled one whose plays were counted more
than once. Exit status 1 where there is either.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import server_kinds
from fleet_fixtures import Fleet, WorkerProcess
from sentinel_fixtures import SentinelServers
from taste import history, write_history

import producers
from benchmarks.soak_faults import Faults
from timbral import keys
from timbral.errors import RedisUnavailableError
from timbral.plays.pending import PendingPlays
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
ON = ("valkey", "redis7", "sentinel")
NEW_PLAYS = (1, 2, 101)
"""Items that each new user has played twice."""
GRACE_S = 180.0
"""After the last job, for what is still open."""


class Soak:
    """One run: its fleet, the jobs that were sent and what was done to it."""

    def __init__(self, server: EmbeddedServer | SentinelServers, directory: Path, seed: int) -> None:
        self.server = server
        self.fleet = Fleet(server, directory)
        self.rng = random.Random(seed)
        self.faults = Faults(server, self.fleet, self.rng, self.start_worker)
        self.jobs: list[tuple[str, Any, Callable[[redis.Redis, Any], bool]]] = []
        self.players: dict[str, str] = {}
        self.refused = 0
        write_history(self.fleet.data_dir / "plays.csv", history(N_USERS))

    # The fleet

    def start_worker(self, queues: str) -> WorkerProcess:
        return self.fleet.worker(queues=queues, concurrency=2, environment=ENVIRONMENT).spawn()

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
                    plays=[{"user_id": new_user, "item_id": item, "plays": 2} for item in NEW_PLAYS]
                ),
                lambda client, _: (
                    client.exists(f"recommendations:user:{new_user}") == 1
                    and set(plays_of(client, new_user)) == set(NEW_PLAYS)
                ),
            ),
        }
        kind = self.rng.choices(["train", "everybody", "named", "plays"], [2, 2, 48, 48])[0]
        enqueue, effect = kinds[kind]
        while True:
            try:
                job = enqueue()
                self.jobs.append((kind, job, effect))
                if kind == "plays":
                    self.players[job.id] = new_user
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
                counts["doubled"] += 0
                counts["succeeded"] += state == "SUCCESS"
                counts["failed"] += state in ("FAILURE", "REVOKED")
                counts["lost"] += state not in ("SUCCESS", "FAILURE", "REVOKED")
                counts["effect there"] += state == "SUCCESS" and effect(client, job)
                if kind == "plays":
                    # Counted once, however often the message was delivered.
                    counts["doubled"] += any(plays > 2 for plays in plays_of(client, self.players[job.id]).values())
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
            "faults": dict(self.faults.done),
            "workers started": len(self.fleet.workers),
            "jobs": {kind: dict(counts) for kind, counts in kinds.items()},
            "messages received": received,
            "enqueues refused while Redis was away": self.refused,
            "left over": left,
        }


def plays_of(client: redis.Redis, user: str) -> dict[Any, float]:
    """How often each item was counted for a user whom no training has seen."""
    return dict(PendingPlays.read(client.lrange(keys.plays_user(user), 0, -1)).by_item())


def server_of(kind: str, directory: Path) -> EmbeddedServer | SentinelServers | None:
    """What the run is on, not started; None where it is not on this machine."""
    if kind == "sentinel":
        sentinel = shutil.which("redis-sentinel")
        return SentinelServers(directory, sentinel) if sentinel else None
    return (
        EmbeddedServer(directory / "redis", binary=server_kinds.binary_of(kind))
        if server_kinds.version_of(kind)
        else None
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="of all runs together")
    parser.add_argument("--jobs", type=int, default=500, help="of all runs together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--on", choices=ON, action="append", help="one or several; all that are here if unset")
    parser.add_argument("--json", type=Path, help="write the counts there, too")
    parser.add_argument("--keep", type=Path, help="folder for servers, models and logs; a temporary one if unset")
    options = parser.parse_args()
    wanted = options.on or ON
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="timbral-soak-") as temporary:
        for kind in wanted:
            server = server_of(kind, directory := (options.keep or Path(temporary)) / kind)
            if server is None:
                print(f"{kind}: not on this machine (apt-get install redis-server redis-sentinel)")
                continue
            soak = Soak(server, directory, options.seed)
            try:
                producers.connect(server.start().url)
                found[kind] = run(soak, options.minutes * 60 / len(wanted), options.jobs // len(wanted))
            finally:
                soak.fleet.close()
                server.close()
            print(json.dumps(found[kind], indent=2))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    totals: Counter[str] = Counter()
    for kind, counts in found.items():
        jobs = counts["jobs"].values()
        sent, there = sum(each["sent"] for each in jobs), sum(each["effect there"] for each in jobs)
        doubled = sum(each["doubled"] for each in jobs)
        totals.update(lost=sent - there, doubled=doubled)
        print(f"{kind}: {sum(counts['faults'].values())} faults, {sent} jobs, {sent - there} lost, {doubled} doubled")
    return int(totals.total() > 0)


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
            soak.faults.one()
            next_fault = time.monotonic() + soak.rng.uniform(*PAUSE_S)
            print(
                f"{time.monotonic() - began:6.0f} s  {sent} jobs sent, {sum(soak.faults.done.values())} faults",
                flush=True,
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
