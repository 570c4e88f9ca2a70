"""A server, worker processes and a model for the measurements of the fleet; all of it gone afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import redis

from timbral import keys
from timbral.data.id_index import IdIndex
from timbral.models.nmf_model import NMFModel
from timbral.stack.embedded_server import EmbeddedServer
from timbral.versions.model_store import ModelStore
from timbral.versions.served_model import ServedModel

__all__ = ["Setup", "WorkerProcess", "made_model", "setup"]


N_NEIGHBORS = 50
"""Of each item, in made-up models: what a training leaves of its hundred candidates."""


@dataclass
class WorkerProcess:
    """One ``celery worker`` with its pool, in a process group of its own."""

    environment: dict[str, str]
    directory: Path
    concurrency: int
    app: str = "workers.app"
    options: tuple[str, ...] = ()
    queues: str = "celery,batch,training"
    process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.log_path = self.directory / f"worker-{time.monotonic_ns()}.log"
        command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            self.app,
            "worker",
            "-Q",
            self.queues,
            "-n",
            f"w{time.monotonic_ns()}@bench",
        ]
        command += ["-c", str(self.concurrency), "-l", "INFO", "--without-gossip", "--without-mingle", *self.options]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 180
        while b" ready." not in self.log_path.read_bytes():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError(f"the worker did not start: {self.log_path.read_text()[-2000:]}")
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def pids(self) -> list[int]:
        """The worker's process and its pool's."""
        assert self.process is not None
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [self.process.pid, *map(int, listed.split())]


@dataclass
class Setup:
    """A server and a folder of models."""

    server: EmbeddedServer
    directory: Path
    client: redis.Redis
    settings: dict[str, str] = field(default_factory=dict)

    def environment(self, **settings: Any) -> dict[str, str]:
        """Environment of a process that works with this server."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("REDIS_", "BROKER_"))}
        own = {
            "REDIS_URL": self.server.url,
            "MODEL_DIR": str(self.directory / "models"),
            "DATA_DIR": str(self.directory),
        }
        own["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent.parent), kept.get("PYTHONPATH", "")])
        return kept | own | {name: str(value) for name, value in settings.items()}

    def worker(self, concurrency: int, **options: Any) -> WorkerProcess:
        """A worker to be entered."""
        environment = self.environment(**options.pop("settings", {}))
        return WorkerProcess(environment, self.directory, concurrency, **options)

    def install(self, served: ServedModel) -> None:
        """Write a model and make it live."""
        store = ModelStore(self.client, self.directory / "models")
        store.write(served)
        store.promote(served.version, force=True)

    def forget_lists(self) -> None:
        """Remove all recommendations."""
        with self.client.pipeline(transaction=False) as pipeline:
            for key in self.client.scan_iter(f"{keys.RECOMMENDATIONS_USER.format(user_id='')}*", count=10_000):
                pipeline.unlink(key)
            pipeline.execute()


@contextlib.contextmanager
def setup() -> Iterator[Setup]:
    """A private server with an append-only file, as in production."""
    with tempfile.TemporaryDirectory(prefix="timbral-bench-") as folder:
        directory = Path(folder)
        with EmbeddedServer(directory / "redis") as server, server.client() as client:
            yield Setup(server, directory, client)


def made_model(n_users: int, n_items: int, k: int, plays_each: int, version: str = "20260101T000000-1") -> ServedModel:
    """A model with factors as a training leaves them, half of them zero, and random plays; no training is needed for
    it."""
    rng = np.random.default_rng(0)

    def factors(n_rows: int) -> np.ndarray[Any, Any]:
        values = rng.gamma(0.4, 1.0, (n_rows, k)).astype(np.float32)
        values[rng.random((n_rows, k), dtype=np.float32) < 0.5] = 0
        return values

    popularity = 1 / np.arange(10, n_items + 10)
    items = rng.choice(n_items, (n_users, plays_each), p=popularity / popularity.sum()).astype(np.int32)
    rows = [np.unique(row) for row in items]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    indices = np.concatenate(rows)
    tensors, texts = NMFModel(k, 0, 1, neighbor_weight=1.0, n_threads=1).fit(np.ones((2, 2), np.float32)).tensors()
    tensors.pop("item_gram")  # of the other item vectors
    vectors, weights = factors(n_items), np.full(n_items, 0.1, np.float32)
    tensors |= {
        "user_factors": factors(n_users),
        "item_vectors": vectors,
        "user_levels": np.ones(n_users, np.float32),
        "item_weights": weights,
        "item_gram": np.ascontiguousarray((vectors.T * weights) @ vectors),
        "seen_indptr": indptr,
        "seen_indices": indices,
        "seen_values": np.ones(len(indices), np.float32),
        "neighbor_indptr": np.arange(n_items + 1, dtype=np.int64) * N_NEIGHBORS,
        "neighbor_items": np.sort(rng.integers(0, n_items, (n_items, N_NEIGHBORS)), axis=1).astype(np.int32).ravel(),
        "neighbor_weights": rng.gamma(0.4, 0.1, n_items * N_NEIGHBORS).astype(np.float32),
        "item_recency": np.zeros(n_items, np.float32),
    }
    model = NMFModel.from_tensors(tensors, texts)
    ids = IdIndex(np.arange(n_users) + 10**9), IdIndex(np.arange(n_items) + 10**6)
    users = np.bincount(indices, minlength=n_items).astype(np.int64)
    return ServedModel(version, model, *ids, users, None, {"version": version})
