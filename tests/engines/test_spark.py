"""Trainings on Spark whose processes are killed: they end with the bits of one that never was cut off."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from timbral.engines import spark_session
from timbral.engines.block_store import BlockStore
from timbral.engines.block_task import Answer, BlockTask
from timbral.engines.checkpoint_files import CheckpointFiles, JobCheckpoints
from timbral.engines.spark_run import SparkRun
from timbral.engines.spark_session import on_spark
from timbral.engines.stored_halves import StoredHalves
from timbral.errors import TrainingError
from timbral.models.engine.factorization import HalvesOf
from timbral.models.nmf_model import NMFModel
from tools.spark_cluster import SparkCluster

PLAYS = sparse.random(2600, 1300, 0.01, "csr", np.float32, np.random.default_rng(0))
ROOT = Path(__file__).parents[2]


def model() -> NMFModel:
    return NMFModel(7, 0, 8, 0.0, regularization=0.3, n_neighbors=0, n_threads=1)


def on_spark_at(url: str, folder: Path, before: Callable[[int], None] = lambda half: None) -> HalvesOf:
    run = SparkRun(BlockStore(folder, "training"), url)

    def with_faults(tasks: Sequence[BlockTask]) -> Iterable[Answer]:
        before(tasks[0].half)
        return run(tasks)

    return lambda problem, threads: StoredHalves(problem, BlockStore(folder, "training"), with_faults, 4)


def checkpoints(folder: Path) -> CheckpointFiles:
    return JobCheckpoints(folder / "checkpoints", "job", 0.0).of_fit({}, [PLAYS.indptr, PLAYS.indices, PLAYS.data])


def train(url: str, folder: str) -> None:
    """What the process does that is killed."""
    model().fit(PLAYS, checkpoints=checkpoints(Path(folder)), halves_of=on_spark_at(url, Path(folder)))


def assert_same(mine: NMFModel, theirs: NMFModel) -> None:
    np.testing.assert_array_equal(mine._users(), theirs._users())
    np.testing.assert_array_equal(mine._items(), theirs._items())
    assert mine.training_history == theirs.training_history


def test_killed_executors_and_a_killed_connect_server_change_no_bit(spark: SparkCluster, tmp_path: Path) -> None:
    # given: Spark gives its tasks to executors that it does not know to be dead
    killed: list[int] = []

    def kill(half: int) -> None:
        if half in (4, 8):
            found = spark.executors()[: half // 4]
            for pid in found:
                os.kill(pid, signal.SIGKILL)
            killed.extend(found)
        if half == 12:
            spark.kill_connect()
            spark.start_connect()

    # when
    theirs = model().fit(PLAYS, halves_of=on_spark_at(spark.url, tmp_path, kill))

    # then
    assert len(killed) >= 2
    assert_same(model().fit(PLAYS), theirs)


def test_a_killed_trainer_goes_on_where_it_was(spark: SparkCluster, tmp_path: Path, wait_until: Any) -> None:
    # given: a process that trains on Spark, and writes a checkpoint after each sweep
    code = "import sys; sys.path[:0] = sys.argv[3:]; import test_spark; test_spark.train(*sys.argv[1:3])"
    found = [str(Path(__file__).parent), str(ROOT)]
    trainer = subprocess.Popen([sys.executable, "-c", code, spark.url, str(tmp_path), *found])

    # when
    wait_until(lambda: any(tmp_path.glob("checkpoints/*.000003.*")), 100, "three sweeps")
    trainer.kill()
    trainer.wait()
    sweeps: list[int] = []
    theirs = model().fit(
        PLAYS,
        lambda iteration, max_iter, loss: sweeps.append(iteration),
        checkpoints=checkpoints(tmp_path),
        halves_of=on_spark_at(spark.url, tmp_path),
    )

    # then
    assert sweeps[0] > 3
    assert_same(model().fit(PLAYS), theirs)


def test_a_process_ends_at_once_though_the_connect_server_has_gone(spark: SparkCluster) -> None:
    # given: a process with a session
    code = (
        "import sys\n"
        "from timbral.engines.spark_session import on_spark\n"
        "def same(description): return description\n"
        "print(on_spark(sys.argv[1], same, [{}]), flush=True)\n"
        "sys.stdin.readline()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, spark.url], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "[{}]\n"

    # when
    spark.kill_connect()
    try:
        process.communicate("\n", timeout=60)  # pyspark's own leave-taking has retries for two minutes and more
    finally:
        process.kill()
        spark.start_connect()

    # then
    assert process.returncode == 0


def test_what_fails_on_spark_is_said_in_a_line(spark: SparkCluster) -> None:
    with pytest.raises(TrainingError, match=f"Spark at {spark.url} has not done its part: KeyError: 'nothing'"):
        on_spark(spark.url, _fails, [{}])


def test_a_url_where_nobody_listens_is_said_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyspark", reason="no pyspark-client: pip install 'timbral[spark]'")

    # given: nobody waits as long in a test
    monkeypatch.setattr(spark_session, "PATIENCE_S", 0.0)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"sc://127.0.0.1:{bound.getsockname()[1]}"

        # when, then: and what may be a password is not said
        with pytest.raises(
            TrainingError, match=rf"no Spark Connect server answers at TRAIN_ENGINE_URL={url}: .*refused"
        ):
            on_spark(f"{url}/;token=secret", _same, [{}])


def _fails(description: dict[str, Any]) -> dict[str, Any]:
    raise KeyError("nothing")


def _same(description: dict[str, Any]) -> dict[str, Any]:
    return description
