"""StoredEngine: the half-sweeps of one training, done by others, from the making of its store to its end."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Protocol, Self

import structlog

from timbral.config.settings import settings
from timbral.engines import stores
from timbral.engines.block_store import BlockStore
from timbral.engines.block_task import Answer, BlockTask
from timbral.engines.stored_halves import StoredHalves
from timbral.models.engine.factorization import HalvesOf
from timbral.models.engine.halves import Halves, HalvesHere, Problem
from timbral.models.kernels.threads import Threads

__all__ = ["ClosableRun", "LocalEngine", "StoredEngine"]

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
        self._job = stores.job_digest(job_id)
        self._store: BlockStore | None = None
        self._run: ClosableRun | None = None

    def __enter__(self) -> Self:
        stores.remove_old()
        stores.remove_of(self._job)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def halves_of(self, problem: Problem, threads: Threads) -> Halves:
        """For each fit a store of its own: what comes late from the one before finds it gone."""
        self._close()
        self._store = stores.store_of(f"{self._job}-{secrets.token_hex(4)}")
        self._run = self._run_of(self._store, threads.n_threads)
        logger.info("trains on others, too", store=str(self._store.folder), blocks=settings.TRAIN_BLOCKS)
        return StoredHalves(problem, self._store, self._run, settings.TRAIN_BLOCKS)

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
        if self._run is not None:
            self._run.close()
        self._store = self._run = None
