"""What a training holds in memory whose data Spark reads, against one that reads them itself.

``SPARK_HOME=… python -m benchmarks.spark_data 20 spark`` (millions of plays; ``local`` for the other one) makes up a
folder of parquet, trains two sweeps of the factors on it, and prints the trainer's memory beside what it took.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

N_FILES = 20
USERS_PER_PLAY = 1 / 25
N_ITEMS = 200_000


def main(millions: float, who: str) -> None:
    with tempfile.TemporaryDirectory(prefix="timbral-spark-data-") as made:
        folder = Path(made)
        os.environ |= {"TRAIN_STORE_URI": str(folder / "store"), "MODEL_DIR": str(folder / "models")}
        made_up(folder / "plays", round(millions * 1e6))
        watch = Memory()
        if who == "spark":
            from tools.spark_cluster import SparkCluster

            (folder / "spark").mkdir()
            with SparkCluster(folder / "spark") as cluster:
                train_on_spark(folder, cluster.url, watch)
        else:
            train_here(folder, watch)


def made_up(folder: Path, n_plays: int) -> None:
    folder.mkdir()
    n_users = round(n_plays * USERS_PER_PLAY)
    for number in range(N_FILES):
        rng = np.random.default_rng(number)
        n = n_plays // N_FILES
        items = (N_ITEMS * rng.random(n, dtype=np.float32) ** 3).astype(np.int64)
        columns = {"user_id": rng.integers(0, n_users, n), "item_id": items, "plays": rng.integers(1, 9, n)}
        pq.write_table(pa.table(columns), folder / f"part-{number:02d}.parquet", row_group_size=500_000)


def train_here(folder: Path, watch: Memory) -> None:
    from timbral.utils.data_loader import DataLoader

    started = time.perf_counter()
    plays = DataLoader().load_csr(folder / "plays")
    watch.told("read", started)
    fit(plays.matrix, started, watch)


def train_on_spark(folder: Path, url: str, watch: Memory) -> None:
    from timbral.data.dataset_file import DatasetFile
    from timbral.data.id_index import IdIndex
    from timbral.data.read_options import ReadOptions
    from timbral.spark_data.spark_reader import SparkReader

    def nobody(ids: IdIndex) -> Any:  # noqa: ARG001 - called with it
        return np.empty(0, np.int32)

    started = time.perf_counter()
    with SparkReader(url, "benchmark") as reader:
        file = DatasetFile.of(folder / "plays")
        stored = reader.read_file(
            file, ReadOptions(), (None, None), nobody, lambda: None, lambda text: watch.told(text, started)
        )
        watch.told("read", started)
        fit(stored, started, watch, stored.halves_of)


def fit(data: Any, started: float, watch: Memory, halves_of: Any = None) -> None:
    from timbral.models.engine.halves import HalvesHere
    from timbral.models.nmf_model import NMFModel

    model = NMFModel(16, 0, 2, 0.0, regularization=0.3, n_neighbors=0, recency_weight=0.0)
    model.fit(data, halves_of=halves_of or HalvesHere)
    watch.told(f"two sweeps of {model.n_users:,} × {model.n_items:,}, {model.n_interactions:,} entries", started)
    factors = model._users().nbytes + model._items().nbytes
    print(f"loss {model.training_history[-1]:.9g}; the factors once: {factors / 2**20:,.0f} MB")


class Memory:
    """The most of this process's own pages (those of mapped files are the system's to take back), by a look each 50
    ms."""

    def __init__(self) -> None:
        self._before = self._most = anonymous()
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            self._most = max(self._most, anonymous())
            time.sleep(0.05)

    def told(self, what: str, started: float) -> None:
        most = (self._most - self._before) / 2**10
        print(f"{time.perf_counter() - started:7.1f} s  at most {most:8,.0f} MB so far: {what}", flush=True)


def anonymous() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2])
