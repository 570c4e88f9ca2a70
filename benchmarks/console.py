"""What the console's screens cost: ``python -m benchmarks.console``; the server's CPU and p95 as a client sees it, in ms.

Before a server with 10,000 versions, 20,000 open jobs and everybody's lists; ``--users`` sets how many users there are.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import httpx
import redis

from timbral import keys
from timbral.stack.embedded_server import EmbeddedServer
from tools.example_api import example_api
from tools.example_users import seed

N_VERSIONS = 10_000
N_JOBS = 20_000
SCREENS = (
    "/",
    "/console/users",
    "/console/users/actions?user=7",
    "/console/items",
    "/console/items?q=wild",
    "/console/items/7",
    "/console/item-sets",
    "/console/models",
    "/console/models?page=400",
    "/console/models/{live}",
    "/console/models/compare?first={live}&second={other}",
    "/console/jobs",
    "/console/dead-letters",
    "/console/data",
    "/console/tuning",
    "/console/fleet",
    "/console/items/exposure",
    "/console/data/tail",
)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--only", default="", help="this screen alone")
    options = parser.parse_args()
    with EmbeddedServer(append_only=False) as server, tempfile.TemporaryDirectory() as directory:
        with server.client() as client:
            example = seed(client, Path(directory) / "models", n_users=options.users, n_items=options.users // 10)
            live = example.served.version
            other = _fill(client, live)
        with (
            example_api(server.url, directory) as (url, pid),
            httpx.Client(base_url=url, timeout=60) as asking,
            server.client() as client,
        ):
            asking.get("/console/data/tail")  # the model is mapped and warm before anything is measured
            for path in (
                one.format(live=live, other=other) for one in SCREENS if not options.only or one == options.only
            ):
                _measure(asking, client, pid, path, options.requests)


def _fill(client: redis.Redis, live: str) -> str:
    record = json.loads(client.get(keys.model_metadata(live)) or "{}")
    record |= {"metrics": {"ndcg@20": 0.25, "recall@20": 0.3}, "loss_per_iteration": [1 / n for n in range(1, 40)]}
    record |= {"verdict": {"outcome": "worse", "candidate": 0.24, "live": 0.25, "against": live, "n_users": 1_000}}
    text = json.dumps(record)
    versions = [f"20200101T000000-{n + 10}" for n in range(N_VERSIONS)]
    job = json.dumps({"task": "train_model", "kwargs": {"dataset": "x.csv"}, "queue": "training", "at": 1.0})
    with client.pipeline(transaction=False) as pipe:
        pipe.zadd(keys.MODEL_VERSIONS, {version: n / 1e6 for n, version in enumerate(versions)})
        pipe.mset({keys.model_metadata(version): text for version in versions})
        pipe.hset(keys.SUBMITTED, mapping={f"job-{n}": job for n in range(N_JOBS)})
        pipe.execute()
    return versions[-1]


def _measure(asking: httpx.Client, client: redis.Redis, pid: int, path: str, n_requests: int) -> None:
    for _ in range(3):
        asking.get(path).raise_for_status()
    began, before = _cpu_s(pid), int(client.info("stats")["total_commands_processed"])
    took = []
    for _ in range(n_requests):
        start = time.perf_counter()
        answer = asking.get(path)
        took.append(1_000 * (time.perf_counter() - start))
        answer.raise_for_status()
    cpu = 1_000 * (_cpu_s(pid) - began) / n_requests
    commands = (int(client.info("stats")["total_commands_processed"]) - before - 1) / n_requests
    p95 = statistics.quantiles(took, n=20)[-1]
    print(f"{path:<62} CPU {cpu:6.1f}  p95 {p95:6.1f}  commands {commands:5.1f}  {len(answer.content) / 1_000:6.1f} kB")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
