"""What a training on Spark costs beyond its sweeps: a standalone master, two workers of one core and a Spark Connect
server on this machine, against as many threads in one process."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks.results import Row
from timbral.engines.block_store import BlockStore
from timbral.engines.block_task import Answer, BlockTask
from timbral.engines.spark_run import SparkRun
from timbral.engines.stored_halves import StoredHalves
from timbral.models.nmf_model import NMFModel
from tools.spark_cluster import SparkCluster, missing

__all__ = ["spark_rows"]

N_WORKERS = 2
N_BLOCKS = 2 * N_WORKERS
KILLED_IN = 7
"""The half-sweep in which an executor is killed."""


def spark_rows(plays: sparse.csr_matrix, k: int, sweeps: int) -> tuple[list[Row], dict[str, Any]]:
    """The rows and the raw numbers; none where there is no Spark, which is said."""
    problem = missing()
    if problem is not None:
        print(f"not measured: Spark ({problem})", flush=True)
        return [], {}
    before, here = _fit(plays, k, sweeps, {})
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "spark").mkdir()
        with SparkCluster(Path(folder, "spark"), n_workers=N_WORKERS) as cluster:
            run = SparkRun(BlockStore(Path(folder), "training"), cluster.url)
            killed: list[int] = []

            def with_a_kill(tasks: Sequence[BlockTask]) -> Iterable[Answer]:
                if tasks[0].half == KILLED_IN:
                    # A quarter of a second later its executor is in the middle of its blocks.
                    killed.extend(cluster.executors()[:1])
                    threading.Timer(0.25, os.kill, (killed[0], signal.SIGKILL)).start()
                return run(tasks)

            def on(runs: Any) -> dict[str, Any]:
                store = BlockStore(Path(folder), "training")
                return {"halves_of": lambda problem, _threads: StoredHalves(problem, store, runs, N_BLOCKS)}

            _fit(plays, k, 2, on(run))  # Python starts there, and loads the kernels
            on_spark, there = _fit(plays, k, sweeps, on(run))
            after, _ = _fit(plays, k, sweeps, {})
            _, cut = _fit(plays, k, sweeps, on(with_a_kill))
    local_s = min(before + after)
    beyond_s = min(on_spark) - local_s
    numbers = {"local_sweeps_s": before + after, "spark_sweeps_s": on_spark}
    same = [_equal(here, there), _equal(here, cut)]
    rows = [
        Row(
            "Spark Connect: time beyond the local training's, a sweep", beyond_s, "s", 2.0, 1.0, f"{beyond_s:.2f} s",
            f"a sweep of {local_s:.2f} s", f"{N_WORKERS} workers of one core, {N_BLOCKS} blocks for each half; the shortest sweep of each",
            less_is_better=True,
        ),
        Row(
            "Spark Connect: the bits of one process, also with kill -9 of an executor", float(all(same)), "", 1.0, 1.0,
            "equal" if all(same) else "not equal", "",
        ),
    ]  # fmt: skip
    return rows, numbers


def _fit(plays: sparse.csr_matrix, k: int, sweeps: int, asked: dict[str, Any]) -> tuple[list[float], NMFModel]:
    """Seconds of each sweep but the first, and the model."""
    ends: list[float] = []
    model = NMFModel(k, 0, sweeps, 0.0, regularization=0.3, n_neighbors=0, n_threads=N_WORKERS)
    model.fit(plays, lambda *_: ends.append(time.perf_counter()), **asked)
    return np.diff(ends).tolist(), model


def _equal(mine: NMFModel, theirs: NMFModel) -> bool:
    pairs = ((mine.user_factors, theirs.user_factors), (mine.item_factors, theirs.item_factors))
    return all(a is not None and b is not None and np.array_equal(a, b) for a, b in pairs)
