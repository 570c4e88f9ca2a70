"""The engine ``fleet``: the blocks of a half-sweep are messages on the queue of chunks, done by whoever listens there.

The trainer that drives waits for the answers in a list of its own. A block whose worker was lost is delivered again
like any message; and what nobody answers for long, the trainer does itself. So a block is done at least once, and twice
does no harm: it is the same file with the same bits.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import structlog
from celery import current_app

from timbral import keys
from timbral.config.settings import settings
from timbral.engines.block_store import BlockStore, remove_old_stores
from timbral.engines.block_task import Answer, BlockTask, solve
from timbral.engines.stored_halves import StoredHalves
from timbral.errors import MessageError
from timbral.models.engine.factorization import HalvesOf
from timbral.models.engine.halves import Halves, HalvesHere, Problem
from timbral.models.kernels.threads import Threads, resolve_n_threads
from timbral.queue import layout
from timbral.redis_server.replies import text
from workers import resources

__all__ = ["FleetEngine", "LocalEngine", "do_block", "engine_of"]

logger = structlog.get_logger(__name__)

TASK: Final = "train_block"
LOOK_S: Final = 1
"""Seconds between two looks whether the training was cancelled."""
LEAST_PATIENCE_S: Final = 5.0
PATIENCE: Final = 4.0
"""Times the longest wait for an answer until now, after which the trainer does a block itself."""
ANSWERS_LIFE_S: Final = 3600


class LocalEngine:
    """Half-sweeps in this process."""

    halves_of: HalvesOf = staticmethod(HalvesHere)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class FleetEngine:
    """Half-sweeps on the fleet, for one training.

    Args:
        job_id: of the training. What an earlier delivery of it left behind is removed.
        check: raises where the training was cancelled.
    """

    def __init__(self, job_id: str, check: Callable[[], None]) -> None:
        self._check = check
        self._job = hashlib.blake2b(job_id.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        self._store: BlockStore | None = None

    def __enter__(self) -> Self:
        remove_old_stores(_blocks_folder(), 2.0 * settings.TRAIN_TIME_LIMIT_S)
        for left in _blocks_folder().glob(f"{self._job}-*"):
            BlockStore(_blocks_folder(), left.name).close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
            resources.records().delete(keys.train_answers(self._store.folder.name))
            self._store = None

    def halves_of(self, problem: Problem, threads: Threads) -> Halves:
        """For each fit a store of its own: what comes late from the one before finds it gone."""
        self._close()
        self._store = _store(f"{self._job}-{secrets.token_hex(4)}")
        logger.info("trains on the fleet", store=str(self._store.folder), blocks=settings.TRAIN_BLOCKS)
        run = _Run(self._store, threads.n_threads, self._check)
        return StoredHalves(problem, self._store, run, settings.TRAIN_BLOCKS)


class _Run:
    """Has tasks done by the fleet: a ``timbral.engines.block_task.Run``."""

    def __init__(self, store: BlockStore, n_threads: int, check: Callable[[], None]) -> None:
        self._store = store
        self._n_threads = n_threads
        self._check = check
        self._longest_s = 0.0

    def __call__(self, tasks: Sequence[BlockTask]) -> Iterator[Answer]:
        waiting = {task.number: task for task in tasks}
        with current_app.producer_or_acquire() as producer:
            for task in tasks:
                task_id = f"{task.training}.{task.half}.{task.number}"
                current_app.send_task(
                    TASK, kwargs=task.as_dict(), task_id=task_id, queue=layout.own_queue(TASK), producer=producer,
                    headers={layout.WORK_HEADER: task_id}, ignore_result=True,
                )  # fmt: skip
        heard_s = time.monotonic()
        while waiting:
            answer = self._next_answer(blocking=time.monotonic() - heard_s < self._patience_s)
            if answer is not None and answer["half"] == tasks[0].half and answer["number"] in waiting:
                self._longest_s = max(self._longest_s, time.monotonic() - heard_s)
                heard_s = time.monotonic()
                if answer.get("unseen"):
                    logger.error("a worker does not see the training's store", store=str(self._store.folder))
                    answer = solve(waiting[answer["number"]], self._store, self._n_threads)
            elif answer is None and time.monotonic() - heard_s >= self._patience_s:
                self._check()
                number = max(waiting)  # the one that was sent last is the least likely to be going on elsewhere
                logger.info("does a block itself, which nobody has answered for", block=str(waiting[number]))
                answer = solve(waiting[number], self._store, self._n_threads)
            else:
                self._check()
                continue
            del waiting[answer["number"]]
            yield answer

    @property
    def _patience_s(self) -> float:
        return max(LEAST_PATIENCE_S, PATIENCE * self._longest_s)

    def _next_answer(self, *, blocking: bool) -> Answer | None:
        key = keys.train_answers(self._store.folder.name)
        records = resources.records()
        found = records.blpop([key], timeout=LOOK_S) if blocking else records.lpop(key)
        if not found:
            return None
        answer: Answer = json.loads(text(found[1] if blocking else found))
        return answer


def do_block(arguments: dict[str, Any]) -> None:
    """Do one block of somebody's training; nothing where that has ended."""
    try:
        task = BlockTask.from_dict(arguments)
        store = _store(task.training)
    except (TypeError, ValueError) as error:
        problem = {"field": "arguments", "problem": str(error)[:200], "value": repr(arguments)[:80]}
        raise MessageError(TASK, [problem]) from None
    if store.exists():
        answer = solve(task, store, resolve_n_threads(resources.store().n_threads))
    else:
        answer = {"half": task.half, "number": task.number, "unseen": True}
    key = keys.train_answers(task.training)
    with resources.records().pipeline(transaction=True) as pipeline:
        pipeline.rpush(key, json.dumps(answer))
        pipeline.expire(key, ANSWERS_LIFE_S)
        pipeline.execute()


def engine_of(job_id: str, check: Callable[[], None]) -> LocalEngine | FleetEngine:
    """What ``TRAIN_ENGINE`` says, for one training."""
    return FleetEngine(job_id, check) if settings.TRAIN_ENGINE == "fleet" else LocalEngine()


def _blocks_folder() -> Path:
    return (settings.train_store or settings.MODEL_DIR) / "blocks"


def _store(training: str) -> BlockStore:
    return BlockStore(_blocks_folder(), training, settings.TRAIN_CACHE_DIR)
