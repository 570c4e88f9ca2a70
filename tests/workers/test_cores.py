from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from fleet_fixtures import Fleet

from workers import cores

FAULT_TASKS = Path(__file__).parent.parent / "faults"


@pytest.mark.parametrize(("n_cores", "concurrency", "threads"), [(8, 1, 8), (8, 2, 4), (8, 3, 2), (2, 4, 1), (1, 1, 1)])
def test_cores_are_shared_among_the_processes(
    monkeypatch: pytest.MonkeyPatch, n_cores: int, concurrency: int, threads: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(n_cores))

    assert cores.threads_per_process(concurrency) == threads


def test_libraries_of_a_pools_process_keep_to_their_share(fleet: Fleet, wait_until: Any) -> None:
    # given: as many processes as cores, and libraries that were loaded before the fork
    n_cores = len(os.sched_getaffinity(0))
    environment = {"N_THREADS": "0"}
    fleet.start(concurrency=n_cores, python_path=FAULT_TASKS, options=("-I", "fault_tasks"), environment=environment)
    app = Celery("producer", broker=f"{fleet.server.url}/0", backend=f"{fleet.server.url}/0", set_as_current=False)

    threads = app.send_task("fault.threads").get(timeout=100)

    assert threads
    assert set(threads) == {1}
    app.close()
