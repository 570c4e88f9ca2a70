"""The measurements of the fleet, one function a row of the table."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from celery import Celery

from benchmarks.fleet_setup import Setup, WorkerProcess, made_model, setup
from benchmarks.results import Row

__all__ = ["latency", "memory", "overhead", "start", "throughput"]

K = 64


@contextlib.contextmanager
def sender(made: Setup) -> Iterator[Celery]:
    """An app that sends by name and waits for results."""
    url = f"{made.server.url}/0"
    with Celery("bench", broker=url, backend=url, set_as_current=False) as app:
        yield app


def throughput(quick: bool) -> tuple[list[Row], dict[str, Any]]:
    """Everybody's lists: two processes of a pool against one process without Celery."""
    n_users, n_items = (10_000, 4_000) if quick else (100_000, 40_000)
    served = made_model(n_users, n_items, K, 30)
    with setup() as made, sender(made) as app:
        made.install(served)
        chunk_size = int(_settings_value("CHUNK_SIZE"))
        command = [sys.executable, "-m", "benchmarks.fleet_single", str(chunk_size)]
        single: list[tuple[float, float]] = []
        fleet: list[tuple[float, float]] = []
        # By turns, so that what else the machine does meets both.
        with made.worker(2) as worker:
            _warm(app, n_users)
            for _ in range(1 if quick else 3):
                output = subprocess.run(
                    command, env=made.environment(N_THREADS=1), check=True, stdout=subprocess.PIPE, text=True
                ).stdout
                wall, cpu = output.splitlines()[-1].split()
                single.append((float(wall), float(cpu)))
                made.forget_lists()
                before, started = _cpu_s(worker), time.perf_counter()
                answer = app.send_task("compute_recommendations").get(timeout=600)
                fleet.append((time.perf_counter() - started, _cpu_s(worker) - before))
                assert answer["users_done"] == n_users
                assert sum(1 for _ in made.client.scan_iter("recommendations:user:*", count=10_000)) == n_users
                time.sleep(0.5)
    wall_share = min(s[0] for s in single) / (2 * min(f[0] for f in fleet))
    cpu_share = min(s[1] for s in single) / min(f[1] for f in fleet)
    what = f"all {n_users:,} users × {n_items:,} items, 2 processes, of one process's speed × 2"
    ours, peer = f"{min(f[0] for f in fleet):.2f} s", f"{min(s[0] for s in single):.2f} s"
    note = "by the clock; the server and this measurement want the same two cores"
    rows = [Row(f"{what}, clock", 100 * wall_share, "%", 85, 95, ours, peer, note)]
    ours, peer = f"{min(f[1] for f in fleet):.2f} s", f"{min(s[1] for s in single):.2f} s"
    note = "by the CPU time that the processes used, the worker's parent included: what two free cores would give"
    rows.append(Row(f"{what}, CPU time", 100 * cpu_share, "%", 85, 95, ours, peer, note))
    return rows, {"single_wall_cpu_s": single, "fleet_wall_cpu_s": fleet}


def latency(quick: bool) -> tuple[list[Row], dict[str, Any]]:
    """One user's play, from the call that enqueues it until the new list can be read; an idle fleet."""
    import producers

    n_users, n_items = (2_000, 1_000) if quick else (100_000, 40_000)
    n_calls = 50 if quick else 300
    milliseconds: list[float] = []
    with setup() as made:
        made.install(made_model(n_users, n_items, K, 30))
        producers.connect(made.server.url)
        with made.worker(2):
            for number in range(n_calls + 20):
                user = 10**9 + number
                key = f"recommendations:user:{user}"
                started = time.perf_counter()
                producers.enqueue_refresh_embeddings(plays=[{"user_id": user, "item_id": 10**6 + 7}])
                while not made.client.exists(key):
                    time.sleep(0.0002)
                if number >= 20:
                    milliseconds.append(1000 * (time.perf_counter() - started))
        producers.close()
    p50, p99 = (float(np.percentile(milliseconds, q)) for q in (50, 99))
    what = "enqueue → key readable, one user's play, {}"
    rows = [
        Row(what.format("p50"), p50, "ms", 20, 8, f"{p50:.1f} ms", "", f"{n_calls} calls, one after the other", True),
        Row(what.format("p99"), p99, "ms", 100, 30, f"{p99:.1f} ms", "", "", True),
    ]
    return rows, {"milliseconds": milliseconds}


