"""The measurements of plays on their way, one function a row or two: recorded, in a list, in the history, under
faults."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import producers
from benchmarks.fleet_setup import Setup, made_model, setup
from benchmarks.results import Row
from timbral import keys

N_ITEMS, K = 40_000, 64
FIRST_USER, FIRST_ITEM = 10**9, 10**6


@contextlib.contextmanager
def fleet(quick: bool, n_processes: int = 2) -> Iterator[Setup]:
    """A server, a model and a worker, with producers connected."""
    with setup() as made:
        made.install(made_model(2_000 if quick else 100_000, 1_000 if quick else N_ITEMS, K, 30))
        producers.connect(made.server.url)
        try:
            with made.worker(n_processes, settings={"N_THREADS": 1}):
                for user in range(20):
                    producers.record_plays([{"user_id": FIRST_USER + user, "item_id": FIRST_ITEM + 7}])
                    _wait(lambda: not made.client.exists(keys.PLAYS_REFRESH, keys.PLAYS_REFRESHING))
                yield made
        finally:
            producers.close()


def recording(quick: bool) -> tuple[list[Row], dict[str, Any]]:
    """Recording alone: one app, one process, a hundred plays a call; no worker takes part."""
    n_calls = 100 if quick else 3_000
    rng = np.random.default_rng(0)
    batches = [
        [
            producers.Play(user_id=int(u), item_id=int(i))
            for u, i in zip(rng.integers(0, 10**5, 100), rng.integers(0, N_ITEMS, 100), strict=True)
        ]
        for _ in range(100)
    ]
    with setup() as made:
        producers.connect(made.server.url)
        try:
            producers.record_plays(batches[0])
            started, cpu, server_cpu = time.perf_counter(), time.process_time(), _server_cpu_s(made)
            for number in range(n_calls):
                producers.record_plays(batches[number % 100])
            seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
            server_cpu = _server_cpu_s(made) - server_cpu
            recorded = int(made.client.hget(keys.PLAYS_COUNTS, "recorded") or 0)
        finally:
            producers.close()
    assert recorded == 100 * (n_calls + 1)
    rate = 100 * n_calls / seconds
    note = (
        f"CPU time: {cpu / n_calls * 1e4:.1f} µs a play of the app, {server_cpu / n_calls * 1e4:.1f} µs of the server"
    )
    row = Row(
        "record_plays alone, 100 a call, one app", rate, "plays/s", 20_000, 60_000, f"{rate:,.0f} plays/s", "", note
    )
    return [row], {"seconds": seconds, "app_cpu_s": cpu, "server_cpu_s": server_cpu}


def latency(quick: bool) -> tuple[list[Row], dict[str, Any]]:
    """50 events a second: from the call of record_plays until the user's new list can be read; each event of another
    user."""
    seconds = 4 if quick else 20
    with fleet(quick) as made:
        milliseconds = _timed_events(made, rate=50, seconds=seconds)
    p50, p99 = np.percentile(milliseconds, [50, 99]).tolist()
    what = f"record_plays → new list readable, 50 events/s, {N_ITEMS:,} items, 2 processes"
    rows = [
        Row(f"{what}, {name}", figure, "ms", must, aim, f"{figure:.1f} ms", "", less_is_better=True)
        for name, figure, must, aim in (("p50", p50, 10, 6), ("p99", p99, 150, 50))
    ]
    return rows, {"milliseconds": milliseconds}


def sustained(quick: bool, rate: int = 500) -> tuple[list[Row], dict[str, Any]]:
    """Events at a steady rate, each with a refreshed list; how many still waited at the end."""
    seconds, rates = (3, [rate]) if quick else (10, [500, 1000, 2000])
    reached, raw = 0, dict[str, Any]()
    for rate in rates:
        with fleet(quick) as made:
            waiting = _steady(made, rate, seconds)
            raw[str(rate)] = waiting
            # The last look, after the last event: what waits is what came in the last moments, not what piled up.
            if max(waiting[len(waiting) // 2 :]) > rate // 2:
                break
            reached = rate
    what = "events a second, each with a refreshed list, no growing backlog, 2 processes"
    return [Row(what, reached, "/s", 500, 2000, f"{reached} /s", "")], raw


def _steady(made: Setup, rate: int, seconds: int) -> list[int]:
    """Users that wait, ten times a second, while an app of its own process records single plays at ``rate``."""
    code = f"""
import time, random, producers
producers.connect({made.server.url!r})
started = time.perf_counter()
for number in range({rate * seconds}):
    pause = started + number / {rate} - time.perf_counter()
    if pause > 0: time.sleep(pause)
    producers.record_plays([{{"user_id": {FIRST_USER} + random.randrange(2000), "item_id": {FIRST_ITEM} + random.randrange(900)}}])
print(time.perf_counter() - started)
"""
    waiting: list[int] = []
    with subprocess.Popen(
        [sys.executable, "-c", code], env=made.environment(), stdout=subprocess.PIPE, text=True
    ) as app:
        while app.poll() is None:
            waiting.append(int(made.client.zcard(keys.PLAYS_REFRESH)))
            time.sleep(0.1)
        took = float((app.stdout.read() if app.stdout else "").split()[-1])
    if took > 1.1 * seconds:
        return [10**6]  # the app itself did not keep up
    return waiting


def _timed_events(made: Setup, rate: int, seconds: int) -> list[float]:
    milliseconds: list[float] = []
    threads = []

    def one(user: int) -> None:
        started = time.perf_counter()
        producers.record_plays([{"user_id": user, "item_id": FIRST_ITEM + 7}])
        while not made.client.exists(keys.recommendations_user(user)):
            time.sleep(0.001)
        milliseconds.append((time.perf_counter() - started) * 1_000)

    began = time.perf_counter()
    for number in range(rate * seconds):
        time.sleep(max(0.0, began + number / rate - time.perf_counter()))
        threads.append(threading.Thread(target=one, args=(FIRST_USER + 1_000 + number % 1_000_000,)))
        threads[-1].start()
    for thread in threads:
        thread.join(30)
    return milliseconds


def _server_cpu_s(made: Setup) -> float:
    used: Any = made.client.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


def _wait(condition: Callable[[], object], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come true")
        time.sleep(0.002)
