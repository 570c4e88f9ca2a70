"""StoredEngine: the half-sweeps of one training, done by others, from the making of its store to its end."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import structlog

from timbral.config.settings import settings
from timbral.engines.block_store import BlockStore, remove_old_stores
from timbral.engines.block_task import Answer, BlockTask
from timbral.engines.stored_halves import StoredHalves
from timbral.models.engine.factorization import HalvesOf
from timbral.models.engine.halves import Halves, HalvesHere, Problem
from timbral.models.kernels.threads import Threads

__all__ = ["ClosableRun", "LocalEngine", "StoredEngine", "blocks_folder", "job_digest", "store_of"]

logger = structlog.get_logger(__name__)


class ClosableRun(Protocol):
    """A ``block_task.Run`` of one fit, with an end."""

    def __call__(self, tasks: Sequence[BlockTask]) -> Iterable[Answer]: ...

    def close(self) -> None:
        """The fit has ended."""


class LocalEngine:
    """Half-sweeps in this process."""

    halves_of: HalvesOf = staticmethod(HalvesHere)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class StoredEngine:
    """Half-sweeps by ``run_of(store, n_threads)``, which is made for each fit.

    Args:
        job_id: of the training. What an earlier delivery of it left behind is removed.
    """

    def __init__(self, job_id: str, run_of: Callable[[BlockStore, int], ClosableRun]) -> None:
        self._run_of = run_of
        self._job = job_digest(job_id)
        self._store: BlockStore | None = None
        self._run: ClosableRun | None = None

    def __enter__(self) -> Self:
        remove_old_stores(blocks_folder(), 2.0 * settings.TRAIN_TIME_LIMIT_S)
        for left in blocks_folder().glob(f"{self._job}-*"):
            store_of(left.name).close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def halves_of(self, problem: Problem, threads: Threads) -> Halves:
        """For each fit a store of its own: what comes late from the one before finds it gone."""
        self._close()
        self._store = store_of(f"{self._job}-{secrets.token_hex(4)}")
        self._run = self._run_of(self._store, threads.n_threads)
        logger.info("trains on others, too", store=str(self._store.folder), blocks=settings.TRAIN_BLOCKS)
        return StoredHalves(problem, self._store, self._run, settings.TRAIN_BLOCKS)

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
        if self._run is not None:
            self._run.close()
        self._store = self._run = None


def job_digest(job_id: str) -> str:
    """A job's id as a part of its stores' names."""
    return hashlib.blake2b(job_id.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def blocks_folder() -> Path:
    """Where the stores of all trainings are."""
    return (settings.train_store or settings.MODEL_DIR) / "blocks"


def store_of(training: str) -> BlockStore:
    """A training's store, seen from this host."""
    return BlockStore(blocks_folder(), training, settings.TRAIN_CACHE_DIR)