def overhead(quick: bool) -> tuple[list[Row], dict[str, Any]]:
    """Tasks that do nothing: our delivery against bare Celery's, by turns on one server."""
    n_tasks, n_rounds = (200, 2) if quick else (1_000, 5)
    taken: dict[str, list[float]] = {"benchmarks.fleet_noop": [], "benchmarks.fleet_bare": []}
    with setup() as made, sender(made) as app:
        for _ in range(n_rounds):
            for module, seconds in taken.items():
                with made.worker(1, app=module, queues="celery"):
                    app.send_task("noop").get(timeout=60)
                    started = time.perf_counter()
                    for _ in range(n_tasks - 1):
                        app.send_task("noop", ignore_result=True)
                    app.send_task("noop").get(timeout=120)
                    seconds.append(time.perf_counter() - started)
    ours, bare = (1000 * min(seconds) / n_tasks for seconds in taken.values())
    row = Row(
        "task overhead against bare Celery", ours / bare, "×", 1.3, 1.1, f"{ours:.2f} ms", f"{bare:.2f} ms", "", True
    )
    return [row], {"seconds": taken, "n_tasks": n_tasks}


def start(quick: bool) -> tuple[list[Row], dict[str, Any]]:
    """From starting the worker's process until its first task is done; kernels and files are warm."""
    seconds: list[float] = []
    with setup() as made, sender(made) as app:
        made.install(made_model(2_000, 1_000, K, 30))
        for number in range(2 if quick else 5):
            sent = app.send_task("compute_recommendations", kwargs={"user_ids": [10**9]})
            started = time.perf_counter()
            with made.worker(1):
                sent.get(timeout=60, interval=0.01)
                if number:
                    seconds.append(time.perf_counter() - started)
                time.sleep(0.3)
    best = min(seconds)
    return [Row("worker start to first task, warm", best, "s", 5, 2, f"{best:.2f} s", "", "", True)], {
        "seconds": seconds
    }


def memory(quick: bool) -> tuple[list[Row], dict[str, Any]]:
    """Four workers, a parent and a process each, that all work with one large model."""
    n_users, n_items, k = (20_000, 5_000, 32) if quick else (700_000, 80_000, 128)
    with setup() as made, sender(made) as app:
        served = made_model(n_users, n_items, k, 2)
        made.install(served)
        size = (made.directory / "models" / f"{served.version}.safetensors").stat().st_size
        del served
        peak = 0
        with contextlib.ExitStack() as stack:
            workers = [stack.enter_context(made.worker(1)) for _ in range(4)]
            done = threading.Event()
            jobs = threading.Thread(target=_keep_busy, args=(app, n_users, 12 if quick else 40, done))
            jobs.start()
            while not done.wait(0.05):
                peak = max(peak, sum(_pss(worker) for worker in workers))
            jobs.join()
            after = sum(_pss(worker) for worker in workers)
    mb = 2**20
    bound = 1.3 * size + 4 * 150 * mb
    what = f"memory of 4 workers on one host, a model of {size / mb:.0f} MB, against 1.3 × the model + 4 × 150 MB"
    note = f"at its highest, while they work; {after / mb:.0f} MB when idle"
    row = Row(what, peak / bound, "×", 1.0, 1.0, f"{peak / mb:.0f} MB", f"{bound / mb:.0f} MB", note, True)
    return [row], {"model_bytes": size, "peak_bytes": peak, "after_bytes": after}


def _keep_busy(app: Celery, n_users: int, n_jobs: int, done: threading.Event) -> None:
    rng = np.random.default_rng(0)
    sent = [
        app.send_task(
            "compute_recommendations", kwargs={"user_ids": (10**9 + rng.choice(n_users, 400, replace=False)).tolist()}
        )
        for _ in range(n_jobs)
    ]
    for one in sent:
        one.get(timeout=300)
    done.set()


def _warm(app: Celery, n_users: int) -> None:
    """Every process of the pool has had its kernels and its model."""
    users = [10**9 + number for number in range(min(n_users, 200))]
    for one in [
        app.send_task("compute_recommendations", kwargs={"user_ids": users, "top_k": 10 + n}) for n in range(8)
    ]:
        one.get(timeout=60)


def _cpu_s(worker: WorkerProcess) -> float:
    """User and system time of the worker's processes so far."""
    total = 0.0
    for pid in worker.pids():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / 100
    return total


def _pss(worker: WorkerProcess) -> int:
    """Memory of the worker's processes, each page divided by the number of processes that share it."""
    total = 0
    for pid in worker.pids():
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
    return total


def _settings_value(name: str) -> Any:
    from timbral.config.settings import settings

    return getattr(settings, name)
