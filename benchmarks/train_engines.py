"""What a training on the fleet costs beyond its sweeps, what a checkpoint costs, and how many sweeps a warm start saves.

Data of the size of Gowalla, made up; k=64. The fleet is one trainer and one worker of as many processes as there are
cores, each with one thread; the local training has as many threads. Spark is measured where it is there (SPARK_HOME).
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from celery import Celery
from scipy import sparse

from benchmarks import datasets
from benchmarks.command import main
from benchmarks.fleet_setup import Setup, setup
from benchmarks.results import Options, Result, Row
from benchmarks.spark import spark_rows
from timbral.config.cores import available_cores
from timbral.engines.checkpoint_files import JobCheckpoints
from timbral.models.engine.training_state import TrainingState
from timbral.models.fitting.warm_start import KnownFactors
from timbral.models.nmf_model import NMFModel

K = 64
SWEEPS = 20
NEW_PLAYS = 0.02
ASKED: dict[str, Any] = {
    "dataset": "plays.parquet", "value_col": "plays", "n_components": K, "max_iter": SWEEPS, "tol": 0.0, "holdout": 0,
    "regularization": 0.3, "n_neighbors": 0, "neighbor_weight": 0.0, "promote": "never",
}  # fmt: skip
"""Nothing but sweeps."""


def run(options: Options) -> Result:
    small = 10 if options.quick else 1
    plays = datasets.listening(30_000 // small, 41_000 // small, 1_000_000 // small, seed=3)
    fits_s = _fits(plays)
    beyond_s = (fits_s["fleet"] - fits_s["local"]) / SWEEPS
    matrix = plays.csr()
    checkpoint_s = _checkpoint(matrix)
    rows = [
        Row(
            "fleet: time beyond the local training's, a sweep", beyond_s, "s", 0.5, 0.2, f"{beyond_s:.2f} s",
            f"a sweep of {fits_s['local'] / SWEEPS:.2f} s", "8 blocks for each half", less_is_better=True,
        ),
        Row(
            "a checkpoint, against 10 s between two", checkpoint_s / 10.0, "", 0.03, 0.01, f"{checkpoint_s:.2f} s", "",
            less_is_better=True,
        ),
    ]  # fmt: skip
    warm = {}
    for name, data in ({"made-up": matrix} | _lastfm(options)).items():
        warm[name] = cold, few = _warm(data)
        rows.append(
            Row(
                f"warm start after 2 % new plays, {name}: sweeps to the same loss", few / cold, "", 0.5, 0.25, str(few),
                f"{cold} from a cold start", less_is_better=True,
            )
        )  # fmt: skip
    on_spark, spark_numbers = spark_rows(matrix, K, SWEEPS)
    numbers = {"fits_s": fits_s, "checkpoint_s": checkpoint_s, "sweeps": warm, "spark": spark_numbers}
    return Result("train_engines", rows + on_spark, numbers)


def _fits(plays: datasets.Plays) -> dict[str, float]:
    """Seconds of SWEEPS sweeps, by engine."""
    with setup() as made:
        table = {"user_id": plays.users, "item_id": plays.items, "plays": plays.values}
        pq.write_table(pa.table(table), made.directory / "plays.parquet")
        return {engine: _fit(made, engine) for engine in ("local", "fleet")}


def _fit(made: Setup, engine: str) -> float:
    app = Celery("bench", broker=f"{made.server.url}/0", backend=f"{made.server.url}/0", set_as_current=False)
    own: dict[str, Any] = {"TRAIN_ENGINE": engine}
    trainer = made.worker(1, queues="training", settings=own)
    worker = made.worker(available_cores(), queues="batch", settings=own | {"N_THREADS": 1})
    with trainer, worker:
        took = []
        for seed in (0, 1, 2):  # the first one loads the kernels
            answer = app.send_task("train_model", kwargs=ASKED | {"random_state": seed}, queue="training").get(600)
            took.append(float(answer["durations_s"]["fit"]))
    app.close()
    return min(took[1:])


def _checkpoint(matrix: sparse.csr_matrix) -> float:
    """Seconds of one checkpoint of a model of this size."""
    rng = np.random.default_rng(0)
    user, item = (rng.random((n, K), dtype=np.float32) for n in matrix.shape)
    with tempfile.TemporaryDirectory() as folder:
        files = JobCheckpoints(Path(folder), "bench", 0.0).of_fit({}, [])
        started = time.perf_counter()
        for sweep in range(5):
            files.offer(TrainingState(user, item, item, iteration=sweep), last=False)
        return (time.perf_counter() - started) / 5


def _warm(now: sparse.csr_matrix) -> tuple[int, int]:
    """Sweeps of a cold start, with all that it takes from its choice, and of a warm one to the same loss within a
    thousandth."""
    before = now.astype(np.float32)
    before.data[np.random.default_rng(1).random(before.nnz) < NEW_PLAYS] = 0
    before.eliminate_zeros()
    live = NMFModel(K, 0, n_neighbors=0).fit(before)
    cold = NMFModel(K, 0, n_neighbors=0).fit(now)
    known = KnownFactors(
        live._users(), live._items(), *(np.diff(rows.indptr) > 0 for rows in (before, sparse.csc_matrix(before)))
    )
    warm = NMFModel(K, 0, n_neighbors=0).fit(now, known=known)
    reached = np.flatnonzero(np.array(warm.training_history) <= cold.training_history[-1] * 1.001)
    return cold.n_iter_, int(reached[0]) + 1 if len(reached) else 10 * cold.n_iter_


def _lastfm(options: Options) -> dict[str, sparse.csr_matrix]:
    plays = datasets.lastfm(options.lastfm)
    return {} if plays is None else {"Last.fm 2K": plays.csr()}


if __name__ == "__main__":
    main(run)
